// A plan: how one product will be computed and what that should cost, decided before anything
// runs. A value to print, compare and test.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "quoin/result.h"

namespace quoin {

/// One way to do a product: its price, or why it is out.
struct PlanCandidate {
  std::string backend;          // e.g. "avx512_vnni"
  std::string tile;             // e.g. "8x48"; on a GPU the kernel, e.g. "x64 w64 s12"
  double modelled_seconds = 0;  // meaningless where refused
  std::string refused_because;  // empty where the candidate applies
};

struct Plan {
  std::int64_t m = 0, n = 0, k = 0;
  int threads = 1;

  std::string device;          // the device table's row that the prices come from
  std::string backend;         // the chosen candidate
  std::string kernel;          // and, on a GPU, which of its kernels (docs/sm90a.md); else empty
  int tile_rows = 0;           // rows of x that one kernel call computes (M is cut evenly)
  int tile_cols = 0;           // weight rows, i.e. output columns, of one kernel call
  std::int64_t row_block = 0;  // rows of x that one pass over the weights serves
  std::int64_t k_block = 0;    // k per kernel call; the sums wait for the next chunk of K
  std::int64_t tiles = 0;      // output tiles in all, split evenly over the threads

  double modelled_seconds = 0;
  double compute_limit_seconds = 0;  // all operations at the device's peak
  double memory_limit_seconds = 0;   // the weights read once at the device's bandwidth

  std::vector<PlanCandidate> candidates;  // every backend or kernel, cheapest first, refusals last
};

/// Plans an M x N x K product on `device` (a name from `quoin devices`, or empty for this machine's
/// CPU) with `threads` threads, by `backend` or, where that is empty, by the fastest that the
/// machine has: a layer's weights are packed once, for every M, so the choice cannot hang on the
/// problem. On a GPU, which needs neither to be here nor a build with CUDA, the candidates are
/// kernels: one layer uses them all, by M; 16-bit output and operands on 16 bytes are assumed.
[[nodiscard]] Result<Plan> make_plan(std::int64_t m, std::int64_t n, std::int64_t k,
                                     int threads = 1, std::string_view backend = {},
                                     std::string_view device = {});

/// The plan as a few lines of text, candidates and refusals included.
[[nodiscard]] std::string to_string(const Plan& plan);

}  // namespace quoin
