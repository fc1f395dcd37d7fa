// Backend avx512_vnni: vpdpbusd on 512-bit registers. Intel from Ice Lake, AMD from Zen 4.
//
// Tile 8 x 48: 24 sums, 3 weight vectors and a broadcast fill 28 of the 32 registers, and a block
// of 48 channels is read from the second-level cache at 16 bytes a cycle. Measured on Zen 5 against
// 6 x 64 and 12 x 32 (docs/cpu-log.md).
#include <immintrin.h>

#include <cstdint>

#include "linear/kernels/cpu/avx512_epilogue.h"
#include "linear/kernels/cpu/kernels.h"
#include "linear/kernels/cpu/vnni_tile.h"
#include "linear/quantize/quantize.h"

namespace quoin {
namespace {

constexpr int kTileRows = 8;
constexpr int kTileVectors = 3;

struct Avx512Vnni {
  using Vec = __m512i;
  static constexpr int kLanes = 16;
  QUOIN_INLINE static Vec load(const void* p) { return _mm512_loadu_si512(p); }
  QUOIN_INLINE static void store(void* p, Vec v) { _mm512_storeu_si512(p, v); }
  QUOIN_INLINE static Vec broadcast(std::int32_t v) { return _mm512_set1_epi32(v); }
  QUOIN_INLINE static Vec add(Vec a, Vec b) { return _mm512_add_epi32(a, b); }
  QUOIN_INLINE static Vec dot(Vec sum, Vec u8, Vec s8) { return _mm512_dpbusd_epi32(sum, u8, s8); }
};

using Accumulate = void (*)(const CpuTile&);

// [vectors - 1][rows - 1]: the last block of a layer may be one or two vectors narrower.
constexpr Accumulate kAccumulate[kTileVectors][kTileRows] = {
    {vnni_accumulate<Avx512Vnni, 1, 1>, vnni_accumulate<Avx512Vnni, 2, 1>,
     vnni_accumulate<Avx512Vnni, 3, 1>, vnni_accumulate<Avx512Vnni, 4, 1>,
     vnni_accumulate<Avx512Vnni, 5, 1>, vnni_accumulate<Avx512Vnni, 6, 1>,
     vnni_accumulate<Avx512Vnni, 7, 1>, vnni_accumulate<Avx512Vnni, 8, 1>},
    {vnni_accumulate<Avx512Vnni, 1, 2>, vnni_accumulate<Avx512Vnni, 2, 2>,
     vnni_accumulate<Avx512Vnni, 3, 2>, vnni_accumulate<Avx512Vnni, 4, 2>,
     vnni_accumulate<Avx512Vnni, 5, 2>, vnni_accumulate<Avx512Vnni, 6, 2>,
     vnni_accumulate<Avx512Vnni, 7, 2>, vnni_accumulate<Avx512Vnni, 8, 2>},
    {vnni_accumulate<Avx512Vnni, 1, 3>, vnni_accumulate<Avx512Vnni, 2, 3>,
     vnni_accumulate<Avx512Vnni, 3, 3>, vnni_accumulate<Avx512Vnni, 4, 3>,
     vnni_accumulate<Avx512Vnni, 5, 3>, vnni_accumulate<Avx512Vnni, 6, 3>,
     vnni_accumulate<Avx512Vnni, 7, 3>, vnni_accumulate<Avx512Vnni, 8, 3>},
};

/// Asks for the tile's lines of y while its sums are computed: 24 stores at its end would otherwise
/// wait for them one after the other.
void prefetch_output(const CpuTile& t) {
  const char* row = static_cast<const char*>(t.y);
  for (int r = 0; r < t.rows; ++r, row += t.y_stride_bytes) {
    __builtin_prefetch(row, 1);
    __builtin_prefetch(row + 64, 1);
  }
}

void tile(const CpuTile& t) {
  if (t.last_chunk) prefetch_output(t);
  const int vectors = (t.cols + Avx512Vnni::kLanes - 1) / Avx512Vnni::kLanes;
  kAccumulate[vectors - 1][t.rows - 1](t);
  if (t.last_chunk) avx512_epilogue(t, vectors * Avx512Vnni::kLanes);
}

void row_sums(const std::int8_t* x, std::int64_t x_stride_elems, std::int64_t rows, std::int64_t k,
              std::int32_t* sums) {
  const __m512i ones = _mm512_set1_epi8(1);
  for (std::int64_t r = 0; r < rows; ++r, x += x_stride_elems) {
    __m512i sum = _mm512_setzero_si512();
    std::int64_t i = 0;
    for (; i + 64 <= k; i += 64) {
      sum = _mm512_dpbusd_epi32(sum, ones, _mm512_loadu_si512(x + i));
    }
    if (i < k) {
      const __mmask64 rest = ~0ULL >> (64 - (k - i));
      sum = _mm512_dpbusd_epi32(sum, ones, _mm512_maskz_loadu_epi8(rest, x + i));
    }
    sums[r] = _mm512_reduce_add_epi32(sum);
  }
}

}  // namespace

const CpuKernels kAvx512VnniKernels = {tile, row_sums, quantize_row_avx512};

}  // namespace quoin
