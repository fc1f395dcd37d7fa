// batch-norm-per-call: a batch norm that could be folded into its convolution
//
// What: a batch norm with fixed statistics (evaluation) as a pass of its own right behind a
// convolution or a linear layer.
//
// Why it is slow: it reads and writes the whole feature map to multiply by one number per
// channel and add another; both fold into the weight and bias.
//
// Estimate: seconds = total - the norms' device and host time + a bias where the convolution had
// none (a pass at the indexed rate in eager PyTorch, left out where a pointwise step follows
// that can add it).
//
// Silent: batch statistics (training), norms that do not directly follow a convolution or
// product.
//
// Source: collected rewrites: folding batch norm gains 1.2 (median).
#include <fmt/format.h>

#include "architect/rules/rules.h"
#include "architect/rules/support.h"

namespace quoin::architect::rule {

Finding batch_norm_per_call(const Case& about) {
  const Program& program = about.program();
  Changed changed(about);
  std::vector<std::string> layers;
  double count = 0, seconds = 0;
  for (std::size_t i = 0; i < program.ops.size(); ++i) {
    const Op& op = program.ops[i];
    if (op.kind != OpKind::norm || op.training || op.name.find("batch") == std::string::npos ||
        op.inputs.empty())
      continue;
    if (op.inputs.front().producers.empty()) continue;
    const Op& before = op_at(program, op.inputs.front().producers.back());
    const Kernel* kernel = kernel_of(program, before);
    const bool heavy = before.kind == OpKind::conv || before.kind == OpKind::matmul ||
                       (kernel != nullptr && !kernel->dots.empty());
    if (!heavy) continue;
    changed.drop(static_cast<OpId>(i));
    seconds += device_time(about, static_cast<OpId>(i));
    count += op.count;
    layers.push_back("`" + before.name + "`");
  }
  if (count == 0)
    return Finding::refused("no batch norm with fixed statistics follows a convolution");
  const cost::Seconds after = changed.total();
  if (about.current.total.value - after.value < 0.03 * about.current.total.value) {
    return Finding::refused(fmt::format("{} batch norms take {} of {}", count_text(count),
                                        milliseconds({seconds}),
                                        milliseconds(about.current.total)));
  }
  Finding out = Finding::applied(after, Effort::edit);
  out.text.bottleneck = fmt::format(
      "{} batch norms run as passes of their own behind {}: with their host time {} of {}.",
      count_text(count), list_text(layers), milliseconds(about.current.total - after),
      milliseconds(about.current.total));
  out.text.method =
      "Fold each batch norm's scale and shift into the weight and bias of the layer before it.";
  out.text.plan =
      "When the module is put into evaluation, compute `w * gamma / sqrt(var + eps)` per output "
      "channel and `beta - mean * gamma / sqrt(var + eps)` as the bias, store them as buffers, and "
      "call the "
      "layer with them instead of layer and norm. The activation that follows stays.";
  return out;
}

}  // namespace quoin::architect::rule
