// Making an Error from its values.
#pragma once

#include <fmt/format.h>

#include <utility>

#include "quoin/result.h"

namespace quoin {

template <class... Args>
[[nodiscard]] Error fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  return {code, fmt::format(format, std::forward<Args>(args)...)};
}

/// Runs a check or a call that may fail, from a noexcept function: where even the message cannot be
/// allocated, the error goes without one.
template <class Call>
[[nodiscard]] Status guarded(const Call& call) noexcept {
  try {
    return call();
  } catch (...) {
    return Error{ErrorCode::out_of_memory, {}};
  }
}

}  // namespace quoin
