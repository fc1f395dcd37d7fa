// Names and texts of the public value types.
#include "quoin/tensor.h"

#include <fmt/format.h>

#include <array>

#include "quoin/result.h"

namespace quoin {
namespace {

constexpr std::array<DataType, 5> kDataTypes{DataType::int8, DataType::int32, DataType::float16,
                                             DataType::bfloat16, DataType::float32};

}  // namespace

std::string_view name(DataType type) noexcept {
  switch (type) {
    case DataType::int8: return "int8";
    case DataType::int32: return "int32";
    case DataType::float16: return "float16";
    case DataType::bfloat16: return "bfloat16";
    case DataType::float32: return "float32";
  }
  return "unknown";
}

std::optional<DataType> parse_data_type(std::string_view text) noexcept {
  for (const DataType type : kDataTypes) {
    if (name(type) == text) return type;
  }
  return {};
}

std::string_view name(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::invalid_argument: return "invalid_argument";
    case ErrorCode::unsupported: return "unsupported";
    case ErrorCode::unavailable: return "unavailable";
    case ErrorCode::out_of_memory: return "out_of_memory";
  }
  return "unknown";
}

std::string to_string(const ConstTensor& tensor) {
  if (tensor.rank == 1) return fmt::format("{} [{}]", name(tensor.type), tensor.shape[0]);
  return fmt::format("{} [{}, {}] strides [{}, {}]", name(tensor.type), tensor.shape[0],
                     tensor.shape[1], tensor.strides[0], tensor.strides[1]);
}

}  // namespace quoin
