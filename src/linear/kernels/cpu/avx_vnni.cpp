// Backend avx_vnni: vpdpbusd on 256-bit registers, in its VEX form. Intel from Alder Lake, AMD
// from Zen 5: for machines without AVX-512.
//
// Tile 6 x 16: 12 sums, 2 weight vectors and a broadcast, of 16 registers.
#include <immintrin.h>

#include <cstdint>

#include "linear/kernels/cpu/avx2_epilogue.h"
#include "linear/kernels/cpu/kernels.h"
#include "linear/kernels/cpu/vnni_tile.h"
#include "linear/quantize/quantize.h"

namespace quoin {
namespace {

constexpr int kTileRows = 6;
constexpr int kTileVectors = 2;

struct AvxVnni {
  using Vec = __m256i;
  static constexpr int kLanes = 8;
  QUOIN_INLINE static Vec load(const void* p) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(p));
  }
  QUOIN_INLINE static void store(void* p, Vec v) {
    _mm256_storeu_si256(static_cast<__m256i*>(p), v);
  }
  QUOIN_INLINE static Vec broadcast(std::int32_t v) { return _mm256_set1_epi32(v); }
  QUOIN_INLINE static Vec add(Vec a, Vec b) { return _mm256_add_epi32(a, b); }
  QUOIN_INLINE static Vec dot(Vec sum, Vec u8, Vec s8) {
    return _mm256_dpbusd_avx_epi32(sum, u8, s8);
  }
};

using Accumulate = void (*)(const CpuTile&);

constexpr Accumulate kAccumulate[kTileRows] = {
    vnni_accumulate<AvxVnni, 1, 2>, vnni_accumulate<AvxVnni, 2, 2>, vnni_accumulate<AvxVnni, 3, 2>,
    vnni_accumulate<AvxVnni, 4, 2>, vnni_accumulate<AvxVnni, 5, 2>, vnni_accumulate<AvxVnni, 6, 2>};

void tile(const CpuTile& t) {
  kAccumulate[t.rows - 1](t);
  if (t.last_chunk) avx2_epilogue(t, kTileVectors * AvxVnni::kLanes);
}

void row_sums(const std::int8_t* x, std::int64_t x_stride_elems, std::int64_t rows, std::int64_t k,
              std::int32_t* sums) {
  const __m256i ones = _mm256_set1_epi8(1);
  for (std::int64_t r = 0; r < rows; ++r, x += x_stride_elems) {
    __m256i sum = _mm256_setzero_si256();
    std::int64_t i = 0;
    for (; i + 32 <= k; i += 32) {
      sum = _mm256_dpbusd_avx_epi32(sum, ones, AvxVnni::load(x + i));
    }
    alignas(32) std::int32_t lanes[8];
    _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), sum);
    sums[r] = 0;
    for (const std::int32_t lane : lanes) sums[r] += lane;
    for (; i < k; ++i) sums[r] += x[i];
  }
}

}  // namespace

const CpuKernels kAvxVnniKernels = {tile, row_sums, quantize_row_avx2};

}  // namespace quoin
