// The sm90a kernel's loading side: which tiles and blocks of K a CTA does and in which order, and
// the lanes that fetch them.
#pragma once

#include "linear/kernels/cuda/ptx.h"
#include "linear/kernels/cuda/sm90a_layout.h"

namespace quoin::cuda {

/// One step of the walk: a tile and a block of K, and the ring's stage that holds it.
template <Config kC>
struct Walk {
  const Params& p;
  int rank_k, rank_a, rank_b;  // this CTA's place in the cluster
  int first_block, blocks;     // this CTA's slice of K
  int tile = 0, tiles_left = 1;
  int row_a = 0, row_b = 0;  // first rows of the tile
  bool narrow = false;       // tail_b rows of B instead of tile_b
  int block = 0;             // of the slice
  int stage = 0;
  std::uint32_t phase = 0;  // of the stage: flips each time around the ring
  int steps_left;           // including this one

  __device__ explicit Walk(const Params& params) : p(params) {
    const int rank =
        Layout<kC>::kCluster == 1 ? 0 : ptx::uniform(static_cast<int>(ptx::cluster_rank()));
    rank_k = rank % kC.split_k;
    rank_a = rank / kC.split_k % kC.cluster_a;
    rank_b = rank / kC.split_k / kC.cluster_a;
    first_block = p.k_blocks * rank_k / kC.split_k;
    blocks = p.k_blocks * (rank_k + 1) / kC.split_k - first_block;
    if constexpr (kC.persistent) {
      tile = static_cast<int>(blockIdx.x) / Layout<kC>::kCluster;
      tiles_left = (p.groups_a * p.groups_b - tile + stride() - 1) / stride();
    }
    steps_left = tiles_left * blocks;
    locate();
  }
  __device__ static int stride() { return static_cast<int>(gridDim.x) / Layout<kC>::kCluster; }

  // Persistent tiles go along A in bands `raster` groups high, so that those in flight share rows
  // of both operands, every other band backwards along B, so that where one ends the next starts;
  // the narrow ones follow the others. Otherwise the grid is the tiles: x along the tokens, y along
  // the weights, so that CTAs that need the same weights are neighbours, which L2 serves best
  // (128 x 4096 x 4096 with swapped operands the other way round: 9.1 us for 7.2).
  __device__ void locate() {
    const int along_x = static_cast<int>(blockIdx.x) / Layout<kC>::kCluster;
    int group_a = kC.swap ? static_cast<int>(blockIdx.y) : along_x;
    int group_b = kC.swap ? along_x : static_cast<int>(blockIdx.y);
    if constexpr (kC.persistent) {
      int width = p.groups_b, at = tile;
      if constexpr (kC.tail_b > 0) {
        const int wide_tiles = p.groups_a * p.wide_b;
        narrow = tile >= wide_tiles && p.groups_b > p.wide_b;
        width = narrow ? p.groups_b - p.wide_b : p.wide_b;
        if (narrow) at -= wide_tiles;
      }
      const int band = at / (p.raster * width), in_band = at % (p.raster * width);
      const int first = band * p.raster;
      const int height = min(p.raster, p.groups_a - first);
      group_a = first + in_band % height;
      group_b = in_band / height;
      if (band % 2 == 1) group_b = width - 1 - group_b;
    }
    row_a = min((group_a * kC.cluster_a + rank_a) * kC.tile_a, p.last_a);
    row_b = min((group_b * kC.cluster_b + rank_b) * kC.tile_b, p.last_b);
    if constexpr (kC.tail_b > 0) {
      if (narrow) row_b = min(p.wide_b * kC.tile_b + group_b * kC.tail_b, p.last_tail);
    }
  }
  __device__ void next_tile() {
    --tiles_left;
    block = 0;
    if constexpr (kC.persistent) {
      tile += stride();
      if (tiles_left > 0) locate();
    }
  }
  /// Past a tile that the other warpgroup does.
  __device__ void skip_tile() {
    steps_left -= blocks;
    phase ^= (stage + blocks) / kC.stages & 1;
    stage = (stage + blocks) % kC.stages;
    next_tile();
  }
  __device__ void next_step() {
    --steps_left;
    ++block;
    if (++stage == kC.stages) {
      stage = 0;
      phase ^= 1;
    }
  }
};

template <Config kC>
struct Loader {
  using L = Layout<kC>;
  const Params& p;
  const CUtensorMap* map_a;
  const CUtensorMap* map_b;
  const CUtensorMap* map_tail;  // of B too, for narrow tiles
  std::uint32_t shared;
  Walk<kC> walk;
  // Every other tile takes its blocks of K from the last to the first: what the tiles before have
  // fetched last is in L2 still. (Sums of integers do not mind.)
  bool backwards = false;

  __device__ std::uint32_t full(int stage) const { return shared + L::kBarriers + stage * 8; }
  __device__ std::uint32_t empty(int stage) const {
    return shared + L::kBarriers + (kC.stages + stage) * 8;
  }

  /// This CTA's part of a tile that `kSharers` CTAs load together.
  template <int kRows, int kSharers>
  __device__ void load(std::uint32_t target, const CUtensorMap* map, int stage, int block, int row,
                       int part, std::uint32_t ctas) const {
    constexpr int kPart = kRows / kSharers;
    const int x = (walk.first_block + (backwards ? walk.blocks - 1 - block : block)) * kBlockK;
    if constexpr (kSharers == 1) {
      ptx::load_tile(target, map, full(stage), x, row);
    } else {
      ptx::load_tile_multicast(target + part * kPart * kBlockK, map, full(stage), x,
                               row + part * kPart, static_cast<std::uint16_t>(ctas));
    }
  }
  __device__ void load_a(int stage, int block) const {
    // The CTAs with this rank_a and rank_k, one for each rank_b.
    std::uint32_t ctas = 0;
#pragma unroll
    for (int b = 0; b < kC.cluster_b; ++b) ctas |= 1U << (b * kC.cluster_a * kC.split_k);
    ctas <<= walk.rank_a * kC.split_k + walk.rank_k;
    load<kC.tile_a, kC.cluster_b>(shared + stage * L::kStageBytes, map_a, stage, block, walk.row_a,
                                  walk.rank_b, ctas);
  }
  __device__ void load_b(int stage, int block) const {
    std::uint32_t ctas = 0;
#pragma unroll
    for (int a = 0; a < kC.cluster_a; ++a) ctas |= 1U << (a * kC.split_k);
    ctas <<= walk.rank_b * kC.cluster_a * kC.split_k + walk.rank_k;
    const std::uint32_t target = shared + stage * L::kStageBytes + L::kABytes;
    if constexpr (kC.tail_b > 0) {
      if (walk.narrow) {
        load<kC.tail_b, kC.cluster_a>(target, map_tail, stage, block, walk.row_b, walk.rank_a,
                                      ctas);
        return;
      }
    }
    load<kC.tile_b, kC.cluster_a>(target, map_b, stage, block, walk.row_b, walk.rank_a, ctas);
  }
  __device__ void load_weights(int stage, int block) const {
    const int less = kC.tail_b > 0 && walk.narrow ? (kC.tile_b - kC.tail_b) * kBlockK : 0;
    ptx::barrier_expect_bytes(full(stage), p.stage_bytes - less);
    kC.swap ? load_a(stage, block) : load_b(stage, block);
  }
  __device__ void load_tokens(int stage, int block) const {
    kC.swap ? load_b(stage, block) : load_a(stage, block);
  }

  /// The steps that the first fill covers: the ring, within the first tile.
  __device__ int first_fill() const { return min(kC.stages, walk.blocks); }

  /// One lane of every issuing warp: makes its share of the barriers and, unless others have to be
  /// ready first, starts its share of the first loads. Memory latency is what a small product waits
  /// for, and a single lane takes 70 to 100 ns for each load that it issues; but with many at it
  /// all blocks arrive last, and multiplying overlaps with nothing. Not unrolled, because the code
  /// is cold too. 128 x 2048 x 2048 with K in two, by 2, 3 and 5 warps: 4.38, 4.44, 4.73 us.
  __device__ void start(int warp) const {
    const int steps = first_fill();
#pragma unroll 1
    for (int stage = warp; stage < kC.stages; stage += kC.issuers) {
      ptx::barrier_init(full(stage), 1);
      ptx::barrier_init(empty(stage), L::kReleasers * (kC.cluster_a + kC.cluster_b - 1));
      ptx::fence_barrier_init();
      // At once: with all barriers made first, small products took 0.15 us more.
      if (!kC.persistent && !L::kMulticast && stage < steps) first_load(stage);
    }
    if (L::kTurns && warp == 0) {
      ptx::barrier_init(shared + L::kBarriers + 2 * kC.stages * 8, L::kTurnArrivals);
      ptx::barrier_init(shared + L::kBarriers + 2 * kC.stages * 8 + 8, L::kTurnArrivals);
      ptx::fence_barrier_init();
    }
    if (kC.split_k > 1 && warp == 0) {
      // Each warp of each other finisher says that it has read what this CTA sent.
      const int others = L::kFinishers - (walk.rank_k < L::kFinishers ? 1 : 0);
      ptx::barrier_init(shared + L::kBarriers + 2 * kC.stages * 8, 1);
      ptx::barrier_init(shared + L::kBarriers + 2 * kC.stages * 8 + 8,
                        max(1, kC.warpgroups * 4 * others));
      ptx::fence_barrier_init();
    }
  }
  /// One of the first loads, but for tokens that are still being written.
  __device__ void first_load(int step) const {
    load_weights(step, step);
    // With weights and tokens alternating, both come in at once: weights first took 0.3 us more.
    if (p.start != Start::early) load_tokens(step, step);
  }
  /// One lane of every warp: the first loads that `start` has left. Those of a persistent kernel
  /// are issued in order, by one lane: with every SM filling its ring at once, the first block
  /// would otherwise come as late as the last.
  __device__ void fill(int warp) const {
    const int steps = first_fill();
    if (kC.persistent) {
#pragma unroll 1
      for (int step = 0; warp == 0 && step < steps; ++step) first_load(step);
    } else if (L::kMulticast) {
#pragma unroll 1
      for (int step = warp; step < steps; step += L::kWarps) first_load(step);
    }
    if (p.start != Start::early) return;
    ptx::wait_for_producer_kernel();
#pragma unroll 1
    for (int step = warp; step < steps; step += L::kWarps) load_tokens(step, step);
  }
  /// One lane: every later load.
  __device__ void run() {
    walk.block = first_fill();
    walk.stage = walk.block % kC.stages;
    walk.phase = walk.block / kC.stages;
    walk.steps_left -= walk.block;
    while (walk.steps_left > 0) {
      if (walk.block == walk.blocks) {
        walk.next_tile();
        backwards = L::kBulk && !backwards;
      }
      ptx::barrier_wait(empty(walk.stage), walk.phase ^ 1);
      load_weights(walk.stage, walk.block);
      load_tokens(walk.stage, walk.block);
      walk.next_step();
    }
    ptx::release_dependent_kernel();
  }
};

}  // namespace quoin::cuda
