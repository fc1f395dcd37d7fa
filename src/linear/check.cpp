#include "linear/check.h"

#include <algorithm>
#include <functional>
#include <string>

#include "linear/errors.h"
#include "quoin/linear.h"

namespace quoin {
namespace {

std::string list(std::initializer_list<DataType> types) {
  std::string text;
  for (const DataType type : types) {
    if (!text.empty()) text += type == *(types.end() - 1) ? " or " : ", ";
    text += name(type);
  }
  return text;
}

Status check_type(std::string_view what, const ConstTensor& tensor,
                  std::initializer_list<DataType> types) {
  if (std::find(types.begin(), types.end(), tensor.type) != types.end()) return {};
  return fail(ErrorCode::invalid_argument, "{} is {}; it must be {}", what, to_string(tensor),
              list(types));
}

/// Bytes from the first to the last element; nothing where that overflows.
std::optional<std::int64_t> extent_bytes(const ConstTensor& t) {
  if (t.shape[0] == 0 || (t.rank == 2 && t.shape[1] == 0)) return 0;
  const std::int64_t row_stride = t.rank == 2 ? t.strides[0] : 1;
  std::int64_t elements = 0, bytes = 0;
  if (__builtin_mul_overflow(t.shape[0] - 1, row_stride, &elements) ||
      __builtin_add_overflow(elements, t.rank == 2 ? t.shape[1] : 1, &elements) ||
      __builtin_mul_overflow(elements, size_of(t.type), &bytes)) {
    return {};
  }
  return bytes;
}

Status check_memory(std::string_view what, const ConstTensor& tensor) {
  const std::optional<std::int64_t> bytes = extent_bytes(tensor);
  if (!bytes) {
    return fail(ErrorCode::invalid_argument, "{} is {}, which spans more than 2^63 bytes", what,
                to_string(tensor));
  }
  if (*bytes > 0 && tensor.data == nullptr) {
    return fail(ErrorCode::invalid_argument, "{} is {} with a null pointer", what,
                to_string(tensor));
  }
  return {};
}

}  // namespace

Status check_matrix(std::string_view what, const ConstTensor& tensor,
                    std::initializer_list<DataType> types, std::int64_t rows, std::int64_t cols) {
  if (tensor.rank != 2) {
    return fail(ErrorCode::invalid_argument, "{} has rank {}; it must be a matrix (rank 2)", what,
                tensor.rank);
  }
  if (Status status = check_type(what, tensor, types); !status) return status;
  if (tensor.shape[0] < 0 || tensor.shape[1] < 0) {
    return fail(ErrorCode::invalid_argument, "{} is {}: sizes must not be negative", what,
                to_string(tensor));
  }
  if ((rows >= 0 && tensor.shape[0] != rows) || (cols >= 0 && tensor.shape[1] != cols)) {
    return fail(ErrorCode::invalid_argument, "{} is {}; it must have shape [{}, {}]", what,
                to_string(tensor), rows >= 0 ? std::to_string(rows) : "any",
                cols >= 0 ? std::to_string(cols) : "any");
  }
  const bool has_rows = tensor.shape[0] > 0;  // the strides of nothing may be anything
  if (has_rows && tensor.shape[1] > 1 && tensor.strides[1] != 1) {
    return fail(ErrorCode::invalid_argument,
                "{} is {}: its columns must be contiguous (strides[1] = 1); copy it, or pass the "
                "tensor it is a transpose of",
                what, to_string(tensor));
  }
  if (tensor.shape[0] > 1 && tensor.strides[0] < tensor.shape[1]) {
    return fail(ErrorCode::invalid_argument,
                "{} is {}: rows must lie at least their length apart (strides[0] >= {})", what,
                to_string(tensor), tensor.shape[1]);
  }
  return check_memory(what, tensor);
}

Status check_vector(std::string_view what, const ConstTensor& tensor,
                    std::initializer_list<DataType> types, std::int64_t size) {
  const bool is_vector = tensor.rank == 1 || (tensor.rank == 2 && tensor.shape[1] == 1);
  if (!is_vector) {
    return fail(ErrorCode::invalid_argument,
                "{} is of rank {}; it must be a vector [{}] or [{}, 1]", what, tensor.rank, size,
                size);
  }
  if (Status status = check_type(what, tensor, types); !status) return status;
  if (tensor.shape[0] != size) {
    return fail(ErrorCode::invalid_argument, "{} is {}; it must hold {} values", what,
                to_string(tensor), size);
  }
  if (size > 1 && tensor.strides[0] != 1) {
    return fail(ErrorCode::invalid_argument, "{} is {}: it must be contiguous (strides[0] = 1)",
                what, to_string(tensor));
  }
  return check_memory(what, tensor);
}

Status check_threads(int threads) {
  if (threads >= 1 && threads <= kMaxThreads) return {};
  return fail(ErrorCode::invalid_argument, "threads is {}; it must be 1 to {}", threads,
              kMaxThreads);
}

Status check_place(int device, const void* stream) {
  if (device < kCpu) {
    return fail(ErrorCode::invalid_argument,
                "device is {}; it must be kCpu (-1) or the number of a CUDA device", device);
  }
  if (device == kCpu && stream != nullptr) {
    return fail(ErrorCode::invalid_argument,
                "stream is {}, but the operands are the CPU's, which has no streams", stream);
  }
  return {};
}

Status check_apart(std::string_view output_name, const ConstTensor& output,
                   std::string_view input_name, const ConstTensor& input) {
  const auto* out = static_cast<const char*>(output.data);
  const auto* in = static_cast<const char*>(input.data);
  const std::int64_t out_bytes = extent_bytes(output).value_or(0);
  const std::int64_t in_bytes = extent_bytes(input).value_or(0);
  const std::less<> before;
  if (out_bytes == 0 || in_bytes == 0 || !before(out, in + in_bytes) ||
      !before(in, out + out_bytes)) {
    return {};
  }
  return fail(ErrorCode::invalid_argument,
              "{} ({}) and {} ({}) overlap in memory; {} needs its own", output_name,
              to_string(output), input_name, to_string(input), output_name);
}

}  // namespace quoin
