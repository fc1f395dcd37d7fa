// The one definition of what follows the int32 sum: dequantise, add the bias, round, store.
//
//   y = round_to_output( ((float(acc) * f) * scale_x) * scale_w + float(bias) )
//
// Every backend computes exactly this, on the host and on the device; SIMD kernels that spell it in
// intrinsics are tested against it bit for bit (tests/epilogue_test.cpp pins it in turn against
// plain double arithmetic). Needs -ffp-contract=off (-fmad=false on a GPU uses the intrinsics
// below anyway), round-to-nearest, and subnormals kept: linear/float_environment.h.
//
// Functions are `static`, so that a file compiled for one instruction set never lends its copy to
// a file compiled for another.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#define QUOIN_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define QUOIN_HOST_DEVICE inline
#endif

namespace quoin::epilogue {

inline constexpr std::uint16_t kNan16 = 0x7FFF;      // float16 and bfloat16
inline constexpr std::uint32_t kNan32 = 0x7FFFFFFF;  // float32

QUOIN_HOST_DEVICE static std::uint32_t bits_of(float value) {
  std::uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

QUOIN_HOST_DEVICE static float float_of(std::uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/// float32 from the bits of a binary16; exact. A NaN stays one.
QUOIN_HOST_DEVICE static float float_from_half(std::uint16_t half) {
  const std::uint32_t sign = (half & 0x8000U) << 16;
  const std::uint32_t exponent = (half >> 10) & 0x1FU;
  const std::uint32_t mantissa = half & 0x3FFU;
  if (exponent == 0x1F) return float_of(sign | 0x7F800000U | (mantissa << 13));
  if (exponent == 0) {  // zero or subnormal: mantissa * 2^-24, exact in float32
    const float magnitude = static_cast<float>(mantissa) * 5.9604644775390625e-8F;
    return float_of(sign | bits_of(magnitude));
  }
  return float_of(sign | ((exponent + 112U) << 23) | (mantissa << 13));
}

/// float32 from the bits of a bfloat16; exact.
QUOIN_HOST_DEVICE static float float_from_bfloat16(std::uint16_t half) {
  return float_of(static_cast<std::uint32_t>(half) << 16);
}

/// The nearest binary16, ties to even; overflow to infinity, subnormals kept, NaN is kNan16.
QUOIN_HOST_DEVICE static std::uint16_t half_from_float(float value) {
  const std::uint32_t bits = bits_of(value);
  const std::uint32_t sign = (bits >> 16) & 0x8000U;
  const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
  if (magnitude > 0x7F800000U) return kNan16;
  if (magnitude >= 0x477FF000U) return static_cast<std::uint16_t>(sign | 0x7C00U);  // >= 65520
  if (magnitude < 0x38800000U) {  // below 2^-14, a subnormal: adding 0.5 aligns the last bit, 2^-24
    const std::uint32_t rounded = bits_of(float_of(magnitude) + 0.5F) - 0x3F000000U;
    return static_cast<std::uint16_t>(sign | rounded);
  }
  const std::uint32_t even = (magnitude >> 13) & 1U;
  return static_cast<std::uint16_t>(sign | ((magnitude - 0x38000000U + 0xFFFU + even) >> 13));
}

/// The nearest bfloat16, ties to even; overflow to infinity, subnormals kept, NaN is kNan16.
QUOIN_HOST_DEVICE static std::uint16_t bfloat16_from_float(float value) {
  const std::uint32_t bits = bits_of(value);
  if ((bits & 0x7FFFFFFFU) > 0x7F800000U) return kNan16;
  return static_cast<std::uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

/// float32 with every NaN as kNan32.
QUOIN_HOST_DEVICE static float canonical_float(float value) {
  return (bits_of(value) & 0x7FFFFFFFU) > 0x7F800000U ? float_of(kNan32) : value;
}

/// ((float(acc) * f) * scale_x) * scale_w + bias, each step rounded to float32.
QUOIN_HOST_DEVICE static float dequantise(std::int32_t acc, float factor, float scale_x,
                                          float scale_w, float bias) {
#if defined(__CUDA_ARCH__)
  const float scaled =
      __fmul_rn(__fmul_rn(__fmul_rn(__int2float_rn(acc), factor), scale_x), scale_w);
  return __fadd_rn(scaled, bias);
#else
  const float by_factor = static_cast<float>(acc) * factor;
  const float by_row = by_factor * scale_x;
  const float by_column = by_row * scale_w;
  return by_column + bias;
#endif
}

}  // namespace quoin::epilogue
