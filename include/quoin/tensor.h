// Views of vectors and matrices that the caller owns: pointer, element type, shape, strides.
//
//   std::vector<std::int8_t> codes(128 * 2048);
//   quoin::Tensor x = quoin::matrix(codes.data(), 128, 2048);            // [128, 2048], contiguous
//   quoin::Tensor left = quoin::matrix(codes.data(), 128, 1024, 2048);   // its left half, in place
//
// A view never owns, copies or frees anything; the memory must outlive the call that takes it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace quoin {

enum class DataType : std::uint8_t { int8, int32, float16, bfloat16, float32 };

/// IEEE 754 binary16, as its bits. Storage only: quoin computes in float32.
struct Float16 {
  std::uint16_t bits;
};

/// The upper half of an IEEE 754 binary32, as its bits. Storage only.
struct BFloat16 {
  std::uint16_t bits;
};

/// Bytes of one element.
[[nodiscard]] constexpr std::int64_t size_of(DataType type) noexcept {
  switch (type) {
    case DataType::int8: return 1;
    case DataType::float16:
    case DataType::bfloat16: return 2;
    case DataType::int32:
    case DataType::float32: return 4;
  }
  return 0;
}

/// "int8", "int32", "float16", "bfloat16" or "float32".
[[nodiscard]] std::string_view name(DataType type) noexcept;

/// The inverse of `name`; nothing for any other text.
[[nodiscard]] std::optional<DataType> parse_data_type(std::string_view text) noexcept;

namespace detail {
template <class T>
inline constexpr bool kHasDataType = false;
template <class T>
inline constexpr DataType kDataType{};
template <>
inline constexpr bool kHasDataType<std::int8_t> = true;
template <>
inline constexpr DataType kDataType<std::int8_t> = DataType::int8;
template <>
inline constexpr bool kHasDataType<std::int32_t> = true;
template <>
inline constexpr DataType kDataType<std::int32_t> = DataType::int32;
template <>
inline constexpr bool kHasDataType<Float16> = true;
template <>
inline constexpr DataType kDataType<Float16> = DataType::float16;
template <>
inline constexpr bool kHasDataType<BFloat16> = true;
template <>
inline constexpr DataType kDataType<BFloat16> = DataType::bfloat16;
template <>
inline constexpr bool kHasDataType<float> = true;
template <>
inline constexpr DataType kDataType<float> = DataType::float32;
}  // namespace detail

/// A vector (rank 1) or a matrix (rank 2). Shape and strides count elements, not bytes; for a
/// vector, shape[1] is 1 and strides[1] is unused.
template <class Pointer>
struct BasicTensor {
  Pointer data = nullptr;
  DataType type = DataType::float32;
  int rank = 0;
  std::array<std::int64_t, 2> shape{};
  std::array<std::int64_t, 2> strides{};
};

/// A view that quoin writes through.
struct Tensor : BasicTensor<void*> {};

/// A view that quoin only reads. Every `Tensor` is one.
struct ConstTensor : BasicTensor<const void*> {
  ConstTensor() = default;
  ConstTensor(const BasicTensor<const void*>& t) : BasicTensor(t) {}  // NOLINT: a plain widening
  ConstTensor(const Tensor& t)                                        // NOLINT: a plain widening
      : BasicTensor{t.data, t.type, t.rank, t.shape, t.strides} {}
};

/// "float16 [128, 2048] strides [2048, 1]": a view's type, shape and strides, for messages.
[[nodiscard]] std::string to_string(const ConstTensor& tensor);

/// A row-major matrix of `type`; rows lie `row_stride_elems` elements apart (default: `cols`).
[[nodiscard]] inline Tensor matrix(void* data, DataType type, std::int64_t rows, std::int64_t cols,
                                   std::optional<std::int64_t> row_stride_elems = {}) noexcept {
  return Tensor{{data, type, 2, {rows, cols}, {row_stride_elems.value_or(cols), 1}}};
}
[[nodiscard]] inline ConstTensor matrix(
    const void* data, DataType type, std::int64_t rows, std::int64_t cols,
    std::optional<std::int64_t> row_stride_elems = {}) noexcept {
  return BasicTensor<const void*>{
      data, type, 2, {rows, cols}, {row_stride_elems.value_or(cols), 1}};
}

/// A contiguous vector of `type`.
[[nodiscard]] inline Tensor vector(void* data, DataType type, std::int64_t size) noexcept {
  return Tensor{{data, type, 1, {size, 1}, {1, 1}}};
}
[[nodiscard]] inline ConstTensor vector(const void* data, DataType type,
                                        std::int64_t size) noexcept {
  return BasicTensor<const void*>{data, type, 1, {size, 1}, {1, 1}};
}

/// The same with the element type taken from the pointer: std::int8_t, std::int32_t,
/// quoin::Float16, quoin::BFloat16 or float, const or not.
template <class T, class = std::enable_if_t<detail::kHasDataType<std::remove_const_t<T>>>>
[[nodiscard]] auto matrix(T* data, std::int64_t rows, std::int64_t cols,
                          std::optional<std::int64_t> row_stride_elems = {}) noexcept {
  using Void = std::conditional_t<std::is_const_v<T>, const void*, void*>;
  return matrix(static_cast<Void>(data), detail::kDataType<std::remove_const_t<T>>, rows, cols,
                row_stride_elems);
}
template <class T, class = std::enable_if_t<detail::kHasDataType<std::remove_const_t<T>>>>
[[nodiscard]] auto vector(T* data, std::int64_t size) noexcept {
  using Void = std::conditional_t<std::is_const_v<T>, const void*, void*>;
  return vector(static_cast<Void>(data), detail::kDataType<std::remove_const_t<T>>, size);
}

}  // namespace quoin
