// linear/epilogue.h in AVX-512: 16 outputs at a time. For the one file that is compiled with it.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "linear/epilogue.h"
#include "linear/kernels/cpu/kernels.h"
#include "linear/kernels/cpu/unroll.h"

namespace quoin {

/// ((float(acc) * f) * scale_x) * scale_w + bias. The file is compiled with -ffp-contract=off.
QUOIN_INLINE static inline __m512 avx512_dequantise(__m512i acc, __m512 factor, __m512 scale_x,
                                                    __m512 scale_w, __m512 bias) {
  const __m512 by_factor = _mm512_mul_ps(_mm512_cvtepi32_ps(acc), factor);
  const __m512 by_row = _mm512_mul_ps(by_factor, scale_x);
  return _mm512_add_ps(_mm512_mul_ps(by_row, scale_w), bias);
}

QUOIN_INLINE static inline __m256i avx512_half_from_float(__m512 value) {
  const __mmask16 nan = _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
  const __m256i half = _mm512_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  return _mm256_mask_blend_epi16(nan, half, _mm256_set1_epi16(epilogue::kNan16));
}

/// Rounded with integers: vcvtneps2bf16 flushes subnormals.
QUOIN_INLINE static inline __m256i avx512_bfloat16_from_float(__m512 value) {
  const __mmask16 nan = _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
  const __m512i bits = _mm512_castps_si512(value);
  const __m512i even = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded =
      _mm512_add_epi32(bits, _mm512_add_epi32(even, _mm512_set1_epi32(0x7FFF)));
  const __m256i half = _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16));
  return _mm256_mask_blend_epi16(nan, half, _mm256_set1_epi16(epilogue::kNan16));
}

QUOIN_INLINE static inline __m512i avx512_canonical_float(__m512 value) {
  const __mmask16 nan = _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
  return _mm512_mask_blend_epi32(nan, _mm512_castps_si512(value),
                                 _mm512_set1_epi32(epilogue::kNan32));
}

/// Writes the tile's outputs from its sums, rows `acc_stride` lanes apart.
static void avx512_epilogue(const CpuTile& t, const std::int32_t* acc, int acc_stride) {
  const __m512 factor = _mm512_set1_ps(t.factor);
  for (int c = 0; c < t.cols; c += 16) {
    const int left = t.cols - c;
    const auto mask = static_cast<__mmask16>(left >= 16 ? 0xFFFF : (1 << left) - 1);
    const bool raw = t.out_type == DataType::int32;
    const __m512 scale_w = raw ? _mm512_setzero_ps() : _mm512_loadu_ps(t.scale_w + c);
    const __m512 bias = raw ? _mm512_setzero_ps() : _mm512_loadu_ps(t.bias + c);
    for (int r = 0; r < t.rows; ++r) {
      const __m512i sum = _mm512_loadu_si512(acc + r * acc_stride + c);
      char* row = static_cast<char*>(t.y) + r * t.y_stride_bytes;
      if (raw) {
        _mm512_mask_storeu_epi32(row + c * 4, mask, sum);
        continue;
      }
      const __m512 value =
          avx512_dequantise(sum, factor, _mm512_set1_ps(t.scale_x[r]), scale_w, bias);
      switch (t.out_type) {
        case DataType::float16:
          _mm256_mask_storeu_epi16(row + c * 2, mask, avx512_half_from_float(value));
          break;
        case DataType::bfloat16:
          _mm256_mask_storeu_epi16(row + c * 2, mask, avx512_bfloat16_from_float(value));
          break;
        default:
          _mm512_mask_storeu_epi32(row + c * 4, mask, avx512_canonical_float(value));
      }
    }
  }
}

}  // namespace quoin
