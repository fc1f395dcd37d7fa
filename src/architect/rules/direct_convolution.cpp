// direct-convolution: a convolution without tensor cores
//
// What: a kernel that computes a convolution of the reference with multiplies and adds of its
// own (rank-1 updates, scalar loops over channels and taps) and no tl.dot.
//
// Why it is slow: one step of the loop loads, waits, converts layouts and does a handful of
// multiplies; such kernels reach 3 to 20% of the float32 rate, and tensor cores are far above
// that.
//
// Estimate: seconds = total - kernel + min(cuDNN's time, implicit GEMM: operations / 45 TFLOPS x
// K/(K+40) and its bytes, with at most 16 channels also a register-blocked direct kernel:
// operations / (0.5 x float32 rate)).
//
// Silent: depthwise convolutions (nothing to multiply), kernels that the reference's
// convolutions do not explain.
//
// Source: collected rewrites: direct convolution to implicit GEMM 5.4 times (median). A direct
// kernel with 8 channels reached 67% of the float32 lanes, above cuDNN's 28 TFLOPS for this
// shape.
#include <fmt/format.h>

#include <algorithm>

#include "architect/rules/convolutions.h"
#include "architect/rules/rules.h"
#include "architect/rules/support.h"

namespace quoin::architect::rule {
Finding direct_convolution(const Case& about) {
  const Program& program = about.program();
  Changed changed(about);
  std::vector<std::string> kernels;
  double before = 0, after = 0, rate = 0;
  std::string way;
  Conv shape;
  for (OpId id : launches(program)) {
    const Op& op = op_at(program, id);
    const Kernel& kernel = *kernel_of(program, op);
    if (!kernel.dots.empty()) continue;
    const OpId twin = reference_of(about, id);
    if (twin < 0) continue;
    const Op& conv = op_at(about.model.reference, twin);
    if (!conv.conv || conv.conv->groups > 1) continue;
    const ConvolutionWays ways = convolution_ways(about, id, twin);
    const double best = std::min({ways.implicit, ways.cudnn, ways.direct});
    const double now = changed.price(id).device.value;
    if (best > 0.9 * now) continue;
    if (now > before) {
      way = best == ways.cudnn ? "library" : best == ways.direct ? "direct" : "implicit";
      before = now;
      after = best;
      rate = ways.operations / now / 1e12;
      shape = *conv.conv;
    }
    changed.device(id, cost::Seconds{best});
    if (best == ways.direct && ways.tail >= 0) changed.drop(ways.tail);
    kernels.push_back(op_name(op));
  }
  if (kernels.empty())
    return Finding::refused("every convolution runs on tensor cores or in the library");
  Finding out =
      Finding::applied(changed.total(), way == "library" ? Effort::edit : Effort::rewrite);
  const std::string who = list_text(kernels);
  out.text.bottleneck = fmt::format(
      "{} computes the convolution of {} to {} channels with scalar multiplies and no `tl.dot`: {} "
      "at {:.1f} TFLOPS.",
      who, shape.in_channels, shape.out_channels, milliseconds({before}), rate);
  if (way == "library") {
    out.text.method = fmt::format(
        "Give the convolution back to cuDNN, which needs about {} for it on tensor cores.",
        milliseconds({after}));
    out.text.plan = fmt::format(
        "Replace the launch of {} by `torch.nn.functional.conv{}d`{} on the same weight and bias, "
        "and keep what follows it.",
        who, shape.dims, shape.transposed ? " (transposed)" : "");
  } else if (way == "direct") {
    out.text.method =
        "Block the convolution in registers: each program loads a patch of the input once and "
        "computes many output channels from it.";
    out.text.plan = fmt::format(
        "Give each program of {} a tile of positions by all {} output channels, unroll the {} "
        "input channels and the taps with "
        "`tl.static_range`, load each input vector once per tap and keep the weights in registers. "
        "What follows the convolution and works on the "
        "same positions can then be applied before the store.",
        who, shape.out_channels, shape.in_channels);
  } else {
    out.text.method =
        "Write the convolution as an implicit GEMM: tiles of output positions by output channels, "
        "and `tl.dot` over channels times valid taps.";
    out.text.plan = fmt::format(
        "In {} let each program own 64 to 128 positions by {} channels, loop over input channels "
        "and taps in blocks of 32, gather the input tile with "
        "masks and multiply it by the weight tile with `tl.dot` into a float32 accumulator. {}",
        who, shape.out_channels,
        shape.transposed
            ? "Split the outputs by their phase of the stride so that every tap is a valid one."
            : "Flatten batch and positions into one axis so that the grid fills the card.");
  }
  return out;
}

}  // namespace quoin::architect::rule
