// How a CPU backend cuts an M x N x K product into kernel calls. Pure integer arithmetic: the same
// for every machine but for the cache size, and without any influence on the result's bits.
//
// The order of calls: for each block of rows (so many that their x stays in the third-level cache),
// for each block of output channels (packed weights, read front to back), for each row tile. A block
// of weights thus serves all row tiles from the second-level cache while the next one is prefetched.
// Threads take equal, contiguous ranges of (channel block, row tile) pairs.
#pragma once

#include <cstdint>

#include "linear/backends.h"

namespace quoin {

struct Split {
  std::int64_t row_block = 0;   // rows of x per pass over the weights
  std::int64_t row_blocks = 0;
  std::int64_t col_blocks = 0;  // blocks of tile_cols output channels

  [[nodiscard]] bool empty() const noexcept { return row_blocks == 0 || col_blocks == 0; }
};

/// The most rows of x in one pass, whatever K: bounds the stack that `run` needs.
inline constexpr std::int64_t kMaxRowBlock = 1024;

/// Splits an m x n x k product. `cache_bytes`: what of x one pass may keep (0: a default of 8 MiB).
[[nodiscard]] Split split_product(const Backend& backend, std::int64_t m, std::int64_t n,
                                  std::int64_t k, std::int64_t cache_bytes = 0) noexcept;

/// Rows of every row tile of a block of `rows` rows, except that the last one may be shorter: the
/// rows spread evenly, because a tile of one row takes nearly as long as one of three.
[[nodiscard]] int even_tile_rows(const Backend& backend, std::int64_t rows) noexcept;

}  // namespace quoin
