#include "linear/plan/split.h"

#include <algorithm>

namespace quoin {
namespace {

constexpr std::int64_t kDefaultCacheBytes = std::int64_t{8} << 20;

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

}  // namespace

Split split_product(const Backend& backend, std::int64_t m, std::int64_t n, std::int64_t k,
                    std::int64_t cache_bytes) noexcept {
  if (m <= 0 || n <= 0) return {};
  if (cache_bytes <= 0) cache_bytes = kDefaultCacheBytes;
  const std::int64_t fitting = cache_bytes / std::max<std::int64_t>(k, 1);
  const std::int64_t smallest = 8 * backend.tile_rows;  // fewer would re-read the weights too often
  const std::int64_t most = std::clamp(fitting, smallest, kMaxRowBlock);
  Split split;
  split.row_blocks = ceil_div(m, most);
  split.row_block = ceil_div(ceil_div(m, split.row_blocks), backend.tile_rows) * backend.tile_rows;
  split.row_block = std::min(split.row_block, kMaxRowBlock);
  split.row_blocks = ceil_div(m, split.row_block);
  split.col_blocks = ceil_div(n, backend.tile_cols);
  return split;
}

int even_tile_rows(const Backend& backend, std::int64_t rows) noexcept {
  return static_cast<int>(ceil_div(rows, ceil_div(rows, backend.tile_rows)));
}

}  // namespace quoin
