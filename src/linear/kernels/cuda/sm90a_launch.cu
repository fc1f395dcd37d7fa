// Host side of the sm90a kernels: names, refusals, tensor maps, the launch.
#include <algorithm>
#include <array>
#include <vector>

#include "linear/kernels/cuda/kernels.h"
#include "linear/kernels/cuda/sm90a_kernel.cuh"

namespace quoin::cuda {

std::span<const Candidate> sm90a_decode_candidates();
std::span<const Candidate> sm90a_middle_candidates();
std::span<const Candidate> sm90a_large_candidates();

std::span<const Candidate> sm90a_candidates() {
  static const std::vector<Candidate> all = [] {
    std::vector<Candidate> list;
    for (const auto part :
         {sm90a_decode_candidates(), sm90a_middle_candidates(), sm90a_large_candidates()}) {
      list.insert(list.end(), part.begin(), part.end());
    }
    return list;
  }();
  return all;
}

namespace {

constexpr std::int64_t kMaxInt = 0x7FFFFFFF;

bool is_aligned(const void* pointer, std::int64_t bytes) {
  return reinterpret_cast<std::uintptr_t>(pointer) % static_cast<std::uintptr_t>(bytes) == 0;
}

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

using EncodeTiled = decltype(&cuTensorMapEncodeTiled);

/// The driver's encoder, found at run time so that libcuda is not linked.
EncodeTiled encoder() {
  static const EncodeTiled function = [] {
    void* found = nullptr;
    cudaDriverEntryPointQueryResult result{};
    const cudaError_t error = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found,
                                                               12000, cudaEnableDefault, &result);
    const bool ok = error == cudaSuccess && result == cudaDriverEntryPointSuccess;
    return ok ? reinterpret_cast<EncodeTiled>(found) : nullptr;
  }();
  return function;
}

/// A row-major matrix, moved in boxes of 128 bytes by `box_rows`.
cudaError_t encode(CUtensorMap* map, CUtensorMapDataType type, const void* data, std::int64_t rows,
                   std::int64_t cols, std::int64_t stride_bytes, int box_rows,
                   CUtensorMapL2promotion promotion) {
  const EncodeTiled function = encoder();
  if (function == nullptr) return cudaErrorNotSupported;
  const cuuint64_t sizes[] = {static_cast<cuuint64_t>(cols), static_cast<cuuint64_t>(rows)};
  const cuuint64_t strides[] = {static_cast<cuuint64_t>(stride_bytes)};
  const cuuint32_t box[] = {type == CU_TENSOR_MAP_DATA_TYPE_UINT8 ? 128U : 64U,
                            static_cast<cuuint32_t>(box_rows)};
  const cuuint32_t steps[] = {1, 1};
  const CUresult result = function(map, type, 2, const_cast<void*>(data), sizes, strides, box,
                                   steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                   promotion, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  return result == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue;
}

std::int64_t groups(std::int64_t rows, int tile, int cluster) {
  return ceil_div(rows, std::int64_t{tile} * cluster);
}

using Attributes = std::array<cudaLaunchAttribute, 2>;

cudaLaunchConfig_t launch_config(const Candidate& candidate, dim3 grid, cudaStream_t stream,
                                 Attributes& attributes) {
  const Config& c = candidate.config;
  attributes[0].id = cudaLaunchAttributeClusterDimension;
  attributes[0].val.clusterDim.x = static_cast<unsigned>(c.cluster());
  attributes[0].val.clusterDim.y = 1;
  attributes[0].val.clusterDim.z = 1;
  attributes[1].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[1].val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = dim3(static_cast<unsigned>(c.threads()));
  config.dynamicSmemBytes = static_cast<std::size_t>(candidate.shared_bytes);
  config.stream = stream;
  config.attrs = attributes.data();
  config.numAttrs = 1;
  return config;
}

const void* kernel_of(const Candidate& candidate, bool is_16_bit) {
  return is_16_bit ? candidate.kernel_16 : candidate.kernel_32;
}

// What L2 fetches at once. 256 bytes are the next block of K too: 1 to 2% faster where weights
// stream for 40 us, 1 to 3% slower elsewhere.
CUtensorMapL2promotion promotion_of(const Config& c, const Problem& p) {
  return c.swap && p.n * p.k >= (std::int64_t{64} << 20) ? CU_TENSOR_MAP_L2_PROMOTION_L2_256B
                                                         : CU_TENSOR_MAP_L2_PROMOTION_L2_128B;
}

}  // namespace

const char* refusal(const Config& c, const Problem& p) {
  if (p.m < 1 || p.n < 1 || p.k < 1) return "M, N or K is zero";
  if (p.m > kMaxInt || p.n > kMaxInt) return "M or N is 2^31 or more";
  if (!is_aligned(p.x, 16) || !is_aligned(p.w, 16)) return "x or w is not 16-byte aligned";
  if (p.x_stride_elems % 16 != 0 || p.w_stride_elems % 16 != 0) {
    return "a row stride of x or w is not a multiple of 16 bytes";
  }
  if (ceil_div(p.k, kBlockK) < c.split_k) return "K has fewer 128-byte blocks than the split";
  if (!is_aligned(p.y, size_of(p.out_type))) return "y is not aligned to its elements";
  const std::int64_t a = c.swap ? p.n : p.m, b = c.swap ? p.m : p.n;
  if (groups(a, c.tile_a, c.cluster_a) * groups(b, c.tile_b, c.cluster_b) > kMaxInt / 2) {
    return "more than 2^30 tiles";
  }
  if (c.sums() > 128 && size_of(p.out_type) != 2) return "32-bit output: too few registers";
  const std::int64_t along_y =
      c.swap ? groups(a, c.tile_a, c.cluster_a) : groups(b, c.tile_b, c.cluster_b);
  if (!c.persistent && along_y > 65535) return "more than 65,535 tiles of weights";
  return nullptr;
}

cudaError_t ready(const Candidate& candidate, bool is_16_bit, int* resident) {
  const Config& c = candidate.config;
  const void* kernel = kernel_of(candidate, is_16_bit);
  cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                           candidate.shared_bytes);
  if (error != cudaSuccess) return error;
  if (c.cluster() > 8) {
    error = cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1);
    if (error != cudaSuccess) return error;
  }
  Attributes attributes{};
  const cudaLaunchConfig_t config =
      launch_config(candidate, dim3(static_cast<unsigned>(c.cluster())), nullptr, attributes);
  error = cudaOccupancyMaxActiveClusters(resident, kernel, &config);
  if (error != cudaSuccess) return error;
  return *resident == 0 ? cudaErrorInvalidConfiguration : cudaSuccess;
}

cudaError_t make_launch_plan(const Candidate& candidate, const Problem& p, LaunchPlan* plan) {
  *plan = {&candidate};
  return ready(candidate, size_of(p.out_type) == 2, &plan->resident);
}

cudaError_t encode_weights(const Candidate& candidate, const Problem& p, WeightMaps* maps) {
  const Config& c = candidate.config;
  const auto describe = [&](CUtensorMap* map, int box) {
    return encode(map, CU_TENSOR_MAP_DATA_TYPE_UINT8, p.w, p.n, p.k, p.w_stride_elems, box,
                  promotion_of(c, p));
  };
  const cudaError_t error =
      describe(&maps->tile, c.swap ? c.tile_a / c.cluster_b : c.tile_b / c.cluster_a);
  if (error != cudaSuccess || c.tail_b == 0) return error;
  return describe(&maps->tail, c.tail_b / c.cluster_a);
}

cudaError_t launch(const LaunchPlan& plan, const Problem& p, cudaStream_t stream, Start start) {
  const Config& c = plan.candidate->config;
  CUtensorMap map_x, map_y;
  WeightMaps encoded;
  // Rows that one load brings. With all tokens in one box it is cut to them: rows past the end
  // would be filled with zeros, which takes longer than reading them (16 rows in a box of 64 at
  // 16x4096x4096: 22 us for 9). For the same reason the last tile starts early (Params).
  int box_x = c.swap ? c.tile_b / c.cluster_a : c.tile_a / c.cluster_b;
  const int tile_x = c.swap ? c.tile_b : c.tile_a, tile_w = c.swap ? c.tile_a : c.tile_b;
  int arriving_x = tile_x;
  if (box_x == tile_x && p.m < tile_x) box_x = arriving_x = static_cast<int>(p.m);
  cudaError_t error = encode(&map_x, CU_TENSOR_MAP_DATA_TYPE_UINT8, p.x, p.m, p.k, p.x_stride_elems,
                             box_x, promotion_of(c, p));
  if (error != cudaSuccess) return error;
  if (plan.weights == nullptr) {
    error = encode_weights(*plan.candidate, p, &encoded);
    if (error != cudaSuccess) return error;
  }

  Params params{};
  params.y = p.y;
  params.scale_a = c.swap ? p.scale_w : p.scale_x;
  params.scale_b = c.swap ? p.scale_x : p.scale_w;
  params.bias = p.bias;
  params.y_stride_elems = p.y_stride_elems;
  params.rows_a = static_cast<int>(c.swap ? p.n : p.m);
  params.rows_b = static_cast<int>(c.swap ? p.m : p.n);
  params.last_a = std::max(0, params.rows_a - c.tile_a);
  params.last_b = std::max(0, params.rows_b - c.tile_b);
  params.k_blocks = static_cast<int>(ceil_div(p.k, kBlockK));
  params.groups_a = static_cast<int>(groups(params.rows_a, c.tile_a, c.cluster_a));
  params.groups_b = static_cast<int>(groups(params.rows_b, c.tile_b, c.cluster_b));
  params.wide_b = params.groups_b;
  if (c.tail_b > 0) {
    const Columns columns = columns_of(c, params.rows_b, params.groups_a, plan.resident);
    params.wide_b = columns.wide;
    params.groups_b = columns.wide + columns.narrow;
    params.last_tail = std::max(0, params.rows_b - c.tail_b);
  }
  const int raster = raster_rows(p.n, p.k) / (c.tile_a * c.cluster_a);
  params.raster = std::clamp(plan.raster > 0 ? plan.raster : raster, 1, params.groups_a);
  params.factor = p.factor;
  params.out_type = p.out_type;
  params.start = start;
  // Weights that take DRAM a while stream on across the launch: 14.1 us for 14.6 at 1x4096x14336,
  // 16.0 for 16.6 at 1x8192x8192, 6.5 for 6.8 at 1x6144x4096. Small ones lose by it, as one launch
  // after another comes and takes its share: 2.3 for 2.1 at 1x2048x2048, 3.5 for 2.8 at 64.
  params.release_early = plan.release_early || p.n * p.k > (std::int64_t{16} << 20);
  params.bias_type = p.bias_type;
  const bool is_16_bit = size_of(p.out_type) == 2;
  params.stage_bytes = (arriving_x + tile_w) * kBlockK;
  params.store_pairs = is_16_bit && is_aligned(p.y, 4) && p.y_stride_elems % 2 == 0 && p.n % 2 == 0;
  params.store_eights =
      is_16_bit && is_aligned(p.y, 16) && p.y_stride_elems % 8 == 0 && p.n % 8 == 0;
  if (c.persistent && params.store_eights) {  // not described: stored by element
    params.store_eights =
        encode(&map_y, CU_TENSOR_MAP_DATA_TYPE_UINT16, p.y, p.m, p.n, p.y_stride_elems * 2, 16,
               CU_TENSOR_MAP_L2_PROMOTION_NONE) == cudaSuccess;
  }
  const int along_x = c.swap ? params.groups_b : params.groups_a;
  const int along_y = c.swap ? params.groups_a : params.groups_b;
  const std::int64_t clusters =
      std::min(std::int64_t{params.groups_a} * params.groups_b, std::int64_t{plan.resident});
  const dim3 grid = c.persistent ? dim3(static_cast<unsigned>(clusters * c.cluster()))
                                 : dim3(static_cast<unsigned>(along_x * c.cluster()),
                                        static_cast<unsigned>(along_y));
  Attributes attributes{};
  cudaLaunchConfig_t config = launch_config(*plan.candidate, grid, stream, attributes);
  // No attribute for clusters of one: it would change which SMs neighbouring CTAs go to, and L2
  // then serves the rows that they share more slowly (8.6 us for 6.6 at 128x4096x4096, hot).
  if (c.cluster() == 1) {
    config.attrs += 1;
    config.numAttrs = 0;
  }
  if (start != Start::after) ++config.numAttrs;
  WeightMaps* weights = plan.weights == nullptr ? &encoded : const_cast<WeightMaps*>(plan.weights);
  void* arguments[] = {c.swap ? &weights->tile : &map_x, c.swap ? &map_x : &weights->tile,
                       &weights->tail, &map_y, &params};
  return cudaLaunchKernelExC(&config, kernel_of(*plan.candidate, is_16_bit), arguments);
}

}  // namespace quoin::cuda
