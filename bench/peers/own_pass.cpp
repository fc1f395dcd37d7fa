// The passes of own_pass.h. Compiled on its own with the AVX-512 flags and -ffp-contract=off: the
// contract rounds every multiplication and addition. All of them move bytes: at 128x2048x2048 they
// are about 3% of a peer's time.
#include "own_pass.h"

#include <immintrin.h>

#include <algorithm>

namespace quoin_peer_pass {
namespace {

// Columns one thread takes at a time: 2 KiB of float16, so that M = 1 still spreads over the
// threads.
constexpr int64_t kColumns = 1024;

// Below this many elements a second thread costs more than it saves (a fork and join is about a
// microsecond).
constexpr int64_t kWorthForking = 16384;

int team(int threads, int64_t elements) { return elements < kWorthForking ? 1 : threads; }

__mmask16 first_lanes(int64_t count) {
  return count >= 16 ? static_cast<__mmask16>(0xFFFF) : static_cast<__mmask16>((1u << count) - 1u);
}

__m512 load_product(const int32_t* product, const int32_t* correction, __mmask16 lanes) {
  __m512i value = _mm512_maskz_loadu_epi32(lanes, product);
  if (correction != nullptr) {
    value = _mm512_sub_epi32(value, _mm512_maskz_loadu_epi32(lanes, correction));
  }
  return _mm512_cvtepi32_ps(value);
}

__m512 load_product(const float* product, const int32_t*, __mmask16 lanes) {
  return _mm512_maskz_loadu_ps(lanes, product);
}

template <Rest kRest, typename Product>
void finish_run(const Finish& job, int64_t row, int64_t first, int64_t last, const Product* product,
                uint16_t* y) {
  const __m512 factor = _mm512_set1_ps(job.factor);
  const __m512 scale_x = _mm512_set1_ps(job.scale_x[row]);
  for (int64_t col = first; col < last; col += 16) {
    const __mmask16 lanes = first_lanes(last - col);
    const int32_t* correction = job.column_correction ? job.column_correction + col : nullptr;
    __m512 value = load_product(product + row * job.n + col, correction, lanes);
    if constexpr (kRest == Rest::kEverything) value = _mm512_mul_ps(value, factor);
    if constexpr (kRest != Rest::kConversion) value = _mm512_mul_ps(value, scale_x);
    if constexpr (kRest == Rest::kEverything) {
      value = _mm512_mul_ps(value, _mm512_maskz_loadu_ps(lanes, job.scale_w + col));
    }
    if constexpr (kRest != Rest::kConversion) {
      value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(lanes, job.bias + col));
    }
    const __m256i half = _mm512_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    _mm256_mask_storeu_epi16(y + row * job.n + col, lanes, half);
  }
}

template <Rest kRest, typename Product>
void finish_all(const Finish& job, const Product* product, uint16_t* y) {
  const int64_t blocks = (job.n + kColumns - 1) / kColumns;
#pragma omp parallel for collapse(2) schedule(static) num_threads(team(job.threads, job.m* job.n))
  for (int64_t row = 0; row < job.m; ++row) {
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t first = block * kColumns;
      finish_run<kRest>(job, row, first, std::min(first + kColumns, job.n), product, y);
    }
  }
}

template <typename Product>
void finish_any(const Finish& job, const Product* product, uint16_t* y) {
  switch (job.rest) {
    case Rest::kEverything: return finish_all<Rest::kEverything>(job, product, y);
    case Rest::kRow: return finish_all<Rest::kRow>(job, product, y);
    case Rest::kConversion: return finish_all<Rest::kConversion>(job, product, y);
  }
}

}  // namespace

void finish(const Finish& job, const int32_t* product, uint16_t* y) { finish_any(job, product, y); }
void finish(const Finish& job, const float* product, uint16_t* y) { finish_any(job, product, y); }

void shift_to_unsigned(const int8_t* from, int64_t count, int threads, uint8_t* to) {
  const __m512i sign = _mm512_set1_epi8(static_cast<char>(0x80));
#pragma omp parallel for schedule(static) num_threads(team(threads, count / 4))
  for (int64_t i = 0; i < count; i += 64) {
    const __mmask64 lanes = count - i >= 64 ? ~0ull : (1ull << (count - i)) - 1;
    _mm512_mask_storeu_epi8(to + i, lanes,
                            _mm512_xor_si512(_mm512_maskz_loadu_epi8(lanes, from + i), sign));
  }
}

void convert_to_float(const int8_t* from, int64_t count, int threads, float* to) {
#pragma omp parallel for schedule(static) num_threads(team(threads, count))
  for (int64_t i = 0; i < count; i += 16) {
    const __mmask16 lanes = first_lanes(count - i);
    const __m512i wide = _mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(lanes, from + i));
    _mm512_mask_storeu_ps(to + i, lanes, _mm512_cvtepi32_ps(wide));
  }
}

void widen(const uint16_t* from, int64_t count, float* to) {
  for (int64_t i = 0; i < count; i += 16) {
    const __mmask16 lanes = first_lanes(count - i);
    _mm512_mask_storeu_ps(to + i, lanes,
                          _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(lanes, from + i)));
  }
}

}  // namespace quoin_peer_pass
