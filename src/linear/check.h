// Checks of the tensors that callers pass, shared by every entry point. Each error names the
// tensor, what it is and what it should be.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string_view>

#include "quoin/result.h"
#include "quoin/tensor.h"

namespace quoin {

/// A matrix of one of `types`, [rows, cols] (-1: any), columns contiguous, rows apart, not null.
[[nodiscard]] Status check_matrix(std::string_view what, const ConstTensor& tensor,
                                  std::initializer_list<DataType> types, std::int64_t rows = -1,
                                  std::int64_t cols = -1);

/// A contiguous vector of one of `types`: [size] or [size, 1], not null.
[[nodiscard]] Status check_vector(std::string_view what, const ConstTensor& tensor,
                                  std::initializer_list<DataType> types, std::int64_t size);

/// 1 to kMaxThreads.
[[nodiscard]] Status check_threads(int threads);

/// A device is kCpu or not negative, and a stream is a GPU's.
[[nodiscard]] Status check_place(int device, const void* stream);

/// An output shares no byte with an input.
[[nodiscard]] Status check_apart(std::string_view output_name, const ConstTensor& output,
                                 std::string_view input_name, const ConstTensor& input);

inline constexpr int kMaxThreads = 1024;

}  // namespace quoin
