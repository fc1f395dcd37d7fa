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
// The grid is persistent: the ring of stages runs on across tiles, so the next tile's loads are in
// flight while this one is finished. Nothing is initialised in global memory, nothing is atomic.
#pragma once

#include "linear/kernels/cuda/ptx.h"
#include "linear/kernels/cuda/sm90a_finish.cuh"
#include "linear/kernels/cuda/sm90a_layout.h"
#include "linear/kernels/cuda/wgmma.h"

namespace quoin::cuda {

#ifdef QUOIN_TRACE
__device__ long long trace_buffer[1024 * 16];
#define TRACE(slot)                                                                   \
  if (threadIdx.x % 128 == 0 && threadIdx.x / 128 == TRACE_WG(slot)) {                 \
    long long t; asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(t));                 \
    trace_buffer[(blockIdx.x + blockIdx.y * gridDim.x) * 16 + slot] = t; trace_buffer[(blockIdx.x + blockIdx.y * gridDim.x) * 16 + 8 + slot] = clock64(); }
#define TRACE_WG(slot) ((slot) == 1 ? kC.warpgroups : 0)
#else
#define TRACE(slot)
#endif

/// One step of the walk: a tile and a block of K, and the ring's stage that holds it.
template <Config kC>
struct Walk {
  const Params& p;
  int rank_k, rank_a, rank_b;  // this CTA's place in the cluster
  int first_block, blocks;     // this CTA's slice of K
  int tile = 0, tiles_left = 1;
  int row_a = 0, row_b = 0;    // first rows of the tile
  int block = 0;               // of the slice
  int stage = 0;
  std::uint32_t phase = 0;     // of the stage: flips each time around the ring
  int steps_left;              // including this one

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

  // Persistent tiles go along A in columns `raster` groups high, so that those in flight share rows
  // of both operands. Otherwise the grid is the tiles: x along A, y along B.
  __device__ void locate() {
    int group_a = static_cast<int>(blockIdx.x) / Layout<kC>::kCluster;
    int group_b = static_cast<int>(blockIdx.y);
    if constexpr (kC.persistent) {
      const int column = p.raster * p.groups_b;
      const int first = tile / column * p.raster;
      const int height = min(p.raster, p.groups_a - first);
      group_a = first + tile % column % height;
      group_b = tile % column / height;
    }
    row_a = (group_a * kC.cluster_a + rank_a) * kC.tile_a;
    row_b = (group_b * kC.cluster_b + rank_b) * kC.tile_b;
  }
  __device__ void next_tile() {
    --tiles_left;
    block = 0;
    if constexpr (kC.persistent) {
      tile += stride();
      locate();
    }
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

// --- Loading ------------------------------------------------------------------------------------

template <Config kC>
struct Loader {
  using L = Layout<kC>;
  const Params& p;
  const CUtensorMap* map_a;
  const CUtensorMap* map_b;
  std::uint32_t shared;
  Walk<kC> walk;

  __device__ std::uint32_t full(int stage) const { return shared + L::kBarriers + stage * 8; }
  __device__ std::uint32_t empty(int stage) const {
    return shared + L::kBarriers + (kC.stages + stage) * 8;
  }

  /// This CTA's part of a tile that `kSharers` CTAs load together.
  template <int kRows, int kSharers>
  __device__ void load(std::uint32_t target, const CUtensorMap* map, int stage, int block, int row,
                       int part, std::uint32_t ctas) const {
    constexpr int kPart = kRows / kSharers;
    const int x = (walk.first_block + block) * kBlockK;
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
    load<kC.tile_b, kC.cluster_a>(shared + stage * L::kStageBytes + L::kABytes, map_b, stage, block,
                                  walk.row_b, walk.rank_a, ctas);
  }
  __device__ void load_weights(int stage, int block) const {
    ptx::barrier_expect_bytes(full(stage), p.stage_bytes);
    kC.swap ? load_a(stage, block) : load_b(stage, block);
  }
  __device__ void load_tokens(int stage, int block) const {
    kC.swap ? load_b(stage, block) : load_a(stage, block);
  }

  /// The steps that the first fill covers: the ring, within the first tile.
  __device__ int first_fill() const { return min(kC.stages, walk.blocks); }

  /// One lane of every warp of the CTA: makes its share of the barriers and, unless others have to
  /// be ready first, starts its share of the first loads. Memory latency is what a small product
  /// waits for, and a single lane takes 70 to 100 ns for each load that it issues; not unrolled,
  /// because the code is cold too.
  __device__ void start(int warp) const {
    const int steps = first_fill();
#pragma unroll 1
    for (int stage = warp; stage < kC.stages; stage += L::kWarps) {
      ptx::barrier_init(full(stage), 1);
      ptx::barrier_init(empty(stage), kC.warpgroups * 4 * (kC.cluster_a + kC.cluster_b - 1));
      ptx::fence_barrier_init();
      if (L::kMulticast || stage >= steps) continue;
      load_weights(stage, stage);
      // With weights and tokens alternating, both come in at once: weights first took 0.3 us more.
      if (!p.dependent) load_tokens(stage, stage);
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
  /// One lane of every warp: the first loads that `start` has left.
  __device__ void fill(int warp) const {
    const int steps = first_fill();
    if (L::kMulticast) {
#pragma unroll 1
      for (int step = warp; step < steps; step += L::kWarps) {
        load_weights(step, step);
        if (!p.dependent) load_tokens(step, step);
      }
    }
    if (!p.dependent) return;
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
      if (walk.block == walk.blocks) walk.next_tile();
      ptx::barrier_wait(empty(walk.stage), walk.phase ^ 1);
      load_weights(walk.stage, walk.block);
      load_tokens(walk.stage, walk.block);
      walk.next_step();
    }
    ptx::release_dependent_kernel();
  }
};

// --- Multiplying --------------------------------------------------------------------------------

/// One math warpgroup.
template <Config kC, bool k16Bit>
struct Math {
  using L = Layout<kC>;
  static constexpr int kBlocks = kC.tile_a / kC.warpgroups / 64;  // wgmmas along A
  static constexpr int kRegisters = kC.tile_b / 2;
  static constexpr int kThreads = kC.warpgroups * 128;
#ifndef QUOIN_SKEW
#define QUOIN_SKEW 0
#endif
  // Blocks of K by which the second warpgroup of a persistent kernel starts behind the first, so that
  // one multiplies while the other stores.
  static constexpr int kSkew = kC.persistent && kC.warpgroups > 1 ? QUOIN_SKEW : 0;

  const Params& p;
  std::uint8_t* shared_memory;
  std::uint32_t shared;
  Walk<kC> walk;
  int thread = threadIdx.x % 128, warpgroup = ptx::uniform(threadIdx.x / 128);
  int tiles_done = 0;

  __device__ std::uint32_t receive_barrier() const {
    return shared + L::kBarriers + 2 * kC.stages * 8;
  }
  __device__ std::uint32_t free_barrier() const { return receive_barrier() + 8; }

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

  /// sums = A tile * B tile^T over this CTA's slice of K.
  __device__ __forceinline__ void multiply(int (&sums)[kBlocks][kRegisters]) {
    int parts[kC.chains][kBlocks][kRegisters];
    const int blocks = walk.blocks;
    const int reused = walk.steps_left - kC.stages;  // the tile's first steps whose stage returns
    if (kSkew > 0 && warpgroup > 0 && tiles_done == 0) {
      ptx::barrier_wait(shared + L::kBarriers + min(kSkew, blocks - 1) * 8, 0);
    }
    int last_stage = 0;
    for (int block = 0; block < blocks; ++block) {
      // Addresses of the operands in 16 bytes, as descriptors count.
      const std::uint32_t a =
          (shared + walk.stage * L::kStageBytes + warpgroup * kBlocks * 64 * kBlockK) / 16;
      const std::uint32_t b = (shared + walk.stage * L::kStageBytes + L::kABytes) / 16;
      ptx::barrier_wait(shared + L::kBarriers + walk.stage * 8, walk.phase);
      if (block == 0) { TRACE(2) }
      if (block == walk.blocks - 1) { TRACE(3) }
      ptx::wgmma_fence();
#pragma unroll
      for (int k = 0; k < kBlockK / kWgmmaK; ++k) {
#pragma unroll
        for (int r = 0; r < kBlocks; ++r) {
          ptx::Wgmma<kC.tile_b>::multiply(
              parts[k % kC.chains][r],
              ptx::wgmma_descriptor(a + (r * 64 * kBlockK + k * kWgmmaK) / 16),
              ptx::wgmma_descriptor(b + k * kWgmmaK / 16), block + k / kC.chains > 0);
        }
      }
      ptx::wgmma_commit();
      ptx::wgmma_wait<1>();
      if (block > 0 && block <= reused) release(last_stage);
      last_stage = walk.stage;
      walk.next_step();
    }
    ptx::wgmma_wait<0>();
    if (blocks <= reused) release(last_stage);
#pragma unroll
    for (int r = 0; r < kBlocks; ++r) {
#pragma unroll
      for (int i = 0; i < kRegisters; ++i) {
        sums[r][i] = parts[0][r][i];
#pragma unroll
        for (int c = 1; c < kC.chains; ++c) sums[r][i] += parts[c][r][i];
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
            ptx::send(target + (r * L::kShareGroups + g) * kThreads * 16, barrier, s[0], s[1],
                      s[2], s[3]);
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

  __device__ __forceinline__ void run() {
    ptx::wait_for_producer_kernel();
    Scales<kC> scales(p);
    scales.shared_b =
        reinterpret_cast<float*>(shared_memory + L::kVectors + warpgroup * kC.tile_b * 8);
    const int warp_row = warpgroup * kBlocks * 64 + thread / 32 * 16;
    for (; walk.tiles_left > 0; walk.next_tile(), ++tiles_done) {
      const int first_group = kC.split_k > 1 ? walk.rank_k * L::kShareGroups : 0;
      const int row_a = walk.row_a + warp_row;
      int sums[kBlocks][kRegisters];
      if constexpr (kC.split_k > 1) {
        int mine[kBlocks][L::kShareGroups * 4];
        if (threadIdx.x == 0 && walk.rank_k < L::kFinishers) {
          ptx::barrier_expect_bytes(receive_barrier(), (kC.split_k - 1) * L::kShareBytes);
        }
        scales.fetch(row_a + thread % 32 / 4, walk.row_b, first_group, thread);
        multiply(sums);
        TRACE(4)
        exchange(sums, mine);
        TRACE(5)
        scales.share(thread, warpgroup);
        if (walk.rank_k < L::kFinishers) {
          store_direct<kC, k16Bit>(p, scales, mine, row_a, walk.row_b, first_group, thread % 32);
        }
      } else {
        scales.fetch(row_a + thread % 32 / 4, walk.row_b, 0, thread);
        multiply(sums);
        TRACE(4 + (tiles_done ? 2 : 0))
        scales.share(thread, warpgroup);
        if constexpr (L::kPanels && k16Bit) {
          std::uint8_t* panel = shared_memory + L::kPanel + threadIdx.x / 32 * kPanelBytes;
          store_panels<kC>(p, scales, sums, row_a, walk.row_b, thread % 32, panel);
        } else {
          store_direct<kC, k16Bit>(p, scales, sums, row_a, walk.row_b, 0, thread % 32);
        }
        TRACE(5 + (tiles_done ? 2 : 0))
      }
    }
    if (kC.split_k > 1) { TRACE(6) }
  }
};

// --- The kernel ---------------------------------------------------------------------------------

/// `Choice::kConfig` is the configuration. (A type, because nvcc 13.0 writes host code that does not
/// compile for a kernel whose template argument is a struct.)
template <class Choice, bool k16Bit>
__global__ void __launch_bounds__(Layout<Choice::kConfig>::kThreads, Choice::kConfig.ctas)
    sm90a_linear(const __grid_constant__ CUtensorMap map_a,
                 const __grid_constant__ CUtensorMap map_b, const __grid_constant__ Params p) {
  constexpr Config kC = Choice::kConfig;
  using L = Layout<kC>;
  extern __shared__ __align__(1024) std::uint8_t shared_memory[];
  TRACE(0)
  const std::uint32_t shared = ptx::shared_address(shared_memory);
  const int warp = ptx::uniform(static_cast<int>(threadIdx.x) / 32);
  if (warp == L::kWarps - 1 && ptx::elected()) {
    ptx::prefetch_map(&map_a);
    ptx::prefetch_map(&map_b);
  }
  Loader<kC> loader{p, &map_a, &map_b, shared, Walk<kC>(p)};
  if (ptx::elected()) loader.start(warp);
  __syncwarp();
  TRACE(1)
  __syncthreads();
  if constexpr (L::kCluster > 1) ptx::cluster_arrive();
  if constexpr (L::kMulticast) ptx::cluster_wait();  // loads touch the neighbours' barriers
  if ((L::kMulticast || p.dependent) && ptx::elected()) loader.fill(warp);
  __syncwarp();

  if (warp >= kC.warpgroups * 4) {
    if constexpr (L::kLends) ptx::give_registers<40>();
    if (warp == kC.warpgroups * 4 && ptx::elected()) loader.run();
  } else {
    if constexpr (L::kLends) ptx::take_registers<232>();  // 2 * 232 + 40 = 3 * 168
    Math<kC, k16Bit>{p, shared_memory, shared, loader.walk}.run();
  }
}

}  // namespace quoin::cuda
