// Python values as the host interpreter holds them. A `Val` is small and copied freely; what it
// points to lives in the interpreter's arena until the end of the analysis.
//
// `unknown` is a value like any other: it spreads through expressions, and the interpreter says
// once per place where it came from.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "architect/model/kernel_model.h"
#include "architect/syntax/tree.h"

namespace quoin::architect {

/// Most entries of a scope, a dict or an object: they are searched linearly.
inline constexpr std::size_t kMaxEntries = 4096;

enum class ValKind : std::uint8_t {
  unknown,
  null,
  boolean,
  integer,
  real,
  string,
  tuple,
  list,
  set,
  dict,
  slice,
  range,
  tensor,  // number: ValueId
  dtype,   // number: Type
  device,
  ellipsis,
  function,  // a def or a lambda
  bound,     // a function with its `self`
  class_,
  instance,
  builtin,   // a dotted path of a library: "torch.nn.functional.relu"
  method,    // a builtin method with its receiver
  super_,    // super(): the instance seen as its base
  launcher,  // kernel[grid]
  partial,
};

struct Object {
  virtual ~Object() = default;
};

struct Val {
  ValKind kind = ValKind::unknown;
  std::int64_t number = 0;  // integer, boolean, tensor, dtype
  double real = 0;
  Object* object = nullptr;

  [[nodiscard]] bool is(ValKind wanted) const { return kind == wanted; }
  [[nodiscard]] bool known() const { return kind != ValKind::unknown; }
  [[nodiscard]] bool is_number() const {
    return kind == ValKind::integer || kind == ValKind::real || kind == ValKind::boolean;
  }
  [[nodiscard]] bool is_integer() const {
    return kind == ValKind::integer || kind == ValKind::boolean;
  }
  [[nodiscard]] bool is_tensor() const { return kind == ValKind::tensor; }
  [[nodiscard]] bool is_null() const { return kind == ValKind::null; }
  [[nodiscard]] bool is_sequence() const {
    return kind == ValKind::tuple || kind == ValKind::list || kind == ValKind::set;
  }
  [[nodiscard]] double as_real() const {
    return kind == ValKind::real ? real : static_cast<double>(number);
  }
  [[nodiscard]] ValueId tensor() const { return static_cast<ValueId>(number); }
  [[nodiscard]] Type type() const { return static_cast<Type>(number); }
};

inline Val null_val() { return {ValKind::null}; }
inline Val unknown_val() { return {}; }
inline Val bool_val(bool value) { return {ValKind::boolean, value ? 1 : 0}; }
inline Val int_val(std::int64_t value) { return {ValKind::integer, value}; }
inline Val real_val(double value) { return {ValKind::real, 0, value}; }
inline Val tensor_val(ValueId id) { return {ValKind::tensor, id}; }
inline Val dtype_val(Type type) { return {ValKind::dtype, static_cast<std::int64_t>(type)}; }

struct StringObject : Object {
  std::string text;
};

struct SequenceObject : Object {
  std::vector<Val> items;
};

struct DictObject : Object {
  std::vector<std::pair<Val, Val>> items;
};

struct SliceObject : Object {
  Val begin = null_val(), end = null_val(), step = null_val();
};

struct RangeObject : Object {
  std::int64_t begin = 0, end = 0, step = 1;
  [[nodiscard]] std::int64_t size() const {
    if (step > 0) return end > begin ? (end - begin + step - 1) / step : 0;
    return begin > end ? (begin - end - step - 1) / -step : 0;
  }
};

/// Variables of one call, of a class body or of the module. Few, so a linear search is quickest.
struct Environment : Object {
  std::vector<std::pair<Symbol, Val>> variables;
  Environment* parent = nullptr;

  [[nodiscard]] Val* find(Symbol symbol) {
    for (auto& [held, value] : variables) {
      if (held == symbol) return &value;
    }
    return nullptr;
  }
  void set(Symbol symbol, const Val& value) {
    if (Val* held = find(symbol)) {
      *held = value;
    } else if (variables.size() < kMaxEntries) {
      variables.emplace_back(symbol, value);
    }
  }
};

struct TunedConfig {
  std::vector<std::pair<Symbol, Val>> values;
  int num_warps = 0, num_stages = 0;
};

struct FunctionObject : Object {
  const Tree* tree = nullptr;
  NodeId node = -1;  // function or lambda
  Environment* closure = nullptr;
  std::vector<Val> defaults;  // per parameter, unknown where there is none
  std::string_view name;
  struct ClassObject* owner = nullptr;  // the class whose body holds it, for super()
  bool jit = false;                     // @triton.jit
  bool is_static = false, is_class = false, is_property = false;
  std::vector<TunedConfig> configs;                // @triton.autotune
  std::vector<std::pair<Symbol, Val>> heuristics;  // @triton.heuristics
};

struct BoundObject : Object {
  FunctionObject* function = nullptr;
  Val self;
};

struct ClassObject : Object {
  std::string_view name;
  std::vector<Val> bases;
  Environment* body = nullptr;
};

struct InstanceObject : Object {
  ClassObject* type = nullptr;  // null: a layer of torch.nn
  std::string layer;            // "Conv2d"; of a user's class the torch.nn base it extends
  std::vector<std::pair<Symbol, Val>> attributes;
  std::vector<std::pair<std::string, Val>> items;  // Sequential, ModuleList, ParameterList, ...

  [[nodiscard]] Val* find(Symbol symbol) {
    for (auto& [held, value] : attributes) {
      if (held == symbol) return &value;
    }
    return nullptr;
  }
  void set(Symbol symbol, const Val& value) {
    if (Val* held = find(symbol)) {
      *held = value;
    } else if (attributes.size() < kMaxEntries) {
      attributes.emplace_back(symbol, value);
    }
  }
};

struct BuiltinObject : Object {
  std::string path;
};

struct MethodObject : Object {
  Val receiver;
  std::string name;
};

struct SuperObject : Object {
  ClassObject* type = nullptr;  // whose bases are searched
  Val self;
};

struct LauncherObject : Object {
  FunctionObject* kernel = nullptr;
  Val grid;
};

struct PartialObject : Object {
  Val callee;
  std::vector<Val> positional;
  std::vector<std::pair<Symbol, Val>> keywords;
};

template <class T>
T& as(const Val& value) {
  return *static_cast<T*>(value.object);
}
inline std::string_view text_of(const Val& value) {
  return value.is(ValKind::string) ? std::string_view(as<StringObject>(value).text)
                                   : std::string_view();
}
inline std::vector<Val>& items_of(const Val& value) { return as<SequenceObject>(value).items; }

}  // namespace quoin::architect
