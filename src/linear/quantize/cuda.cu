// The quantiser's kernels. One reads the row once, in 16-byte vectors, and keeps it in registers;
// the other takes any alignment and any K, and reads the row twice (the second time from L2).
#include <algorithm>
#include <type_traits>

#include "linear/epilogue.h"
#include "linear/kernels/cuda/ptx.h"
#include "linear/quantize/cuda.h"

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
///
/// The code wants x / scale correctly rounded: x * (1 / scale) can differ in the last bit. The
/// divisor is the same for the whole row, so its reciprocal is found once; a product with it, twice
/// corrected by the exact remainder, is the correctly rounded quotient (Markstein, IBM J. Res.
/// Dev. 34, 1990) where nothing overflows or underflows: for a scale well inside float32's range,
/// and then for every x that does not round to code 0 anyway. Five operations for about 20.
struct RowScale {
  // Adding 1.5 * 2^23 rounds to an integer, ties to even, and leaves it in the low bits.
  static constexpr float kRoundToInteger = 12582912.0F;

  float scale;
  bool zero;   // all codes are zero: no magnitude, or one that is not finite
  bool plain;  // the short division holds
  float reciprocal;

  __device__ explicit RowScale(std::uint32_t magnitude)
      : scale(epilogue::float_of(magnitude < 0x7F800000U ? magnitude : epilogue::kNan32)),
        zero(magnitude == 0 || magnitude >= 0x7F800000U),
        plain(scale > 0x1p-60F && scale < 0x1p60F) {
    reciprocal = __frcp_rn(scale);
  }

  /// The code in the low byte.
  __device__ std::uint32_t code_plain(float x) const {
    float q = __fmul_rn(x, reciprocal);
    q = __fmaf_rn(__fmaf_rn(-q, scale, x), reciprocal, q);
    q = __fmaf_rn(__fmaf_rn(-q, scale, x), reciprocal, q);
    return __float_as_uint(__fadd_rn(__fmul_rn(127.0F, q), kRoundToInteger));
  }
  __device__ std::uint32_t code(float x) const {
    if (zero) return 0;
    return __float_as_uint(__fadd_rn(__fmul_rn(127.0F, __fdiv_rn(x, scale)), kRoundToInteger));
  }
};

/// The low bytes of four words.
__device__ std::uint32_t pack_bytes(std::uint32_t a, std::uint32_t b, std::uint32_t c,
                                    std::uint32_t d) {
  return __byte_perm(__byte_perm(a, b, 0x0040), __byte_perm(c, d, 0x0040), 0x5410);
}

/// The codes of one 16-byte vector of elements.
template <DataType kType, int kElements>
__device__ void codes_of(const std::uint32_t (&words)[4], const RowScale& scale,
                         std::uint32_t (&packed)[kElements / 4]) {
  constexpr int kInWord = kElements / 4;
  std::uint32_t codes[kElements];
#pragma unroll
  for (int i = 0; i < kElements; ++i) {
    codes[i] = scale.code_plain(element<kType>(words[i / kInWord], i % kInWord));
  }
#pragma unroll
  for (int i = 0; i < kElements / 4; ++i) {
    packed[i] = pack_bytes(codes[4 * i], codes[4 * i + 1], codes[4 * i + 2], codes[4 * i + 3]);
  }
}

template <DataType kType>
using Bits = std::conditional_t<kType == DataType::float32, std::uint32_t, std::uint16_t>;

/// A row's codes by true divisions, element by element: any alignment, any scale.
template <DataType kType>
__device__ void write_codes(const void* x, std::int64_t k, const RowScale& scale,
                            std::int8_t* codes) {
  for (std::int64_t i = threadIdx.x; i < k; i += blockDim.x) {
    const float value = float_from<kType>(static_cast<const Bits<kType>*>(x)[i]);
    codes[i] = static_cast<std::int8_t>(scale.code(value) & 0xFFU);
  }
}

/// A row in `kVectors` 16-byte vectors a thread; vector v of thread t is t + v * blockDim.x.
template <DataType kType, int kVectors, int kThreads>
__global__ void __launch_bounds__(kThreads, kThreads == kMaxThreads ? 1 : 1280 / kThreads)
    quantize_in_registers(const QuantizeProblem p, const Start start) {
  constexpr int kBytes = kType == DataType::float32 ? 4 : 2;
  constexpr int kElements = 16 / kBytes;
  constexpr int kInWord = kElements / 4;
  // Many rows (`choose`): what is read for the last time makes room in L2 for the codes, which the
  // product reads next: 68.9 us for 70.4 at 8192x2048x2048, 204 for 205 at 2048x8192x8192, though
  // the quantiser alone takes 14.9 for 14.5 and 16.4 for 16.1.
  constexpr bool kStreams = kVectors == 4;
  const int vectors = static_cast<int>((p.k + kElements - 1) / kElements);
  const int tail = static_cast<int>(p.k % kElements);  // elements of a last, partial vector
  if (start == Start::waiting) ptx::wait_for_producer_kernel();
  ptx::release_dependent_kernel();  // at the end instead: 4.6 us for 3.6 at 1x2048x2048, chained
  ptx::wait_for_producer_kernel();
  for (std::int64_t row = blockIdx.x; row < p.m; row += gridDim.x) {
    const auto* x = static_cast<const std::uint8_t*>(p.x) + row * p.x_stride_elems * kBytes;
    std::uint32_t words[kVectors][4];
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
      const int vector = static_cast<int>(threadIdx.x) + v * static_cast<int>(blockDim.x);
      uint4 loaded = {0, 0, 0, 0};
      const bool partial = tail != 0 && vector == vectors - 1;
      if (vector < vectors && !partial) {
        const auto* from = reinterpret_cast<const uint4*>(x) + vector;
        loaded = kStreams ? ptx::load_streaming(from) : ptx::load_global(from);
      }
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
    if (!scale.plain) write_codes<kType>(x, p.k, scale, codes);
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
      const int vector = static_cast<int>(threadIdx.x) + v * static_cast<int>(blockDim.x);
      if (vector >= vectors || !scale.plain) continue;
      std::uint32_t packed[kElements / 4];
      codes_of<kType, kElements>(words[v], scale, packed);
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
__global__ void __launch_bounds__(kGenericThreads)
    quantize_any(const QuantizeProblem p, const Start start) {
  if (start == Start::waiting) ptx::wait_for_producer_kernel();
  ptx::release_dependent_kernel();
  ptx::wait_for_producer_kernel();
  for (std::int64_t row = blockIdx.x; row < p.m; row += gridDim.x) {
    const auto* x = static_cast<const Bits<kType>*>(p.x) + row * p.x_stride_elems;
    std::int8_t* codes = p.codes + row * p.codes_stride_elems;
    std::uint32_t magnitude = 0;
    for (std::int64_t i = threadIdx.x; i < p.k; i += kGenericThreads) {
      magnitude = max(magnitude, __float_as_uint(float_from<kType>(x[i])) & kMagnitude);
    }
    const RowScale scale(largest(magnitude));
    if (threadIdx.x == 0) p.scale[row] = scale.scale;
    write_codes<kType>(x, p.k, scale, codes);
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
  const auto with = [&](auto kernel, int count) {
    const std::int64_t warps = (vectors + count * 32 - 1) / (count * 32);
    return Choice{reinterpret_cast<const void*>(kernel),
                  static_cast<int>(std::max<std::int64_t>(1, warps)) * 32};
  };
  // Many rows: few threads each, so that many rows are on their way at once. 128 threads with four
  // vectors took 28 us where 256 with two took 44 (4096 x 8192 float16).
  if (p.m > 256 && vectors <= 4 * 512) {
    return vectors <= 4 * 128 ? with(&quantize_in_registers<kType, 4, 128>, 4)
                              : with(&quantize_in_registers<kType, 4, 512>, 4);
  }
  // Few rows leave SMs idle: then a row gets as many threads as it can use.
  if (vectors <= kMaxThreads) return with(&quantize_in_registers<kType, 1, kMaxThreads>, 1);
  if (vectors <= 2 * kMaxThreads) return with(&quantize_in_registers<kType, 2, kMaxThreads>, 2);
  return with(&quantize_in_registers<kType, 8, kMaxThreads>, 8);
}

template <DataType kType>
cudaError_t ready_type() {
  for (const void* kernel :
       {reinterpret_cast<const void*>(&quantize_any<kType>),
        reinterpret_cast<const void*>(&quantize_in_registers<kType, 4, 128>),
        reinterpret_cast<const void*>(&quantize_in_registers<kType, 4, 512>),
        reinterpret_cast<const void*>(&quantize_in_registers<kType, 1, kMaxThreads>),
        reinterpret_cast<const void*>(&quantize_in_registers<kType, 2, kMaxThreads>),
        reinterpret_cast<const void*>(&quantize_in_registers<kType, 8, kMaxThreads>)}) {
    cudaFuncAttributes attributes{};
    const cudaError_t error = cudaFuncGetAttributes(&attributes, kernel);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

}  // namespace

cudaError_t ready_quantize() {
  for (const cudaError_t error : {ready_type<DataType::float16>(), ready_type<DataType::bfloat16>(),
                                  ready_type<DataType::float32>()}) {
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

cudaError_t launch_quantize(const QuantizeProblem& p, cudaStream_t stream, Start start) {
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
  config.numAttrs = start == Start::after ? 0 : 1;
  QuantizeProblem copy = p;
  void* arguments[] = {&copy, &start};
  return cudaLaunchKernelExC(&config, choice.kernel, arguments);
}

}  // namespace quoin::cuda
