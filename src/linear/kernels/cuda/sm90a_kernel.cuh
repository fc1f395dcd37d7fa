// The sm90a kernel: y = dequantise(x * w^T) with wgmma, TMA and clusters, one template for decode,
// for few-tile shapes that wait on memory, and for large ones.
//
// One warp loads, the math warpgroups multiply. Both walk the same list: this cluster's tiles, and
// per tile this CTA's blocks of K (128 bytes, one swizzled row). With split_k > 1 the CTAs of a
// cluster each sum a slice of K; then each sends the others their share of the tile's columns
// through distributed shared memory, adds what it receives and finishes its own share. The sums are
// integers, so the order does not matter. With cluster_a or cluster_b > 1 CTAs that need the same
// rows each load a part and multicast it.
//
// A persistent kernel's ring of stages runs on across tiles, so the next tile's loads are in flight
// while this one is finished; the others do one tile each. Nothing is initialised in global memory,
// nothing is atomic.
#pragma once

#include "linear/kernels/cuda/ptx.h"
#include "linear/kernels/cuda/sm90a_finish.cuh"
#include "linear/kernels/cuda/sm90a_layout.h"
#include "linear/kernels/cuda/sm90a_load.cuh"
#include "linear/kernels/cuda/wgmma.h"

namespace quoin::cuda {

/// One math warpgroup.
template <Config kC, bool k16Bit>
struct Math {
  using L = Layout<kC>;
  static constexpr int kBlocks = L::kWarpgroupRows / 64;  // wgmmas along A
  static constexpr int kRegisters = kC.tile_b / 2;        // sums a wgmma
  static constexpr int kThreads = kC.warpgroups * 128;

  const Params& p;
  const CUtensorMap* map_y;
  std::uint8_t* shared_memory;
  std::uint32_t shared;
  Walk<kC> walk;
  int thread = threadIdx.x % 128, warpgroup = ptx::uniform(threadIdx.x / 128);
  int tiles_done = 0;
  Scales<kC> scales{p};
  // The first of the tile's rows of A that this warpgroup multiplies.
  int first_row = kC.ping_pong ? 0 : warpgroup * kBlocks * 64;

  __device__ std::uint32_t receive_barrier() const {
    return shared + L::kBarriers + 2 * kC.stages * 8;
  }
  __device__ std::uint32_t free_barrier() const { return receive_barrier() + 8; }

  /// With ping-pong: waits until the other warpgroup has taken all blocks of the tile before.
  /// Where one leads, the second waits until the first has taken all blocks of this tile and
  /// written its scales, and the first, before it writes those, until the second has read those of
  /// the tile before. (A barrier's parity tells its next phase from its last, not from one further
  /// on.)
  __device__ void wait_for_turn() const {
    const int tile = tiles_done - (warpgroup == 0 ? 1 : 0);
    if (tile >= 0) ptx::barrier_wait(receive_barrier() + warpgroup * 8, tile & 1);
  }
  __device__ void give_turn() const {
    if (L::kTurnArrivals == 128 || thread % 32 == 0) {
      ptx::barrier_arrive(receive_barrier() + (1 - warpgroup) * 8);
    }
  }

  /// Tells every CTA that loads into this stage that this warp is done with it.
  __device__ void release(int stage) const {
    const std::uint32_t empty = shared + L::kBarriers + (kC.stages + stage) * 8;
    constexpr int kLoaders = kC.cluster_a + kC.cluster_b - 1;
    const int lane = thread % 32;
    if constexpr (kLoaders == 1) {
      if (lane == 0) ptx::barrier_arrive(empty);
    } else if (lane < kLoaders) {
      const int a = lane < kC.cluster_a ? lane : walk.rank_a;
      const int other = lane - kC.cluster_a;
      const int b = lane < kC.cluster_a ? walk.rank_b : other + (other >= walk.rank_b ? 1 : 0);
      const int rank = (b * kC.cluster_a + a) * kC.split_k + walk.rank_k;
      ptx::barrier_arrive_remote(ptx::map_to_rank(empty, rank));
    }
  }

  /// sums[0] = kStart + A tile * B tile^T over this CTA's slice of K; B is kWidth wide. Where sums
  /// are lifted they stand at kStart already.
  template <int kWidth>
  __device__ __forceinline__ void multiply(int (&sums)[kC.chains][kBlocks][kWidth / 2]) {
    const int blocks = walk.blocks;
    const int reused = walk.steps_left - kC.stages;  // the tile's first steps whose stage returns
    // Two warpgroups that share a tile would finish it together, and the tensor cores idle while
    // both store. So the first has them to itself for its last blocks, and stores while the second
    // does the same blocks.
    const int held_back = L::kLead > 0 && warpgroup == 1 ? max(0, blocks - L::kLead) : -1;
    const std::uint32_t first = ptx::wgmma_address(shared);
    int last_stage = 0;
    for (int block = 0; block < blocks; ++block) {
      if (block == held_back) {
        ptx::wgmma_wait<0>();
        if (block > 0 && block <= reused) release(last_stage);
        wait_for_turn();
      }
      // The operands' descriptors count addresses in 16 bytes.
      const std::uint32_t a = first + walk.stage * (L::kStageBytes / 16) + first_row * kBlockK / 16;
      const std::uint32_t b = first + (walk.stage * L::kStageBytes + L::kABytes) / 16;
      ptx::barrier_wait(shared + L::kBarriers + walk.stage * 8, walk.phase);
      ptx::wgmma_fence();
#pragma unroll
      for (int k = 0; k < kBlockK / kWgmmaK; ++k) {
#pragma unroll
        for (int r = 0; r < kBlocks; ++r) {
          ptx::Wgmma<kWidth>::multiply(
              sums[k % kC.chains][r],
              ptx::wgmma_descriptor(a + (r * 64 * kBlockK + k * kWgmmaK) / 16),
              ptx::wgmma_descriptor(b + k * kWgmmaK / 16), L::kLifted || block + k / kC.chains > 0);
        }
      }
      ptx::wgmma_commit();
      ptx::wgmma_wait<1>();
      if (block > 0 && block != held_back && block <= reused) release(last_stage);
      last_stage = walk.stage;
      walk.next_step();
    }
    // All of the tile's wgmmas are issued, the last block's still run: the other warpgroup wakes up
    // and queues its own behind them, so that the tensor cores never idle.
    if (kC.ping_pong) give_turn();
    if constexpr (L::kLooksAhead) look_ahead();
    ptx::wgmma_wait<0>();
    if (blocks <= reused) release(last_stage);
#pragma unroll
    for (int c = 1; c < kC.chains; ++c) {
#pragma unroll
      for (int r = 0; r < kBlocks; ++r) {
#pragma unroll
        for (int i = 0; i < kWidth / 2; ++i) sums[0][r][i] += sums[c][r][i];
      }
    }
  }

  /// Trades partial sums within the cluster: afterwards `mine` holds this CTA's share, complete.
  __device__ __forceinline__ void exchange(const int (&sums)[kBlocks][kRegisters],
                                           int (&mine)[kBlocks][L::kShareGroups * 4]) {
    const int cluster_base = static_cast<int>(ptx::cluster_rank()) - walk.rank_k;
    const std::uint32_t receive = shared + L::kReceive + threadIdx.x * 16;
    if (tiles_done == 0) {
      // Every CTA's barriers stand. With multicast the kernel has waited for that already.
      if (!L::kMulticast) ptx::cluster_wait();
    } else if (L::kFinishers > 1 || walk.rank_k > 0) {  // a lone finisher sends to nobody
      ptx::barrier_wait(free_barrier(), (tiles_done - 1) & 1);
    }
#pragma unroll
    for (int to = 0; to < L::kFinishers; ++to) {
      const bool own = to == walk.rank_k;
      const int slot = walk.rank_k - (walk.rank_k > to ? 1 : 0);
      const std::uint32_t target =
          ptx::map_to_rank(receive + slot * L::kShareBytes, cluster_base + to);
      const std::uint32_t barrier = ptx::map_to_rank(receive_barrier(), cluster_base + to);
#pragma unroll
      for (int r = 0; r < kBlocks; ++r) {
#pragma unroll
        for (int g = 0; g < L::kShareGroups; ++g) {
          const int* s = &sums[r][(to * L::kShareGroups + g) * 4];
          if (own) {
#pragma unroll
            for (int i = 0; i < 4; ++i) mine[r][4 * g + i] = s[i];
          } else {
            ptx::send(target + (r * L::kShareGroups + g) * kThreads * 16, barrier, s[0], s[1], s[2],
                      s[3]);
          }
        }
      }
    }
    if (walk.rank_k >= L::kFinishers) return;
    ptx::barrier_wait(receive_barrier(), tiles_done & 1);
#pragma unroll
    for (int slot = 0; slot < kC.split_k - 1; ++slot) {
#pragma unroll
      for (int r = 0; r < kBlocks; ++r) {
#pragma unroll
        for (int g = 0; g < L::kShareGroups; ++g) {
          const int4 s = ptx::load_shared(receive + slot * L::kShareBytes +
                                          (r * L::kShareGroups + g) * kThreads * 16);
          mine[r][4 * g] += s.x;
          mine[r][4 * g + 1] += s.y;
          mine[r][4 * g + 2] += s.z;
          mine[r][4 * g + 3] += s.w;
        }
      }
    }
    const int lane = thread % 32;
    if (walk.tiles_left > 1 && lane < kC.split_k && lane != walk.rank_k) {
      ptx::barrier_arrive_remote(ptx::map_to_rank(free_barrier(), cluster_base + lane));
    }
  }

  __device__ void fetch_scales() {
    scales.fetch(walk.row_a + warp_row() + thread % 32 / 4, walk.row_b, first_group(), thread,
                 warpgroup);
  }
  __device__ int warp_row() const { return first_row + thread / 32 * 16; }
  /// The first of a tile's column groups that this CTA finishes.
  __device__ int first_group() const { return kC.split_k > 1 ? walk.rank_k * L::kShareGroups : 0; }

  __device__ __forceinline__ void next_tile() {
    walk.next_tile();
    if (kC.ping_pong && walk.tiles_left > 0) walk.skip_tile();
    if (L::kBulk && walk.tiles_left > 0) fetch_scales();
  }
  /// What the epilogue needs beside the sums; where one warpgroup leads, the next tile too.
  __device__ __forceinline__ void look_ahead() {
    if (L::kLead > 0 && warpgroup == 0) wait_for_turn();
    scales.settle(thread, warpgroup);
    if (L::kLead > 0 && warpgroup == 0) give_turn();
    if (L::kLead > 0) next_tile();
  }

  /// Makes a tile's sums ready for `multiply`.
  template <int kRegisters>
  __device__ __forceinline__ void start(int (&sums)[kBlocks][kRegisters]) const {
    if constexpr (L::kLifted) {
#pragma unroll
      for (int i = 0; i < kBlocks * kRegisters; ++i) {
        ptx::set<L::kStart>(sums[i / kRegisters][i % kRegisters]);
      }
    }
  }

  /// This warpgroup's tiles while they are kWidth columns wide.
  template <int kWidth>
  __device__ __forceinline__ void do_tiles() {
    int lifted[kC.chains][kBlocks][kWidth / 2];
    start(lifted[0]);
    while (walk.tiles_left > 0 && (kC.tail_b == 0 || walk.narrow == (kWidth == kC.tail_b))) {
      int unset[kC.chains][kBlocks][kWidth / 2];
      auto& sums = L::kLifted ? lifted : unset;
      const int row_a = walk.row_a + warp_row(), row_b = walk.row_b;
      if (!L::kBulk) fetch_scales();
      if (kC.split_k > 1 && threadIdx.x == 0 && walk.rank_k < L::kFinishers) {
        ptx::barrier_expect_bytes(receive_barrier(), (kC.split_k - 1) * L::kShareBytes);
      }
      if (kC.ping_pong) wait_for_turn();
      multiply<kWidth>(sums);
      if constexpr (!L::kLooksAhead && kC.split_k == 1) look_ahead();
      if constexpr (kC.split_k > 1) {
        int mine[kBlocks][L::kShareGroups * 4];
        exchange(sums[0], mine);
        look_ahead();
        if (walk.rank_k < L::kFinishers) {
          store_direct<kC, k16Bit>(p, scales, mine, row_a, row_b, first_group(), thread % 32);
        }
      } else if constexpr (L::kPanels && k16Bit) {
        std::uint8_t* panels =
            shared_memory + L::kPanel + threadIdx.x / 32 * (L::kPanelsAtOnce * kPanelBytes);
        if constexpr (L::kBulk) {
          store_boxes<kC>(p, map_y, scales, sums[0], row_a, row_b, thread % 32, panels);
        } else {
          store_panels<kC>(p, scales, sums[0], row_a, row_b, thread % 32, panels);
        }
      } else {
        store_direct<kC, k16Bit>(p, scales, sums[0], row_a, row_b, 0, thread % 32);
        start(sums[0]);
      }
      if (L::kLead > 0 && warpgroup == 1) give_turn();  // the scales have been read
      if (L::kLead == 0) next_tile();
      ++tiles_done;
    }
  }

  __device__ __forceinline__ void run() {
    ptx::wait_for_producer_kernel();
    scales.shared_b = reinterpret_cast<float*>(
        shared_memory + L::kVectors + (L::kVectorCopies > 1 ? warpgroup * kC.tile_b * 8 : 0));
    if (kC.ping_pong && warpgroup == 1) walk.skip_tile();
    if (L::kBulk && walk.tiles_left > 0) fetch_scales();
    do_tiles<kC.tile_b>();
    if constexpr (kC.tail_b > 0) do_tiles<kC.tail_b>();
    if (L::kBulk) ptx::wait_for_stores<0>();  // shared memory goes with the CTA
  }
};

/// `Choice::kConfig` is the configuration. (A type, because nvcc 13.0 writes host code that does
/// not compile for a kernel whose template argument is a struct.)
template <class Choice, bool k16Bit>
__global__ void __launch_bounds__(Layout<Choice::kConfig>::kThreads, Choice::kConfig.ctas)
    sm90a_linear(const __grid_constant__ CUtensorMap map_a,
                 const __grid_constant__ CUtensorMap map_b,
                 const __grid_constant__ CUtensorMap map_tail,
                 const __grid_constant__ CUtensorMap map_y, const __grid_constant__ Params p) {
  constexpr Config kC = Choice::kConfig;
  using L = Layout<kC>;
  extern __shared__ __align__(1024) std::uint8_t shared_memory[];
  if (p.start == Start::waiting) ptx::wait_for_producer_kernel();
  const std::uint32_t shared = ptx::kept(ptx::shared_address(shared_memory));
  const int warp = ptx::uniform(static_cast<int>(threadIdx.x) / 32);
  if (warp == L::kWarps - 1 && ptx::elected()) {
    ptx::prefetch_map(&map_a);
    ptx::prefetch_map(&map_b);
    if (kC.tail_b > 0) ptx::prefetch_map(&map_tail);
    if (L::kBulk && k16Bit && p.store_eights) ptx::prefetch_map(&map_y);
  }
  Loader<kC> loader{p, &map_a, &map_b, &map_tail, shared, Walk<kC>(p)};
  if (warp < kC.issuers && ptx::elected()) loader.start(warp);
  __syncwarp();
  __syncthreads();
  if constexpr (L::kCluster > 1) ptx::cluster_arrive();
  if constexpr (L::kMulticast) ptx::cluster_wait();  // loads touch the neighbours' barriers
  if (p.release_early && threadIdx.x == 0) ptx::release_dependent_kernel();
  if ((L::kMulticast || kC.persistent || p.start == Start::early) && ptx::elected())
    loader.fill(warp);
  __syncwarp();

  if (warp >= kC.warpgroups * 4) {
    if constexpr (L::kLends) ptx::give_registers<L::kLoaderRegisters>();
    if (warp == kC.warpgroups * 4 && ptx::elected()) loader.run();
  } else {
    if constexpr (L::kLends) ptx::take_registers<L::kMathRegisters>();
    Math<kC, k16Bit>{p, &map_y, shared_memory, shared, loader.walk}.run();
  }
}

}  // namespace quoin::cuda
