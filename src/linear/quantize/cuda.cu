// The quantiser's kernels. One reads the row once, in 16-byte vectors, and keeps it in registers;
// the other takes any alignment and any K, and reads the row twice (the second time from L2).
#include "linear/quantize/cuda.h"

#include <algorithm>
#include <type_traits>

#include "linear/epilogue.h"
#include "linear/kernels/cuda/ptx.h"

namespace quoin::cuda {
namespace {

constexpr int kMaxThreads = 1024;
constexpr int kGenericThreads = 256;
constexpr std::uint32_t kMagnitude = 0x7FFFFFFFU;

template <DataType kType>
__device__ float float_from(std::uint32_t bits) {
  if constexpr (kType == DataType::float32) return __uint_as_float(bits);
  if constexpr (kType == DataType::float16) return ptx::half_to_float(bits);
  return epilogue::float_from_bfloat16(static_cast<std::uint16_t>(bits));
}

/// Element i of a word of packed elements.
template <DataType kType>
__device__ float element(std::uint32_t word, int i) {
  if constexpr (kType == DataType::float32) return __uint_as_float(word);
  return float_from<kType>(i == 0 ? word & 0xFFFFU : word >> 16);
}

/// The largest magnitude that any thread of the CTA holds, as the bits of a float32: they order
/// like the values, infinities and NaNs above all others.
__device__ std::uint32_t largest(std::uint32_t magnitude) {
  __shared__ std::uint32_t of_warp[kMaxThreads / 32];
  magnitude = __reduce_max_sync(0xFFFFFFFFU, magnitude);
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = magnitude;
  __syncthreads();
  const int lane = static_cast<int>(threadIdx.x % 32);
  return __reduce_max_sync(0xFFFFFFFFU, lane < blockDim.x / 32 ? of_warp[lane] : 0);
}

/// What a row's magnitude says of it.
struct RowScale {
  float scale;
  bool zero;  // all codes are zero: no magnitude, or one that is not finite
  __device__ explicit RowScale(std::uint32_t magnitude)
      : scale(epilogue::float_of(magnitude < 0x7F800000U ? magnitude : epilogue::kNan32)),
        zero(magnitude == 0 || magnitude >= 0x7F800000U) {}
  /// A true division: x * (1 / scale) can differ in the last bit.
  __device__ int code(float x) const {
    return zero ? 0 : __float2int_rn(__fmul_rn(127.0F, __fdiv_rn(x, scale)));
  }
};

/// A row in `kVectors` 16-byte vectors a thread; vector v of thread t is t + v * blockDim.x.
template <DataType kType, int kVectors>
__global__ void __launch_bounds__(kVectors == 8 ? kMaxThreads : 512)
    quantize_in_registers(const QuantizeProblem p) {
  constexpr int kBytes = kType == DataType::float32 ? 4 : 2;
  constexpr int kElements = 16 / kBytes;
  constexpr int kInWord = kElements / 4;
  const int vectors = static_cast<int>((p.k + kElements - 1) / kElements);
  const int tail = static_cast<int>(p.k % kElements);  // elements of a last, partial vector
  ptx::release_dependent_kernel();
  ptx::wait_for_producer_kernel();
  for (std::int64_t row = blockIdx.x; row < p.m; row += gridDim.x) {
    const auto* x = static_cast<const std::uint8_t*>(p.x) + row * p.x_stride_elems * kBytes;
    std::uint32_t words[kVectors][4];
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
      const int vector = static_cast<int>(threadIdx.x) + v * static_cast<int>(blockDim.x);
      uint4 loaded = {0, 0, 0, 0};
      const bool partial = tail != 0 && vector == vectors - 1;
      if (vector < vectors && !partial) loaded = __ldg(reinterpret_cast<const uint4*>(x) + vector);
      words[v][0] = loaded.x, words[v][1] = loaded.y, words[v][2] = loaded.z;
      words[v][3] = loaded.w;
      if (partial) {  // what lies behind the row is neither read nor counted
#pragma unroll
        for (int i = 0; i < kElements; ++i) {
          if (i >= tail) continue;
          const std::uint8_t* at = x + (vector * kElements + i) * kBytes;
          words[v][i / kInWord] |= kInWord == 1 ? *reinterpret_cast<const std::uint32_t*>(at)
                                                : *reinterpret_cast<const std::uint16_t*>(at)
                                                      << (i % kInWord * 16);
        }
      }
    }
    std::uint32_t magnitude = 0;
    if constexpr (kType == DataType::float32) {
#pragma unroll
      for (int i = 0; i < kVectors * 4; ++i) {
        magnitude = max(magnitude, words[i / 4][i % 4] & kMagnitude);
      }
    } else {  // 16-bit magnitudes two at a time
#pragma unroll
      for (int i = 0; i < kVectors * 4; ++i) {
        magnitude = __vmaxu2(magnitude, words[i / 4][i % 4] & 0x7FFF7FFFU);
      }
      magnitude = __float_as_uint(float_from<kType>(max(magnitude & 0xFFFFU, magnitude >> 16)));
    }
    const RowScale scale(largest(magnitude));
    if (threadIdx.x == 0) p.scale[row] = scale.scale;
    std::int8_t* codes = p.codes + row * p.codes_stride_elems;
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
      const int vector = static_cast<int>(threadIdx.x) + v * static_cast<int>(blockDim.x);
      if (vector >= vectors) continue;
      std::uint32_t packed[kElements / 4] = {};
#pragma unroll
      for (int i = 0; i < kElements; ++i) {
        const int code = scale.code(element<kType>(words[v][i / kInWord], i % kInWord));
        packed[i / 4] |= static_cast<std::uint32_t>(code & 0xFF) << (i % 4 * 8);
      }
      if (tail != 0 && vector == vectors - 1) {
        for (int i = 0; i < tail; ++i) {
          codes[vector * kElements + i] =
              static_cast<std::int8_t>(packed[kElements == 4 ? 0 : i / 4] >> (i % 4 * 8));
        }
      } else if constexpr (kElements == 8) {
        reinterpret_cast<uint2*>(codes)[vector] = {packed[0], packed[1]};
      } else {
        reinterpret_cast<std::uint32_t*>(codes)[vector] = packed[0];
      }
    }
    if (row + gridDim.x < p.m) __syncthreads();  // `of_warp` is used again
  }
}

template <DataType kType>
__global__ void __launch_bounds__(kGenericThreads) quantize_any(const QuantizeProblem p) {
  using Element = std::conditional_t<kType == DataType::float32, std::uint32_t, std::uint16_t>;
  ptx::release_dependent_kernel();
  ptx::wait_for_producer_kernel();
  for (std::int64_t row = blockIdx.x; row < p.m; row += gridDim.x) {
    const auto* x = static_cast<const Element*>(p.x) + row * p.x_stride_elems;
    std::int8_t* codes = p.codes + row * p.codes_stride_elems;
    std::uint32_t magnitude = 0;
    for (std::int64_t i = threadIdx.x; i < p.k; i += kGenericThreads) {
      magnitude = max(magnitude, __float_as_uint(float_from<kType>(x[i])) & kMagnitude);
    }
    const RowScale scale(largest(magnitude));
    if (threadIdx.x == 0) p.scale[row] = scale.scale;
    for (std::int64_t i = threadIdx.x; i < p.k; i += kGenericThreads) {
      codes[i] = static_cast<std::int8_t>(scale.code(float_from<kType>(x[i])));
    }
    __syncthreads();
  }
}

bool is_aligned(const void* pointer, std::int64_t bytes) {
  return reinterpret_cast<std::uintptr_t>(pointer) % static_cast<std::uintptr_t>(bytes) == 0;
}

struct Choice {
  const void* kernel;
  int threads;
};

template <DataType kType>
Choice choose(const QuantizeProblem& p) {
  constexpr std::int64_t kElements = 16 / size_of(kType);
  const std::int64_t vectors = (p.k + kElements - 1) / kElements;
  const bool aligned = is_aligned(p.x, 16) && p.x_stride_elems % kElements == 0 &&
                       is_aligned(p.codes, kElements) && p.codes_stride_elems % kElements == 0;
  if (!aligned || vectors > 8 * kMaxThreads) {
    return {reinterpret_cast<const void*>(&quantize_any<kType>), kGenericThreads};
  }
  const auto with = [&](const void* kernel, int count) {
    const auto warps = (vectors + count * 32 - 1) / (count * 32);
    return Choice{kernel, static_cast<int>(std::max<std::int64_t>(1, warps)) * 32};
  };
  if (vectors <= 256) {
    return with(reinterpret_cast<const void*>(&quantize_in_registers<kType, 1>), 1);
  }
  if (vectors <= 2 * 512) {
    return with(reinterpret_cast<const void*>(&quantize_in_registers<kType, 2>), 2);
  }
  if (vectors <= 4 * 512) {
    return with(reinterpret_cast<const void*>(&quantize_in_registers<kType, 4>), 4);
  }
  return with(reinterpret_cast<const void*>(&quantize_in_registers<kType, 8>), 8);
}

}  // namespace

cudaError_t launch_quantize(const QuantizeProblem& p, cudaStream_t stream, bool dependent) {
  if (p.m < 1) return cudaSuccess;
  const Choice choice = p.type == DataType::float16    ? choose<DataType::float16>(p)
                        : p.type == DataType::bfloat16 ? choose<DataType::bfloat16>(p)
                                                       : choose<DataType::float32>(p);
  cudaLaunchAttribute early{};
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(std::min<std::int64_t>(p.m, 1 << 20)));
  config.blockDim = dim3(static_cast<unsigned>(choice.threads));
  config.stream = stream;
  config.attrs = &early;
  config.numAttrs = dependent ? 1 : 0;
  QuantizeProblem copy = p;
  void* arguments[] = {&copy};
  return cudaLaunchKernelExC(&config, choice.kernel, arguments);
}

}  // namespace quoin::cuda
