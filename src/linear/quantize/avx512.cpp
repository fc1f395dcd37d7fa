// The quantiser's row in AVX-512, 16 values at a time. See quantize.h.
#include <immintrin.h>

#include <cstdint>

#include "linear/epilogue.h"
#include "linear/kernels/cpu/unroll.h"
#include "linear/quantize/quantize.h"

namespace quoin {
namespace {

template <DataType kType>
QUOIN_INLINE inline __m512 load(const void* x, std::int64_t i, __mmask16 mask) {
  if constexpr (kType == DataType::float32) {
    return _mm512_maskz_loadu_ps(mask, static_cast<const float*>(x) + i);
  } else {
    const __m256i half = _mm256_maskz_loadu_epi16(mask, static_cast<const std::uint16_t*>(x) + i);
    if constexpr (kType == DataType::float16) return _mm512_cvtph_ps(half);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
  }
}

QUOIN_INLINE inline __m512i magnitude_bits(__m512 value) {
  return _mm512_and_si512(_mm512_castps_si512(value), _mm512_set1_epi32(0x7FFFFFFF));
}

template <DataType kType>
void quantize(const void* x, std::int64_t k, std::int8_t* codes, float* scale) {
  constexpr __mmask16 kAll = 0xFFFF;
  const std::int64_t whole = k & ~std::int64_t{15};
  const auto rest = static_cast<__mmask16>((1U << (k - whole)) - 1);

  __m512i top[4];
  unroll<4>([&](auto u) QUOIN_INLINE { top[u] = _mm512_setzero_si512(); });
  std::int64_t i = 0;
  for (; i + 64 <= k; i += 64) {
    unroll<4>([&](auto u) QUOIN_INLINE {
      top[u] = _mm512_max_epu32(top[u], magnitude_bits(load<kType>(x, i + u * 16, kAll)));
    });
  }
  for (; i < whole; i += 16) {
    top[0] = _mm512_max_epu32(top[0], magnitude_bits(load<kType>(x, i, kAll)));
  }
  if (rest != 0) top[0] = _mm512_max_epu32(top[0], magnitude_bits(load<kType>(x, whole, rest)));
  const std::uint32_t bits = _mm512_reduce_max_epu32(
      _mm512_max_epu32(_mm512_max_epu32(top[0], top[1]), _mm512_max_epu32(top[2], top[3])));

  const bool finite = bits < 0x7F800000U;
  *scale = epilogue::float_of(finite ? bits : epilogue::kNan32);
  if (bits == 0 || !finite) {
    if (k > 0) __builtin_memset(codes, 0, static_cast<std::size_t>(k));
    return;
  }
  const __m512 divisor = _mm512_set1_ps(*scale);
  const __m512 top_code = _mm512_set1_ps(127.0F);
  const auto code = [&](std::int64_t at, __mmask16 mask) QUOIN_INLINE {
    const __m512 ratio = _mm512_div_ps(load<kType>(x, at, mask), divisor);
    return _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(top_code, ratio)));
  };
  for (i = 0; i < whole; i += 16) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(codes + i), code(i, kAll));
  }
  if (rest != 0) _mm_mask_storeu_epi8(codes + whole, rest, code(whole, rest));
}

}  // namespace

void quantize_row_avx512(const void* x, DataType type, std::int64_t k, std::int8_t* codes,
                         float* scale) {
  switch (type) {
    case DataType::float16: return quantize<DataType::float16>(x, k, codes, scale);
    case DataType::bfloat16: return quantize<DataType::bfloat16>(x, k, codes, scale);
    default: return quantize<DataType::float32>(x, k, codes, scale);
  }
}

}  // namespace quoin
