// Backend portable: plain C++ in loops that a compiler vectorises for whatever it builds for. The
// fallback on every architecture, and the simplest thing to read first.
//
// Layout of a block: its channels one after another, each K bytes padded with zeros to a multiple
// of 4. Tile 8 x 16.
#include <cstdint>
#include <cstring>

#include "linear/epilogue.h"
#include "linear/kernels/cpu/kernels.h"
#include "linear/quantize/quantize.h"

namespace quoin {
namespace {

constexpr int kTileRows = 8;
constexpr int kTileCols = 16;
constexpr std::int64_t kChunk = 512;  // of k: (8 + 16) x 512 words are 24 KiB, half of an L1 cache

using Words = std::int16_t[kChunk];

/// Bytes to words: the multiply-add that SSE2 and NEON have takes words, and compilers find it only
/// in a loop that has nothing else in it.
void widen(const std::int8_t* bytes, std::int64_t count, Words& words) {
  for (std::int64_t i = 0; i < count; ++i) words[i] = bytes[i];
}

/// sums[r] += sum over i of x[r][i] * w[i], for four rows that share the loads of w.
void dot4(const Words* x, const Words& w, std::int64_t count, std::int32_t* sums) {
  std::int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    s0 += std::int32_t{x[0][i]} * w[i];
    s1 += std::int32_t{x[1][i]} * w[i];
    s2 += std::int32_t{x[2][i]} * w[i];
    s3 += std::int32_t{x[3][i]} * w[i];
  }
  sums[0] += s0;
  sums[1] += s1;
  sums[2] += s2;
  sums[3] += s3;
}

/// One finished output, written wherever it lies.
void store(const CpuTile& t, int r, int c, std::int32_t acc) {
  char* to = static_cast<char*>(t.y) + r * t.y_stride_bytes + c * size_of(t.out_type);
  if (t.out_type == DataType::int32) {
    std::memcpy(to, &acc, 4);
    return;
  }
  const float value = epilogue::dequantise(acc, t.factor, t.scale_x[r], t.scale_w[c], t.bias[c]);
  if (t.out_type == DataType::float32) {
    const float canonical = epilogue::canonical_float(value);
    std::memcpy(to, &canonical, 4);
    return;
  }
  const std::uint16_t half = t.out_type == DataType::float16 ? epilogue::half_from_float(value)
                                                             : epilogue::bfloat16_from_float(value);
  std::memcpy(to, &half, 2);
}

void tile(const CpuTile& t) {
  Words x[kTileRows];
  Words w;
  std::int32_t sums[kTileCols][kTileRows] = {};
  const std::int64_t channel_bytes = (t.k + 3) / 4 * 4;
  for (std::int64_t from = 0; from < t.k; from += kChunk) {
    const std::int64_t count = t.k - from < kChunk ? t.k - from : kChunk;
    for (int r = 0; r < kTileRows; ++r) {  // missing rows repeat the last one and are not stored
      const int row = r < t.rows ? r : t.rows - 1;
      widen(t.x + row * t.x_stride_elems + from, count, x[r]);
    }
    for (int c = 0; c < t.cols; ++c) {
      const auto* channel = reinterpret_cast<const std::int8_t*>(t.weight + c * channel_bytes);
      widen(channel + from, count, w);
      for (int r = 0; r < t.rows; r += 4) dot4(x + r, w, count, sums[c] + r);
    }
  }
  for (int r = 0; r < t.rows; ++r) {
    for (int c = 0; c < t.cols; ++c) store(t, r, c, sums[c][r]);
  }
}

}  // namespace

const CpuKernels kPortableKernels = {tile, nullptr, quantize_row_portable};

}  // namespace quoin
