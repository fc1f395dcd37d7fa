#include "cost/gpu_host.h"

namespace quoin::cost {
namespace {

// What is queued before a call hides this much of it.
constexpr Seconds kHeadStart = microseconds(110);

}  // namespace

Seconds host_time(HostCall call) noexcept {
  switch (call) {
    // Two networks that differ in a dozen launches: 75 to 110 us each, Python wrapper included; a
    // microsecond for each argument comes on top.
    case HostCall::triton_launch: return microseconds(65);
    case HostCall::elementwise: return microseconds(12);
    case HostCall::copy: return microseconds(14);
    case HostCall::reduction: return microseconds(16);
    case HostCall::matmul: return microseconds(24);
    case HostCall::convolution: return microseconds(50);
    case HostCall::norm: return microseconds(52);
    case HostCall::pool: return microseconds(24);
    case HostCall::rnn_step: return microseconds(16);  // two kernels of a cuDNN cell: 15 to 25 us
    case HostCall::other: return microseconds(14);
  }
  return microseconds(14);
}

Seconds eager_time(std::span<const Issue> issues) noexcept {
  Seconds host = Seconds{} - kHeadStart;
  Seconds device{};
  for (const Issue& issue : issues) {
    host = host + issue.host * issue.count;
    device = max(device + issue.device * issue.count, host + issue.device);
  }
  return device;
}

}  // namespace quoin::cost
