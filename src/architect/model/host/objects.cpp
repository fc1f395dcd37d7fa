// Attributes, items, truth and iteration of the host's values.
#include <algorithm>
#include <cmath>

#include "architect/model/host/arithmetic.h"
#include "architect/model/host/interpreter.h"
#include "architect/model/torch/torch.h"

namespace quoin::architect {

Interpreter::Interpreter(Symbols& symbols_in, Recorder& recorder_in,
                         std::vector<NotUnderstood>& not_understood, bool reference)
    : symbols(symbols_in),
      recorder(recorder_in),
      not_understood_(not_understood),
      reference_(reference) {
  globals_ = make<Environment>();
  scope_ = globals_;
  globals_->set(symbols.intern("__name__"), string("document"));
}

void Interpreter::misunderstood(int line, std::string what) {
  if (line <= 0) line = recorder.line;
  if (said_.insert(std::to_string(line) + what).second && not_understood_.size() < 200) {
    not_understood_.push_back({line, std::move(what), reference_});
  }
}

Val Interpreter::global(std::string_view name) {
  const Val* held = globals_->find(symbols.intern(name));
  return held == nullptr ? unknown_val() : *held;
}

void Interpreter::set_global(std::string_view name, const Val& value) {
  globals_->set(symbols.intern(name), value);
}

// ----------------------------------------------------------------------------- making values

Val Interpreter::string(std::string_view text) {
  auto* made = make<StringObject>();
  made->text = text;
  Val value{ValKind::string};
  value.object = made;
  return value;
}

Val Interpreter::sequence(ValKind kind, std::vector<Val> items) {
  all_items_ += static_cast<std::int64_t>(items.size());
  if (items.size() > kMaxItems || all_items_ > kMaxAllItems) {
    steps_ = all_items_ > kMaxAllItems ? kMaxSteps + 1 : steps_;
    return lost(line(), "a list too long to follow");
  }
  auto* made = make<SequenceObject>();
  made->items = std::move(items);
  Val value{kind};
  value.object = made;
  return value;
}

Val Interpreter::shape_val(const Shape& shape) {
  std::vector<Val> items;
  for (const std::int64_t size : shape) items.push_back(int_val(size));
  return tuple(std::move(items));
}

Val Interpreter::builtin(std::string path) {
  // The few paths that are values.
  if (path == "math.pi" || path == "np.pi") return real_val(3.14159265358979323846);
  if (path == "math.e" || path == "np.e") return real_val(2.71828182845904523536);
  if (path == "math.inf" || path == "np.inf" || path == "torch.inf") return real_val(HUGE_VAL);
  for (const std::string_view library : {"torch.", "triton.language.", "np."}) {
    if (!path.starts_with(library)) continue;
    const Type type = dtype_of(std::string_view(path).substr(library.size()));
    if (type != Type::unknown) return dtype_val(type);
  }
  auto* made = make<BuiltinObject>();
  made->path = std::move(path);
  Val value{ValKind::builtin};
  value.object = made;
  return value;
}

Val Interpreter::dict() {
  Val value{ValKind::dict};
  value.object = make<DictObject>();
  return value;
}

Val Interpreter::instance(std::string layer) {
  steps_ += kObjectSteps;
  auto* made = make<InstanceObject>();
  made->layer = std::move(layer);
  Val value{ValKind::instance};
  value.object = made;
  return value;
}

Val Interpreter::dict_get(const Val& dict, std::string_view key) {
  if (!dict.is(ValKind::dict)) return unknown_val();
  for (const auto& [held, value] : as<DictObject>(dict).items) {
    if (text_of(held) == key) return value;
  }
  return unknown_val();
}

void Interpreter::dict_set(const Val& dict, std::string_view key, const Val& value) {
  as<DictObject>(dict).items.emplace_back(string(key), value);
}

// ------------------------------------------------------------------------- truth, iteration

int Interpreter::truth(const Val& value) {
  switch (value.kind) {
    case ValKind::unknown: return -1;
    case ValKind::null: return 0;
    case ValKind::boolean:
    case ValKind::integer: return value.number != 0 ? 1 : 0;
    case ValKind::real: return value.real != 0 ? 1 : 0;
    case ValKind::string: return text_of(value).empty() ? 0 : 1;
    case ValKind::tuple:
    case ValKind::list:
    case ValKind::set: return items_of(value).empty() ? 0 : 1;
    case ValKind::dict: return as<DictObject>(value).items.empty() ? 0 : 1;
    case ValKind::range: return as<RangeObject>(value).size() > 0 ? 1 : 0;
    case ValKind::tensor: return -1;
    case ValKind::instance: {
      const auto& object = as<InstanceObject>(value);
      const bool container = object.layer == "ModuleList" || object.layer == "Sequential" ||
                             object.layer == "ParameterList";
      return container && object.items.empty() ? 0 : 1;
    }
    default: return 1;
  }
}

bool Interpreter::iterate(const Val& iterable, std::vector<Val>& items) {
  constexpr std::int64_t kMaxRange = 1'000'000;
  switch (iterable.kind) {
    case ValKind::tuple:
    case ValKind::list:
    case ValKind::set: items = items_of(iterable); return true;
    case ValKind::range: {
      const auto& range = as<RangeObject>(iterable);
      if (range.size() > kMaxRange) return false;
      for (std::int64_t i = 0; i < range.size(); ++i) {
        items.push_back(int_val(range.begin + i * range.step));
      }
      return true;
    }
    case ValKind::dict:
      for (const auto& [key, value] : as<DictObject>(iterable).items) items.push_back(key);
      return true;
    case ValKind::string:
      for (const char c : text_of(iterable)) items.push_back(string({&c, 1}));
      return true;
    case ValKind::tensor: {
      const Shape shape = recorder.value(iterable.tensor()).shape;
      if (shape.empty() || shape[0] > 4096) return false;
      for (std::int64_t i = 0; i < shape[0]; ++i) items.push_back(item(iterable, int_val(i)));
      return true;
    }
    case ValKind::instance:
      for (const auto& [name, value] : as<InstanceObject>(iterable).items) items.push_back(value);
      return !as<InstanceObject>(iterable).layer.empty();
    default: return false;
  }
}

std::vector<double> Interpreter::contents_of(const Val& tensor) const {
  if (!tensor.is_tensor()) return {};
  const Value& value = recorder.value(tensor.tensor());
  const auto found = contents.find(value.storage);
  if (found == contents.end() || value.shape.size() > 1) return {};
  std::vector<double> made;
  const std::int64_t size = value.shape.empty() ? 1 : value.shape[0];
  const std::int64_t stride = value.shape.empty() ? 0 : value.strides[0];
  for (std::int64_t i = 0; i < size; ++i) {
    const std::int64_t at = value.offset + i * stride;
    if (at < 0 || at >= static_cast<std::int64_t>(found->second.size())) return {};
    made.push_back(found->second[at]);
  }
  return made;
}

// --------------------------------------------------------------------------------- operators

namespace {

const char* tensor_operator(Operator op) {
  switch (op) {
    case Operator::add: return "add";
    case Operator::subtract: return "sub";
    case Operator::multiply: return "mul";
    case Operator::divide: return "div";
    case Operator::floor_divide: return "floor_divide";
    case Operator::modulo: return "remainder";
    case Operator::power: return "pow";
    case Operator::matmul: return "matmul";
    case Operator::bit_and: return "bitwise_and";
    case Operator::bit_or: return "bitwise_or";
    case Operator::bit_xor: return "bitwise_xor";
    case Operator::shift_left: return "bitwise_left_shift";
    case Operator::shift_right: return "bitwise_right_shift";
    case Operator::less: return "lt";
    case Operator::less_equal: return "le";
    case Operator::greater: return "gt";
    case Operator::greater_equal: return "ge";
    case Operator::equal: return "eq";
    case Operator::not_equal: return "ne";
    default: return nullptr;
  }
}

}  // namespace

Val Interpreter::binary(Operator op, const Val& left, const Val& right) {
  if (left.is_tensor() || right.is_tensor()) {
    const char* name = tensor_operator(op);
    if (name == nullptr) return lost(line(), "an operator on a tensor");
    Call call{.name = name, .positional = {left, right}, .keywords = {}, .line = line()};
    Val result;
    if (call_torch(*this, name, call, result)) return result;
    return lost(line(), std::string("the operator '") + name + "' on a tensor");
  }
  if (op == Operator::add && left.is_sequence() && right.is_sequence()) {
    std::vector<Val> items = items_of(left);
    const auto& more = items_of(right);
    items.insert(items.end(), more.begin(), more.end());
    return sequence(left.kind, std::move(items));
  }
  if (op == Operator::multiply && (left.is_sequence() || right.is_sequence())) {
    const Val& repeated = left.is_sequence() ? left : right;
    const Val& times = left.is_sequence() ? right : left;
    if (!times.is_integer()) return unknown_val();
    const std::vector<Val> part = items_of(repeated);
    const std::int64_t limit = 100'000 / std::max<std::int64_t>(1, part.size());
    std::vector<Val> items;
    for (std::int64_t i = 0; i < std::min(times.number, limit); ++i) {
      items.insert(items.end(), part.begin(), part.end());
    }
    return sequence(repeated.kind, std::move(items));
  }
  if (left.is(ValKind::string)) {
    if (text_of(left).size() > kMaxItems) return unknown_val();
    if (op == Operator::add && right.is(ValKind::string)) {
      return string(std::string(text_of(left)) + std::string(text_of(right)));
    }
    if (op == Operator::modulo) return left;  // an old format: only for messages
  }
  return binary_number(op, left, right);
}

Val Interpreter::compare(Operator op, const Val& left, const Val& right) {
  if (op == Operator::is || op == Operator::is_not) {
    if (!left.known() || !right.known()) return unknown_val();
    int same = equal_values(left, right);
    if (left.is_null() != right.is_null()) same = 0;
    return same < 0 ? unknown_val() : bool_val((same == 1) == (op == Operator::is));
  }
  if (op == Operator::in || op == Operator::not_in) {
    if (right.is(ValKind::string) && left.is(ValKind::string)) {
      const bool found = text_of(right).find(text_of(left)) != std::string_view::npos;
      return bool_val(found == (op == Operator::in));
    }
    std::vector<Val> items;
    if (!iterate(right, items)) return unknown_val();
    bool found = false;
    bool unsure = false;
    for (const Val& value : items) {
      const int same = equal_values(left, value);
      found = found || same == 1;
      unsure = unsure || same < 0;
    }
    if (!found && unsure) return unknown_val();
    return bool_val(found == (op == Operator::in));
  }
  const bool null_compare = left.is_null() || right.is_null();
  if ((left.is_tensor() || right.is_tensor()) && !null_compare) return binary(op, left, right);
  if (left.is_number() && right.is_number()) return compare_number(op, left, right);
  if (op == Operator::equal || op == Operator::not_equal) {
    const int same = equal_values(left, right);
    return same < 0 ? unknown_val() : bool_val((same == 1) == (op == Operator::equal));
  }
  if (left.is_sequence() && right.is_sequence()) {  // versions: (8, 0) <= capability
    const auto& a = items_of(left);
    const auto& b = items_of(right);
    for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
      if (equal_values(a[i], b[i]) != 1) return compare_number(op, a[i], b[i]);
    }
    return compare_number(op, int_val(static_cast<std::int64_t>(a.size())),
                          int_val(static_cast<std::int64_t>(b.size())));
  }
  return unknown_val();
}

// --------------------------------------------------------------------------- items and slices

namespace {

/// Python's indices of a slice over `size` elements.
std::vector<std::int64_t> slice_indices(const SliceObject& slice, std::int64_t size) {
  const std::int64_t step = slice.step.is_integer() ? slice.step.number : 1;
  std::vector<std::int64_t> found;
  if (step == 0) return found;
  const auto bound = [&](const Val& value, std::int64_t otherwise) {
    if (!value.is_integer()) return otherwise;
    const std::int64_t at = value.number < 0 ? value.number + size : value.number;
    return std::clamp<std::int64_t>(at, step > 0 ? 0 : -1, step > 0 ? size : size - 1);
  };
  const std::int64_t begin = bound(slice.begin, step > 0 ? 0 : size - 1);
  const std::int64_t end = bound(slice.end, step > 0 ? size : -1);
  for (std::int64_t i = begin; step > 0 ? i < end : i > end; i += step) found.push_back(i);
  return found;
}

}  // namespace

Val Interpreter::item(const Val& object, const Val& index) {
  switch (object.kind) {
    case ValKind::tensor: return index_tensor(*this, object.tensor(), index);
    case ValKind::tuple:
    case ValKind::list: {
      const auto& items = items_of(object);
      const auto size = static_cast<std::int64_t>(items.size());
      if (index.is(ValKind::slice)) {
        std::vector<Val> part;
        for (const std::int64_t i : slice_indices(as<SliceObject>(index), size)) {
          part.push_back(items[i]);
        }
        return sequence(object.kind, std::move(part));
      }
      if (!index.is_integer()) return unknown_val();
      const std::int64_t at = index.number < 0 ? index.number + size : index.number;
      return at >= 0 && at < size ? items[at] : unknown_val();
    }
    case ValKind::dict:
      for (const auto& [key, value] : as<DictObject>(object).items) {
        if (equal_values(key, index) == 1) return value;
      }
      return unknown_val();
    case ValKind::range: {
      std::vector<Val> items;
      if (!iterate(object, items)) return unknown_val();
      return item(list(std::move(items)), index);
    }
    case ValKind::string: {
      const std::string_view text = text_of(object);
      const auto size = static_cast<std::int64_t>(text.size());
      if (index.is(ValKind::slice)) {
        std::string part;
        for (const std::int64_t i : slice_indices(as<SliceObject>(index), size)) {
          part.push_back(text[i]);
        }
        return string(part);
      }
      const std::int64_t at = index.number < 0 ? index.number + size : index.number;
      return index.is_integer() && at >= 0 && at < size ? string(text.substr(at, 1))
                                                        : unknown_val();
    }
    case ValKind::instance: {
      auto& items = as<InstanceObject>(object).items;
      const auto size = static_cast<std::int64_t>(items.size());
      if (index.is(ValKind::string)) {
        for (const auto& [name, value] : items) {
          if (name == text_of(index)) return value;
        }
        return unknown_val();
      }
      if (index.is(ValKind::slice)) {
        const Val made = instance(as<InstanceObject>(object).layer);
        for (const std::int64_t i : slice_indices(as<SliceObject>(index), size)) {
          as<InstanceObject>(made).items.push_back(items[i]);
        }
        return made;
      }
      const std::int64_t at = index.number < 0 ? index.number + size : index.number;
      return index.is_integer() && at >= 0 && at < size ? items[at].second : unknown_val();
    }
    case ValKind::function: {  // kernel[grid]
      auto* made = make<LauncherObject>();
      made->kernel = &as<FunctionObject>(object);
      made->grid = index;
      Val value{ValKind::launcher};
      value.object = made;
      return value;
    }
    case ValKind::builtin: return object;  // a type's parameter: List[int]
    default: return unknown_val();
  }
}

void Interpreter::set_item(const Val& object, const Val& index, const Val& value) {
  if (object.is_tensor()) {
    assign_tensor_item(*this, object.tensor(), index, value);
  } else if (object.is(ValKind::list) && index.is_integer()) {
    auto& items = items_of(object);
    const auto size = static_cast<std::int64_t>(items.size());
    const std::int64_t at = index.number < 0 ? index.number + size : index.number;
    if (at >= 0 && at < size) items[at] = value;
  } else if (object.is(ValKind::dict)) {
    state_changed = state_changed || recorder.phase == Recorder::Phase::running;
    for (auto& [key, held] : as<DictObject>(object).items) {
      if (equal_values(key, index) == 1) {
        held = value;
        return;
      }
    }
    if (as<DictObject>(object).items.size() < kMaxEntries) {
      as<DictObject>(object).items.emplace_back(index, value);
    }
  } else if (object.is(ValKind::instance)) {
    auto& items = as<InstanceObject>(object).items;
    if (index.is(ValKind::string)) {
      items.emplace_back(std::string(text_of(index)), value);
    } else if (index.is_integer() && index.number >= 0 &&
               index.number < static_cast<std::int64_t>(items.size())) {
      items[index.number].second = value;
    }
  } else if (object.known()) {
    misunderstood(line(), "an item of an object was set");
  }
}

}  // namespace quoin::architect
