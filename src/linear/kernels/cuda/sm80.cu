// The sm80 kernel: y = dequantise(x * w^T) with mma.sync, cp.async and ldmatrix, for Ampere and Ada
// and, through its PTX, for every later card; on Hopper for what the copy engine does not take. Any
// shape, stride and alignment. Its speed on Ampere and Ada is not measured.
//
// A CTA does one tile after the other; a ring of kStages blocks of 64 bytes of K, all warps load
// and all multiply. In shared memory a row's four 16-byte chunks lie at chunk ^ (row / 2 % 4), so
// that the eight rows of an ldmatrix never share a bank.
#include <algorithm>

#include "linear/kernels/cuda/mma.h"
#include "linear/kernels/cuda/plain_finish.cuh"

namespace quoin::cuda {
namespace {

constexpr int kBlockK = 64;  // bytes of K in a stage: two mma steps
constexpr int kStages = 4;
constexpr int kChunks = kBlockK / 16;

/// A tile of kM x kN outputs, cut into warps of kWarpM x kWarpN.
template <int kM_, int kN_, int kWarpM_, int kWarpN_>
struct Tile {
  static constexpr int kM = kM_, kN = kN_, kWarpM = kWarpM_, kWarpN = kWarpN_;
  static constexpr int kThreads = kM / kWarpM * (kN / kWarpN) * 32;
  static constexpr int kStageBytes = (kM + kN) * kBlockK;
  static constexpr int kShared = kStages * kStageBytes;
  static_assert(kWarpM % 16 == 0 && kWarpN % 16 == 0);
};
using LargeTile = Tile<128, 128, 64, 32>;  // 8 warps, 64 sums a thread
using SmallTile = Tile<32, 64, 16, 32>;    // 4 warps: for few rows

__device__ __forceinline__ std::uint32_t chunk_offset(int row, int chunk) {
  return static_cast<std::uint32_t>(row * kBlockK + ((chunk ^ (row / 2 % 4)) * 16));
}

/// One operand: rows of bytes, K contiguous.
struct Rows {
  const std::int8_t* data;
  std::int64_t stride, first, end;  // first row of the tile, rows in all
};

/// A thread's share of a block: kRows rows of 64 bytes from column `k` on. What lies outside the
/// matrix becomes zeros. kAlign: bytes that every row is known to be aligned to; below 4 the bytes
/// are fetched one by one.
template <int kRows, int kThreads, int kAlign>
__device__ __forceinline__ void load_rows(std::uint8_t* target, const Rows& rows, std::int64_t k,
                                          std::int64_t k_end) {
#pragma unroll
  for (int i = 0; i < (kRows * kChunks + kThreads - 1) / kThreads; ++i) {
    const int at = i * kThreads + static_cast<int>(threadIdx.x);
    if (kRows * kChunks % kThreads != 0 && at >= kRows * kChunks) break;
    const int row = at / kChunks, chunk = at % kChunks;
    const std::int64_t column = k + chunk * 16;
    const bool in = rows.first + row < rows.end && column < k_end;
    const int valid = in ? static_cast<int>(min(std::int64_t{16}, k_end - column)) : 0;
    const std::int8_t* source =
        in ? rows.data + (rows.first + row) * rows.stride + column : rows.data;
    std::uint8_t* to = target + chunk_offset(row, chunk);
    const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(to));
    if constexpr (kAlign == 16) {
      ptx::copy_async<16>(address, source, valid);
    } else if constexpr (kAlign == 4) {
#pragma unroll
      for (int j = 0; j < 16; j += 4) {
        const int left = max(0, min(4, valid - j));
        ptx::copy_async<4>(address + j, left > 0 ? source + j : rows.data, left);
      }
    } else {
      std::uint32_t words[4] = {};
#pragma unroll
      for (int j = 0; j < 16; ++j) {
        if (j < valid)
          words[j / 4] |= static_cast<std::uint32_t>(static_cast<std::uint8_t>(source[j]))
                          << (j % 4 * 8);
      }
      *reinterpret_cast<uint4*>(to) = {words[0], words[1], words[2], words[3]};
    }
  }
}

/// A warp's sums, and where in the tile they are.
template <class T>
struct Warp {
  static constexpr int kRows = T::kWarpM / 16, kCols = T::kWarpN / 8;
  int sums[kRows][kCols][4];
  int lane = static_cast<int>(threadIdx.x) % 32;
  int row = static_cast<int>(threadIdx.x) / 32 % (T::kM / T::kWarpM) * T::kWarpM;
  int col = static_cast<int>(threadIdx.x) / 32 / (T::kM / T::kWarpM) * T::kWarpN;

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int i = 0; i < kRows * kCols * 4; ++i) sums[i / 4 / kCols][i / 4 % kCols][i % 4] = 0;
  }
  /// Adds the products of one stage.
  __device__ __forceinline__ void multiply(std::uint32_t x, std::uint32_t w) {
#pragma unroll
    for (int step = 0; step < kBlockK / 32; ++step) {
      std::uint32_t a[kRows][4], b[kCols / 2][4];
#pragma unroll
      for (int r = 0; r < kRows; ++r) {  // rows 0-7 and 8-15 of bytes 0-15, then of 16-31
        const int from = row + r * 16 + lane % 16;
        ptx::load_matrices(a[r], x + chunk_offset(from, step * 2 + lane / 16));
      }
#pragma unroll
      for (int c = 0; c < kCols / 2; ++c) {  // bytes 0-15 and 16-31 of columns 0-7, then of 8-15
        const int from = col + c * 16 + lane / 16 * 8 + lane % 8;
        ptx::load_matrices(b[c], w + chunk_offset(from, step * 2 + lane / 8 % 2));
      }
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
#pragma unroll
        for (int c = 0; c < kCols; ++c) {
          ptx::multiply_m16n8k32(sums[r][c], a[r], b[c / 2][c % 2 * 2], b[c / 2][c % 2 * 2 + 1]);
        }
      }
    }
  }
  __device__ __forceinline__ void finish(const Problem& p, std::int64_t m0, std::int64_t n0) {
    const bool scaled = p.out_type != DataType::int32;
#pragma unroll
    for (int c = 0; c < kCols * 2; ++c) {
      const std::int64_t n = n0 + col + c / 2 * 8 + lane % 4 * 2 + c % 2;
      if (n >= p.n) continue;
      const float scale_w = scaled ? p.scale_w[n] : 0.0F, bias = scaled ? bias_of(p, n) : 0.0F;
#pragma unroll
      for (int r = 0; r < kRows * 2; ++r) {
        const std::int64_t m = m0 + row + r / 2 * 16 + r % 2 * 8 + lane / 4;
        if (m >= p.m) continue;
        store(p, m, n, sums[r / 2][c / 2][r % 2 * 2 + c % 2], scaled ? p.scale_x[m] : 0.0F, scale_w,
              bias);
      }
    }
  }
};

template <class T, int kAlign>
__global__ void __launch_bounds__(T::kThreads) sm80_linear(const Problem p) {
  extern __shared__ __align__(128) std::uint8_t memory[];
  const auto shared = static_cast<std::uint32_t>(__cvta_generic_to_shared(memory));
  const std::int64_t tiles_m = (p.m + T::kM - 1) / T::kM, tiles_n = (p.n + T::kN - 1) / T::kN;
  const std::int64_t blocks = (p.k + kBlockK - 1) / kBlockK;
  for (std::int64_t tile = blockIdx.x; tile < tiles_m * tiles_n; tile += gridDim.x) {
    // Bands of 8 tiles along M, so that tiles in flight share rows of both operands.
    const std::int64_t first = tile / (8 * tiles_n) * 8, in_band = tile % (8 * tiles_n);
    const std::int64_t height = min(std::int64_t{8}, tiles_m - first);
    const std::int64_t m0 = (first + in_band % height) * T::kM, n0 = in_band / height * T::kN;
    const Rows x{p.x, p.x_stride_elems, m0, p.m}, w{p.w, p.w_stride_elems, n0, p.n};
    const auto load = [&](std::int64_t block) {
      if (block < blocks) {
        std::uint8_t* stage = memory + block % kStages * T::kStageBytes;
        load_rows<T::kM, T::kThreads, kAlign>(stage, x, block * kBlockK, p.k);
        load_rows<T::kN, T::kThreads, kAlign>(stage + T::kM * kBlockK, w, block * kBlockK, p.k);
      }
      ptx::copy_commit();  // an empty group too: the count of groups stays the count of blocks
    };
    Warp<T> warp;
    warp.clear();
    __syncthreads();  // the last tile's stages have been read
    for (int i = 0; i < kStages - 1; ++i) load(i);
    for (std::int64_t block = 0; block < blocks; ++block) {
      ptx::copy_wait<kStages - 2>();
      __syncthreads();  // this block is there for all, and all have read the one before
      load(block + kStages - 1);
      const std::uint32_t stage =
          shared + static_cast<std::uint32_t>(block % kStages) * T::kStageBytes;
      warp.multiply(stage, stage + T::kM * kBlockK);
    }
    ptx::copy_wait<0>();
    warp.finish(p, m0, n0);
  }
}

template <class T, int kAlign>
cudaError_t launch_tile(const Problem& p, cudaStream_t stream) {
  const std::int64_t tiles = ((p.m + T::kM - 1) / T::kM) * ((p.n + T::kN - 1) / T::kN);
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(std::min<std::int64_t>(tiles, 1 << 20)));
  config.blockDim = dim3(T::kThreads);
  config.dynamicSmemBytes = T::kShared;
  config.stream = stream;
  // Not <<<>>>, whose error would have to be told from one that the caller has left behind.
  Problem copy = p;
  void* arguments[] = {&copy};
  return cudaLaunchKernelExC(&config, reinterpret_cast<const void*>(&sm80_linear<T, kAlign>),
                             arguments);
}

template <class T>
cudaError_t ready_tile() {
  for (const void* kernel : {reinterpret_cast<const void*>(&sm80_linear<T, 16>),
                             reinterpret_cast<const void*>(&sm80_linear<T, 4>),
                             reinterpret_cast<const void*>(&sm80_linear<T, 1>)}) {
    const cudaError_t error =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, T::kShared);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

template <class T>
cudaError_t launch_aligned(const Problem& p, cudaStream_t stream) {
  const std::uintptr_t bits =
      reinterpret_cast<std::uintptr_t>(p.x) | reinterpret_cast<std::uintptr_t>(p.w) |
      static_cast<std::uintptr_t>(p.x_stride_elems) | static_cast<std::uintptr_t>(p.w_stride_elems);
  if (bits % 16 == 0) return launch_tile<T, 16>(p, stream);
  if (bits % 4 == 0) return launch_tile<T, 4>(p, stream);
  return launch_tile<T, 1>(p, stream);
}

}  // namespace

cudaError_t ready_sm80() {
  const cudaError_t error = ready_tile<SmallTile>();
  return error == cudaSuccess ? ready_tile<LargeTile>() : error;
}

cudaError_t launch_sm80(const Problem& p, cudaStream_t stream) {
  if (p.m < 1 || p.n < 1) return cudaSuccess;
  return p.m <= 32 ? launch_aligned<SmallTile>(p, stream) : launch_aligned<LargeTile>(p, stream);
}

}  // namespace quoin::cuda
