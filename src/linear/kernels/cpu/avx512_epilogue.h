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
  const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(even, _mm512_set1_epi32(0x7FFF)));
  const __m256i half = _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16));
  return _mm256_mask_blend_epi16(nan, half, _mm256_set1_epi16(epilogue::kNan16));
}

QUOIN_INLINE static inline __m512i avx512_canonical_float(__m512 value) {
  const __mmask16 nan = _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
  return _mm512_mask_blend_epi32(nan, _mm512_castps_si512(value),
                                 _mm512_set1_epi32(epilogue::kNan32));
}

/// 16 outputs of a type whole, or the first of them by mask: masked stores of 2-byte elements cost
/// Zen 5 tens of cycles each, which is 6% of a tile of K = 2048 (measured 2026-11-20).
QUOIN_INLINE static inline void avx512_store(char* to, __m256i halves, __mmask16 mask) {
  if (mask == 0xFFFF) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), halves);
  } else {
    _mm256_mask_storeu_epi16(to, mask, halves);
  }
}

/// 16 finished outputs from their sums.
template <DataType kType>
QUOIN_INLINE static inline void avx512_finish(char* to, __mmask16 mask, __m512 value) {
  if constexpr (kType == DataType::float16) {
    avx512_store(to, avx512_half_from_float(value), mask);
  } else if constexpr (kType == DataType::bfloat16) {
    avx512_store(to, avx512_bfloat16_from_float(value), mask);
  } else {
    _mm512_mask_storeu_epi32(to, mask, avx512_canonical_float(value));
  }
}

/// Writes the tile's outputs from its sums, rows `sums_stride` lanes apart.
template <DataType kType>
static void avx512_write_tile(const CpuTile& t, int sums_stride) {
  constexpr std::int64_t kBytes = size_of(kType);
  const __m512 factor = _mm512_set1_ps(t.factor);
  for (int c = 0; c < t.cols; c += 16) {
    const int left = t.cols - c;
    const auto mask = static_cast<__mmask16>(left >= 16 ? 0xFFFF : (1 << left) - 1);
    const std::int32_t* sums = t.sums + c;
    char* to = static_cast<char*>(t.y) + c * kBytes;
    if constexpr (kType == DataType::int32) {
      for (int r = 0; r < t.rows; ++r, sums += sums_stride, to += t.y_stride_bytes) {
        _mm512_mask_storeu_epi32(to, mask, _mm512_loadu_si512(sums));
      }
    } else {
      const __m512 scale_w = _mm512_loadu_ps(t.scale_w + c);
      const __m512 bias = _mm512_loadu_ps(t.bias + c);
      for (int r = 0; r < t.rows; ++r, sums += sums_stride, to += t.y_stride_bytes) {
        const __m512 scale_x = _mm512_set1_ps(t.scale_x[r]);
        avx512_finish<kType>(
            to, mask, avx512_dequantise(_mm512_loadu_si512(sums), factor, scale_x, scale_w, bias));
      }
    }
  }
}

static void avx512_epilogue(const CpuTile& t, int sums_stride) {
  switch (t.out_type) {
    case DataType::float16: return avx512_write_tile<DataType::float16>(t, sums_stride);
    case DataType::bfloat16: return avx512_write_tile<DataType::bfloat16>(t, sums_stride);
    case DataType::int32: return avx512_write_tile<DataType::int32>(t, sums_stride);
    default: return avx512_write_tile<DataType::float32>(t, sums_stride);
  }
}

}  // namespace quoin
