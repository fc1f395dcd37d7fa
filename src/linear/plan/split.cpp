#include "linear/plan/split.h"

#include <algorithm>

#include "linear/pack.h"

namespace quoin {
namespace {

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
constexpr std::int64_t round_up(std::int64_t a, std::int64_t to) { return ceil_div(a, to) * to; }

}  // namespace

Split split_product(const Backend& backend, std::int64_t m, std::int64_t n,
                    std::int64_t k) noexcept {
  Split split;
  if (m <= 0 || n <= 0) return split;
  split.col_blocks = ceil_div(n, backend.tile_cols);
  split.k_block = chunk_of_k(backend, k);
  std::int64_t most_rows = kMaxRowBlock;
  if (split.k_block < k) {  // each row tile's sums wait for the next chunk
    const std::int64_t row_tiles = kMaxSums / (backend.tile_rows * backend.tile_cols);
    most_rows = std::min(most_rows, row_tiles * backend.tile_rows);
  }
  const std::int64_t passes = ceil_div(m, most_rows);
  split.row_block = std::min(round_up(ceil_div(m, passes), backend.tile_rows), most_rows);
  const std::int64_t rows = std::min(m, split.row_block);
  split.calls_per_pass = split.col_blocks * ceil_div(rows, even_tile_rows(backend, rows));
  return split;
}

int even_tile_rows(const Backend& backend, std::int64_t rows) noexcept {
  return static_cast<int>(ceil_div(rows, ceil_div(rows, backend.tile_rows)));
}

Prefetch plan_prefetch(const Backend& backend, std::int64_t row_tiles, std::int64_t k_count,
                       const LoneStream& lone) noexcept {
  if (!backend.prefetches) return {};
  const std::int64_t lines = backend.tile_cols * kPrefetchSpan / 64;  // read per span of k
  if (row_tiles == 1 && !backend.prefetches_alone) return {};
  if (row_tiles == 1) return {lone.ahead_bytes, static_cast<int>(lines), 0, lone.memory_bound};
  const std::int64_t share = ceil_div(lines, row_tiles);
  return {backend.tile_cols * k_count, static_cast<int>(share),
          share * 64 * (k_count / kPrefetchSpan), false};
}

}  // namespace quoin
