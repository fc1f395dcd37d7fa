// Python's builtin functions, and those of math, numpy, triton and the odd standard module, as far
// as host code of kernels uses them.
#include <algorithm>
#include <cmath>

#include "architect/model/host/arithmetic.h"
#include "architect/model/host/interpreter.h"
#include "architect/model/torch/torch.h"

namespace quoin::architect {
namespace {

/// A tensor of one element where it is known.
Val scalar_of(Interpreter& interpreter, const Val& value) {
  const std::vector<double> held = interpreter.contents_of(value);
  if (held.size() != 1) return value;
  return is_float(interpreter.recorder.value(value.tensor()).type)
             ? real_val(held[0])
             : int_val(static_cast<std::int64_t>(held[0]));
}

Val to_integer(const Val& value) {
  if (value.is_integer()) return int_val(value.number);
  if (value.is(ValKind::real) && std::abs(value.real) < 9e18) {
    return int_val(static_cast<std::int64_t>(value.real));
  }
  if (value.is(ValKind::string)) return parse_integer(text_of(value));
  return unknown_val();
}

Val to_real(const Val& value) {
  if (value.is_number()) return real_val(value.as_real());
  if (!value.is(ValKind::string)) return unknown_val();
  const std::string_view text = text_of(value);
  if (text == "inf" || text == "+inf" || text == "Infinity") return real_val(HUGE_VAL);
  if (text == "-inf") return real_val(-HUGE_VAL);
  if (text == "nan") return real_val(NAN);
  return parse_real(text);
}

/// min and max of numbers, of arguments or of one iterable.
Val extreme(Interpreter& interpreter, const Call& call, Operator better) {
  std::vector<Val> items = call.positional;
  if (items.size() == 1 && !interpreter.iterate(call.positional[0], items)) return unknown_val();
  if (items.empty()) return interpreter.keyword(call, "default");
  Val best = items[0];
  for (const Val& value : items) {
    if (!value.is_number()) return unknown_val();
    if (compare_number(better, value, best).number != 0) best = value;
  }
  return best;
}

Val sum_of(Interpreter& interpreter, const Call& call) {
  std::vector<Val> items;
  if (call.positional.empty() || !interpreter.iterate(call.positional[0], items)) {
    return unknown_val();
  }
  Val total = call.positional.size() > 1 ? call.positional[1] : int_val(0);
  for (const Val& value : items) total = interpreter.binary(Operator::add, total, value);
  return total;
}

Val make_range(Interpreter& interpreter, const Call& call) {
  std::vector<std::int64_t> bounds;
  for (const Val& value : call.positional) {
    if (!value.is_integer()) return unknown_val();
    bounds.push_back(value.number);
  }
  auto* made = interpreter.make<RangeObject>();
  if (bounds.size() == 1) made->end = bounds[0];
  if (bounds.size() >= 2) {
    made->begin = bounds[0];
    made->end = bounds[1];
  }
  if (bounds.size() == 3) made->step = bounds[2];
  if (made->step == 0) return unknown_val();
  Val value{ValKind::range};
  value.object = made;
  return value;
}

Val make_slice(Interpreter& interpreter, const Call& call) {
  auto* made = interpreter.make<SliceObject>();
  if (call.positional.size() == 1) made->end = call.positional[0];
  if (call.positional.size() >= 2) {
    made->begin = call.positional[0];
    made->end = call.positional[1];
  }
  if (call.positional.size() >= 3) made->step = call.positional[2];
  Val value{ValKind::slice};
  value.object = made;
  return value;
}

int is_instance(Interpreter& interpreter, const Val& value, const Val& type, int depth = 0) {
  if (!value.known() || depth > 4) return -1;
  if (type.is_sequence()) {
    int any = 0;
    for (const Val& part : items_of(type)) {
      const int one = is_instance(interpreter, value, part, depth + 1);
      if (one == 1) return 1;
      if (one < 0) any = -1;
    }
    return any;
  }
  if (type.is(ValKind::class_)) {
    if (!value.is(ValKind::instance)) return 0;
    std::vector<const ClassObject*> open = {as<InstanceObject>(value).type};
    for (std::size_t i = 0; i < open.size() && i < 64; ++i) {
      if (open[i] == nullptr) continue;
      if (open[i] == &as<ClassObject>(type)) return 1;
      for (const Val& base : open[i]->bases) {
        if (base.is(ValKind::class_)) open.push_back(&as<ClassObject>(base));
      }
    }
    return 0;
  }
  if (!type.is(ValKind::builtin)) return -1;
  const std::string& path = as<BuiltinObject>(type).path;
  const std::string name = path.substr(path.rfind('.') + 1);
  if (name == "int" || name == "Integral") return value.is_integer() ? 1 : 0;
  if (name == "float") return value.is(ValKind::real) ? 1 : 0;
  if (name == "bool") return value.is(ValKind::boolean) ? 1 : 0;
  if (name == "str") return value.is(ValKind::string) ? 1 : 0;
  if (name == "tuple" || name == "Size") return value.is(ValKind::tuple) ? 1 : 0;
  if (name == "list") return value.is(ValKind::list) ? 1 : 0;
  if (name == "dict") return value.is(ValKind::dict) ? 1 : 0;
  if (name == "Number") return value.is_number() ? 1 : 0;
  if (name == "Tensor") return value.is_tensor() ? 1 : 0;
  if (name == "Parameter") return value.is_tensor() ? 1 : 0;
  if (name == "Iterable" || name == "Sequence") {
    return value.is_sequence() || value.is(ValKind::range) || value.is(ValKind::string) ? 1 : 0;
  }
  if (value.is(ValKind::instance)) {
    const std::string& layer = as<InstanceObject>(value).layer;
    return name == "Module" || layer == name ? 1 : 0;
  }
  return 0;
}

Val zipped(Interpreter& interpreter, const Call& call) {
  std::vector<std::vector<Val>> columns;
  std::size_t length = SIZE_MAX;
  for (const Val& value : call.positional) {
    columns.emplace_back();
    if (!interpreter.iterate(value, columns.back())) return unknown_val();
    length = std::min(length, columns.back().size());
  }
  std::vector<Val> rows;
  for (std::size_t i = 0; !columns.empty() && i < length; ++i) {
    std::vector<Val> row;
    for (const auto& column : columns) row.push_back(column[i]);
    rows.push_back(interpreter.tuple(std::move(row)));
  }
  return interpreter.list(std::move(rows));
}

Val length_of(Interpreter& interpreter, const Val& value) {
  if (value.is_tensor()) {
    const Shape& shape = interpreter.recorder.value(value.tensor()).shape;
    return shape.empty() ? unknown_val() : int_val(shape[0]);
  }
  if (value.is(ValKind::range)) return int_val(as<RangeObject>(value).size());
  std::vector<Val> items;
  if (!interpreter.iterate(value, items)) return unknown_val();
  return int_val(static_cast<std::int64_t>(items.size()));
}

Val converted(Interpreter& interpreter, ValKind kind, const Call& call) {
  std::vector<Val> items;
  if (!call.positional.empty() && !interpreter.iterate(call.positional[0], items)) {
    return unknown_val();
  }
  return interpreter.sequence(kind, std::move(items));
}

bool call_sequences(Interpreter& interpreter, std::string_view name, Call& call, Val& result) {
  const Val first = call.positional.empty() ? unknown_val() : call.positional[0];
  std::vector<Val> items;
  if (name == "tuple" || name == "Size")
    result = converted(interpreter, ValKind::tuple, call);
  else if (name == "list" || name == "deque" || name == "sorted")
    result = converted(interpreter, ValKind::list, call);
  else if (name == "set" || name == "frozenset")
    result = converted(interpreter, ValKind::set, call);
  else if (name == "reversed") {
    result = converted(interpreter, ValKind::list, call);
    if (result.is_sequence()) std::reverse(items_of(result).begin(), items_of(result).end());
  } else if (name == "enumerate") {
    if (!interpreter.iterate(first, items)) return false;
    const Val start = interpreter.argument(call, 1, "start");
    for (std::size_t i = 0; i < items.size(); ++i) {
      const std::int64_t at =
          static_cast<std::int64_t>(i) + (start.is_integer() ? start.number : 0);
      items[i] = interpreter.tuple({int_val(at), items[i]});
    }
    result = interpreter.list(std::move(items));
  } else if (name == "zip")
    result = zipped(interpreter, call);
  else if (name == "map" && call.positional.size() >= 2) {
    if (!interpreter.iterate(call.positional[1], items)) return false;
    for (Val& value : items) {
      value = interpreter.call(
          first, {.name = {}, .positional = {value}, .keywords = {}, .line = call.line});
    }
    result = interpreter.list(std::move(items));
  } else if (name == "repeat") {
    const Val times = interpreter.argument(call, 1, "times");
    if (!times.is_integer() || times.number > 100'000) return false;
    result = interpreter.list(std::vector<Val>(std::max<std::int64_t>(times.number, 0), first));
  } else if (name == "any" || name == "all") {
    if (!interpreter.iterate(first, items)) return false;
    const bool any = name == "any";
    result = bool_val(!any);
    for (const Val& value : items) {
      const int truth = interpreter.truth(value);
      if (truth == (any ? 1 : 0)) {
        result = bool_val(any);
        return true;
      }
      if (truth < 0) result = unknown_val();
    }
  } else if (name == "next" || name == "iter") {
    if (name == "iter")
      result = first;
    else if (interpreter.iterate(first, items) && !items.empty())
      result = items[0];
  } else {
    return false;
  }
  return true;
}

bool call_objects(Interpreter& interpreter, std::string_view name, Call& call, Val& result) {
  const Val first = call.positional.empty() ? unknown_val() : call.positional[0];
  const Val second = call.positional.size() > 1 ? call.positional[1] : unknown_val();
  if (name == "isinstance" || name == "issubclass") {
    const int is = is_instance(interpreter, first, second);
    result = is < 0 ? unknown_val() : bool_val(is == 1);
  } else if (name == "hasattr") {
    const Val held = interpreter.attribute(first, interpreter.symbols.intern(text_of(second)));
    result = bool_val(held.known() && !held.is(ValKind::method));
  } else if (name == "getattr") {
    result = interpreter.attribute(first, interpreter.symbols.intern(text_of(second)));
    if ((!result.known() || result.is(ValKind::method)) && call.positional.size() > 2) {
      result = call.positional[2];
    }
  } else if (name == "setattr" && call.positional.size() == 3) {
    interpreter.set_attribute(first, interpreter.symbols.intern(text_of(second)),
                              call.positional[2]);
    result = null_val();
  } else if (name == "callable") {
    result = bool_val(first.is(ValKind::function) || first.is(ValKind::class_) ||
                      first.is(ValKind::bound) || first.is(ValKind::builtin));
  } else if (name == "partial") {
    auto* made = interpreter.make<PartialObject>();
    made->callee = first;
    if (!call.positional.empty()) {
      made->positional.assign(call.positional.begin() + 1, call.positional.end());
    }
    made->keywords = call.keywords;
    result = {ValKind::partial};
    result.object = made;
  } else if (name == "dict" || name == "OrderedDict" || name == "defaultdict") {
    result = interpreter.dict();
    auto& items = as<DictObject>(result).items;
    std::vector<Val> pairs;
    if (first.is(ValKind::dict))
      items = as<DictObject>(first).items;
    else if (first.is_sequence() && interpreter.iterate(first, pairs)) {
      for (const Val& pair : pairs) {
        if (pair.is_sequence() && items_of(pair).size() == 2) {
          items.emplace_back(items_of(pair)[0], items_of(pair)[1]);
        }
      }
    }
    for (const auto& [symbol, value] : call.keywords) {
      interpreter.dict_set(result, interpreter.symbols.text(symbol), value);
    }
  } else if (name == "object" || name == "SimpleNamespace") {
    result = interpreter.instance("");
    for (const auto& [symbol, value] : call.keywords) {
      as<InstanceObject>(result).set(symbol, value);
    }
  } else if (name == "type") {
    result = first.is(ValKind::instance)
                 ? interpreter.attribute(first, interpreter.symbols.intern("__class__"))
                 : unknown_val();
  } else {
    return false;
  }
  return true;
}

}  // namespace

bool call_python(Interpreter& interpreter, std::string_view name, Call& call, Val& result) {
  Val first = call.positional.empty() ? unknown_val() : call.positional[0];
  if (first.is_tensor() && (name == "int" || name == "float"))
    first = scalar_of(interpreter, first);
  if (name == "int")
    result = call.positional.empty() ? int_val(0) : to_integer(first);
  else if (name == "float")
    result = to_real(first);
  else if (name == "bool") {
    const int truth = interpreter.truth(first);
    result = truth < 0 ? unknown_val() : bool_val(truth == 1);
  } else if (name == "str" || name == "repr") {
    result = first.is(ValKind::string) ? first
             : first.is_integer()      ? interpreter.string(std::to_string(first.number))
                                       : interpreter.string("");
  } else if (name == "len")
    result = length_of(interpreter, first);
  else if (name == "range")
    result = make_range(interpreter, call);
  else if (name == "min")
    result = extreme(interpreter, call, Operator::less);
  else if (name == "max")
    result = extreme(interpreter, call, Operator::greater);
  else if (name == "sum")
    result = sum_of(interpreter, call);
  else if (name == "slice")
    result = make_slice(interpreter, call);
  else if (name == "abs" || name == "round" || name == "pow" || name == "divmod") {
    if (name == "abs" && first.is_tensor()) return call_torch(interpreter, name, call, result);
    return call_math(interpreter, name, call, result);
  } else if (name == "print" || name == "warn" || name == "setdefaulttimeout" || name == "seed" ||
             name == "manual_seed" || name == "lru_cache" || name == "Exception" ||
             name == "ValueError" || name == "RuntimeError" || name == "TypeError" ||
             name == "NotImplementedError" || name == "TypeVar") {
    result = null_val();
  } else if (name == "get" || name == "getenv") {  // os.environ
    result = call.positional.size() > 1 ? call.positional[1] : null_val();
  } else if (name == "deepcopy" || name == "copy")
    result = first;
  else if (name == "prod")
    return call_math(interpreter, name, call, result);
  else if (name == "cdiv" || name == "next_power_of_2") {
    return call_triton(interpreter, name, call, result);
  } else if (name == "reduce" && call.positional.size() >= 2) {
    std::vector<Val> items;
    if (!interpreter.iterate(call.positional[1], items)) return false;
    if (call.positional.size() > 2) items.insert(items.begin(), call.positional[2]);
    if (items.empty()) return false;
    result = items[0];
    for (std::size_t i = 1; i < items.size(); ++i) {
      result = interpreter.call(
          first, {.name = {}, .positional = {result, items[i]}, .keywords = {}, .line = call.line});
    }
  } else if (name == "mul" || name == "add") {  // operator.mul
    if (call.positional.size() != 2) return false;
    result = interpreter.binary(name == "mul" ? Operator::multiply : Operator::add,
                                call.positional[0], call.positional[1]);
  } else {
    return call_sequences(interpreter, name, call, result) ||
           call_objects(interpreter, name, call, result);
  }
  return true;
}

bool call_math(Interpreter& interpreter, std::string_view name, Call& call, Val& result) {
  if (call.positional.empty()) return false;
  const Val first = call.positional[0];
  if (name == "prod") {
    std::vector<Val> items;
    if (!interpreter.iterate(first, items)) return false;
    result = int_val(1);
    for (const Val& value : items) result = binary_number(Operator::multiply, result, value);
    return true;
  }
  if (first.is_tensor()) return call_torch(interpreter, name, call, result);
  if (name == "array" || name == "asarray") {
    result = first;
    return true;
  }
  if (!first.is_number()) {
    result = unknown_val();
    return !first.known();
  }
  const double x = first.as_real();
  const Val second = call.positional.size() > 1 ? call.positional[1] : unknown_val();
  const auto integer = [&](double value) {
    return std::abs(value) < 9e18 ? int_val(static_cast<std::int64_t>(value)) : unknown_val();
  };
  struct Row {
    std::string_view name;
    double (*function)(double);
  };
  static constexpr Row kReal[] = {
      {"sqrt", [](double v) { return std::sqrt(v); }},
      {"exp", [](double v) { return std::exp(v); }},
      {"log2", [](double v) { return std::log2(v); }},
      {"log10", [](double v) { return std::log10(v); }},
      {"sin", [](double v) { return std::sin(v); }},
      {"cos", [](double v) { return std::cos(v); }},
      {"tan", [](double v) { return std::tan(v); }},
      {"tanh", [](double v) { return std::tanh(v); }},
      {"erf", [](double v) { return std::erf(v); }},
      {"fabs", [](double v) { return std::fabs(v); }},
      {"radians", [](double v) { return v * 0.017453292519943295; }},
      {"float32", [](double v) { return v; }},
      {"float64", [](double v) { return v; }},
  };
  for (const Row& row : kReal) {
    if (row.name == name) {
      result = real_val(row.function(x));
      return true;
    }
  }
  if (name == "log") {
    result = real_val(second.is_number() ? std::log(x) / std::log(second.as_real()) : std::log(x));
  } else if (name == "ceil")
    result = integer(std::ceil(x));
  else if (name == "floor" || name == "trunc")
    result = integer(std::floor(x));
  else if (name == "round" && !second.is_integer())
    result = integer(std::nearbyint(x));
  else if (name == "round")
    result = first;
  else if (name == "abs")
    result = first.is_integer() ? int_val(std::abs(first.number)) : real_val(std::abs(x));
  else if (name == "pow")
    result = binary_number(Operator::power, first, second);
  else if (name == "divmod") {
    result = interpreter.tuple({binary_number(Operator::floor_divide, first, second),
                                binary_number(Operator::modulo, first, second)});
  } else if (name == "gcd" && first.is_integer() && second.is_integer()) {
    std::int64_t a = std::abs(first.number);
    std::int64_t b = std::abs(second.number);
    while (b != 0) a = std::exchange(b, a % b);
    result = int_val(a);
  } else if (name == "isqrt" && first.is_integer())
    result = integer(std::floor(std::sqrt(x)));
  else if (name == "isinf")
    result = bool_val(std::isinf(x));
  else if (name == "isnan")
    result = bool_val(std::isnan(x));
  else if (name == "isfinite")
    result = bool_val(std::isfinite(x));
  else
    return false;
  return true;
}

bool call_triton(Interpreter& interpreter, std::string_view name, Call& call, Val& result) {
  const Val first = call.positional.empty() ? unknown_val() : call.positional[0];
  const Val second = interpreter.argument(call, 1, "y");
  if (name == "cdiv") {
    const Val sum =
        binary_number(Operator::add, first, binary_number(Operator::subtract, second, int_val(1)));
    result = binary_number(Operator::floor_divide, sum, second);
  } else if (name == "next_power_of_2") {
    if (!first.is_integer() || first.number > (std::int64_t{1} << 61)) return !first.known();
    std::int64_t power = 1;
    while (power < first.number) power *= 2;
    result = int_val(power);
  } else if (name == "constexpr")
    result = first;
  else if (name == "Config") {
    result = interpreter.dict();
    interpreter.dict_set(result, "kwargs", first);
    interpreter.dict_set(result, "num_warps", interpreter.keyword(call, "num_warps"));
    interpreter.dict_set(result, "num_stages", interpreter.keyword(call, "num_stages"));
  } else if (name == "autotune" || name == "heuristics") {
    const std::string_view key = name == "autotune" ? "configs" : "values";
    result = interpreter.dict();
    interpreter.dict_set(result, key, interpreter.argument(call, 0, key));
  } else if (name == "jit")
    result = first;
  else if (name == "set_allocator" || name == "synchronize")
    result = null_val();
  else if (name == "TensorDescriptor" || name == "from_tensor")
    result = first;
  else
    return call_cuda(interpreter, name, call, result);
  return true;
}

}  // namespace quoin::architect
