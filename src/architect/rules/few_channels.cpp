// few-channels: a dot over a handful of input channels
//
// What: a convolution of at most 8 input channels as an implicit GEMM with tl.dot: K is channels
// times taps, 27 to 72, padded to the block's multiple, and every tile of the patch is gathered
// element by element.
//
// Why it is slow: most of the time goes into addresses, masks and scattered 4-byte loads for a
// product of two or three steps. The float32 lanes do the same arithmetic from registers without
// any of it.
//
// Estimate: seconds = total - kernel + max(operations / (0.5 x float32 rate), bytes over the
// streaming rate), and without the launch that only pools or sums the result, which such a
// kernel does on the values it holds.
//
// Silent: more than 8 channels, grouped and transposed convolutions, gains under 10%.
//
// Source: collected kernels: padding 3 channels to 32 for a dot lost; a direct kernel of 8 to 64
// channels with its pooling ran at 45 TFLOPS on an H100, the implicit GEMM at 14, cuDNN at 28.
#include <fmt/format.h>

#include "architect/rules/convolutions.h"
#include "architect/rules/rules.h"
#include "architect/rules/support.h"

namespace quoin::architect::rule {

Finding few_channels(const Case& about) {
  const Program& program = about.program();
  Changed changed(about);
  std::vector<std::string> kernels, tails;
  double before = 0, after = 0;
  Conv shape;
  for (OpId id : launches(program)) {
    const Op& op = op_at(program, id);
    if (kernel_of(program, op)->dots.empty()) continue;
    const OpId twin = reference_of(about, id);
    if (twin < 0) continue;
    const Op& conv = op_at(about.model.reference, twin);
    if (!conv.conv || conv.conv->groups > 1 || conv.conv->transposed || conv.conv->in_channels > 8)
      continue;
    const ConvolutionWays ways = convolution_ways(about, id, twin);
    const double now = changed.price(id).device.value;
    const double tail = ways.tail >= 0 ? changed.price(ways.tail).device.value : 0;
    if (ways.direct > 0.9 * (now + tail)) continue;
    changed.device(id, cost::Seconds{ways.direct});
    if (ways.tail >= 0) {
      changed.drop(ways.tail);
      tails.push_back("`" + op_at(program, ways.tail).name + "`");
    }
    before += now + tail;
    after += ways.direct;
    shape = *conv.conv;
    kernels.push_back(op_name(op));
  }
  if (kernels.empty()) return Finding::refused("no dot runs over a handful of input channels");
  Finding out = Finding::applied(changed.total(), Effort::rework);
  const std::string who = list_text(kernels), behind = list_text(tails);
  out.text.bottleneck = fmt::format(
      "{} gathers patches of {} input channels for a `tl.dot` whose K is mostly padding{}: {} "
      "where the arithmetic on the "
      "float32 lanes needs about {}.",
      who, shape.in_channels,
      tails.empty() ? "" : fmt::format(", and {} reads the whole feature map again", behind),
      milliseconds({before}), milliseconds({after}));
  out.text.method = fmt::format(
      "Compute the convolution directly from registers without a dot{}.",
      tails.empty()
          ? ""
          : fmt::format(", and do the work of {} on the values before they are stored", behind));
  out.text.plan = fmt::format(
      "Give each program of {} a tile of positions by the {} output channels, unroll the {} input "
      "channels and the taps with "
      "`tl.static_range`, and add `x[:, None] * w[None, :]` into the accumulator. {}",
      who, shape.out_channels, shape.in_channels,
      tails.empty() ? "Keep the epilogue as it is."
                    : "Let a tile cover whole pooling windows, pool and sum it in registers, and "
                      "add one partial result per program with `tl.atomic_add`.");
  return out;
}

}  // namespace quoin::architect::rule
