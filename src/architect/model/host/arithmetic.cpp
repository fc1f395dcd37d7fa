#include "architect/model/host/arithmetic.h"

#include <charconv>
#include <cmath>
#include <string>

namespace quoin::architect {
namespace {

Val integer_result(Operator op, std::int64_t a, std::int64_t b) {
  std::int64_t made = 0;
  switch (op) {
    case Operator::add: return __builtin_add_overflow(a, b, &made) ? unknown_val() : int_val(made);
    case Operator::subtract:
      return __builtin_sub_overflow(a, b, &made) ? unknown_val() : int_val(made);
    case Operator::multiply:
      return __builtin_mul_overflow(a, b, &made) ? unknown_val() : int_val(made);
    case Operator::divide:
      return b == 0 ? unknown_val() : real_val(static_cast<double>(a) / static_cast<double>(b));
    case Operator::floor_divide:
    case Operator::modulo: {
      if (b == 0 || (a == INT64_MIN && b == -1)) return unknown_val();
      std::int64_t quotient = a / b;
      if (a % b != 0 && (a < 0) != (b < 0)) --quotient;
      return int_val(op == Operator::modulo ? a - quotient * b : quotient);
    }
    case Operator::power: {
      if (b < 0) return real_val(std::pow(static_cast<double>(a), static_cast<double>(b)));
      if (b > 63 && a != 0 && a != 1 && a != -1) return unknown_val();
      made = 1;
      for (std::int64_t i = 0; i < b && i < 64; ++i) {
        if (__builtin_mul_overflow(made, a, &made)) return unknown_val();
      }
      return int_val(b > 63 && a == -1 && b % 2 == 0 ? 1 : made);
    }
    case Operator::bit_and: return int_val(a & b);
    case Operator::bit_or: return int_val(a | b);
    case Operator::bit_xor: return int_val(a ^ b);
    case Operator::shift_left: {
      if (b < 0 || b > 62) return unknown_val();
      return __builtin_mul_overflow(a, std::int64_t{1} << b, &made) ? unknown_val() : int_val(made);
    }
    case Operator::shift_right: return b < 0 || b > 63 ? unknown_val() : int_val(a >> b);
    default: return unknown_val();
  }
}

Val real_result(Operator op, double a, double b) {
  switch (op) {
    case Operator::add: return real_val(a + b);
    case Operator::subtract: return real_val(a - b);
    case Operator::multiply: return real_val(a * b);
    case Operator::divide: return b == 0 ? unknown_val() : real_val(a / b);
    case Operator::floor_divide: return b == 0 ? unknown_val() : real_val(std::floor(a / b));
    case Operator::modulo: return b == 0 ? unknown_val() : real_val(a - std::floor(a / b) * b);
    case Operator::power: return real_val(std::pow(a, b));
    default: return unknown_val();
  }
}

template <class T>
Val ordered(Operator op, const T& a, const T& b) {
  switch (op) {
    case Operator::less: return bool_val(a < b);
    case Operator::less_equal: return bool_val(a <= b);
    case Operator::greater: return bool_val(a > b);
    case Operator::greater_equal: return bool_val(a >= b);
    case Operator::equal: return bool_val(a == b);
    case Operator::not_equal: return bool_val(!(a == b));
    default: return unknown_val();
  }
}

}  // namespace

Val parse_integer(std::string_view text) {
  std::string digits;
  for (const char c : text) {
    if (c != '_') digits.push_back(c);
  }
  int base = 10;
  std::size_t skip = 0;
  if (digits.size() > 2 && digits[0] == '0') {
    const char kind = digits[1];
    base = kind == 'x' || kind == 'X'   ? 16
           : kind == 'b' || kind == 'B' ? 2
           : kind == 'o' || kind == 'O' ? 8
                                        : 10;
    skip = base == 10 ? 0 : 2;
  }
  std::int64_t value = 0;
  const char* end = digits.data() + digits.size();
  const auto read = std::from_chars(digits.data() + skip, end, value, base);
  if (read.ec != std::errc() || read.ptr != end) return unknown_val();
  return int_val(value);
}

Val parse_real(std::string_view text) {
  std::string digits;
  for (const char c : text) {
    if (c != '_') digits.push_back(c);
  }
  double value = 0;
  const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (read.ec != std::errc()) return unknown_val();
  return real_val(value);
}

Val binary_number(Operator op, const Val& left, const Val& right) {
  if (!left.is_number() || !right.is_number()) return unknown_val();
  if (left.is_integer() && right.is_integer()) {
    const Val made = integer_result(op, left.number, right.number);
    const bool logic = op == Operator::bit_and || op == Operator::bit_or || op == Operator::bit_xor;
    if (logic && left.is(ValKind::boolean) && right.is(ValKind::boolean)) {
      return bool_val(made.number != 0);
    }
    return made;
  }
  return real_result(op, left.as_real(), right.as_real());
}

Val compare_number(Operator op, const Val& left, const Val& right) {
  if (!left.is_number() || !right.is_number()) return unknown_val();
  if (left.is_integer() && right.is_integer()) return ordered(op, left.number, right.number);
  return ordered(op, left.as_real(), right.as_real());
}

Val unary_number(Operator op, const Val& value) {
  if (!value.is_number()) return unknown_val();
  if (op == Operator::plus) return value;
  if (value.is_integer()) {
    if (op == Operator::invert) return int_val(~value.number);
    return value.number == INT64_MIN ? unknown_val() : int_val(-value.number);
  }
  return op == Operator::negate ? real_val(-value.real) : unknown_val();
}

int equal_values(const Val& left, const Val& right, int depth) {
  if (!left.known() || !right.known() || depth > 8) return -1;
  if (left.is_number() && right.is_number()) {
    return compare_number(Operator::equal, left, right).number != 0 ? 1 : 0;
  }
  if (left.is_sequence() && right.is_sequence()) {
    const auto& a = items_of(left);
    const auto& b = items_of(right);
    if (a.size() != b.size()) return 0;
    int all = 1;
    for (std::size_t i = 0; i < a.size(); ++i) {
      const int same = equal_values(a[i], b[i], depth + 1);
      if (same == 0) return 0;
      if (same < 0) all = -1;
    }
    return all;
  }
  if (left.kind != right.kind) {
    // A device compares with its name.
    const bool devices = left.is(ValKind::device) || right.is(ValKind::device);
    return devices && (left.is(ValKind::string) || right.is(ValKind::string)) ? 1 : 0;
  }
  switch (left.kind) {
    case ValKind::null:
    case ValKind::ellipsis:
    case ValKind::device: return 1;
    case ValKind::string: return text_of(left) == text_of(right) ? 1 : 0;
    case ValKind::dtype: return left.number == right.number ? 1 : 0;
    case ValKind::tensor: return left.number == right.number ? 1 : -1;
    case ValKind::builtin:
      return as<BuiltinObject>(left).path == as<BuiltinObject>(right).path ? 1 : 0;
    default: return left.object == right.object ? 1 : 0;
  }
}

}  // namespace quoin::architect
