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

#include "linear/epilogue.h"
#include "linear/kernels/cuda/kernels.h"
#include "linear/kernels/cuda/ptx.h"
#include "linear/kernels/cuda/wgmma.h"

namespace quoin::cuda {

inline constexpr int kBlockK = 128;   // bytes of K in a stage: one row of the 128-byte swizzle
inline constexpr int kWgmmaK = 32;    // bytes of K that one wgmma multiplies
inline constexpr int kPanelCols = 64; // 16-bit outputs in a 128-byte swizzled row to be stored
inline constexpr int kPanelBytes = 64 * 128;

#ifdef QUOIN_TRACE
__device__ long long trace_buffer[1024 * 16];
#define TRACE(slot)                                                                   \
  if (threadIdx.x % 128 == 0 && threadIdx.x / 128 == TRACE_WG(slot)) {                 \
    long long t; asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(t));                 \
    trace_buffer[blockIdx.x * 16 + slot] = t; trace_buffer[blockIdx.x * 16 + 8 + slot] = clock64(); }
#define TRACE_WG(slot) ((slot) == 1 ? kC.warpgroups : 0)
#else
#define TRACE(slot)
#endif

/// What a kernel needs beside the tensor maps. A and B as in Config.
struct Params {
  void* y;
  const float* scale_a;
  const float* scale_b;
  const void* bias;
  std::int64_t y_stride_elems;
  int rows_a, rows_b;      // of the whole problem
  int k_blocks;
  int groups_a, groups_b;  // clusters' tiles along A and B
  int raster;              // how many groups along A are walked before the next along B
  float factor;
  DataType out_type, bias_type;
  bool store_by_tma;       // map_y is valid
  bool store_pairs;        // y[m, n] and y[m, n + 1] may be stored at once for even n
};

/// Shared memory of one CTA, in bytes from a 1024-aligned base.
template <Config kC>
struct Layout {
  static constexpr int kCluster = kC.cluster();
  static constexpr int kThreads = kC.threads();
  static constexpr bool kLends = kC.lends_registers();
  static constexpr int kABytes = kC.tile_a * kBlockK;
  static constexpr int kBBytes = kC.tile_b * kBlockK;
  static constexpr int kStageBytes = kABytes + kBBytes;

  // The columns of a tile are shared out among the finishing CTAs, 8 (one register group) at least.
  static constexpr int kGroups = kC.tile_b / 8;
  static constexpr int kFinishers = kC.split_k < kGroups ? kC.split_k : kGroups;
  static constexpr int kShareGroups = kGroups / kFinishers;
  static constexpr int kShareBytes = kC.tile_a * kShareGroups * 8 * 4;

  static constexpr bool kPanels = !kC.swap && kC.split_k == 1 && kC.tile_b % kPanelCols == 0;

  static constexpr int kReceive = kC.stages * kStageBytes;
  static constexpr int kPanel = kReceive + (kC.split_k - 1) * kShareBytes;
  static constexpr int kVectors = kPanel + (kPanels ? kC.warpgroups * kPanelBytes : 0);
  static constexpr int kBarriers = kVectors + kC.warpgroups * kC.tile_b * 8;
  static constexpr int kBytes = kBarriers + (2 * kC.stages + 2) * 8;

  static_assert(kC.tile_a % (64 * kC.warpgroups) == 0 && kGroups % kFinishers == 0);
  static_assert(kBytes <= 232448, "227 KiB of shared memory a CTA");
};

/// One step of the walk: a tile and a block of K, and the ring's stage that holds it.
template <Config kC>
struct Walk {
  const Params& p;
  int rank_k, rank_a, rank_b;  // this CTA's place in the cluster
  int first_block, blocks;     // this CTA's slice of K
  int tile, tiles_left;
  int row_a = 0, row_b = 0;    // first rows of the tile
  int stage = 0;
  std::uint32_t phase = 0;     // of the stage: flips each time around the ring
  int steps_left;              // including this one

  __device__ explicit Walk(const Params& params) : p(params) {
    const int rank = Layout<kC>::kCluster == 1 ? 0 : static_cast<int>(ptx::cluster_rank());
    rank_k = rank % kC.split_k;
    rank_a = rank / kC.split_k % kC.cluster_a;
    rank_b = rank / kC.split_k / kC.cluster_a;
    first_block = p.k_blocks * rank_k / kC.split_k;
    blocks = p.k_blocks * (rank_k + 1) / kC.split_k - first_block;
    const int stride = static_cast<int>(cluster_stride());
    tile = static_cast<int>(Layout<kC>::kCluster == 1 ? blockIdx.x : ptx::cluster_id());
    tiles_left = (p.groups_a * p.groups_b - tile + stride - 1) / stride;
    steps_left = tiles_left * blocks;
    locate();
  }
  __device__ static unsigned cluster_stride() {
    return Layout<kC>::kCluster == 1 ? gridDim.x : ptx::cluster_count();
  }

  // Tiles go along A in columns `raster` groups high, so that those in flight share rows of both.
  __device__ void locate() {
    const int column = p.raster * p.groups_b;
    const int first = tile / column * p.raster;
    const int height = min(p.raster, p.groups_a - first);
    const int within = tile % column;
    row_a = ((first + within % height) * kC.cluster_a + rank_a) * kC.tile_a;
    row_b = (within / height * kC.cluster_b + rank_b) * kC.tile_b;
  }
  __device__ void next_tile() {
    tile += static_cast<int>(cluster_stride());
    --tiles_left;
    locate();
  }
  __device__ void next_step() {
    --steps_left;
    if (++stage == kC.stages) {
      stage = 0;
      phase ^= 1;
    }
  }
  /// Whether a later step uses this stage again, that is, whether anybody waits for it.
  __device__ bool stage_is_reused() const { return steps_left > kC.stages; }
};

// --- Loading ------------------------------------------------------------------------------------

template <Config kC>
struct Loader {
  using L = Layout<kC>;
  const CUtensorMap* map_a;
  const CUtensorMap* map_b;
  std::uint32_t shared;
  std::uint64_t policy_a, policy_b;
  Walk<kC> walk;
  int block = 0;

  __device__ std::uint32_t full() const { return shared + L::kBarriers + walk.stage * 8; }
  __device__ std::uint32_t empty() const {
    return shared + L::kBarriers + (kC.stages + walk.stage) * 8;
  }

  /// This CTA's part of a tile that `kSharers` CTAs load together.
  template <int kRows, int kSharers>
  __device__ void load(std::uint32_t target, const CUtensorMap* map, int row, int part,
                       std::uint16_t ctas, std::uint64_t policy) const {
    constexpr int kPart = kRows / kSharers;
    const int x = (walk.first_block + block) * kBlockK;
    if constexpr (kSharers == 1) {
      ptx::load_tile(target, map, full(), x, row, policy);
    } else {
      ptx::load_tile_multicast(target + part * kPart * kBlockK, map, full(), x,
                               row + part * kPart, ctas, policy);
    }
  }
  __device__ void load_a() const {
    // The CTAs with this rank_a and rank_k, one for each rank_b.
    std::uint32_t ctas = 0;
    for (int b = 0; b < kC.cluster_b; ++b) ctas |= 1U << (b * kC.cluster_a * kC.split_k);
    ctas <<= walk.rank_a * kC.split_k + walk.rank_k;
    load<kC.tile_a, kC.cluster_b>(shared + walk.stage * L::kStageBytes, map_a, walk.row_a,
                                  walk.rank_b, static_cast<std::uint16_t>(ctas), policy_a);
  }
  __device__ void load_b() const {
    std::uint32_t ctas = 0;
    for (int a = 0; a < kC.cluster_a; ++a) ctas |= 1U << (a * kC.split_k);
    ctas <<= walk.rank_b * kC.cluster_a * kC.split_k + walk.rank_k;
    load<kC.tile_b, kC.cluster_a>(shared + walk.stage * L::kStageBytes + L::kABytes, map_b,
                                  walk.row_b, walk.rank_a, static_cast<std::uint16_t>(ctas),
                                  policy_b);
  }
  __device__ void load_weights() const { kC.swap ? load_a() : load_b(); }
  __device__ void load_tokens() const { kC.swap ? load_b() : load_a(); }
  __device__ void expect() const { ptx::barrier_expect_bytes(full(), L::kStageBytes); }

  __device__ void advance() {
    walk.next_step();
    if (++block == walk.blocks) {
      block = 0;
      walk.next_tile();
    }
  }

  /// Fills the ring without waiting: weights first, as they depend on no earlier kernel.
  __device__ void fill() {
    Loader ahead = *this;
    const int steps = min(kC.stages, walk.steps_left);
    for (int i = 0; i < steps; ++i, ahead.advance()) {
      ahead.expect();
      ahead.load_weights();
    }
    ptx::wait_for_producer_kernel();
    for (int i = 0; i < steps; ++i, advance()) load_tokens();
  }
  /// Everything after the first fill.
  __device__ void run() {
    for (; walk.steps_left > 0; advance()) {
      ptx::barrier_wait(empty(), walk.phase ^ 1);
      expect();
      load_weights();
      load_tokens();
    }
    ptx::release_dependent_kernel();
  }
};

// --- Finishing ----------------------------------------------------------------------------------

__device__ __forceinline__ float load_bias(const Params& p, int n) {
  if (p.bias == nullptr) return 0.0F;
  if (p.bias_type == DataType::float32) return static_cast<const float*>(p.bias)[n];
  const std::uint16_t bits = static_cast<const std::uint16_t*>(p.bias)[n];
  return p.bias_type == DataType::float16 ? epilogue::float_from_half(bits)
                                          : epilogue::float_from_bfloat16(bits);
}

__device__ __forceinline__ std::uint32_t pack(const Params& p, float low, float high) {
  return p.out_type == DataType::float16 ? ptx::pack_half(low, high)
                                         : ptx::pack_bfloat16(low, high);
}

/// Two 16-bit outputs y[m, n] and y[m, n + 1].
__device__ __forceinline__ void store_16(const Params& p, int m, int n, int m_end, int n_end,
                                         std::uint32_t packed) {
  if (m >= m_end || n >= n_end) return;
  std::uint16_t* y = static_cast<std::uint16_t*>(p.y) + m * p.y_stride_elems + n;
  if (p.store_pairs && n + 1 < n_end) {
    *reinterpret_cast<std::uint32_t*>(y) = packed;
  } else {
    y[0] = static_cast<std::uint16_t>(packed);
    if (n + 1 < n_end) y[1] = static_cast<std::uint16_t>(packed >> 16);
  }
}
/// One 32-bit output.
__device__ __forceinline__ void store_32(const Params& p, int m, int n, int m_end, int n_end,
                                         std::uint32_t bits) {
  if (m >= m_end || n >= n_end) return;
  static_cast<std::uint32_t*>(p.y)[m * p.y_stride_elems + n] = bits;
}

/// A math thread's scales and bias: of its rows of A in registers, of the tile's rows of B in
/// shared memory, one copy a warpgroup.
template <Config kC>
struct Scales {
  using L = Layout<kC>;
  static constexpr int kRows = kC.tile_a / kC.warpgroups / 64 * 2;  // a thread's rows of A
  static constexpr int kFetch = (kC.tile_b + 127) / 128;

  float scale_a[kRows], bias_a[kRows];
  float scale_b[kFetch], bias_b[kFetch];  // on their way to shared memory
  float* shared_b;                        // [tile_b][2]: scale, bias

  /// Starts the loads; they land while the tile is multiplied.
  __device__ void fetch(const Params& p, int row_a, int row_b, int thread) {
    if (p.out_type == DataType::int32) return;
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const int row = row_a + i / 2 * 64 + i % 2 * 8;
      const bool valid = row < p.rows_a;
      scale_a[i] = valid ? p.scale_a[row] : 0.0F;
      bias_a[i] = valid && kC.swap ? load_bias(p, row) : 0.0F;
    }
#pragma unroll
    for (int i = 0; i < kFetch; ++i) {
      const int row = row_b + i * 128 + thread;
      const bool valid = row < p.rows_b && i * 128 + thread < kC.tile_b;
      scale_b[i] = valid ? p.scale_b[row] : 0.0F;
      bias_b[i] = valid && !kC.swap ? load_bias(p, row) : 0.0F;
    }
  }
  /// Hands the B side round the warpgroup. The first barrier: the last tile's are no longer read.
  __device__ void share(const Params& p, int thread, int warpgroup) {
    if (p.out_type == DataType::int32) return;
    ptx::named_barrier(warpgroup + 1, 128);
#pragma unroll
    for (int i = 0; i < kFetch; ++i) {
      if (i * 128 + thread < kC.tile_b) {
        reinterpret_cast<float2*>(shared_b)[i * 128 + thread] = {scale_b[i], bias_b[i]};
      }
    }
    ptx::named_barrier(warpgroup + 1, 128);
  }
  __device__ float value(const Params& p, int sum, int i, float2 b) const {
    return kC.swap ? epilogue::dequantise(sum, p.factor, b.x, scale_a[i], bias_a[i])
                   : epilogue::dequantise(sum, p.factor, scale_a[i], b.x, b.y);
  }
};

/// Finishes `kGroups` column groups of a warpgroup's rows and stores them from registers.
template <Config kC, int kBlocks, int kRegisters>
__device__ __forceinline__ void store_direct(const Params& p, const Scales<kC>& scales,
                                             const int (&sums)[kBlocks][kRegisters], int row_a,
                                             int row_b, int first_group, int lane) {
  const int quad = lane / 4, pair = lane % 4 * 2;
  const int m_end = kC.swap ? p.rows_b : p.rows_a;
  const int n_end = kC.swap ? p.rows_a : p.rows_b;
#pragma unroll
  for (int r = 0; r < kBlocks; ++r) {
#pragma unroll
    for (int g = 0; g < kRegisters / 4; ++g) {
      const int column = (first_group + g) * 8;
      const float4 b = p.out_type == DataType::int32
                           ? float4{}
                           : reinterpret_cast<const float4*>(scales.shared_b)[(column + pair) / 2];
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const int low = sums[r][4 * g + 2 * h], high = sums[r][4 * g + 2 * h + 1];
        const int a = row_a + r * 64 + h * 8;  // the eight rows of A of this quarter fragment
        const float y0 = scales.value(p, low, 2 * r + h, {b.x, b.y});
        const float y1 = scales.value(p, high, 2 * r + h, {b.z, b.w});
        if (p.out_type == DataType::float16 || p.out_type == DataType::bfloat16) {
          const std::uint32_t packed = pack(p, y0, y1);
          if constexpr (kC.swap) {
            store_16(p, row_b + column + quad, a + pair, m_end, n_end,
                     ptx::transpose_matrix(packed));
          } else {
            store_16(p, a + quad, row_b + column + pair, m_end, n_end, packed);
          }
        } else {
          const bool raw = p.out_type == DataType::int32;
          const std::uint32_t bits0 = raw ? low : epilogue::bits_of(epilogue::canonical_float(y0));
          const std::uint32_t bits1 = raw ? high : epilogue::bits_of(epilogue::canonical_float(y1));
          const int b0 = row_b + column + pair;
          if constexpr (kC.swap) {
            store_32(p, b0, a + quad, m_end, n_end, bits0);
            store_32(p, b0 + 1, a + quad, m_end, n_end, bits1);
          } else {
            store_32(p, a + quad, b0, m_end, n_end, bits0);
            store_32(p, a + quad, b0 + 1, m_end, n_end, bits1);
          }
        }
      }
    }
  }
}

/// The same for 16-bit output through shared memory and the copy engine, which clips the edges:
/// panels of 64 rows by 64 columns in the 128-byte swizzle.
template <Config kC, int kBlocks, int kRegisters>
__device__ __forceinline__ void store_panels(const Params& p, const CUtensorMap* map_y,
                                             const Scales<kC>& scales,
                                             const int (&sums)[kBlocks][kRegisters], int row_a,
                                             int row_b, int thread, int warpgroup,
                                             std::uint32_t panel) {
  const int lane = thread % 32, pair = lane % 4 * 2;
  const int row = thread / 32 * 16 + lane % 16;  // the panel row that this lane addresses
  const std::uint32_t row_address = panel + row * 128;
#pragma unroll
  for (int r = 0; r < kBlocks; ++r) {
#pragma unroll
    for (int c = 0; c < kRegisters / 32; ++c) {
      if (thread == 0) ptx::store_wait_read<0>();
      ptx::named_barrier(warpgroup + 1, 128);
#pragma unroll
      for (int g = 0; g < 8; g += 2) {  // two column groups to a stmatrix
        std::uint32_t packed[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int group = c * 8 + g + i / 2, h = i % 2;
          const float4 b = reinterpret_cast<const float4*>(scales.shared_b)[group * 4 + pair / 2];
          const int* sum = &sums[r][4 * group + 2 * h];
          packed[i] = pack(p, scales.value(p, sum[0], 2 * r + h, {b.x, b.y}),
                           scales.value(p, sum[1], 2 * r + h, {b.z, b.w}));
        }
        const int chunk = (g + lane / 16) ^ (row % 8);
        ptx::store_matrices(row_address + chunk * 16, packed[0], packed[1], packed[2], packed[3]);
      }
      ptx::fence_before_store();
      ptx::named_barrier(warpgroup + 1, 128);
      if (thread == 0) {
        ptx::store_tile(map_y, panel, row_b + c * kPanelCols, row_a + r * 64);
        ptx::store_commit();
      }
    }
  }
}

// --- Multiplying --------------------------------------------------------------------------------

/// One math warpgroup.
template <Config kC>
struct Math {
  using L = Layout<kC>;
  static constexpr int kBlocks = kC.tile_a / kC.warpgroups / 64;  // wgmmas along A
  static constexpr int kRegisters = kC.tile_b / 2;
  static constexpr int kThreads = kC.warpgroups * 128;

  const Params& p;
  const CUtensorMap* map_y;
  std::uint32_t shared;
  Walk<kC> walk;
  int thread = threadIdx.x % 128, warpgroup = threadIdx.x / 128;
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
    int previous = -1;
    for (int block = 0; block < walk.blocks; ++block) {
      const std::uint32_t full = shared + L::kBarriers + walk.stage * 8;
      const std::uint32_t tile_a = shared + walk.stage * L::kStageBytes;
      const std::uint64_t a = ptx::wgmma_descriptor(tile_a + warpgroup * kBlocks * 64 * kBlockK);
      const std::uint64_t b = ptx::wgmma_descriptor(tile_a + L::kABytes);
      ptx::barrier_wait(full, walk.phase);
      if (block == 0) { TRACE(2) }
      if (block == walk.blocks - 1) { TRACE(3) }
      ptx::wgmma_fence();
#pragma unroll
      for (int k = 0; k < kBlockK / kWgmmaK; ++k) {
#pragma unroll
        for (int r = 0; r < kBlocks; ++r) {
          ptx::Wgmma<kC.tile_b>::multiply(sums[r], a + (r * 64 * kBlockK + k * kWgmmaK) / 16,
                                          b + k * kWgmmaK / 16, block + k > 0);
        }
      }
      ptx::wgmma_commit();
      ptx::wgmma_wait<1>();
      if (previous >= 0) release(previous);
      previous = walk.stage_is_reused() ? walk.stage : -1;
      walk.next_step();
    }
    ptx::wgmma_wait<0>();
    if (previous >= 0) release(previous);
  }

  /// Trades partial sums within the cluster: afterwards `mine` holds this CTA's share, complete.
  __device__ __forceinline__ void exchange(const int (&sums)[kBlocks][kRegisters],
                                           int (&mine)[kBlocks][L::kShareGroups * 4]) {
    const int cluster_base = static_cast<int>(ptx::cluster_rank()) - walk.rank_k;
    const std::uint32_t receive = shared + L::kReceive + threadIdx.x * 16;
    if (tiles_done == 0) {
      // Every CTA's barriers stand. With multicast the kernel has waited for that already.
      if (kC.cluster_a * kC.cluster_b == 1) ptx::cluster_wait();
    } else if (L::kFinishers > 1 || walk.rank_k > 0) {  // a lone finisher sends to nobody
      ptx::barrier_wait_cluster(free_barrier(), (tiles_done - 1) & 1);
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
    ptx::barrier_wait_cluster(receive_barrier(), tiles_done & 1);
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
    Scales<kC> scales;
    scales.shared_b = reinterpret_cast<float*>(__cvta_shared_to_generic(
        shared + L::kVectors + warpgroup * kC.tile_b * 8));
    const int warp_row = warpgroup * kBlocks * 64 + thread / 32 * 16;
    for (; walk.tiles_left > 0; walk.next_tile(), ++tiles_done) {
      if (kC.split_k > 1 && threadIdx.x == 0 && walk.rank_k < L::kFinishers) {
        ptx::barrier_expect_bytes(receive_barrier(), (kC.split_k - 1) * L::kShareBytes);
      }
      scales.fetch(p, walk.row_a + warp_row + thread % 32 / 4, walk.row_b, thread);
      int sums[kBlocks][kRegisters];
      multiply(sums);
      TRACE(4)
      const int row_a = walk.row_a + warp_row;
      if constexpr (kC.split_k > 1) {
        int mine[kBlocks][L::kShareGroups * 4];
        exchange(sums, mine);
        TRACE(5)
        scales.share(p, thread, warpgroup);
        if (walk.rank_k < L::kFinishers) {
          store_direct<kC>(p, scales, mine, row_a, walk.row_b, walk.rank_k * L::kShareGroups,
                           thread % 32);
        }
      } else {
        scales.share(p, thread, warpgroup);
        if (L::kPanels && p.store_by_tma) {
          if constexpr (L::kPanels) {
            store_panels<kC>(p, map_y, scales, sums, row_a - thread / 32 * 16, walk.row_b, thread,
                             warpgroup, shared + L::kPanel + warpgroup * kPanelBytes);
          }
        } else {
          store_direct<kC>(p, scales, sums, row_a, walk.row_b, 0, thread % 32);
        }
      }
    }
    if (L::kPanels && thread == 0) ptx::store_wait_read<0>();
    TRACE(6)
  }
};

// --- The kernel ---------------------------------------------------------------------------------

/// `Choice::kConfig` is the configuration. (A type, because nvcc 13.0 writes host code that does not
/// compile for a kernel whose template argument is a struct.)
template <class Choice>
__global__ void __launch_bounds__(Layout<Choice::kConfig>::kThreads, Choice::kConfig.ctas)
    sm90a_linear(const __grid_constant__ CUtensorMap map_a,
                 const __grid_constant__ CUtensorMap map_b,
                 const __grid_constant__ CUtensorMap map_y, const __grid_constant__ Params p) {
  constexpr Config kC = Choice::kConfig;
  TRACE(0)
  using L = Layout<kC>;
  extern __shared__ __align__(1024) std::uint8_t shared_memory[];
  const std::uint32_t shared = ptx::shared_address(shared_memory);
  constexpr bool kMulticast = kC.cluster_a * kC.cluster_b > 1;
  const bool loads = threadIdx.x == kC.warpgroups * 128;
  const Walk<kC> walk(p);
  Loader<kC> loader{&map_a, &map_b, shared, ptx::policy_evict_normal(), ptx::policy_evict_normal(),
                    walk};
  if (loads) {
    ptx::prefetch_map(&map_a);
    ptx::prefetch_map(&map_b);
    const std::uint32_t barriers = shared + L::kBarriers;
    for (int i = 0; i < kC.stages; ++i) {
      ptx::barrier_init(barriers + i * 8, 1);
      ptx::barrier_init(barriers + (kC.stages + i) * 8,
                        kC.warpgroups * 4 * (kC.cluster_a + kC.cluster_b - 1));
    }
    // Each warp of each other finisher says that it has read what this CTA sent.
    const int others = L::kFinishers - (walk.rank_k < L::kFinishers ? 1 : 0);
    ptx::barrier_init(barriers + 2 * kC.stages * 8, 1);
    ptx::barrier_init(barriers + 2 * kC.stages * 8 + 8, max(1, kC.warpgroups * 4 * others));
    ptx::fence_barrier_init();
    if (!kMulticast) loader.fill();  // before anything else: memory latency is the thing to hide
  }
  TRACE(1)
  __syncwarp();
  __syncthreads();
  if constexpr (Layout<kC>::kCluster > 1) ptx::cluster_arrive();
  if constexpr (kMulticast) ptx::cluster_wait();  // loads touch the neighbours' barriers

  if (threadIdx.x >= kC.warpgroups * 128) {
    if constexpr (L::kLends) ptx::give_registers<40>();
    if (loads) {
      if (kMulticast) loader.fill();
      loader.run();
    }
  } else {
    if constexpr (L::kLends) ptx::take_registers<232>();  // 2 * 232 + 40 = 3 * 168
    Math<kC>{p, &map_y, shared, walk}.run();
  }
}

}  // namespace quoin::cuda
