// What the elements of a tensor lie between, where the code shows it: constants, clamps,
// activations, and arithmetic on what is known. A result whose two bounds are equal is a constant
// whatever the input, and all work for it needless.
#include <algorithm>
#include <cmath>
#include <initializer_list>

#include "architect/model/torch/torch.h"

namespace quoin::architect {
namespace {

bool one_of(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool is_point(const Bounds& b) { return b.low == b.high && std::isfinite(b.low); }

/// Of a single value, for activations that are not monotone or whose bounds matter little.
double at_point(std::string_view name, double x, bool& known) {
  const double logistic = 1 / (1 + std::exp(-x));
  if (name == "gelu") return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
  if (one_of(name, {"silu", "swish"})) return x * logistic;
  if (name == "mish") return x * std::tanh(std::log1p(std::exp(x)));
  if (name == "softplus") return std::log1p(std::exp(x));
  if (name == "exp") return std::exp(x);
  if (one_of(name, {"elu", "selu", "celu", "leaky_relu"}) && x == 0) return 0;
  if (name == "abs") return std::fabs(x);
  if (name == "neg") return -x;
  if (name == "square") return x * x;
  known = false;
  return 0;
}

/// Whether every reduced dimension of the first argument has one element.
bool of_single_elements(const Torch& t, const Shape& shape) {
  Shape dims = t.integers(1, "dim");
  if (dims.empty()) dims = t.integers(SIZE_MAX, "axis");
  if (dims.empty()) return elements_of(shape) == 1;
  for (const std::int64_t dim : dims) {
    if (shape.empty() || shape[wrapped_dim(dim, shape.size())] != 1) return false;
  }
  return true;
}

Bounds clamped(const Bounds& x, double low, double high) {
  return {std::min(std::max(x.low, low), high), std::min(std::max(x.high, low), high)};
}

Bounds combined(std::string_view name, const Bounds& x, const Bounds& y) {
  if (one_of(name, {"minimum", "min", "fmin"}))
    return {std::min(x.low, y.low), std::min(x.high, y.high)};
  if (one_of(name, {"maximum", "max", "fmax"}))
    return {std::max(x.low, y.low), std::max(x.high, y.high)};
  if (name == "add") return {x.low + y.low, x.high + y.high};
  if (one_of(name, {"sub", "subtract"})) return {x.low - y.high, x.high - y.low};
  if (one_of(name, {"mul", "multiply"})) {
    const double all[] = {x.low * y.low, x.low * y.high, x.high * y.low, x.high * y.high};
    return {*std::min_element(all, all + 4), *std::max_element(all, all + 4)};
  }
  return {};
}

Bounds of_unary(const Torch& t, std::string_view name, const Bounds& x) {
  if (name == "relu") return clamped(x, 0, HUGE_VAL);
  if (name == "relu6") return clamped(x, 0, 6);
  if (name == "hardtanh") return clamped(x, t.real(1, "min_val", -1), t.real(2, "max_val", 1));
  if (one_of(name, {"clamp", "clip"})) {
    return clamped(x, t.real(1, "min", -HUGE_VAL), t.real(2, "max", HUGE_VAL));
  }
  if (name == "clamp_min") return clamped(x, t.real(1, "min", -HUGE_VAL), HUGE_VAL);
  if (name == "clamp_max") return clamped(x, -HUGE_VAL, t.real(1, "max", HUGE_VAL));
  if (one_of(name, {"sigmoid", "expit"})) {
    return {1 / (1 + std::exp(-x.low)), 1 / (1 + std::exp(-x.high))};
  }
  if (name == "tanh") return {std::tanh(x.low), std::tanh(x.high)};
  if (one_of(name, {"to", "float", "half", "bfloat16", "type", "contiguous", "clone", "detach"})) {
    return x;
  }
  if (is_point(x)) {
    bool known = true;
    const double value = at_point(name, x.low, known);
    if (known) return {value, value};
  }
  return {};
}

/// The tensor that this one repeats element by element.
ValueId identity(const Torch& t, const Val& value) {
  if (!value.is_tensor()) return -1;
  const Value& held = t.value(value.tensor());
  return held.same_as >= 0 ? held.same_as : value.tensor();
}

}  // namespace

Bounds bounds_of(const Torch& t, const Val& value) {
  if (value.is_number()) return {value.as_real(), value.as_real()};
  if (!value.is_tensor()) return {};
  const std::vector<double> contents = t.in.contents_of(value);
  if (!contents.empty()) {
    const auto [low, high] = std::minmax_element(contents.begin(), contents.end());
    return {*low, *high};
  }
  const Value& held = t.value(value.tensor());
  // Valid while nothing else was written to the storage.
  const std::vector<OpId> writers = t.rec.operand(value.tensor(), "").producers;
  const OpId last = writers.empty() ? -1 : writers.back();
  return writers.size() <= 1 && last == held.bounded_by ? held.bounds : Bounds{};
}

void note_bounds(Torch& t, std::string_view name, const std::array<Bounds, 2>& before,
                 const Val& result) {
  Val made = result;
  if (made.is_sequence() && !items_of(made).empty()) made = items_of(made)[0];
  const Val first = t.call.positional.empty() ? t.arg(0, "input") : t.call.positional[0];
  const Val second = t.call.positional.size() > 1 ? t.call.positional[1] : t.arg(1, "other");
  if (!made.is_tensor() || !(first.is_tensor() || second.is_tensor())) return;
  // The tensor itself or a view of it keeps what is known.
  const bool shares =
      first.is_tensor() && t.value(made.tensor()).storage == t.value(first.tensor()).storage;
  if (shares && !t.in_place) return;
  Bounds bounds;
  ValueId same = -1;
  const Shape shape = first.is_tensor() ? t.value(first.tensor()).shape : Shape{};
  const bool two =
      second.is_tensor() || (second.is_number() && one_of(name, {"add", "sub", "mul"}));
  if (two && first.known()) {
    bounds = combined(name, before[0], before[1]);
    const bool subtracts = one_of(name, {"sub", "subtract"}) && identity(t, first) >= 0;
    if (subtracts && identity(t, first) == identity(t, second)) bounds = {0, 0};
  } else if (one_of(name, {"mean", "max", "min", "amax", "amin", "sum", "prod", "logsumexp"})) {
    const bool keeps_bounds = one_of(name, {"mean", "max", "min", "amax", "amin"});
    const bool single = of_single_elements(t, shape);
    if (single || keeps_bounds) bounds = before[0];
    if (single) same = identity(t, first);
  } else if (one_of(name, {"softmax", "log_softmax"})) {
    const std::int64_t dim = t.integer(1, "dim", -1);
    const bool single = !shape.empty() && shape[wrapped_dim(dim, shape.size())] == 1;
    const bool logarithm = name == "log_softmax";
    bounds = logarithm ? Bounds{-HUGE_VAL, 0} : Bounds{0, 1};
    if (single) bounds = logarithm ? Bounds{0, 0} : Bounds{1, 1};
  } else {
    bounds = of_unary(t, name, before[0]);
  }
  if (std::isnan(bounds.low) || std::isnan(bounds.high)) bounds = {};
  Value& held = t.rec.value(made.tensor());
  const std::vector<OpId> writers = t.rec.operand(made.tensor(), "").producers;
  if (writers.size() > 1) bounds = {};
  held.bounds = bounds;
  held.bounded_by = writers.empty() ? -1 : writers.back();
  if (same != made.tensor()) held.same_as = same;
}

}  // namespace quoin::architect
