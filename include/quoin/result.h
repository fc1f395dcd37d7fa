// How quoin reports failure: a value, never an exception, an abort or a line on the terminal.
//
// A `Status` is either ok or holds one `Error`; a `Result<T>` is either a T or one `Error`. Every
// message names the offending values and what to do about them, so it can be shown as it is.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace quoin {

enum class ErrorCode : std::uint8_t {
  invalid_argument,  // the call is wrong: a shape, a stride, a type, a null pointer
  unsupported,       // the call is right, but quoin does not do it: K over 131,071, say
  unavailable,       // this machine or this build cannot: no such instruction set, no GPU
  out_of_memory,     // an allocation failed in a call that allocates (prepare)
};

/// The name of an error code as it stands in this header, e.g. "invalid_argument".
[[nodiscard]] std::string_view name(ErrorCode code) noexcept;

struct Error {
  ErrorCode code = ErrorCode::invalid_argument;
  std::string message;  // one sentence that holds the offending values
};

/// The outcome of a call that returns nothing else. No allocation where it is ok.
class [[nodiscard]] Status {
 public:
  Status() noexcept = default;
  Status(Error error) noexcept : error_(std::move(error)) {}  // NOLINT: an Error is a Status

  [[nodiscard]] bool ok() const noexcept { return !error_.has_value(); }
  explicit operator bool() const noexcept { return ok(); }

  /// The error. Only where `ok()` is false.
  [[nodiscard]] const Error& error() const noexcept { return *error_; }

 private:
  std::optional<Error> error_;
};

/// A T, or the reason why there is none.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT: a T is one
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT: so is this

  [[nodiscard]] bool ok() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return ok(); }

  /// The value. Only where `ok()` is true.
  [[nodiscard]] T& value() & noexcept { return *std::get_if<0>(&state_); }
  [[nodiscard]] const T& value() const& noexcept { return *std::get_if<0>(&state_); }
  [[nodiscard]] T&& value() && noexcept { return std::move(*std::get_if<0>(&state_)); }
  [[nodiscard]] T* operator->() noexcept { return std::get_if<0>(&state_); }
  [[nodiscard]] const T* operator->() const noexcept { return std::get_if<0>(&state_); }

  /// The error. Only where `ok()` is false.
  [[nodiscard]] const Error& error() const noexcept { return *std::get_if<1>(&state_); }

 private:
  std::variant<T, Error> state_;
};

}  // namespace quoin
