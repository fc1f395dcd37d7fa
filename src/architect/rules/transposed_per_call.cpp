// transposed-per-call: a weight transposed in every call
//
// What: host code copies a transposed weight (`weight.t().contiguous()`, a permuted convolution
// weight) in each forward call and a kernel with tl.dot reads the copy. The change is to pass
// the stored weight with its own strides, so that the dot's operand also runs along K.
//
// Why it is slow: the copy moves the weight twice, 32 bytes of traffic per element whatever its
// type, and the copied [K,N] layout is the one that Hopper's wgmma cannot read for float32 and
// 8-bit types: each tile then goes through registers and shared memory once more.
//
// Estimate: seconds = total - copy + dot(K-major) - dot(as it is); copy = elements / 148e9 per
// second (H200); dot as in src/cost/gpu_kernel.h, 0.5 cycles per element of the operand for
// tf32, 0.15 n/64 for int8.
//
// Silent: where the copy is under 1% of the time, where no dot reads it, or where the operand
// runs along K anyway.
//
// Source: measured 2026-11-21 on an H200: 2048 x 4096 x 4096 in tf32, tiles of 128 x 128 x 32:
// 83 TFLOPS against 277 along K. An INT8 layer's own numbers are in docs/architect.md.
#include <fmt/format.h>

#include <algorithm>

#include "architect/rules/dots.h"
#include "architect/rules/rules.h"
#include "architect/rules/support.h"

namespace quoin::architect::rule {

Finding transposed_per_call(const Case& about) {
  const Program& program = about.program();
  Changed changed(about);
  std::vector<std::string> kernels, weights;
  double copied = 0, seconds = 0;
  bool any = false, along_k = false;
  for (const PerCallCopy& copy : per_call_copies(program)) {
    if (!copy.feeds_dot || !copy.transposes) continue;
    any = true;
    changed.drop(copy.op);
    const Op& op = op_at(program, copy.op);
    copied += output_bytes(program, op) * op.count;
    seconds += device_time(about, copy.op);
    weights.push_back(copy.source);
    for (OpId reader : copy.readers) {
      kernels.push_back("`" + op_at(program, reader).name + "`");
      const cost::TiledKernel better = read_along_k(program, reader, copy.op);
      cost::TiledKernel now = tiled_kernel(program, op_at(program, reader));
      for (std::size_t i = 0; i < better.dots.size(); ++i) {
        along_k = along_k || (better.dots[i].k_major && !now.dots[i].k_major &&
                              better.dots[i].type != cost::DotType::float16);
      }
      changed.kernel(reader, better);
    }
  }
  if (!any) return Finding::refused("no transposed copy of a weight feeds a dot");
  if (seconds < 0.01 * about.current.device.value && !along_k) {
    return Finding::refused(fmt::format("the copies take {} of {}", milliseconds({seconds}),
                                        milliseconds(about.current.total)));
  }
  Finding out;
  out.applies = true;
  out.after = changed.total();
  out.effort = Effort::edit;
  const std::string what = list_text(weights), who = list_text(kernels);
  out.text.bottleneck = fmt::format(
      "Every call copies {} into a transposed layout, {} in {} of the {} the call takes.", what,
      bytes_text(copied), milliseconds({seconds}), milliseconds(about.current.total));
  if (along_k) {
    out.text.bottleneck += fmt::format(
        " The copied [K, N] operand also does not run along K, which costs {} an extra pass "
        "through "
        "shared memory for every tile.",
        who);
  }
  out.text.method = fmt::format(
      "Consume {} in its stored [N, K] layout instead of transposing it per call, so that the dot "
      "in {} "
      "reads K-major tiles.",
      what, who);
  out.text.plan = fmt::format(
      "Remove the transposed copy and pass {} itself, with its stride along K (1) as the operand's "
      "K stride and "
      "its row stride as the N stride; {} can keep its `b_ptrs` arithmetic because both strides "
      "are arguments, "
      "or swap the two terms where they are not.",
      what, who);
  return out;
}

}  // namespace quoin::architect::rule
