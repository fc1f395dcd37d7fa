// One cell of a benchmark: one product and thread count, and everybody who enters for it.
//
// Every entrant is checked on the cell's operands before it is timed: quoin bit for bit against the
// oracle, peers to two float16 steps (they fold their scales elsewhere and round differently).
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/measure.h"
#include "quoin/result.h"

namespace quoin::bench {

/// Does the whole job once: from the problem's operands to float16 y.
using Job = std::function<void()>;

struct Entrant {
  std::string name;  // "quoin avx2"

  /// Packs the problem's weights for `threads` threads, once per set of weights.
  std::function<Result<Job>(const Problem& problem, int threads, Float16* y)> prepare;

  /// Outputs of one run that are wrong.
  std::function<std::int64_t(const Problem& problem, const std::vector<Float16>& y)> count_wrong;
};

/// The operator on one backend, from int8 codes.
[[nodiscard]] Entrant quoin_entrant(const std::string& backend);

/// The dynamic layer on one backend: from float32 rows, quantised on the way. (The problem's codes
/// and row scales are not used.)
[[nodiscard]] Entrant dynamic_entrant(const std::string& backend);

/// Outputs further than two float16 steps from what quoin computes: the check for peers.
[[nodiscard]] std::int64_t count_far(const Problem& problem, const std::vector<Float16>& y);

struct CellOptions {
  bool cold = false;  // weights rotated through more than twice the cache, or the same ones again
  double min_seconds = 0.3;
  PeakLoop peak = PeakLoop::vpdpbusd_zmm;
};

struct CellResult {
  std::int64_t m = 0, n = 0, k = 0;
  int threads = 1;
  bool cold = false;
  Comparison comparison;
  std::vector<std::string> refused;  // "name: reason", for entrants that do not take part
  std::vector<std::string> wrong;    // "name: 17 outputs differ"; not timed
};

[[nodiscard]] CellResult run_cell(const Problem& problem, int threads,
                                  const std::vector<Entrant>& entrants, const CellOptions& options);

/// The cell for a results file: times in microseconds, shares of the limits, quartiles.
[[nodiscard]] nlohmann::ordered_json to_json(const CellResult& cell);

/// CPU, caches, features, date, version: what every results file begins with.
[[nodiscard]] nlohmann::ordered_json machine_json();

}  // namespace quoin::bench
