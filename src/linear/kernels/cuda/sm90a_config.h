// What an sm90a kernel is made from, without anything of CUDA, so that the planner can be built and
// tested on machines that lack it.
#pragma once

#include <string>

namespace quoin::cuda {

/// One sm90a kernel. "A" is the operand on wgmma's M side (64 rows an instruction) and "B" the one
/// on its N side (8 to 256): x and w, or w and x where `swap` is set.
struct Config {
  bool swap;          // the weights are A: few tokens fill a narrow B without waste
  int tile_a;         // rows of A in a tile, 64 to a wgmma
  int tile_b;         // rows of B in a tile
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
};

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
