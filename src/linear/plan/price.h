// What a split should cost on a CPU of the device table, in seconds.
#pragma once

#include <cstdint>

#include "cost/devices.h"
#include "cost/units.h"
#include "linear/backends.h"
#include "linear/plan/split.h"

namespace quoin {

struct Price {
  cost::Seconds compute_limit;  // every operation at the instruction's peak
  cost::Seconds memory_limit;   // the weights read once from where they lie
  cost::Seconds total;          // what `run` should take
};

/// The price of an m x n x k product on `threads` threads.
///
///   total = max(padded operations / (peak * 0.94), weights / (bandwidth * 0.95)) + start
///
/// where the weights lie in the smallest cache that holds them, or in memory, and `start` is waking
/// the other threads. The two shares are what the kernels reach (bench/results/).
[[nodiscard]] Price price_product(const Backend& backend, const cost::CpuDevice& cpu,
                                  std::int64_t m, std::int64_t n, std::int64_t k, int threads);

/// The backend's instruction on one core of this CPU, back to back.
[[nodiscard]] cost::OpsPerSecond peak_rate(const Backend& backend, const cost::CpuDevice& cpu);

/// How a lone tile of `rows` rows streams through the weights on this CPU: by what holds it back,
/// the instruction or memory. Where the two are close, the instruction counts.
[[nodiscard]] LoneStream lone_stream(const Backend& backend, const cost::CpuDevice& cpu, int rows);

}  // namespace quoin
