// operand-across-k: a matrix that does not run along K
//
// What: a tl.dot in float32 (tf32), int8 or fp8 with an operand that lies as [K,N] in memory, so
// that its rows run along N. The change is to store a weight as [N,K] once, when the module is
// built, and to transpose a tensor that the call brings once, at memory speed.
//
// Why it is slow: wgmma transposes 16-bit types only. Every tile of the operand goes from shared
// memory through registers and back.
//
// Estimate: seconds = total - dot(across K) + dot(along K) + the transposes of what is no
// parameter (its bytes twice at 85% of the streaming rate); 0.5 cycles per element of the operand
// in tf32, 0.15 n/64 in int8.
//
// Silent: 16-bit operands; tiles under 64 rows, which use mma.sync; patches of images, where the
// transpose costs more than it gains.
//
// Source: measured 2026-11-21 on an H200, tiles of 128 x 128 x 32, tf32: 83 TFLOPS across K, 277
// along K; the same weight transposed per call is the rule transposed-per-call.
#include <fmt/format.h>

#include <algorithm>

#include "architect/rules/dots.h"
#include "architect/rules/rules.h"
#include "architect/rules/support.h"

namespace quoin::architect::rule {

namespace {

/// A tiled transpose of a tensor that every call brings anew: read and written once at 85% of the
/// streaming rate.
double transpose_seconds(const Value& value, const cost::GpuDevice& gpu) {
  return 2 * bytes_of(value) / (0.85 * cost::stream_rate(gpu).value) + 5e-6;
}

}  // namespace

Finding operand_across_k(const Case& about) {
  const Program& program = about.program();
  Changed changed(about);
  std::vector<std::string> kernels, weights, brought;
  for (OpId id : launches(program)) {
    const Op& op = op_at(program, id);
    const Kernel& kernel = *kernel_of(program, op);
    cost::TiledKernel better = tiled_kernel(program, op);
    bool found = false;
    double copies = 0;
    std::vector<std::string> stored_here, brought_here;
    std::vector<ValueId> done;
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
        // A plain tile of a matrix; patches of an image are no transpose away.
        const bool plain = value != nullptr && access.tile.size() == 2 && access.run_bytes >= 64;
        const bool stored = root != nullptr && root->origin == Origin::parameter;
        fixable = fixable && value != nullptr && (stored || plain);
        if (!fixable || std::find(done.begin(), done.end(), id_read) != done.end()) continue;
        done.push_back(id_read);
        (stored ? stored_here : brought_here).push_back(value_name(program, id_read));
        if (!stored) copies += transpose_seconds(*value, about.gpu);
      }
      if (!fixable) continue;
      better.dots[i].k_major = true;
      found = true;
    }
    if (!found) continue;
    const double was = changed.price(id).device.value;
    if (cost::price(better, about.gpu).time.value + copies > 0.95 * was) continue;
    changed.kernel(id, better);
    changed.add_device(id, cost::Seconds{copies});
    weights.insert(weights.end(), stored_here.begin(), stored_here.end());
    brought.insert(brought.end(), brought_here.begin(), brought_here.end());
    kernels.push_back("`" + op.name + "`");
  }
  if (kernels.empty()) return Finding::refused("no dot gains from operands along K");
  Finding out = Finding::applied(changed.total(), Effort::edit);
  const std::string who = list_text(kernels);
  std::vector<std::string> all = weights;
  all.insert(all.end(), brought.begin(), brought.end());
  out.text.bottleneck = fmt::format(
      "{} reads {} as a [K, N] operand, which the tensor cores cannot take for this type: each "
      "tile is transposed in shared memory, and "
      "the call takes {} where K-major tiles need {}.",
      who, list_text(all), milliseconds(about.current.total), milliseconds(out.after));
  if (brought.empty()) {
    out.text.method = fmt::format("Store {} as [N, K] and read it along K.", list_text(weights));
    out.text.plan = fmt::format(
        "Keep the parameter as [out_features, in_features] (or transpose it once when the module "
        "is built) and pass its row stride as the N stride and 1 as the K stride to {}. The masks "
        "and the epilogue stay as they are.",
        who);
    return out;
  }
  out.effort = Effort::rework;
  out.text.method = fmt::format(
      "Give the dot operands that run along K: transpose {} once per call with a tiled kernel at "
      "memory speed{}, instead of once per tile in shared memory.",
      list_text(brought),
      weights.empty() ? "" : fmt::format(" and store {} as [N, K]", list_text(weights)));
  out.text.plan = fmt::format(
      "Add a kernel that copies {} into its transpose in tiles of 64 x 64, pass the copy to {} "
      "with 1 as its K stride, and load that operand as [N, K] tiles that `tl.trans` turns for the "
      "`tl.dot`. The grid, the masks and the epilogue stay as they are.",
      list_text(brought), who);
  return out;
}

}  // namespace quoin::architect::rule
