// The quantiser's row in AVX2 and F16C, 8 values at a time. See quantize.h.
#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "linear/epilogue.h"
#include "linear/kernels/cpu/unroll.h"
#include "linear/quantize/quantize.h"

namespace quoin {
namespace {

template <DataType kType>
QUOIN_INLINE inline __m256 widen(const void* at) {
  if constexpr (kType == DataType::float32) {
    return _mm256_loadu_ps(static_cast<const float*>(at));
  } else {
    const __m128i half = _mm_loadu_si128(static_cast<const __m128i*>(at));
    if constexpr (kType == DataType::float16) return _mm256_cvtph_ps(half);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
  }
}

/// 8 values from element i on; past `count`, zeros, and nothing behind them is read.
template <DataType kType>
QUOIN_INLINE inline __m256 load(const void* x, std::int64_t i, std::int64_t count) {
  constexpr std::int64_t kBytes = size_of(kType);
  const char* at = static_cast<const char*>(x) + i * kBytes;
  if (count >= 8) return widen<kType>(at);
  alignas(32) char padded[32] = {};
  std::memcpy(padded, at, static_cast<std::size_t>(count * kBytes));
  return widen<kType>(padded);
}

QUOIN_INLINE inline __m256i magnitude_bits(__m256 value) {
  return _mm256_and_si256(_mm256_castps_si256(value), _mm256_set1_epi32(0x7FFFFFFF));
}

QUOIN_INLINE inline std::uint32_t largest(__m256i v) {
  __m128i m = _mm_max_epu32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  m = _mm_max_epu32(m, _mm_shuffle_epi32(m, 0x4E));
  m = _mm_max_epu32(m, _mm_shuffle_epi32(m, 0xB1));
  return static_cast<std::uint32_t>(_mm_cvtsi128_si32(m));
}

template <DataType kType>
void quantize(const void* x, std::int64_t k, std::int8_t* codes, float* scale) {
  __m256i top[4];
  unroll<4>([&](auto u) QUOIN_INLINE { top[u] = _mm256_setzero_si256(); });
  std::int64_t i = 0;
  for (; i + 32 <= k; i += 32) {
    unroll<4>([&](auto u) QUOIN_INLINE {
      top[u] = _mm256_max_epu32(top[u], magnitude_bits(load<kType>(x, i + u * 8, 8)));
    });
  }
  for (; i < k; i += 8) {
    top[0] = _mm256_max_epu32(top[0], magnitude_bits(load<kType>(x, i, k - i)));
  }
  const std::uint32_t bits =
      largest(_mm256_max_epu32(_mm256_max_epu32(top[0], top[1]), _mm256_max_epu32(top[2], top[3])));

  const bool finite = bits < 0x7F800000U;
  *scale = epilogue::float_of(finite ? bits : epilogue::kNan32);
  if (bits == 0 || !finite) {
    if (k > 0) std::memset(codes, 0, static_cast<std::size_t>(k));
    return;
  }
  const __m256 divisor = _mm256_set1_ps(*scale);
  const auto code = [&](std::int64_t at, std::int64_t count) QUOIN_INLINE {  // 8 int32
    const __m256 ratio = _mm256_div_ps(load<kType>(x, at, count), divisor);
    return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_set1_ps(127.0F), ratio));
  };
  for (i = 0; i + 32 <= k; i += 32) {
    // Packing works within 128-bit halves; one permutation of 4-byte groups mends the order.
    const __m256i low = _mm256_packs_epi32(code(i, 8), code(i + 8, 8));
    const __m256i high = _mm256_packs_epi32(code(i + 16, 8), code(i + 24, 8));
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes + i),
                        _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order));
  }
  for (; i < k; i += 8) {
    alignas(32) std::int32_t wide[8];
    _mm256_store_si256(reinterpret_cast<__m256i*>(wide), code(i, k - i));
    for (std::int64_t j = 0; j < 8 && i + j < k; ++j) {
      codes[i + j] = static_cast<std::int8_t>(wide[j]);
    }
  }
}

}  // namespace

void quantize_row_avx2(const void* x, DataType type, std::int64_t k, std::int8_t* codes,
                       float* scale) {
  switch (type) {
    case DataType::float16: return quantize<DataType::float16>(x, k, codes, scale);
    case DataType::bfloat16: return quantize<DataType::bfloat16>(x, k, codes, scale);
    default: return quantize<DataType::float32>(x, k, codes, scale);
  }
}

}  // namespace quoin
