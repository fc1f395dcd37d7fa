// What the parts of the sm90a kernel share: its parameters and the map of its shared memory.
#pragma once

#include <cstdint>

#include "linear/kernels/cuda/kernels.h"

namespace quoin::cuda {

inline constexpr int kBlockK = 128;    // bytes of K in a stage: one row of the 128-byte swizzle
inline constexpr int kWgmmaK = 32;     // bytes of K that one wgmma multiplies
inline constexpr int kPanelCols = 64;  // 16-bit outputs in a row of a warp's panel
inline constexpr int kPanelBytes = 16 * kPanelCols * 2;

/// What a kernel needs beside the tensor maps. A and B as in Config.
struct Params {
  void* y;
  const float* scale_a;
  const float* scale_b;
  const void* bias;
  std::int64_t y_stride_elems;
  int rows_a, rows_b;  // of the whole problem
  int k_blocks;
  int groups_a, groups_b;  // clusters' tiles along A and B
  int wide_b;              // those along B that are tile_b wide, where the others are tail_b
  // Where the last tiles start: so early that they are full, and their first rows done twice with
  // the same bits. Rows past the end would be filled with zeros, which takes longer than reading.
  int last_a, last_b, last_tail;
  int raster;  // how many groups along A are walked before the next along B
  float factor;
  DataType out_type, bias_type;
  bool release_early;  // the next kernel may start once all CTAs have, else at their last loads
  Start start;         // early: until what is ahead has finished only weights are read
  bool store_pairs;    // 16-bit y[m, n] and y[m, n + 1] may be stored at once for even n
  bool store_eights;   // 16-bit y[m, n] to y[m, n + 7], for n a multiple of 8;
                       // a persistent kernel then has a map of y
  int stage_bytes;     // that arrive in a stage: less than its size where boxes are cut to M
};

/// Shared memory of one CTA, in bytes from a 1024-aligned base.
template <Config kC>
struct Layout {
  static constexpr int kCluster = kC.cluster();
  static constexpr int kThreads = kC.threads();
  static constexpr int kWarps = kThreads / 32;
  static constexpr bool kMulticast = kC.cluster_a * kC.cluster_b > 1;
  static constexpr bool kLends = kC.lends_registers();
  // 2 x 240 + 24 = 3 x 168 registers a thread where a CTA of three warpgroups has the SM to itself,
  // 232 + 24 = 2 x 128 where two of two share it.
  static constexpr int kLoaderRegisters = 24;
  static constexpr int kMathRegisters = kC.warpgroups == 2 ? 240 : 232;
  static constexpr int kWarpgroupRows = kC.warpgroup_rows();
  // Where two warpgroups share a tile, the blocks of K by which the first one ends ahead: all that
  // the ring holds. 1, 2, 3, 4: 158.1, 157.8, 156.1, 155.5 thousand cycles at 4096x4096x4096,
  // 128x256 in clusters of two.
  static constexpr int kLead = kC.persistent && kC.warpgroups == 2 && !kC.ping_pong ? kC.stages : 0;
  // The math warpgroups take turns.
  static constexpr bool kTurns = kC.ping_pong || kLead > 0;
  // Arrivals that hand a turn over: a warp's, or where scales go with it every thread's. (One lane
  // for a warp behind a barrier would do as well, but racecheck sees only what each thread says.)
  static constexpr int kTurnArrivals = kLead > 0 ? 128 : 4;
  // Scales are handed round while the tile's last block is multiplied: 1 to 2%, and 3% the other
  // way with 64 x 64, where a block takes 128 cycles.
  static constexpr bool kLooksAhead = kC.split_k == 1 && kC.tile_a * kC.tile_b > 64 * 64;
  // Warps that multiply a stage, and so release it.
  static constexpr int kReleasers = kC.ping_pong ? 4 : kC.warpgroups * 4;
  static constexpr int kABytes = kC.tile_a * kBlockK;
  static constexpr int kBBytes = kC.tile_b * kBlockK;
  static constexpr int kStageBytes = kABytes + kBBytes;

  // The columns of a tile are shared out among the finishing CTAs, 8 (one register group) at least.
  static constexpr int kGroups = kC.tile_b / 8;
  static constexpr int kFinishers = kC.split_k < kGroups ? kC.split_k : kGroups;
  static constexpr int kShareGroups = kGroups / kFinishers;
  static constexpr int kShareBytes = kC.tile_a * kShareGroups * 8 * 4;

  // Up to four groups a thread the scales of B's rows fit its registers: no trip through shared
  // memory at the end, where every step is latency. (With eight, the 36 loads a thread cost more:
  // 4.6 us for 4.0 at 128x2048x2048, hot.)
  static constexpr bool kSharedScales = kShareGroups > 4;
  static constexpr bool kPanels =
      !kC.swap && kC.split_k == 1 && (kC.tile_b % kPanelCols == 0 || kC.persistent);
  // A persistent kernel's panels leave by the copy engine.
  static constexpr bool kBulk = kPanels && kC.persistent;
  // What a tile's sums start from. Near zero a sum's upper bits flip with its sign at every wgmma,
  // which takes power; from here on they stay as they are. 2^32 holds any sum, wherever it starts.
  static constexpr bool kLifted = kBulk;
  static constexpr std::uint32_t kStart = kLifted ? 0x55555555 : 0;
  // Panels that a warp has at once: one for each of its wgmmas along A, where there is room.
  static constexpr int kPanelsAtOnce = kC.ctas > 1        ? 1
                                       : kC.tile_b <= 128 ? kWarpgroupRows / 64
                                       : kLead > 0        ? 2
                                                          : 1;

  // A panel is sent when the next one is packed: what was written to it is there by then. (With
  // ping-pong, whose stores hide behind multiplication, 3% more cycles.)
  static constexpr bool kDefersPanels = kLead > 0 && kPanelsAtOnce > kWarpgroupRows / 64;

  static constexpr int kReceive = kC.stages * kStageBytes;
  static constexpr int kPanel = kReceive + (kC.split_k - 1) * kShareBytes;
  static constexpr int kVectors =
      kPanel + (kPanels ? kC.warpgroups * 4 * kPanelsAtOnce * kPanelBytes : 0);
  static constexpr int kVectorCopies = kSharedScales ? (kLead > 0 ? 1 : kC.warpgroups) : 0;
  static constexpr int kBarriers = kVectors + kVectorCopies * kC.tile_b * 8;
  static constexpr int kBytes = kBarriers + (2 * kC.stages + 2) * 8;

  static_assert(kC.tail_b == 0 ||
                (kC.ping_pong && kC.cluster_b == 1 && !kC.swap && kC.tile_b % kC.tail_b == 0 &&
                 kC.tail_b % (8 * kC.cluster_a) == 0));
  static_assert(!kLifted || kC.chains == 1);
  static_assert(kLead == 0 || (kLead <= kC.stages && kBulk && kSharedScales));
  static_assert(!kC.ping_pong || (kC.split_k == 1 && kC.persistent && kC.warpgroups == 2));
  static_assert(kWarpgroupRows % 64 == 0 && kGroups % kFinishers == 0);
  static_assert(!kLends || kC.warpgroups * kC.ctas == 2);
  // The 128-byte swizzle counts from multiples of 1024; panels take turns across tiles.
  static_assert(kABytes % 1024 == 0 && kStageBytes % 1024 == 0 && kPanel % 1024 == 0);
  static_assert(!kBulk || (kC.tile_b + 63) / 64 * (kWarpgroupRows / 64) % kPanelsAtOnce == 0);
  static_assert(kBytes <= 232448, "227 KiB of shared memory a CTA");
};

}  // namespace quoin::cuda
