// Backend avx2: vpmaddwd on sign-extended words. Any x86-64 since Haswell and Zen.
//
// vpmaddubsw, the 8-bit multiply of AVX2, saturates at 16 bits and so is not exact; vpmaddwd takes
// words, and both operands have to be widened first. Widening x in the inner loop would cost more
// than the products, so up to kChunk of k is widened once into a buffer on the stack and used for a
// whole block of channels; weights are widened as they are loaded, once for 6 rows.
//
// Layout of a block: panels of 16 channels. For each pair of k, 16 channels x 2 bytes; odd K is
// padded with a zero. Tile 6 x 16: 12 sums, 2 weight vectors, a broadcast and a product, of 16
// registers.
#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "linear/kernels/cpu/avx2_epilogue.h"
#include "linear/kernels/cpu/kernels.h"
#include "linear/kernels/cpu/unroll.h"
#include "linear/quantize/quantize.h"

namespace quoin {
namespace {

constexpr int kTileRows = 6;
constexpr int kPanelCols = 16;
constexpr int kBlockCols = 128;
constexpr int kPanels = kBlockCols / kPanelCols;
constexpr std::int64_t kChunk = 2048;  // 6 rows x 2048 x 2 bytes = 24 KiB: half of a level-1 cache

// Rows of words, a line further apart than a multiple of 4 KiB: six broadcasts from one bank of the
// level-1 cache would wait for one another.
using WideRows = std::int16_t[kTileRows][kChunk + 32];

/// wide[r, i] = x[r, i] for one chunk of k, padded to a pair with a zero.
void widen_rows(const CpuTile& t, std::int64_t from, std::int64_t count, WideRows& wide) {
  for (int r = 0; r < t.rows; ++r) {
    const std::int8_t* x = t.x + r * t.x_stride_elems + from;
    std::int64_t i = 0;
    for (; i + 16 <= count; i += 16) {
      const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x + i));
      _mm256_store_si256(reinterpret_cast<__m256i*>(wide[r] + i), _mm256_cvtepi8_epi16(bytes));
    }
    for (; i < count; ++i) wide[r][i] = x[i];
    if (count % 2 != 0) wide[r][count] = 0;
  }
}

/// acc[kRows, 16] += wide[kRows, 2 * pairs] * panel. Every kPrefetchSpan of k, `lines` more lines
/// from `prefetch` on are fetched into the second-level cache.
template <int kRows>
void accumulate(const WideRows& wide, const std::uint8_t* panel, std::int64_t pairs,
                std::int32_t* acc, const std::uint8_t* prefetch, int lines) {
  // Four sums a cycle retire at best; fewer than 4 rows x 2 vectors would wait on vpaddd's one
  // cycle of latency only, so single-row tiles need no second set of sums.
  __m256i sum[kRows * 2];
  unroll<kRows * 2>([&](auto i) QUOIN_INLINE {
    sum[i] = _mm256_load_si256(
        reinterpret_cast<const __m256i*>(acc + (i / 2) * kBlockCols + (i % 2) * 8));
  });
  const auto step = [&](std::int64_t p) QUOIN_INLINE {
    const auto* bytes = reinterpret_cast<const __m128i*>(panel);
    const __m256i low = _mm256_cvtepi8_epi16(_mm_loadu_si128(bytes));
    const __m256i high = _mm256_cvtepi8_epi16(_mm_loadu_si128(bytes + 1));
    unroll<kRows>([&](auto r) QUOIN_INLINE {
      std::int32_t pair;
      std::memcpy(&pair, wide[r] + 2 * p, 4);
      const __m256i xr = _mm256_set1_epi32(pair);
      sum[r * 2] = _mm256_add_epi32(sum[r * 2], _mm256_madd_epi16(low, xr));
      sum[r * 2 + 1] = _mm256_add_epi32(sum[r * 2 + 1], _mm256_madd_epi16(high, xr));
    });
    panel += kPanelCols * 2;
  };
  constexpr std::int64_t kSpanPairs = kPrefetchSpan / 2;
  std::int64_t p = 0;
  for (; p + kSpanPairs <= pairs; p += kSpanPairs) {
    for (std::int64_t i = 0; i < kSpanPairs; ++i) step(p + i);
    for (int line = 0; line < lines; ++line, prefetch += 64) __builtin_prefetch(prefetch, 0, 2);
  }
  for (; p < pairs; ++p) step(p);
  unroll<kRows * 2>([&](auto i) QUOIN_INLINE {
    _mm256_store_si256(reinterpret_cast<__m256i*>(acc + (i / 2) * kBlockCols + (i % 2) * 8),
                       sum[i]);
  });
}

using Accumulate = void (*)(const WideRows&, const std::uint8_t*, std::int64_t, std::int32_t*,
                            const std::uint8_t*, int);
constexpr Accumulate kAccumulate[kTileRows] = {accumulate<1>, accumulate<2>, accumulate<3>,
                                               accumulate<4>, accumulate<5>, accumulate<6>};

/// The lines of y that this tile will write.
void prefetch_output(const CpuTile& t) {
  const int bytes = t.cols * size_of(t.out_type);
  for (int r = 0; r < t.rows; ++r) {
    const char* row = static_cast<const char*>(t.y) + r * t.y_stride_bytes;
    for (int at = 0; at < bytes; at += 64) __builtin_prefetch(row + at, 1);
  }
}

void tile(const CpuTile& t) {
  alignas(64) WideRows wide;
  if (t.last_chunk) prefetch_output(t);
  if (t.first_chunk) std::memset(t.sums, 0, sizeof(std::int32_t) * kTileRows * kBlockCols);
  const std::uint8_t* prefetch = t.prefetch;
  const int panels = (t.cols + kPanelCols - 1) / kPanelCols;
  const std::int64_t panel_bytes = (t.k + 1) / 2 * 2 * kPanelCols;
  for (std::int64_t from = 0; from < t.k; from += kChunk) {
    const std::int64_t count = t.k - from < kChunk ? t.k - from : kChunk;
    widen_rows(t, from, count, wide);
    for (int p = 0; p < panels; ++p) {
      const std::uint8_t* panel = t.weight + p * panel_bytes + from * kPanelCols;
      // This tile's share of the next block, dealt out over the panels.
      const int lines = t.prefetch_lines / kPanels + (p < t.prefetch_lines % kPanels ? 1 : 0);
      kAccumulate[t.rows - 1](wide, panel, (count + 1) / 2, t.sums + p * kPanelCols, prefetch,
                              lines);
      prefetch += lines * (count / kPrefetchSpan) * 64;
    }
  }
  if (t.last_chunk) avx2_epilogue(t, kBlockCols);
}

}  // namespace

static_assert(kPanels * kPanelCols == kBlockCols);

const CpuKernels kAvx2Kernels = {tile, nullptr, quantize_row_avx2};

}  // namespace quoin
