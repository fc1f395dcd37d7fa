// Backend portable: plain C++ in loops that a compiler vectorises for whatever it builds for. The
// fallback on every architecture, and the simplest thing to read first.
//
// Layout of a block: its channels one after another, each K bytes padded with zeros to a multiple
// of 4.
#include <cstdint>
#include <cstring>

#include "linear/epilogue.h"
#include "linear/kernels/cpu/kernels.h"
#include "linear/quantize/quantize.h"

namespace quoin {
namespace {

constexpr int kTileRows = 4;
constexpr int kTileCols = 16;

/// sums[r] = sum over k of x[r] * w, for four rows that share the loads of w.
void dot4(const std::int8_t* const (&x)[kTileRows], const std::int8_t* w, std::int64_t k,
          std::int32_t (&sums)[kTileRows]) {
  const std::int8_t* x0 = x[0];
  const std::int8_t* x1 = x[1];
  const std::int8_t* x2 = x[2];
  const std::int8_t* x3 = x[3];
  std::int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
  for (std::int64_t i = 0; i < k; ++i) {  // int16 operands: the multiply-add that SSE2 and NEON have
    const std::int16_t wi = w[i];
    s0 += std::int16_t{x0[i]} * wi;
    s1 += std::int16_t{x1[i]} * wi;
    s2 += std::int16_t{x2[i]} * wi;
    s3 += std::int16_t{x3[i]} * wi;
  }
  sums[0] = s0;
  sums[1] = s1;
  sums[2] = s2;
  sums[3] = s3;
}

/// One finished output, written wherever it lies.
void store(const CpuTile& t, int r, int c, std::int32_t acc) {
  char* to = static_cast<char*>(t.y) + r * t.y_stride_bytes + c * size_of(t.out_type);
  if (t.out_type == DataType::int32) {
    std::memcpy(to, &acc, 4);
    return;
  }
  const float value =
      epilogue::dequantise(acc, t.factor, t.scale_x[r], t.scale_w[c], t.bias[c]);
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
  const std::int64_t channel_bytes = (t.k + 3) / 4 * 4;
  const std::int8_t* x[kTileRows];
  for (int r = 0; r < kTileRows; ++r) {  // missing rows repeat the last one and are not stored
    x[r] = t.x + (r < t.rows ? r : t.rows - 1) * t.x_stride_elems;
  }
  for (int c = 0; c < t.cols; ++c) {
    const auto* w = reinterpret_cast<const std::int8_t*>(t.weight + c * channel_bytes);
    std::int32_t sums[kTileRows];
    dot4(x, w, t.k, sums);
    for (int r = 0; r < t.rows; ++r) store(t, r, c, sums[r]);
  }
}

}  // namespace

static_assert(kTileCols > 0);

const CpuKernels kPortableKernels = {tile, nullptr, quantize_row_portable};

}  // namespace quoin
