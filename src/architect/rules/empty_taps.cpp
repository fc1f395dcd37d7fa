// empty-taps: taps of a strided transposed convolution that hit no input
//
// What: a kernel of a transposed convolution with stride above 1 that visits every tap for every
// output and masks those whose position is no multiple of the stride.
//
// Why it is slow: only 1 / (product of strides) of the taps count; the others cost their loads,
// masks and multiplies.
//
// Estimate: seconds = total - kernel + kernel / (product of strides) x 1.5, not below its bytes
// over the bandwidth.
//
// Silent: stride 1, kernels whose loads are active more than 1.3 / strides of the time.
//
// Source: collected kernels: computing each phase of the output on its valid taps gains 2 to 25
// times.
#include <fmt/format.h>

#include <algorithm>

#include "architect/rules/rules.h"
#include "architect/rules/support.h"

namespace quoin::architect::rule {

Finding empty_taps(const Case& about) {
  const Program& program = about.program();
  Changed changed(about);
  std::vector<std::string> kernels;
  double phases = 1;
  for (OpId id : launches(program)) {
    const OpId twin = reference_of(about, id);
    if (twin < 0) continue;
    const Op& conv = op_at(about.model.reference, twin);
    if (!conv.conv || !conv.conv->transposed) continue;
    const cost::ConvCall call = conv_call(about.model.reference, conv);
    if (call.strides <= 1) continue;
    // A kernel that computes the phases apart loads valid taps alone.
    double active = 1;
    for (const Access& access : kernel_of(program, op_at(program, id))->accesses) {
      if (access.kind == AccessKind::load && access.loop >= 0 && access.masked) {
        active = std::min(active, access.active);
      }
    }
    if (active > 1.3 / call.strides) continue;
    const double now = changed.price(id).device.value;
    const double io = call.element * call.batch *
                      (call.in_channels * call.in_points + call.out_channels * call.out_points);
    const double best =
        std::max(now / call.strides * 1.5, io / cost::stream_rate(about.gpu).value * 1.2);
    if (best > 0.9 * now) continue;
    changed.device(id, cost::Seconds{best});
    kernels.push_back(op_name(op_at(program, id)));
    phases = call.strides;
  }
  if (kernels.empty()) return Finding::refused("no strided transposed convolution in a kernel");
  Finding out = Finding::applied(changed.total(), Effort::rework);
  const std::string who = list_text(kernels);
  out.text.bottleneck = fmt::format(
      "{} visits every tap for every output although only one in {:.0f} lands on an input: the "
      "rest is masked work.",
      who, phases);
  out.text.method = fmt::format(
      "Compute the {:.0f} phases of the output apart, each on its valid taps alone.", phases);
  out.text.plan = fmt::format(
      "Add the output phase (position modulo stride) as a grid axis of {}, let lanes run over "
      "positions of one phase so that their inputs are neighbours, "
      "and loop only over the taps of that phase. The remainder test and its mask disappear.",
      who);
  return out;
}

}  // namespace quoin::architect::rule
