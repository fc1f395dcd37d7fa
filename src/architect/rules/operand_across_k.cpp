// operand-across-k: a stored weight that does not run along K
//
// What: a tl.dot in float32 (tf32), int8 or fp8 whose weight operand is stored as [K,N], so that
// its rows run along N. The change is to store the weight as [N,K] once, when the module is
// built.
//
// Why it is slow: wgmma transposes 16-bit types only. Every tile of the operand goes from shared
// memory through registers and back.
//
// Estimate: seconds = total - dot(across K) + dot(along K); 0.5 cycles per element of the
// operand in tf32, 0.15 n/64 in int8.
//
// Silent: 16-bit operands; tiles under 64 rows, which use mma.sync; operands that are not
// parameters; devices before sm_90.
//
// Source: measured 2026-11-21 on an H200, tiles of 128 x 128 x 32, tf32: 83 TFLOPS across K, 277
// along K; the same weight transposed per call is the rule transposed-per-call.
#include <fmt/format.h>

#include "architect/rules/dots.h"
#include "architect/rules/rules.h"
#include "architect/rules/support.h"

namespace quoin::architect::rule {

Finding operand_across_k(const Case& about) {
  const Program& program = about.program();
  Changed changed(about);
  std::vector<std::string> kernels, weights;
  for (OpId id : launches(program)) {
    const Op& op = op_at(program, id);
    const Kernel& kernel = *kernel_of(program, op);
    cost::TiledKernel better = tiled_kernel(program, op);
    bool found = false;
    for (std::size_t i = 0; i < kernel.dots.size(); ++i) {
      if (better.dots[i].k_major || better.dots[i].type == cost::DotType::float16 ||
          better.dots[i].m < 64)
        continue;
      bool fixable = true;
      for (const DotOperand* operand : {&kernel.dots[i].a, &kernel.dots[i].b}) {
        if (operand->access < 0 || operand->k_contiguous.value_or(true)) continue;
        const Access& access = kernel.accesses[static_cast<std::size_t>(operand->access)];
        const ValueId id_read = accessed(op, access);
        const Value* value = value_at(program, id_read);
        const Value* root = value_at(program, root_of(program, id_read));
        const bool stored = root != nullptr && root->origin == Origin::parameter;
        fixable = fixable && stored && value != nullptr;
        if (stored) weights.push_back(value_name(program, id_read));
      }
      if (!fixable) continue;
      better.dots[i].k_major = true;
      found = true;
    }
    if (!found) continue;
    changed.kernel(id, better);
    kernels.push_back("`" + op.name + "`");
  }
  if (kernels.empty()) return Finding::refused("no dot reads a stored weight across K");
  Finding out;
  out.applies = true;
  out.after = changed.total();
  out.effort = Effort::edit;
  const std::string who = list_text(kernels), what = list_text(weights);
  out.text.bottleneck = fmt::format(
      "{} reads {} as a [K, N] operand, which the tensor cores cannot take for this type: each "
      "tile is transposed in shared memory, and "
      "the call takes {} where K-major tiles need {}.",
      who, what, milliseconds(about.current.total), milliseconds(out.after));
  out.text.method = fmt::format("Store {} as [N, K] and read it along K.", what);
  out.text.plan = fmt::format(
      "Keep the parameter as [out_features, in_features] (or transpose it once when the module is "
      "built) and pass its row stride as the N "
      "stride and 1 as the K stride to {}. The masks and the epilogue stay as they are.",
      who);
  return out;
}

}  // namespace quoin::architect::rule
