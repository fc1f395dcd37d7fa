// pack_weight against the description of the layout in linear/backends.h, byte by byte: for the
// backends there are, and for invented ones with other groups and panels.
#include "linear/pack.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "tests/support.h"

namespace quoin::test {
namespace {

constexpr Backend kNarrow{.name = "narrow",
                          .tile_rows = 2,
                          .tile_cols = 12,
                          .panel_cols = 6,
                          .round_cols = 3,
                          .k_group = 3};
constexpr Backend kChunked{.name = "chunked",
                           .tile_rows = 2,
                           .tile_cols = 12,
                           .panel_cols = 6,
                           .round_cols = 3,
                           .k_group = 4,
                           .max_k_block = 48};
constexpr Backend kShifted{.name = "shifted",
                           .tile_rows = 2,
                           .tile_cols = 8,
                           .panel_cols = 8,
                           .round_cols = 2,
                           .k_group = 8,
                           .shift_weight = true};

std::vector<Backend> layouts() {
  std::vector<Backend> all(kBackends.begin(), kBackends.end());
  all.push_back(kNarrow);
  all.push_back(kShifted);
  all.push_back(kChunked);
  return all;
}

std::int64_t round_up(std::int64_t value, std::int64_t to) { return (value + to - 1) / to * to; }

/// Where the byte of channel `c` and depth `k` lies: blocks one after another, in a block the
/// chunks of K, in a chunk the panels, in a panel the groups of k, in a group the channels, in a
/// channel its k.
std::int64_t place_of(const Backend& b, std::int64_t n, std::int64_t depth, std::int64_t c,
                      std::int64_t k) {
  const std::int64_t chunk = chunk_of_k(b, depth);
  const std::int64_t block = c / b.tile_cols * b.tile_cols;
  const std::int64_t block_cols = std::min<std::int64_t>(b.tile_cols, n - block);
  const std::int64_t from = k / chunk * chunk;
  const std::int64_t count = round_up(std::min(chunk, depth - from), b.k_group);
  const std::int64_t panel = (c - block) / b.panel_cols * b.panel_cols;
  const std::int64_t cols = std::min<std::int64_t>(b.panel_cols, block_cols - panel);
  return block * round_up(depth, b.k_group) + from * round_up(block_cols, b.round_cols) +
         panel * count + (k - from) / b.k_group * round_up(cols, b.round_cols) * b.k_group +
         (c - block - panel) * b.k_group + (k - from) % b.k_group;
}

TEST(Pack, ChunksOfKAreEven) {
  EXPECT_EQ(chunk_of_k(kShifted, 5000), 5000);
  EXPECT_EQ(chunk_of_k(kChunked, 0), 0);
  EXPECT_EQ(chunk_of_k(kChunked, 48), 48);
  EXPECT_EQ(chunk_of_k(kChunked, 49), 32);
  EXPECT_EQ(chunk_of_k(kChunked, 144), 48);
  EXPECT_EQ(chunk_of_k(kChunked, 145), 48);  // 37 rounded up
}

TEST(Pack, LayoutIsAsDescribed) {
  Rng rng(3);
  for (const Backend& b : layouts()) {
    for (const std::int64_t n : {1, 2, 5, 15, 16, 17, 47, 48, 49, 100, 130, 259}) {
      std::vector<std::int64_t> depths = {1, 2, 3, 4, 5, 8, 17, 64};
      if (b.max_k_block > 0) depths.push_back(b.max_k_block + 1);
      for (const std::int64_t k : depths) {
        SCOPED_TRACE(testing::Message() << b.name << " " << n << " x " << k);
        const std::int64_t stride = k + 3;
        GuardedBlock weight((n - 1) * stride + k);
        fill_random(weight.as<std::int8_t>(), weight.size(), rng);
        const std::int64_t bytes = packed_bytes(b, n, k);
        ASSERT_EQ(bytes, round_up(n, b.round_cols) * round_up(k, b.k_group));
        GuardedBlock packed(bytes);
        pack_weight(b, weight.as<std::int8_t>(), stride, n, k, packed.data());

        std::vector<bool> seen(static_cast<std::size_t>(bytes));
        for (std::int64_t c = 0; c < n; ++c) {
          for (std::int64_t i = 0; i < k; ++i) {
            const std::int64_t at = place_of(b, n, k, c, i);
            ASSERT_LT(at, bytes);
            ASSERT_FALSE(seen[at]);
            seen[at] = true;
            const auto w = static_cast<std::int8_t>(weight.data()[c * stride + i]);
            ASSERT_EQ(packed.data()[at], static_cast<std::uint8_t>(w + (b.shift_weight ? 128 : 0)));
          }
        }
        for (std::int64_t at = 0; at < bytes; ++at) {
          ASSERT_TRUE(seen[at] || packed.data()[at] == 0) << "padding at " << at;
        }
        ASSERT_TRUE(packed.canaries_intact());
      }
    }
  }
}

TEST(Pack, NothingToPack) {
  for (const Backend& b : layouts()) {
    EXPECT_EQ(packed_bytes(b, 0, 5), 0);
    EXPECT_EQ(packed_bytes(b, 5, 0), 0);
    GuardedBlock packed(0);
    pack_weight(b, nullptr, 0, 0, 5, packed.data());
    pack_weight(b, nullptr, 0, 5, 0, packed.data());
    EXPECT_TRUE(packed.canaries_intact());
  }
}

// What the kernels rely on without checking it.
TEST(Pack, TheTableIsConsistent) {
  for (const Backend& b : layouts()) {
    SCOPED_TRACE(b.name);
    EXPECT_EQ(b.tile_cols % b.panel_cols, 0);
    EXPECT_EQ(b.panel_cols % b.round_cols, 0);
    EXPECT_GE(b.k_group, 1);
    EXPECT_EQ(b.max_k_block % 16, 0);
    if (b.max_k_block > 0) {  // every chunk but the last is a whole number of groups
      EXPECT_EQ(16 % b.k_group, 0);
    }
  }
  for (const Backend& b : kBackends) {
    SCOPED_TRACE(b.name);
    if (b.kernels == nullptr) continue;
    EXPECT_NE(b.kernels->tile, nullptr);
    EXPECT_NE(b.kernels->quantize_row, nullptr);
    EXPECT_TRUE(!b.shift_weight || b.kernels->row_sums != nullptr);
    EXPECT_GT(b.ops_per_cycle, 0);
    EXPECT_FALSE(b.summary.empty());
  }
  EXPECT_EQ(kBackends.back().needs, 0U) << "the last backend runs everywhere";
}

}  // namespace
}  // namespace quoin::test
