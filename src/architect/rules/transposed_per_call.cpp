// transposed-per-call: an operand transposed in every call
//
// What: host code copies a transposed weight (`weight.t().contiguous()`, a permuted convolution
// weight) in each forward call and a kernel with tl.dot reads the copy; or an input whose
// transpose runs along K where it lies. The change is to pass what is stored with its own
// strides, so that the dot's operand also runs along K.
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

namespace {

/// A copy of an activation into its transpose, whose reader could read it along K where it lies.
bool along_k_in_place(const Program& program, OpId id, OpId reader) {
  const Op& copy = op_at(program, id);
  const Value* in = value_at(program, copy.inputs.front().value);
  if (in == nullptr || in->shape.size() < 2) return false;
  const Op& op = op_at(program, reader);
  const Kernel& kernel = *kernel_of(program, op);
  for (const Dot& dot : kernel.dots) {
    for (const DotOperand* operand : {&dot.a, &dot.b}) {
      if (operand->access < 0 || operand->computed) continue;
      const Access& access = kernel.accesses[static_cast<std::size_t>(operand->access)];
      if (root_of(program, accessed(op, access)) != root_of(program, copy.outputs.front()))
        continue;
      // The copy is contiguous: its last dimension is K where the operand runs along K.
      const std::size_t k = in->shape.size() - (operand->k_contiguous.value_or(false) ? 1 : 2);
      return in->strides[k] == 1;
    }
  }
  return false;
}

/// Transposed copies of what each call brings anew that feed one dot.
std::vector<PerCallCopy> transposed_activations(const Program& program) {
  std::vector<PerCallCopy> out;
  for (std::size_t i = 0; i < program.ops.size(); ++i) {
    const Op& op = program.ops[i];
    if (op.kind != OpKind::copy || op.weight_only || !op.reshapes || op.inputs.size() != 1 ||
        op.outputs.size() != 1)
      continue;
    PerCallCopy copy;
    copy.op = static_cast<OpId>(i);
    copy.readers = consumers_of(program, copy.op);
    if (copy.readers.size() != 1 || is_output(program, copy.op)) continue;
    const Kernel* kernel = kernel_of(program, op_at(program, copy.readers.front()));
    if (kernel == nullptr || kernel->dots.empty()) continue;
    if (!along_k_in_place(program, copy.op, copy.readers.front())) continue;
    copy.source = value_name(program, root_of(program, op.inputs.front().value));
    copy.transposes = copy.feeds_dot = true;
    out.push_back(std::move(copy));
  }
  return out;
}

}  // namespace

Finding transposed_per_call(const Case& about) {
  const Program& program = about.program();
  Changed changed(about);
  std::vector<std::string> kernels, weights;
  double copied = 0, seconds = 0;
  bool any = false, along_k = false;
  std::vector<PerCallCopy> copies = per_call_copies(program);
  const std::vector<PerCallCopy> brought = transposed_activations(program);
  copies.insert(copies.end(), brought.begin(), brought.end());
  for (const PerCallCopy& copy : copies) {
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
  if (!any) return Finding::refused("no transposed copy feeds a dot that could read along K");
  if (seconds < 0.01 * about.current.device.value && !along_k) {
    return Finding::refused(fmt::format("the copies take {} of {}", milliseconds({seconds}),
                                        milliseconds(about.current.total)));
  }
  Finding out = Finding::applied(changed.total(), Effort::edit);
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
