// What the rules on convolutions share: the ways to compute one, with their prices.
#pragma once

#include "architect/rules/rule.h"

namespace quoin::architect {

struct ConvolutionWays {
  double operations = 0;
  double implicit = 0;  // seconds as an implicit GEMM in Triton, tf32
  double cudnn = 0;     // by the library
  double direct =
      0;  // blocked in registers on the float32 lanes, `tail` with it; 1e9: too many channels
  OpId tail =
      -1;  // the launch that only pools and sums the result, which a direct kernel can do too
};

/// `launch` computes what `twin`, a convolution of the reference without groups, does.
[[nodiscard]] ConvolutionWays convolution_ways(const Case& about, OpId launch, OpId twin);

}  // namespace quoin::architect
