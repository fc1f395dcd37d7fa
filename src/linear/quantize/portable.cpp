// The quantiser's row in plain C++, in loops that a compiler vectorises. See quantize.h.
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "linear/epilogue.h"
#include "linear/quantize/quantize.h"

namespace quoin {
namespace {

// Adding and subtracting 1.5 * 2^23 rounds a float of small magnitude to an integer, ties to even.
constexpr float kRoundToInteger = 12582912.0F;

template <DataType kType>
float load(const void* x, std::int64_t i) {
  constexpr std::int64_t kBytes = size_of(kType);
  std::uint32_t bits = 0;  // of any alignment, so copied; little-endian, as the whole project
  std::memcpy(&bits, static_cast<const char*>(x) + i * kBytes, kBytes);
  if constexpr (kType == DataType::float32) return epilogue::float_of(bits);
  const auto half = static_cast<std::uint16_t>(bits);
  if constexpr (kType == DataType::float16) return epilogue::float_from_half(half);
  return epilogue::float_from_bfloat16(half);
}

template <DataType kType>
void quantize(const void* x, std::int64_t k, std::int8_t* codes, float* scale) {
  std::uint32_t bits = 0;
  for (std::int64_t i = 0; i < k; ++i) {
    bits = std::max(bits, epilogue::bits_of(load<kType>(x, i)) & 0x7FFFFFFFU);
  }
  const bool finite = bits < 0x7F800000U;
  *scale = epilogue::float_of(finite ? bits : epilogue::kNan32);
  if (bits == 0 || !finite) {
    if (k > 0) std::memset(codes, 0, static_cast<std::size_t>(k));
    return;
  }
  const float divisor = *scale;
  for (std::int64_t i = 0; i < k; ++i) {
    const float value = 127.0F * (load<kType>(x, i) / divisor);
    codes[i] = static_cast<std::int8_t>((value + kRoundToInteger) - kRoundToInteger);
  }
}

}  // namespace

void quantize_row_portable(const void* x, DataType type, std::int64_t k, std::int8_t* codes,
                           float* scale) {
  switch (type) {
    case DataType::float16: return quantize<DataType::float16>(x, k, codes, scale);
    case DataType::bfloat16: return quantize<DataType::bfloat16>(x, k, codes, scale);
    default: return quantize<DataType::float32>(x, k, codes, scale);
  }
}

}  // namespace quoin
