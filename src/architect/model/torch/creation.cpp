// Functions that make tensors: empty, zeros, rand, arange, tensor, and their _like and new_ forms.
#include <algorithm>
#include <cmath>

#include "architect/model/torch/torch.h"

namespace quoin::architect {
namespace {

constexpr double kMaxContents = 512;  // elements of a constant tensor that are remembered

enum class Filling : std::uint8_t { none, constant, random };

Val made_tensor(Torch& t, Shape shape, Type type, Filling filling, std::string_view name) {
  for (std::int64_t& size : shape) size = std::max<std::int64_t>(size, 0);
  const ValueId made = t.rec.make(std::move(shape), type);
  if (filling == Filling::none) {
    t.rec.set_scratch(made);
  } else {
    t.record(filling == Filling::random ? OpKind::random : OpKind::fill, name, {}, {made});
  }
  return tensor_val(made);
}

/// Sizes first: empty(2, 3), zeros((2, 3)), rand(...).
template <Filling filling>
bool from_sizes(Torch& t, Val& result) {
  Shape shape;
  if (!t.sizes(0, shape)) {
    result = t.in.lost(t.call.line, "the sizes of '" + std::string(t.call.name) + "'");
    return true;
  }
  result = made_tensor(t, std::move(shape), t.type(SIZE_MAX, "dtype", Type::float32), filling,
                       t.call.name);
  return true;
}

template <Filling filling>
bool from_like(Torch& t, Val& result) {
  const ValueId like = t.tensor(0, "input");
  if (like < 0) return false;
  const Type type = t.type(SIZE_MAX, "dtype", t.value(like).type);
  const ValueId made = t.make_like(like, type);
  if (filling == Filling::none)
    t.rec.set_scratch(made);
  else
    t.record(filling == Filling::random ? OpKind::random : OpKind::fill, t.call.name, {}, {made});
  result = tensor_val(made);
  return true;
}

template <Filling filling>
bool from_new(Torch& t, Val& result) {
  const ValueId like = t.tensor(0, "self");
  Shape shape;
  if (like < 0 || !t.sizes(1, shape)) return false;
  result = made_tensor(t, std::move(shape), t.type(SIZE_MAX, "dtype", t.value(like).type), filling,
                       t.call.name);
  return true;
}

bool full(Torch& t, Val& result) {
  const bool is_new = t.call.name == "new_full";
  const std::size_t place = is_new ? 1 : 0;
  const Shape shape = t.integers(place, "size");
  const Val fill = t.arg(place + 1, "fill_value");
  Type type = is_new                      ? t.value(t.tensor(0, "self")).type
              : fill.is(ValKind::integer) ? Type::int64
              : fill.is(ValKind::boolean) ? Type::boolean
                                          : Type::float32;
  type = t.type(SIZE_MAX, "dtype", type);
  result = made_tensor(t, shape, type, Filling::constant, "full");
  return true;
}

bool randint(Torch& t, Val& result) {
  // randint(high, size) or randint(low, high, size)
  const bool low = t.call.positional.size() > 1 && t.call.positional[1].is_integer();
  const Shape shape = t.integers(low ? 2 : 1, "size");
  result =
      made_tensor(t, shape, t.type(SIZE_MAX, "dtype", Type::int64), Filling::random, "randint");
  return true;
}

bool arange(Torch& t, Val& result) {
  const bool linear = t.call.name == "linspace" || t.call.name == "logspace";
  bool real = linear;
  for (std::size_t i = 0; i < std::min<std::size_t>(3, t.call.positional.size()); ++i) {
    real = real || t.call.positional[i].is(ValKind::real);
  }
  double size = 0;
  if (linear) {
    size = t.real(2, "steps", 100);
  } else if (t.call.positional.size() >= 2 || t.arg(SIZE_MAX, "end").known()) {
    const double begin = t.real(0, "start", 0);
    const double end = t.real(1, "end", 0);
    const double step = t.real(2, "step", 1);
    size = step == 0 ? 0 : std::ceil((end - begin) / step);
  } else {
    size = std::ceil(t.real(0, "end", 0));
  }
  if (!(size >= 0) || size > 1e12) return false;
  const Type type = t.type(SIZE_MAX, "dtype", real ? Type::float32 : Type::int64);
  result = made_tensor(t, {static_cast<std::int64_t>(size)}, type, Filling::constant, t.call.name);
  if (size <= kMaxContents && t.call.name != "logspace" && t.call.name != "randperm") {
    const bool two = t.call.positional.size() >= 2;
    const double begin = two ? t.real(0, "start", 0) : 0;
    const double step =
        linear ? (t.real(1, "end", 0) - begin) / std::max(1.0, size - 1) : t.real(2, "step", 1);
    std::vector<double>& held = t.in.contents[t.value(result.tensor()).storage];
    for (double i = 0; i < size; ++i) held.push_back(begin + i * step);
  }
  return true;
}

void nested_shape(const Val& value, Shape& shape, Type& type, int depth) {
  if (value.is_sequence() && depth < 16) {
    shape.push_back(static_cast<std::int64_t>(items_of(value).size()));
    if (!items_of(value).empty()) nested_shape(items_of(value)[0], shape, type, depth + 1);
  } else if (value.is(ValKind::integer)) {
    type = Type::int64;
  } else if (value.is(ValKind::boolean)) {
    type = Type::boolean;
  }
}

bool from_data(Torch& t, Val& result) {
  const Val data = t.arg(0, "data");
  if (data.is_tensor()) {
    const Type type = t.type(1, "dtype", t.value(data.tensor()).type);
    result = tensor_val(t.cast(data.tensor(), type));
    return true;
  }
  Shape shape;
  Type type = Type::float32;
  nested_shape(data, shape, type, 0);
  result = made_tensor(t, shape, t.type(1, "dtype", type), Filling::constant, "tensor");
  std::vector<Val> items = {data};
  if (shape.size() > 1 || (shape.size() == 1 && !t.in.iterate(data, items))) return true;
  if (shape.size() == 1) items = items_of(data);
  std::vector<double> numbers;
  for (const Val& item : items) {
    if (!item.is_number() || static_cast<double>(items.size()) > kMaxContents) return true;
    numbers.push_back(item.as_real());
  }
  t.in.contents[t.value(result.tensor()).storage] = std::move(numbers);
  return true;
}

bool eye(Torch& t, Val& result) {
  const std::int64_t n = t.integer(0, "n", 1);
  result = made_tensor(t, {n, t.integer(1, "m", n)}, t.type(SIZE_MAX, "dtype", Type::float32),
                       Filling::constant, "eye");
  return true;
}

bool empty_strided(Torch& t, Val& result) {
  const Shape shape = t.integers(0, "size");
  const Shape strides = t.integers(1, "stride");
  if (shape.size() != strides.size()) return false;
  result = made_tensor(t, shape, t.type(SIZE_MAX, "dtype", Type::float32), Filling::none, "empty");
  t.rec.value(result.tensor()).strides = strides;
  return true;
}

/// x.fill_(v), x.zero_(), x.normal_(): writes every element.
bool fill_in_place(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "self");
  if (x < 0) return false;
  const bool random = t.call.name == "normal" || t.call.name == "uniform" ||
                      t.call.name == "random" || t.call.name == "bernoulli" ||
                      t.call.name == "exponential";
  if (t.in_place) {
    t.record(random ? OpKind::random : OpKind::fill, t.call.name, {}, {x});
    result = tensor_val(x);
    return true;
  }
  const ValueId made = t.make_like(x, t.value(x).type);
  t.record(random ? OpKind::random : OpKind::fill, t.call.name, {}, {made});
  result = tensor_val(made);
  return true;
}

constexpr TorchRow kRows[] = {
    {"empty", from_sizes<Filling::none>},
    {"zeros", from_sizes<Filling::constant>},
    {"ones", from_sizes<Filling::constant>},
    {"rand", from_sizes<Filling::random>},
    {"randn", from_sizes<Filling::random>},
    {"Tensor", from_sizes<Filling::none>},
    {"FloatTensor", from_sizes<Filling::none>},
    {"full", full},
    {"new_full", full},
    {"randint", randint},
    {"randperm", arange},
    {"arange", arange},
    {"linspace", arange},
    {"logspace", arange},
    {"range", arange},
    {"tensor", from_data},
    {"as_tensor", from_data},
    {"asarray", from_data},
    {"from_numpy", from_data},
    {"scalar_tensor", from_data},
    {"eye", eye},
    {"empty_strided", empty_strided},
    {"empty_like", from_like<Filling::none>},
    {"zeros_like", from_like<Filling::constant>},
    {"ones_like", from_like<Filling::constant>},
    {"full_like", from_like<Filling::constant>},
    {"rand_like", from_like<Filling::random>},
    {"randn_like", from_like<Filling::random>},
    {"randint_like", from_like<Filling::random>},
    {"new_empty", from_new<Filling::none>},
    {"new_zeros", from_new<Filling::constant>},
    {"new_ones", from_new<Filling::constant>},
    {"new_tensor", from_data},
    {"fill", fill_in_place},
    {"zero", fill_in_place},
    {"normal", fill_in_place},
    {"uniform", fill_in_place},
    {"random", fill_in_place},
    {"exponential", fill_in_place},
    {"bernoulli", fill_in_place},
};

}  // namespace

std::span<const TorchRow> creation_functions() { return kRows; }

bool call_cuda(Interpreter& interpreter, std::string_view name, Call& call, Val& result) {
  if (name == "is_available" || name == "is_bf16_supported")
    result = bool_val(true);
  else if (name == "get_device_capability")
    result = interpreter.tuple({int_val(9), int_val(0)});
  else if (name == "current_device" || name == "device_count")
    result = int_val(name[0] == 'd');
  else if (name == "get_device_properties" || name == "get_active_torch_device") {
    result = interpreter.dict();  // the default device's figures
    interpreter.dict_set(result, "multi_processor_count", int_val(132));
    interpreter.dict_set(result, "max_num_regs", int_val(65536));
    interpreter.dict_set(result, "max_shared_mem", int_val(232448));
    interpreter.dict_set(result, "warpSize", int_val(32));
    interpreter.dict_set(result, "multiprocessor_count", int_val(132));
    interpreter.dict_set(result, "major", int_val(9));
    interpreter.dict_set(result, "minor", int_val(0));
    interpreter.dict_set(result, "total_memory", int_val(std::int64_t{80} << 30));
    interpreter.dict_set(result, "name", interpreter.string("NVIDIA H100"));
  } else if (name == "checkpoint" && !call.positional.empty()) {
    Call inner = call;
    const Val callee = inner.positional[0];
    inner.positional.erase(inner.positional.begin());
    std::erase_if(inner.keywords, [&](const auto& keyword) {
      return interpreter.symbols.text(keyword.first).starts_with("use_reentrant");
    });
    result = interpreter.call(callee, std::move(inner));
  } else {
    result = null_val();  // synchronize, set_device, manual_seed, graph and stream objects
  }
  return true;
}

}  // namespace quoin::architect
