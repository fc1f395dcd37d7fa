// What an sm90a kernel is made from, without anything of CUDA, so that the planner can be built and
// tested on machines that lack it.
#pragma once

#include <cstdint>
#include <string>

namespace quoin::cuda {

/// One sm90a kernel. "A" is the operand on wgmma's M side (64 rows an instruction) and "B" the one
/// on its N side (8 to 256): x and w, or w and x where `swap` is set.
struct Config {
  bool swap;          // the weights are A: few tokens fill a narrow B without waste
  int tile_a;         // rows of A in a tile, 64 to a wgmma
  int tile_b;         // rows of B in a tile
  int tail_b = 0;     // rows of B in the narrow tiles that come last, or none: they even out what
                      // SMs have to do (persistent ping-pong, cluster_b = 1)
  int warpgroups;     // that share a tile's rows of A
  int split_k;        // CTAs of a cluster that share a tile, each with a slice of K
  int cluster_a = 1;  // neighbouring A tiles in a cluster: they share each load of B
  int cluster_b = 1;  // neighbouring B tiles in a cluster: they share each load of A
  int stages;         // depth of the ring of 128-byte K blocks
  int chains = 1;     // sums a thread that take turns: a wgmma waits for the last on the same sum
  int ctas = 1;       // that should fit on one SM together
  bool ping_pong = false;   // each warpgroup has tiles of its own: one stores, one multiplies
  bool persistent = false;  // as many clusters as fit walk over the tiles; else one tile each
  int issuers = 2;          // warps that start the first loads of a kernel that is not persistent
  int permille = 1000;      // of the planner's model that it takes: fitted, with the model's rates

  /// Rows of A that one warpgroup multiplies.
  [[nodiscard]] constexpr int warpgroup_rows() const {
    return ping_pong ? tile_a : tile_a / warpgroups;
  }
  /// 32-bit sums that a math thread holds.
  [[nodiscard]] constexpr int sums() const { return warpgroup_rows() * tile_b / 128 * chains; }
  /// From so many sums on the loading warp brings three idle ones, to lend its registers
  /// (setmaxnreg works on whole warpgroups; without, 9 warps get 168 registers each and the sums
  /// spill).
  [[nodiscard]] constexpr bool lends_registers() const {
    return sums() >= (warpgroups == 2 ? 112 : 128);
  }
  [[nodiscard]] constexpr int threads() const {
    return warpgroups * 128 + (lends_registers() ? 128 : 32);
  }
  [[nodiscard]] constexpr int cluster() const { return split_k * cluster_a * cluster_b; }
  /// Rows of B that a narrow tile counts for: L2 feeds it, (128 + 64) * 128 bytes a block take 390
  /// cycles where a third of a 192-wide tile multiplies in 256.
  [[nodiscard]] constexpr int tail_cost() const { return tile_b / 2; }
};

/// Rows of tokens in a band of a persistent kernel's tiles: what decides how much is read from
/// memory again. Small weights stay in L2 whatever the band; else a band's tokens should, while all
/// weights pass by, and there be as few bands as that allows (docs/sm90a.md, "Order of tiles").
[[nodiscard]] constexpr int raster_rows(std::int64_t n, std::int64_t k) {
  if (n * k <= std::int64_t{20} << 20) return 256;
  return k < 8192 ? 4096 : 2048;
}

/// How the tiles of a kernel with narrow ones divide the rows of B.
struct Columns {
  int wide = 0, narrow = 0;
  std::int64_t busiest = 0;  // rows of B, over all its tiles (a narrow one counts for tail_cost),
                             // of the cluster that has most
};

/// The division that leaves the busiest of `clusters` least to do, where each cluster takes every
/// `clusters`th tile, the wide ones first; narrow ones only where they gain 1%.
/// `groups_a`: clusters' tiles along A.
[[nodiscard]] constexpr Columns columns_of(const Config& c, int rows_b, int groups_a,
                                           int clusters) {
  const auto ceil_div = [](std::int64_t a, std::int64_t b) { return (a + b - 1) / b; };
  const std::int64_t share = ceil_div(std::int64_t{groups_a} * rows_b, clusters);
  const int cost = c.tail_b > 0 ? c.tail_cost() : 0;
  const std::int64_t least = cost > 0 ? ceil_div(share, cost) * cost : share;
  Columns best;
  for (int narrow = 0; narrow < (c.tail_b > 0 ? 64 : 1); ++narrow) {
    const int rest = rows_b - narrow * c.tail_b;
    if (rest < 0) break;
    const int wide = static_cast<int>(ceil_div(rest, c.tile_b));
    if (narrow > 0 && std::int64_t{wide} * c.tile_b > rows_b) continue;  // would leave the matrix
    const std::int64_t wide_tiles = std::int64_t{groups_a} * wide;
    const std::int64_t tiles = wide_tiles + std::int64_t{groups_a} * narrow;
    const std::int64_t rows =
        ceil_div(wide_tiles, clusters) * (c.tile_b - cost) + ceil_div(tiles, clusters) * cost;
    if (narrow == 0 || rows * 100 < best.busiest * 99) best = {wide, narrow, rows};
    if (best.busiest <= least) break;
  }
  return best;
}

/// "x128 w64 k4": tile rows of x and w, split of K, then cluster and stages.
[[nodiscard]] inline std::string name(const Config& c) {
  const int tile_x = c.swap ? c.tile_b : c.tile_a, tile_w = c.swap ? c.tile_a : c.tile_b;
  const int cluster_x = c.swap ? c.cluster_b : c.cluster_a;
  const int cluster_w = c.swap ? c.cluster_a : c.cluster_b;
  std::string text = "x";
  const auto add = [&](const char* label, int value) {
    text += label;
    text += std::to_string(value);
  };
  add("", tile_x);
  add(c.swap ? " W" : " w", tile_w);
  if (c.tail_b > 0) add("+", c.tail_b);
  if (c.split_k > 1) add(" k", c.split_k);
  if (cluster_x * cluster_w > 1) {
    add(" c", cluster_x);
    add("x", cluster_w);
  }
  add(" s", c.stages);
  if (c.chains > 1) add(" h", c.chains);
  if (c.ctas > 1) add(" o", c.ctas);
  if (c.ping_pong) text += " pp";
  if (!c.ping_pong && c.warpgroups * 64 < c.tile_a) add(" r", c.warpgroup_rows());
  if (c.persistent) text += " p";
  return text;
}

}  // namespace quoin::cuda
