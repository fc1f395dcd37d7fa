// Numbers as Python computes with them: 64-bit integers (an overflow is unknown), doubles, floor
// division. Shared by the host and the tile interpreter.
#pragma once

#include <string_view>

#include "architect/model/host/value.h"

namespace quoin::architect {

[[nodiscard]] Val parse_integer(std::string_view text);
[[nodiscard]] Val parse_real(std::string_view text);
/// Unknown where an operand is no number or the result does not exist.
[[nodiscard]] Val binary_number(Operator op, const Val& left, const Val& right);
[[nodiscard]] Val compare_number(Operator op, const Val& left, const Val& right);
[[nodiscard]] Val unary_number(Operator op, const Val& value);
/// Equality of numbers, strings, sequences, types and None; -1 unknown.
[[nodiscard]] int equal_values(const Val& left, const Val& right, int depth = 0);

}  // namespace quoin::architect
