// The operator's contract, written as plainly as it can be: what every backend is compared with, in
// the tests, in `quoin verify` and in the demo. Slow, single-threaded, and independent of the
// library's own arithmetic: rounding goes through double and nextafter, not through bit tricks.
#pragma once

#include <cstdint>

#include "quoin/tensor.h"

namespace quoin {

struct OracleLinear {
  const std::int8_t* x = nullptr;  // [m, k], rows x_stride apart
  const std::int8_t* w = nullptr;  // [n, k], rows w_stride apart
  const float* scale_x = nullptr;  // [m]; null with int32 output
  const float* scale_w = nullptr;  // [n]; null with int32 output
  const double* bias = nullptr;    // [n], values of whatever type; null: none
  std::int64_t m = 0, n = 0, k = 0;
  std::int64_t x_stride = 0, w_stride = 0;  // elements
  float factor = 1.0F;
  DataType out_type = DataType::float16;
};

/// The bits of y[row, col].
[[nodiscard]] std::uint32_t oracle_output(const OracleLinear& problem, std::int64_t row,
                                          std::int64_t col);

/// The bits of `value` rounded to a type: ties to even, overflow to infinity, NaN canonical.
[[nodiscard]] std::uint32_t oracle_round(double value, DataType type);

/// One row of quantize_rows: k codes and the bits of the scale, from k float32 values.
void oracle_quantize(const float* x, std::int64_t k, std::int8_t* codes, std::uint32_t* scale_bits);

}  // namespace quoin
