// How a CPU backend cuts an M x N x K product into kernel calls. Pure integer arithmetic, without
// any influence on the result's bits.
//
// The order of calls: for each block of rows, for each block of output channels (packed weights,
// read front to back), for each chunk of K, for each row tile. A chunk of weights thus serves all
// row tiles from the second-level cache while the next one is prefetched. Threads take equal,
// contiguous ranges of (channel block, row tile) pairs.
#pragma once

#include <cstdint>

#include "linear/backends.h"

namespace quoin {

struct Split {
  std::int64_t row_block = 0;       // rows of x per pass over the weights
  std::int64_t col_blocks = 0;      // blocks of tile_cols output channels
  std::int64_t k_block = 0;         // k per kernel call; sums are parked between chunks
  std::int64_t calls_per_pass = 0;  // (channel block, row tile) pairs of a full block of rows

  [[nodiscard]] bool empty() const noexcept { return calls_per_pass == 0; }
};

/// Most rows of one pass over the weights, and the sums that a thread parks between chunks of K for
/// them: they bound the stack that `run` needs.
inline constexpr std::int64_t kMaxRowBlock = 256;
inline constexpr std::int64_t kMaxSums = kMaxRowBlock * 48;

/// Splits an m x n x k product.
[[nodiscard]] Split split_product(const Backend& backend, std::int64_t m, std::int64_t n,
                                  std::int64_t k) noexcept;

/// Rows of every row tile of a block of `rows` rows, except that the last one may be shorter: the
/// rows spread evenly, because a tile of one row takes nearly as long as one of three.
[[nodiscard]] int even_tile_rows(const Backend& backend, std::int64_t rows) noexcept;

/// Which bytes a kernel call prefetches: CpuTile::prefetch starts `distance` behind the weights of
/// the chunk and moves on by `bytes_per_tile` from row tile to row tile.
struct Prefetch {
  std::int64_t distance = 0;
  int lines_per_span = 0;
  std::int64_t bytes_per_tile = 0;
  bool to_l1 = false;
};

/// How a row tile that is alone with its weights prefetches ahead of itself (price.h).
struct LoneStream {
  std::int64_t ahead_bytes = 0;
  bool memory_bound = false;
};

/// Several row tiles read the same weights, and share prefetching the next chunk or block into the
/// second-level cache. A single one streams through the weights, into the first level where memory
/// holds it back. (Share of the limit at 14336 x 4096, one core of a Zen 4: M = 16 .76 with the
/// first level, .94 with the second; M = 1 in the third-level cache 96 GB/s and 76.)
[[nodiscard]] Prefetch plan_prefetch(const Backend& backend, std::int64_t row_tiles,
                                     std::int64_t k_count, const LoneStream& lone) noexcept;

}  // namespace quoin
