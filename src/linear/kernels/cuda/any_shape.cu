// The plainest kernel, which the tests and the benchmark compare the others with: every shape,
// stride and alignment, one output a thread, bytes staged through shared memory, dp4a.
#include <algorithm>

#include "linear/kernels/cuda/plain_finish.cuh"

namespace quoin::cuda {
namespace {

constexpr int kTile = 16;   // outputs along M and N of a CTA, one a thread
constexpr int kDepth = 64;  // bytes of K staged at a time

__global__ void __launch_bounds__(kTile* kTile) any_shape_linear(const Problem p) {
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
    if (m >= p.m || n >= p.n) continue;
    const bool scaled = p.out_type != DataType::int32;
    store(p, m, n, sum, scaled ? p.scale_x[m] : 0.0F, scaled ? p.scale_w[n] : 0.0F,
          scaled ? bias_of(p, n) : 0.0F);
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
