// The slow path: every shape, stride and alignment that the sm90a kernels refuse. One output a
// thread, bytes staged through shared memory, dp4a. Correct, not fast.
#include <algorithm>

#include "linear/epilogue.h"
#include "linear/kernels/cuda/kernels.h"

namespace quoin::cuda {
namespace {

constexpr int kTile = 16;   // outputs along M and N of a CTA, one a thread
constexpr int kDepth = 64;  // bytes of K staged at a time

__device__ float bias_of(const Problem& p, std::int64_t n) {
  if (p.bias == nullptr) return 0.0F;
  if (p.bias_type == DataType::float32) return static_cast<const float*>(p.bias)[n];
  const std::uint16_t bits = static_cast<const std::uint16_t*>(p.bias)[n];
  return p.bias_type == DataType::float16 ? epilogue::float_from_half(bits)
                                          : epilogue::float_from_bfloat16(bits);
}

__device__ void store(const Problem& p, std::int64_t m, std::int64_t n, int sum) {
  const std::int64_t at = m * p.y_stride_elems + n;
  if (p.out_type == DataType::int32) {
    static_cast<int*>(p.y)[at] = sum;
    return;
  }
  const float y =
      epilogue::dequantise(sum, p.factor, p.scale_x[m], p.scale_w[n], bias_of(p, n));
  if (p.out_type == DataType::float32) {
    static_cast<float*>(p.y)[at] = epilogue::canonical_float(y);
  } else {
    static_cast<std::uint16_t*>(p.y)[at] = p.out_type == DataType::float16
                                               ? epilogue::half_from_float(y)
                                               : epilogue::bfloat16_from_float(y);
  }
}

__global__ void __launch_bounds__(kTile * kTile) any_shape_linear(const Problem p) {
  // + 4 bytes a row, so that rows start in different banks.
  __shared__ __align__(4) std::int8_t x[kTile][kDepth + 4], w[kTile][kDepth + 4];
  const int thread = threadIdx.y * kTile + threadIdx.x;
  const std::int64_t tiles_n = (p.n + kTile - 1) / kTile;
  const std::int64_t tiles = (p.m + kTile - 1) / kTile * tiles_n;
  for (std::int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const std::int64_t m0 = tile / tiles_n * kTile, n0 = tile % tiles_n * kTile;
    int sum = 0;
    for (std::int64_t k0 = 0; k0 < p.k; k0 += kDepth) {
      __syncthreads();
      for (int i = thread; i < kTile * kDepth; i += kTile * kTile) {
        const int row = i / kDepth, col = i % kDepth;
        const bool in_k = k0 + col < p.k;
        x[row][col] = in_k && m0 + row < p.m ? p.x[(m0 + row) * p.x_stride_elems + k0 + col] : 0;
        w[row][col] = in_k && n0 + row < p.n ? p.w[(n0 + row) * p.w_stride_elems + k0 + col] : 0;
      }
      __syncthreads();
#pragma unroll
      for (int k = 0; k < kDepth; k += 4) {
        sum = __dp4a(*reinterpret_cast<const int*>(&x[threadIdx.y][k]),
                     *reinterpret_cast<const int*>(&w[threadIdx.x][k]), sum);
      }
    }
    const std::int64_t m = m0 + threadIdx.y, n = n0 + threadIdx.x;
    if (m < p.m && n < p.n) store(p, m, n, sum);
  }
}

}  // namespace

cudaError_t launch_any(const Problem& p, cudaStream_t stream) {
  if (p.m < 1 || p.n < 1) return cudaSuccess;
  const std::int64_t tiles = ((p.m + kTile - 1) / kTile) * ((p.n + kTile - 1) / kTile);
  const auto grid = static_cast<unsigned>(std::min<std::int64_t>(tiles, 1 << 20));
  any_shape_linear<<<grid, dim3(kTile, kTile), 0, stream>>>(p);
  return cudaGetLastError();
}

}  // namespace quoin::cuda
