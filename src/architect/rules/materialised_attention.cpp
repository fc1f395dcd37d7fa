// materialised-attention: attention scores written to memory
//
// What: a product of queries and keys, a softmax over its last dimension and a product with the
// values, as separate operations over a scores tensor.
//
// Why it is slow: the scores (heads x queries x keys) are written and read three times or more.
//
// Estimate: one pass of flash attention: 4 x heads x queries x keys x dim operations at 41
// TFLOPS (tf32) or cuDNN's and PyTorch's fused rate in 16 bit.
//
// Silent: where the reference has no softmax between two products, where scores take under 20%
// of the time.
//
// Source: collected rewrites: flash attention and online softmax gain 1.2 (median). A Triton
// kernel of this kind with heads of 32 ran at 41 TFLOPS on an H200.
#include <fmt/format.h>

#include <algorithm>

#include "architect/rules/rules.h"
#include "architect/rules/support.h"

namespace quoin::architect::rule {

Finding materialised_attention(const Case& about) {
  const Program& program = about.program();
  bool reference_has = false;
  for (const Op& op : about.model.reference.ops) {
    reference_has = reference_has || op.kind == OpKind::softmax || op.kind == OpKind::attention;
  }
  if (!reference_has) return Finding::refused("the reference has no attention");
  for (std::size_t i = 0; i < program.ops.size(); ++i) {
    const Op& scores = program.ops[i];
    if (scores.kind != OpKind::matmul || !scores.matmul || scores.matmul->b_is_weight) continue;
    Changed changed(about);
    double was = device_time(about, static_cast<OpId>(i));
    changed.drop(static_cast<OpId>(i));
    OpId at = static_cast<OpId>(i);
    bool softmax = false;
    OpId last = -1;
    for (int step = 0; step < 8; ++step) {
      const std::vector<OpId> next = consumers_of(program, at);
      if (next.size() != 1) break;
      at = next.front();
      const Op& op = op_at(program, at);
      if (op.kind == OpKind::matmul) {
        last = at;
        break;
      }
      const Kernel* kernel = kernel_of(program, op);
      softmax = softmax || op.kind == OpKind::softmax ||
                (kernel != nullptr && !kernel->reductions.empty() && kernel->arithmetic.exp > 0);
      if (!is_pointwise(op) && op.kind != OpKind::softmax && op.kind != OpKind::copy &&
          kernel == nullptr)
        break;
      was += device_time(about, at);
      changed.drop(at);
    }
    if (last < 0 || !softmax) continue;
    was += device_time(about, last);
    const Matmul& m = *scores.matmul;
    const double ops = 4.0 * static_cast<double>(m.batch * m.m * m.n * m.k);
    const bool half = bytes_of(m.type) == 2;
    const double best =
        ops / (half ? about.gpu.fp16.value * 0.35 : about.gpu.tf32.value * 0.083) + 8e-6;
    if (best > 0.85 * was || was < 0.2 * about.current.device.value) continue;
    changed.device(last, cost::Seconds{best});
    Finding out;
    out.applies = true;
    out.after = changed.total();
    out.effort = Effort::rewrite;
    const double bytes = static_cast<double>(m.batch * m.m * m.n) * bytes_of(m.type);
    out.text.bottleneck = fmt::format(
        "The attention scores of {} x {} x {} ({}) are written by {} and read again by the softmax "
        "and the second product: {} of {}.",
        m.batch, m.m, m.n, bytes_text(bytes), op_name(scores), milliseconds({was}),
        milliseconds(about.current.total));
    out.text.method =
        "Use flash attention: one kernel that keeps a running maximum and sum per query and never "
        "stores the scores.";
    out.text.plan = fmt::format(
        "Write one kernel per ({} heads, block of 64 queries) that loops over keys and values in "
        "blocks of 64, rescales its accumulator by the change of the running maximum, and "
        "stores the [{}, {}] result once; or call "
        "`torch.nn.functional.scaled_dot_product_attention` where its mask suffices.",
        m.batch, m.m, m.k);
    return out;
  }
  return Finding::refused("no scores tensor lies between two products");
}

}  // namespace quoin::architect::rule
