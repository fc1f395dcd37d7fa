#include "linear/oracle.h"

#include <cmath>
#include <cstring>

namespace quoin {
namespace {

/// The bits of a double rounded to a binary format with `fraction` stored bits, by its definition:
/// the value over the spacing of the format's numbers around it, rounded to an even integer.
std::uint32_t round_to_format(double value, int fraction, int exponent_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const std::uint32_t sign = (std::signbit(value) ? 1U : 0U) << (fraction + exponent_bits);
  const std::uint32_t infinity = ((1U << exponent_bits) - 1) << fraction;
  if (std::isnan(value)) return infinity | (infinity - 1U) | ((1U << fraction) - 1);
  const double magnitude = std::fabs(value);
  if (std::isinf(value)) return sign | infinity;
  int exponent = magnitude == 0 ? 1 - bias : std::ilogb(magnitude);
  if (exponent < 1 - bias) exponent = 1 - bias;  // subnormals share the smallest spacing
  const auto units =
      static_cast<std::uint64_t>(std::nearbyint(std::ldexp(magnitude, fraction - exponent)));
  // Counting from zero, the numbers of a binary format are its bit patterns in order.
  const std::uint64_t bits =
      (static_cast<std::uint64_t>(exponent - (1 - bias)) << fraction) + units;
  return sign | (bits >= infinity ? infinity : static_cast<std::uint32_t>(bits));
}

float bits_to_float(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

/// A float32 rounding of an exact or double-rounded-innocent value: products of two float32 are
/// exact in double, and a sum of two rounded to double first rounds the same (53 >= 2 * 24 + 2).
float to_float(double value) { return bits_to_float(oracle_round(value, DataType::float32)); }

}  // namespace

std::uint32_t oracle_round(double value, DataType type) {
  switch (type) {
    case DataType::float16: return std::isnan(value) ? 0x7FFFU : round_to_format(value, 10, 5);
    case DataType::bfloat16: return std::isnan(value) ? 0x7FFFU : round_to_format(value, 7, 8);
    default: return std::isnan(value) ? 0x7FFFFFFFU : round_to_format(value, 23, 8);
  }
}

std::uint32_t oracle_output(const OracleLinear& p, std::int64_t row, std::int64_t col) {
  std::int64_t acc = 0;
  for (std::int64_t i = 0; i < p.k; ++i) {
    acc += std::int64_t{p.x[row * p.x_stride + i]} * p.w[col * p.w_stride + i];
  }
  if (p.out_type == DataType::int32) return static_cast<std::uint32_t>(acc);
  const float by_factor = to_float(double{to_float(static_cast<double>(acc))} * p.factor);
  const float by_row = to_float(double{by_factor} * p.scale_x[row]);
  const float by_column = to_float(double{by_row} * p.scale_w[col]);
  const float sum = to_float(double{by_column} + (p.bias != nullptr ? p.bias[col] : 0.0));
  return oracle_round(sum, p.out_type);
}

void oracle_quantize(const float* x, std::int64_t k, std::int8_t* codes,
                     std::uint32_t* scale_bits) {
  double scale = 0;
  bool finite = true;
  for (std::int64_t i = 0; i < k; ++i) {
    finite = finite && std::isfinite(x[i]);
    scale = std::fmax(scale, std::fabs(double{x[i]}));
  }
  *scale_bits = oracle_round(finite ? scale : std::nan(""), DataType::float32);
  for (std::int64_t i = 0; i < k; ++i) {
    const double ratio = finite && scale > 0 ? to_float(double{x[i]} / scale) : 0.0;
    codes[i] = static_cast<std::int8_t>(std::nearbyint(double{to_float(127.0 * ratio)}));
  }
}

}  // namespace quoin
