#include "architect/rules/convolutions.h"

#include <algorithm>

#include "architect/rules/support.h"

namespace quoin::architect {
namespace {

// Triton implicit GEMMs of 64 x 64 x 32 with gathered patches reach 36 to 44 TFLOPS in tf32 (H100,
// K from 576 to 4,608), 20 with short K.
constexpr double kImplicit = 0.091;  // of the tf32 rate
// A direct kernel with 8 channels and 64 outputs, pooling included: 45 of 67 TFLOPS; half of the
// rate is what a first version can be asked for.
constexpr double kDirect = 0.5;

/// The launch that alone reads this convolution's result, where the reference only pools, sums and
/// applies elementwise steps behind it; -1 where there is none.
OpId pooled_tail(const Case& about, OpId launch, OpId twin) {
  const Program& reference = about.model.reference;
  OpId at = twin;
  bool pools = false;
  for (int step = 0; step < 6 && !is_output(reference, at); ++step) {
    const std::vector<OpId> next = consumers_of(reference, at);
    if (next.size() != 1) return -1;
    at = next.front();
    const Op& op = op_at(reference, at);
    const bool sums = op.kind == OpKind::reduction && (op.name == "sum" || op.name == "mean");
    if (op.kind != OpKind::pool && !is_pointwise(op) && !sums) return -1;
    pools = pools || op.kind == OpKind::pool || sums;
  }
  const std::vector<OpId> readers = consumers_of(about.program(), launch);
  if (!pools || readers.size() != 1) return -1;
  return kernel_of(about.program(), op_at(about.program(), readers.front())) != nullptr
             ? readers.front()
             : -1;
}

}  // namespace

ConvolutionWays convolution_ways(const Case& about, OpId launch, OpId twin) {
  const cost::ConvCall call = conv_call(about.model.reference, op_at(about.model.reference, twin));
  const double points = call.transposed ? call.in_points : call.out_points;
  const double depth = call.in_channels * call.taps;
  const double in = call.element * call.batch * call.in_channels * call.in_points;
  const double out = call.element * call.batch * call.out_channels * call.out_points;
  const double rate = cost::stream_rate(about.gpu).value;
  const double stream = (in + out) / rate * 1.15;
  ConvolutionWays ways;
  ways.operations = 2 * call.batch * points * call.in_channels * call.out_channels * call.taps;
  const double tensor = cost::peak(about.gpu, cost::DotType::tf32).value * kImplicit *
                        std::min(1.0, call.out_channels / 64) * depth / (depth + 40);
  // Outputs of a strided transposed convolution are stored phase by phase, a stride apart.
  const double scattered = call.transposed && call.strides > 1 ? 1.5 : 1;
  ways.implicit = std::max(ways.operations / tensor, stream) * scattered;
  ways.cudnn = cost::conv_time(call, about.gpu).value;
  ways.direct = 1e9;
  if (call.in_channels > 16) return ways;
  const double lanes = ways.operations / (kDirect * about.gpu.fp32.value);
  ways.tail = pooled_tail(about, launch, twin);
  ways.direct = std::max(lanes, ways.tail >= 0 ? in / rate : stream);
  return ways;
}

}  // namespace quoin::architect
