// The least time that work can take: the slower of computing it and of moving its bytes.
//
// S. Williams, A. Waterman, D. Patterson, "Roofline", CACM 52(4), 2009.
#pragma once

#include "cost/units.h"

namespace quoin::cost {

struct Work {
  Ops ops;
  Bytes bytes;  // each input read once, each output written once
};

struct Rates {
  OpsPerSecond compute;
  BytesPerSecond memory;
};

[[nodiscard]] constexpr Seconds roofline(const Work& work, const Rates& rates) {
  return max(work.ops / rates.compute, work.bytes / rates.memory);
}

/// What an M x N x K int8 product must do. Its bytes are the weights alone: for the sizes where
/// bytes matter (few rows), x and y are a fraction of a percent and stay in the caches.
[[nodiscard]] constexpr Work linear_work(double m, double n, double k) {
  return {Ops{2 * m * n * k}, Bytes{n * k}};
}

}  // namespace quoin::cost
