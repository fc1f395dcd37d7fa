// How quoin measures: contestants interleaved round by round, each round with the machine's limits
// measured beside them, medians with spread. Used by `quoin bench`, the comparison with peers and
// the demo; the method is described in bench/README.md.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "device/limits.h"
#include "linear/backends.h"
#include "quoin/linear.h"

namespace quoin::bench {

/// Random operands of one product: codes over all of int8, scales, float16 bias.
struct Problem {
  std::int64_t m = 0, n = 0, k = 0;
  std::vector<std::int8_t> x, weight;
  std::vector<float> scale_x, scale_w;
  std::vector<Float16> bias;

  [[nodiscard]] QuantizedRows rows() const;
  [[nodiscard]] LinearWeights weights() const;
};

[[nodiscard]] Problem random_problem(std::int64_t m, std::int64_t n, std::int64_t k,
                                     std::uint64_t seed);

/// Elements of y (float16 [m, n]) whose bits differ from the oracle's, in all rows or, of a large
/// problem, in enough rows and columns to touch every tile edge.
[[nodiscard]] std::int64_t count_wrong(const Problem& problem, const std::vector<Float16>& y);

struct Spread {
  double median = 0, low = 0, high = 0;  // low and high: quartiles
};
[[nodiscard]] Spread spread(std::vector<double> values);

/// One thing to time. `run(set)` does the whole job once, on the weights of that set.
struct Contestant {
  std::string name;
  std::function<void(int set)> run;
  int sets = 1;  // 1: the same weights again and again (hot); more: rotated (cold)
};

struct Timing {
  std::string name;
  Spread seconds;        // of one run
  Spread limit_share;    // the round's limit over the run: 1 is the limit itself
  Spread compute_share;  // the same for the compute limit alone
};

/// What one round's limits are taken from.
struct LimitLoops {
  PeakLoop peak = PeakLoop::vpdpbusd_zmm;
  int threads = 1;
  double ops = 0;           // of one run
  double weight_bytes = 0;  // read by one run
  const std::uint8_t* read_from =
      nullptr;                 // where a read loop finds bytes in the same state, hot or
  std::size_t read_bytes = 0;  // cold: one weight's worth, or far more than the cache
};

struct Comparison {
  Spread peak_ops_per_second;
  Spread read_bytes_per_second;
  std::vector<Timing> timings;  // in the contestants' order
};

/// Times all contestants, each for about `min_seconds` in all and at least 9 rounds.
[[nodiscard]] Comparison compare(const std::vector<Contestant>& contestants,
                                 const LimitLoops& limits, double min_seconds);

/// The loop that is a backend's compute limit; for `portable`, AVX2's.
[[nodiscard]] PeakLoop peak_loop(const Backend& backend);

/// Copies of one weight that together exceed twice the last-level cache.
[[nodiscard]] int cold_sets(std::int64_t weight_bytes);

}  // namespace quoin::bench
