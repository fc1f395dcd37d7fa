// Elementwise functions. `steps` is the arithmetic per element, about: 1 for an add, 8 for an exp.
#include <algorithm>
#include <unordered_map>

#include "architect/model/torch/torch.h"

namespace quoin::architect {
namespace {

enum class Gives : std::uint8_t { same, real, boolean };

struct Unary {
  std::string_view name;
  double steps;
  Gives gives = Gives::same;
};

constexpr Unary kUnary[] = {
    {"relu", 1},
    {"relu6", 2},
    {"leaky_relu", 2},
    {"hardtanh", 2},
    {"hardswish", 4},
    {"hardsigmoid", 3},
    {"threshold", 1},
    {"clamp", 2},
    {"clip", 2},
    {"clamp_min", 1},
    {"clamp_max", 1},
    {"abs", 1},
    {"absolute", 1},
    {"neg", 1},
    {"negative", 1},
    {"positive", 0},
    {"sign", 2},
    {"sgn", 2},
    {"floor", 1},
    {"ceil", 1},
    {"round", 1},
    {"trunc", 1},
    {"frac", 2},
    {"square", 1},
    {"nan_to_num", 3},
    {"hardshrink", 2},
    {"softshrink", 3},
    {"prelu", 2},
    {"rrelu", 2},
    {"bitwise_not", 1},
    {"reciprocal", 4, Gives::real},
    {"sqrt", 4, Gives::real},
    {"rsqrt", 4, Gives::real},
    {"exp", 8, Gives::real},
    {"exp2", 8, Gives::real},
    {"expm1", 10, Gives::real},
    {"log", 8, Gives::real},
    {"log2", 8, Gives::real},
    {"log10", 8, Gives::real},
    {"log1p", 10, Gives::real},
    {"sin", 10, Gives::real},
    {"cos", 10, Gives::real},
    {"tan", 12, Gives::real},
    {"asin", 12, Gives::real},
    {"acos", 12, Gives::real},
    {"atan", 12, Gives::real},
    {"sinh", 12, Gives::real},
    {"cosh", 12, Gives::real},
    {"tanh", 12, Gives::real},
    {"sigmoid", 10, Gives::real},
    {"logit", 12, Gives::real},
    {"erf", 14, Gives::real},
    {"erfc", 14, Gives::real},
    {"erfinv", 20, Gives::real},
    {"gelu", 16},
    {"silu", 11},
    {"swish", 11},
    {"mish", 20},
    {"softplus", 12},
    {"softsign", 5},
    {"elu", 10},
    {"selu", 10},
    {"celu", 10},
    {"tanhshrink", 13},
    {"logsigmoid", 14},
    {"lgamma", 30},
    {"digamma", 30},
    {"logical_not", 1, Gives::boolean},
    {"isnan", 1, Gives::boolean},
    {"isinf", 1, Gives::boolean},
    {"isfinite", 1, Gives::boolean},
    {"signbit", 1, Gives::boolean},
    {"tril", 1},
    {"triu", 1},
    {"relu_", 1},
    {"deg2rad", 1},
    {"rad2deg", 1},
    {"expit", 10, Gives::real},
    {"dequantize", 2, Gives::real},
};

Type given_type(Gives gives, Type from) {
  if (gives == Gives::boolean) return Type::boolean;
  if (gives == Gives::real && !is_float(from)) return Type::float32;
  return from;
}

struct Binary {
  std::string_view name;
  double steps;
  Gives gives = Gives::same;
};

constexpr Binary kBinary[] = {
    {"add", 1},
    {"sub", 1},
    {"subtract", 1},
    {"rsub", 1},
    {"mul", 1},
    {"multiply", 1},
    {"div", 4, Gives::real},
    {"divide", 4, Gives::real},
    {"true_divide", 4, Gives::real},
    {"floor_divide", 5},
    {"remainder", 6},
    {"fmod", 6},
    {"pow", 16},
    {"maximum", 1},
    {"minimum", 1},
    {"fmax", 1},
    {"fmin", 1},
    {"atan2", 16, Gives::real},
    {"hypot", 6},
    {"copysign", 2},
    {"bitwise_and", 1},
    {"bitwise_or", 1},
    {"bitwise_xor", 1},
    {"bitwise_left_shift", 1},
    {"bitwise_right_shift", 1},
    {"eq", 1, Gives::boolean},
    {"ne", 1, Gives::boolean},
    {"lt", 1, Gives::boolean},
    {"le", 1, Gives::boolean},
    {"gt", 1, Gives::boolean},
    {"ge", 1, Gives::boolean},
    {"greater", 1, Gives::boolean},
    {"less", 1, Gives::boolean},
    {"not_equal", 1, Gives::boolean},
    {"logical_and", 1, Gives::boolean},
    {"logical_or", 1, Gives::boolean},
    {"logical_xor", 1, Gives::boolean},
    {"isclose", 4, Gives::boolean},
    {"heaviside", 2},
    {"logaddexp", 24, Gives::real},
    {"xlogy", 10, Gives::real},
    {"arctan2", 16, Gives::real},
};

/// A scalar takes part in the type only where it is of a higher kind; 0-dim tensors likewise.
Type joined_type(const Torch& t, const std::vector<Val>& operands) {
  Type type = Type::unknown;
  Type weak = Type::unknown;
  for (const Val& operand : operands) {
    if (operand.is_tensor()) {
      const Value& value = t.value(operand.tensor());
      Type& into = value.shape.empty() ? weak : type;
      into = promoted(into, value.type);
    } else if (operand.is(ValKind::real)) {
      weak = promoted(weak, Type::float32);
    } else if (operand.is(ValKind::integer)) {
      weak = promoted(weak, Type::int64);
    }
  }
  if (type == Type::unknown) return weak;
  if (is_float(weak) && !is_float(type)) return Type::float32;
  return type;
}

Val binary_of(Torch& t, std::string_view name, double steps, Gives gives,
              const std::vector<Val>& operands) {
  std::vector<ValueId> inputs;
  for (const Val& operand : operands) {
    if (operand.is_tensor()) inputs.push_back(operand.tensor());
  }
  if (inputs.empty()) return unknown_val();
  return t.elementwise(name, inputs, given_type(gives, joined_type(t, operands)), steps);
}

bool binary(Torch& t, Val& result) {
  for (const Binary& row : kBinary) {
    if (row.name != t.call.name) continue;
    Val left = t.arg(0, "input");
    Val right = t.arg(1, "other");
    if (!right.known()) right = t.arg(1, "exponent");
    double steps = row.steps;
    if (row.name == "pow" && right.is_integer()) steps = std::abs(right.number) <= 4 ? 2 : 16;
    if (t.arg(SIZE_MAX, "alpha").is_number()) ++steps;
    Gives gives = row.gives;
    if (row.name == "div" && t.arg(SIZE_MAX, "rounding_mode").is(ValKind::string)) {
      gives = Gives::same;
    }
    result = binary_of(t, row.name, steps, gives, {left, right});
    return result.known();
  }
  return false;
}

/// min and max of two tensors are elementwise, of one a reduction (reductions.cpp).
bool where(Torch& t, Val& result) {
  const Val condition = t.arg(0, "condition");
  const Val yes = t.arg(1, "input");
  const Val no = t.arg(2, "other");
  std::vector<ValueId> inputs;
  for (const Val& operand : {condition, yes, no}) {
    if (operand.is_tensor()) inputs.push_back(operand.tensor());
  }
  if (inputs.empty() || t.call.positional.size() < 3) return false;
  result = t.elementwise("where", inputs, joined_type(t, {yes, no}), 1);
  return true;
}

bool masked_fill(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  const ValueId mask = t.tensor(1, "mask");
  if (x < 0 || mask < 0) return false;
  result = t.elementwise("masked_fill", {x, mask}, t.value(x).type, 1);
  return true;
}

bool ternary(Torch& t, Val& result) {  // addcmul, addcdiv, lerp
  std::vector<ValueId> inputs;
  for (std::size_t i = 0; i < 3; ++i) {
    static constexpr std::string_view kNames[] = {"input", "tensor1", "tensor2"};
    const ValueId one = t.tensor(i, kNames[i]);
    if (one >= 0) inputs.push_back(one);
  }
  if (inputs.empty()) return false;
  result = t.elementwise(t.call.name, inputs, t.value(inputs[0]).type, 3);
  return true;
}

bool glu(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  if (x < 0) return false;
  Shape shape = t.value(x).shape;
  if (shape.empty()) return false;
  shape[wrapped_dim(t.integer(1, "dim", -1), shape.size())] /= 2;
  const ValueId made = t.rec.make(shape, t.value(x).type);
  t.record(OpKind::elementwise, "glu", {x}, {made}, 11 * static_cast<double>(elements_of(shape)));
  result = tensor_val(made);
  return true;
}

bool dropout(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  if (x < 0) return false;
  result = make_dropout(t, x, t.real(1, "p", 0.5), t.flag(2, "training", true));
  return true;
}

constexpr TorchRow kRows[] = {
    {"where", where},
    {"masked_fill", masked_fill},
    {"addcmul", ternary},
    {"addcdiv", ternary},
    {"lerp", ternary},
    {"glu", glu},
    {"dropout", dropout},
    {"dropout1d", dropout},
    {"dropout2d", dropout},
    {"dropout3d", dropout},
    {"alpha_dropout", dropout},
    {"feature_dropout", dropout},
    {"add", binary},
    {"sub", binary},
    {"subtract", binary},
    {"rsub", binary},
    {"mul", binary},
    {"multiply", binary},
    {"div", binary},
    {"divide", binary},
    {"true_divide", binary},
    {"floor_divide", binary},
    {"remainder", binary},
    {"fmod", binary},
    {"pow", binary},
    {"maximum", binary},
    {"minimum", binary},
    {"fmax", binary},
    {"fmin", binary},
    {"atan2", binary},
    {"hypot", binary},
    {"copysign", binary},
    {"bitwise_and", binary},
    {"bitwise_or", binary},
    {"bitwise_xor", binary},
    {"bitwise_left_shift", binary},
    {"bitwise_right_shift", binary},
    {"eq", binary},
    {"ne", binary},
    {"lt", binary},
    {"le", binary},
    {"gt", binary},
    {"ge", binary},
    {"greater", binary},
    {"less", binary},
    {"not_equal", binary},
    {"logical_and", binary},
    {"logical_or", binary},
    {"logical_xor", binary},
    {"isclose", binary},
    {"heaviside", binary},
    {"logaddexp", binary},
    {"xlogy", binary},
    {"arctan2", binary},
};

}  // namespace

std::span<const TorchRow> elementwise_functions() { return kRows; }

/// In training mode about every element is scaled or zeroed, and a mask is written too.
Val make_dropout(Torch& t, ValueId x, double p, bool training) {
  if (!training || p == 0) return tensor_val(x);
  const ValueId made = t.make_like(x, t.value(x).type);
  Op op = t.make_op(OpKind::random, "dropout", {x}, {made},
                    12 * static_cast<double>(elements_of(t.value(x))));
  op.bytes_written = bytes_of(t.value(made)) + static_cast<double>(elements_of(t.value(made)));
  t.rec.record(std::move(op));
  return tensor_val(made);
}

bool call_unary(Torch& t, std::string_view name, Val& result) {
  static const auto rows = [] {
    std::unordered_map<std::string_view, const Unary*> made;
    for (const Unary& row : kUnary) made.emplace(row.name, &row);
    return made;
  }();
  const auto found = rows.find(name);
  if (found == rows.end()) return false;
  const Val first = t.arg(0, "input");
  if (!first.is_tensor()) {
    result = unknown_val();
    return !first.known();
  }
  const Unary& row = *found->second;
  std::vector<ValueId> inputs = {first.tensor()};
  for (const char* bound : {"min", "max", "weight"}) {  // clamp with tensors, prelu
    const Val given = t.in.keyword(t.call, bound);
    if (given.is_tensor()) inputs.push_back(given.tensor());
  }
  for (std::size_t i = 1; i < t.call.positional.size(); ++i) {
    if (t.call.positional[i].is_tensor()) inputs.push_back(t.call.positional[i].tensor());
  }
  if (name == "prelu" && inputs.size() == 2) inputs.pop_back();
  result =
      t.elementwise(row.name, inputs, given_type(row.gives, t.value(inputs[0]).type), row.steps);
  return true;
}

}  // namespace quoin::architect
