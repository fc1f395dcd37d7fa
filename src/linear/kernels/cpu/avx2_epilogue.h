// linear/epilogue.h in AVX2 and F16C: 8 outputs at a time. For files that are compiled with them.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "linear/epilogue.h"
#include "linear/kernels/cpu/kernels.h"
#include "linear/kernels/cpu/unroll.h"

namespace quoin {

/// ((float(acc) * f) * scale_x) * scale_w + bias. The file is compiled with -ffp-contract=off.
QUOIN_INLINE static inline __m256 avx2_dequantise(__m256i acc, __m256 factor, __m256 scale_x,
                                                  __m256 scale_w, __m256 bias) {
  const __m256 by_factor = _mm256_mul_ps(_mm256_cvtepi32_ps(acc), factor);
  const __m256 by_row = _mm256_mul_ps(by_factor, scale_x);
  return _mm256_add_ps(_mm256_mul_ps(by_row, scale_w), bias);
}

/// Lanes of `value` that are NaN, as 8 words of all ones.
QUOIN_INLINE static inline __m128i avx2_nan_words(__m256 value) {
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(value, value, _CMP_UNORD_Q));
  return _mm_packs_epi32(_mm256_castsi256_si128(nan), _mm256_extracti128_si256(nan, 1));
}

QUOIN_INLINE static inline __m128i avx2_half_from_float(__m256 value) {
  const __m128i half = _mm256_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  return _mm_blendv_epi8(half, _mm_set1_epi16(epilogue::kNan16), avx2_nan_words(value));
}

QUOIN_INLINE static inline __m128i avx2_bfloat16_from_float(__m256 value) {
  const __m256i bits = _mm256_castps_si256(value);
  const __m256i even = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_srli_epi32(
      _mm256_add_epi32(bits, _mm256_add_epi32(even, _mm256_set1_epi32(0x7FFF))), 16);
  const __m128i half =
      _mm_packus_epi32(_mm256_castsi256_si128(rounded), _mm256_extracti128_si256(rounded, 1));
  return _mm_blendv_epi8(half, _mm_set1_epi16(epilogue::kNan16), avx2_nan_words(value));
}

QUOIN_INLINE static inline __m256i avx2_canonical_float(__m256 value) {
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(value, value, _CMP_UNORD_Q));
  return _mm256_blendv_epi8(_mm256_castps_si256(value), _mm256_set1_epi32(epilogue::kNan32), nan);
}

/// Stores the first `count` (1 to 8) elements of `kBytes` each from a vector.
template <int kBytes, class Vec>
QUOIN_INLINE static inline void avx2_store(char* to, Vec value, int count) {
  static_assert(sizeof(Vec) == 8 * kBytes);
  if (count >= 8) {
    std::memcpy(to, &value, sizeof value);  // one store; a size known at run time would be a call
  } else {
    std::memcpy(to, &value, static_cast<std::size_t>(count * kBytes));
  }
}

/// Writes the tile's outputs from its sums, rows `sums_stride` lanes apart.
static void avx2_epilogue(const CpuTile& t, int sums_stride) {
  const __m256 factor = _mm256_set1_ps(t.factor);
  const bool raw = t.out_type == DataType::int32;
  for (int c = 0; c < t.cols; c += 8) {
    const int count = t.cols - c;
    const __m256 scale_w = raw ? _mm256_setzero_ps() : _mm256_loadu_ps(t.scale_w + c);
    const __m256 bias = raw ? _mm256_setzero_ps() : _mm256_loadu_ps(t.bias + c);
    for (int r = 0; r < t.rows; ++r) {
      const __m256i sum =
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(t.sums + r * sums_stride + c));
      char* row = static_cast<char*>(t.y) + r * t.y_stride_bytes;
      if (raw) {
        avx2_store<4>(row + c * 4, sum, count);
        continue;
      }
      const __m256 value =
          avx2_dequantise(sum, factor, _mm256_set1_ps(t.scale_x[r]), scale_w, bias);
      switch (t.out_type) {
        case DataType::float16:
          avx2_store<2>(row + c * 2, avx2_half_from_float(value), count);
          break;
        case DataType::bfloat16:
          avx2_store<2>(row + c * 2, avx2_bfloat16_from_float(value), count);
          break;
        default: avx2_store<4>(row + c * 4, avx2_canonical_float(value), count);
      }
    }
  }
}

}  // namespace quoin
