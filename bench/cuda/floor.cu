// What a small product costs before it computes anything: launches that do ever more of what
// 128 x 2048 x 2048 needs, without multiplying. docs/sm90a.md has what they took.
//
//   nvcc -std=c++20 -O3 -gencode=arch=compute_90a,code=sm_90a -Isrc -Iinclude bench/cuda/floor.cu
//
// CUDA-graph replays over operand sets that together exceed twice the L2 cache.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

#include "linear/kernels/cuda/ptx.h"

namespace {

namespace ptx = quoin::cuda::ptx;

constexpr int kM = 128, kN = 2048, kK = 2048, kSets = 30;
constexpr int kBoxBytes = 64 * 128;

void must(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::printf("%s: %s\n", what, cudaGetErrorString(error));
  std::exit(2);
}

__global__ void nothing() {}

/// One box of 64 rows by the copy engine, waited for; one word out.
__global__ void one_box(const __grid_constant__ CUtensorMap map, int* y) {
  extern __shared__ __align__(1024) std::uint8_t memory[];
  const std::uint32_t shared = ptx::shared_address(memory), barrier = shared + kBoxBytes;
  if (threadIdx.x == 0) {
    ptx::barrier_init(barrier, 1);
    ptx::fence_barrier_init();
    ptx::barrier_expect_bytes(barrier, kBoxBytes);
    ptx::load_tile(shared, &map, barrier, 0, static_cast<int>(blockIdx.x) * 16);
  }
  __syncthreads();
  ptx::barrier_wait(barrier, 0);
  if (threadIdx.x == 0) y[blockIdx.x] = memory[5];
}

/// `boxes` boxes of x and of w, a barrier each, issued by one lane of every warp; all waited for.
__global__ void boxes(const __grid_constant__ CUtensorMap map_x,
                      const __grid_constant__ CUtensorMap map_w, int count, int bytes_w, int* y) {
  extern __shared__ __align__(1024) std::uint8_t memory[];
  const std::uint32_t shared = ptx::shared_address(memory);
  const int stage_bytes = kBoxBytes + bytes_w;
  const std::uint32_t barriers = shared + count * stage_bytes;
  const int warps = static_cast<int>(blockDim.x) / 32, tile_w = bytes_w / 128;
  const int column = static_cast<int>(blockIdx.x) % (kN / tile_w);
  const int k = static_cast<int>(blockIdx.y) * count * 128;
  const int warp = ptx::uniform(static_cast<int>(threadIdx.x) / 32);
  if (ptx::elected()) {
#pragma unroll 1
    for (int i = warp; i < count; i += warps) {
      const std::uint32_t barrier = barriers + i * 8;
      ptx::barrier_init(barrier, 1);
      ptx::fence_barrier_init();
      ptx::barrier_expect_bytes(barrier, stage_bytes);
      ptx::load_tile(shared + i * stage_bytes + kBoxBytes, &map_w, barrier, k + i * 128,
                     column * tile_w);
      ptx::load_tile(shared + i * stage_bytes, &map_x, barrier, k + i * 128,
                     static_cast<int>(blockIdx.x) / (kN / tile_w) * 64);
    }
  }
  __syncthreads();
  for (int i = 0; i < count; ++i) ptx::barrier_wait(barriers + i * 8, 0);
  if (threadIdx.x == 0) y[blockIdx.x] = memory[5];
}

/// The same bytes by 16-byte asynchronous copies of every thread.
__global__ void copies(const std::uint8_t* x, const std::uint8_t* w, int k_bytes, int rows_w,
                       int* y) {
  extern __shared__ __align__(1024) std::uint8_t memory[];
  const std::uint32_t shared = ptx::shared_address(memory);
  const int column = static_cast<int>(blockIdx.x) % (kN / rows_w);
  const int row = static_cast<int>(blockIdx.x) / (kN / rows_w) * 64;
  const int vectors = k_bytes / 16, all = (64 + rows_w) * vectors;
  const std::int64_t k = std::int64_t{blockIdx.y} * k_bytes;
#pragma unroll 8
  for (int i = threadIdx.x; i < all; i += blockDim.x) {
    const int r = i / vectors, v = i % vectors;
    const std::uint8_t* from = r < rows_w ? w + std::int64_t{column * rows_w + r} * kK
                                          : x + std::int64_t{row + r - rows_w} * kK;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared + i * 16),
                 "l"(from + k + v * 16));
  }
  asm volatile("cp.async.wait_all;" ::: "memory");
  __syncthreads();
  if (threadIdx.x == 0) y[blockIdx.x] = memory[5];
}

struct Floor {
  std::uint8_t *x = nullptr, *w = nullptr;
  int* y = nullptr;
  cudaStream_t stream = nullptr;
  std::vector<CUtensorMap> maps_x, maps_w64, maps_w32;

  CUtensorMap encode(const std::uint8_t* data, int rows, int box) const {
    void* found = nullptr;
    cudaDriverEntryPointQueryResult result{};
    must(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000,
                                          cudaEnableDefault, &result),
         "encoder");
    const cuuint64_t sizes[] = {kK, static_cast<cuuint64_t>(rows)}, strides[] = {kK};
    const cuuint32_t boxed[] = {128, static_cast<cuuint32_t>(box)}, steps[] = {1, 1};
    CUtensorMap map;
    reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(found)(
        &map, CU_TENSOR_MAP_DATA_TYPE_UINT8, 2, const_cast<std::uint8_t*>(data), sizes, strides,
        boxed, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
        CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    return map;
  }
  Floor() {
    must(cudaMalloc(&x, std::size_t{kM} * kK * kSets), "x");
    must(cudaMalloc(&w, std::size_t{kN} * kK * kSets), "w");
    must(cudaMalloc(&y, 1 << 20), "y");
    must(cudaMemset(x, 1, std::size_t{kM} * kK * kSets), "x");
    must(cudaMemset(w, 1, std::size_t{kN} * kK * kSets), "w");
    must(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "stream");
    for (int i = 0; i < kSets; ++i) {
      maps_x.push_back(encode(x + std::size_t{kM} * kK * i, kM, 64));
      maps_w64.push_back(encode(w + std::size_t{kN} * kK * i, kN, 64));
      maps_w32.push_back(encode(w + std::size_t{kN} * kK * i, kN, 32));
    }
  }
  template <class... Parameters, class... Arguments>
  void start(void (*kernel)(Parameters...), dim3 grid, int threads, int shared, int cluster,
             Arguments... arguments) const {
    must(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 231000),
         "attribute");
    cudaLaunchAttribute attribute{};
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim.x = static_cast<unsigned>(cluster);
    attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
    cudaLaunchConfig_t config{};
    config.gridDim = grid;
    config.blockDim = dim3(static_cast<unsigned>(threads));
    config.dynamicSmemBytes = static_cast<std::size_t>(shared);
    config.stream = stream;
    config.attrs = &attribute;
    config.numAttrs = cluster > 1 ? 1 : 0;
    must(cudaLaunchKernelEx(&config, kernel, arguments...), "launch");
  }
  void time(const char* what, const std::function<void(int)>& call) const {
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t ready = nullptr;
    must(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capture");
    for (int i = 0; i < 2 * kSets; ++i) call(i % kSets);
    must(cudaStreamEndCapture(stream, &graph), "capture");
    must(cudaGraphInstantiate(&ready, graph, 0), "instantiate");
    cudaEvent_t begin = nullptr, end = nullptr;
    must(cudaEventCreate(&begin), "event");
    must(cudaEventCreate(&end), "event");
    std::vector<float> times;
    for (int round = 0; round < 21; ++round) {
      must(cudaEventRecord(begin, stream), "record");
      must(cudaGraphLaunch(ready, stream), "graph");
      must(cudaEventRecord(end, stream), "record");
      must(cudaEventSynchronize(end), what);
      float milliseconds = 0;
      must(cudaEventElapsedTime(&milliseconds, begin, end), "elapsed");
      times.push_back(milliseconds * 1e3F / (2 * kSets));
    }
    std::sort(times.begin(), times.end());
    std::printf("  %-58s %.2f us\n", what, static_cast<double>(times[times.size() / 2]));
  }
};

}  // namespace

int main() {
  const Floor f;
  constexpr int kBig = 200 << 10;
  f.time("nothing, 1 CTA of 32 threads", [&](int) { f.start(&nothing, 1, 32, 0, 1); });
  f.time("nothing, 64 CTAs of 160, 200 KiB", [&](int) { f.start(&nothing, 64, 160, kBig, 1); });
  f.time("nothing, 128 CTAs of 160, 200 KiB", [&](int) { f.start(&nothing, 128, 160, kBig, 1); });
  f.time("nothing, 128 CTAs of 160, 100 KiB, clusters of 2",
         [&](int) { f.start(&nothing, 128, 160, kBig / 2, 2); });
  f.time("one box each, 128 CTAs",
         [&](int i) { f.start(&one_box, 128, 160, kBig, 1, f.maps_w64[i], f.y); });
  f.time("64x64 tiles, 12 blocks of K: 64 CTAs, 192 KiB, copy engine", [&](int i) {
    f.start(&boxes, dim3(64), 160, 12 * 16384 + 128, 1, f.maps_x[i], f.maps_w64[i], 12, 8192, f.y);
  });
  f.time("64x64 tiles, half K: 128 CTAs, 128 KiB, copy engine", [&](int i) {
    f.start(&boxes, dim3(64, 2), 160, 8 * 16384 + 128, 1, f.maps_x[i], f.maps_w64[i], 8, 8192, f.y);
  });
  f.time("64x64 tiles, half K: the same in clusters of 2", [&](int i) {
    f.start(&boxes, dim3(64, 2), 160, 8 * 16384 + 128, 2, f.maps_x[i], f.maps_w64[i], 8, 8192, f.y);
  });
  f.time("64x32 tiles, whole K: 128 CTAs, 192 KiB, copy engine", [&](int i) {
    f.start(&boxes, dim3(128), 160, 16 * 12288 + 128, 1, f.maps_x[i], f.maps_w32[i], 16, 4096, f.y);
  });
  for (const int threads : {160, 256, 512}) {
    char name[96];
    std::snprintf(name, sizeof name, "64x64, half K: 128 CTAs of %d threads, cp.async", threads);
    f.time(name, [&](int i) {
      f.start(&copies, dim3(64, 2), threads, 128 << 10, 1,
              static_cast<const std::uint8_t*>(f.x + std::size_t{kM} * kK * i),
              static_cast<const std::uint8_t*>(f.w + std::size_t{kN} * kK * i), 1024, 64, f.y);
    });
  }
  f.time("64x32, whole K: 128 CTAs of 256 threads, cp.async", [&](int i) {
    f.start(&copies, dim3(128), 256, 192 << 10, 1,
            static_cast<const std::uint8_t*>(f.x + std::size_t{kM} * kK * i),
            static_cast<const std::uint8_t*>(f.w + std::size_t{kN} * kK * i), 2048, 32, f.y);
  });
  return 0;
}
