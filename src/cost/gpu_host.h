// What eager PyTorch's host code adds: each call takes the interpreter some microseconds, and where
// the kernels are shorter than that the device waits.
//
// The constants are fitted to programs of many short operations (GRU steps in a Python loop,
// residual networks of batch 10, a Swin transformer) measured in eager mode on an H100 machine;
// single calls in a hot loop are 3 to 6 times faster.
#pragma once

#include <span>

#include "cost/units.h"

namespace quoin::cost {

enum class HostCall {
  triton_launch,
  elementwise,
  copy,
  reduction,
  matmul,
  convolution,
  norm,
  pool,
  rnn_step,
  other
};

[[nodiscard]] Seconds host_time(HostCall call) noexcept;

struct Issue {
  Seconds host;    // to get the work going
  Seconds device;  // to do it
  double count = 1;
};

/// From the first call to the end of the last kernel. The first launch is hidden: whoever measures
/// or serves has work queued before it.
[[nodiscard]] Seconds eager_time(std::span<const Issue> issues) noexcept;

}  // namespace quoin::cost
