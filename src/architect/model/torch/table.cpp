// The table of all functions, and what their families share.
#include <algorithm>
#include <unordered_map>

#include "architect/model/torch/torch.h"

namespace quoin::architect {
namespace {

using Table = std::unordered_map<std::string_view, TorchHandler>;

const Table& table() {
  static const Table made = [] {
    Table all;
    for (const auto rows :
         {creation_functions(), view_functions(), copy_functions(), elementwise_functions(),
          reduction_functions(), product_functions(), convolution_functions(), pooling_functions(),
          norm_functions(), loss_functions(), gather_functions(), einops_functions()}) {
      for (const TorchRow& row : rows) all.emplace(row.name, row.handler);
    }
    return all;
  }();
  return made;
}

struct TypeName {
  std::string_view name;
  Type type;
};

constexpr TypeName kTypes[] = {
    {"float32", Type::float32},    {"float", Type::float32},       {"float16", Type::float16},
    {"half", Type::float16},       {"bfloat16", Type::bfloat16},   {"float64", Type::float64},
    {"double", Type::float64},     {"int8", Type::int8},           {"uint8", Type::uint8},
    {"int16", Type::int16},        {"short", Type::int16},         {"int32", Type::int32},
    {"int", Type::int32},          {"int64", Type::int64},         {"long", Type::int64},
    {"bool", Type::boolean},       {"int1", Type::boolean},        {"uint16", Type::int16},
    {"uint32", Type::int32},       {"uint64", Type::int64},        {"float8_e4m3fn", Type::float8},
    {"float8_e5m2", Type::float8}, {"float8e4nv", Type::float8},   {"float8e5", Type::float8},
    {"float8e4b15", Type::float8}, {"complex64", Type::complex64}, {"cfloat", Type::complex64},
};

}  // namespace

Type dtype_of(std::string_view name) {
  for (const TypeName& row : kTypes) {
    if (row.name == name) return row.type;
  }
  return Type::unknown;
}

/// PyTorch's promotion between tensors with dimensions.
Type promoted(Type a, Type b) {
  if (a == b || b == Type::unknown) return a;
  if (a == Type::unknown) return b;
  const bool halves =
      (a == Type::float16 && b == Type::bfloat16) || (a == Type::bfloat16 && b == Type::float16);
  if (halves) return Type::float32;
  if (is_float(a) != is_float(b)) return is_float(a) ? a : b;
  return static_cast<int>(a) > static_cast<int>(b) ? a : b;
}

bool call_torch(Interpreter& interpreter, std::string_view name, Call& call, Val& result) {
  std::string_view base = name;
  bool in_place = false;
  auto found = table().find(base);
  if (found == table().end() && base.size() > 1 && base.back() == '_' && base.front() != '_') {
    base.remove_suffix(1);
    in_place = true;
    found = table().find(base);
  }
  call.name = base;
  Torch torch(interpreter, call, in_place);
  const Val flag = interpreter.keyword(call, "inplace");
  if (flag.is(ValKind::boolean) && flag.number != 0) torch.in_place = true;
  const auto operand = [&](std::size_t place) {
    return bounds_of(torch, torch.arg(place, place == 0 ? "input" : "other"));
  };
  const std::array<Bounds, 2> before{operand(0), operand(1)};
  const bool done =
      found != table().end() ? found->second(torch, result) : call_unary(torch, base, result);
  if (done) note_bounds(torch, base, before, result);
  return done;
}

// ---------------------------------------------------------------------------------- arguments

ValueId Torch::tensor(std::size_t place, std::string_view name) const {
  const Val value = arg(place, name);
  return value.is_tensor() ? value.tensor() : -1;
}

std::int64_t Torch::integer(std::size_t place, std::string_view name,
                            std::int64_t otherwise) const {
  const Val value = arg(place, name);
  return value.is_integer() ? value.number : otherwise;
}

double Torch::real(std::size_t place, std::string_view name, double otherwise) const {
  const Val value = arg(place, name);
  return value.is_number() ? value.as_real() : otherwise;
}

bool Torch::flag(std::size_t place, std::string_view name, bool otherwise) const {
  const Val value = arg(place, name);
  return value.is_integer() ? value.number != 0 : otherwise;
}

Type Torch::type(std::size_t place, std::string_view name, Type otherwise) const {
  const Val value = arg(place, name);
  return value.is(ValKind::dtype) ? value.type() : otherwise;
}

Shape Torch::integers(std::size_t place, std::string_view name) const {
  const Val value = arg(place, name);
  if (value.is_integer()) return {value.number};
  Shape made;
  if (!value.is_sequence()) return made;
  for (const Val& part : items_of(value)) {
    if (!part.is_integer()) return {};
    made.push_back(part.number);
  }
  return made;
}

bool Torch::sizes(std::size_t place, Shape& made) const {
  if (place < call.positional.size() && call.positional[place].is_sequence()) {
    for (const Val& part : items_of(call.positional[place])) {
      if (!part.is_integer()) return false;
      made.push_back(part.number);
    }
    return true;
  }
  for (std::size_t i = place; i < call.positional.size(); ++i) {
    if (!call.positional[i].is_integer()) {
      if (call.positional[i].is(ValKind::dtype) || call.positional[i].is(ValKind::device)) break;
      return false;
    }
    made.push_back(call.positional[i].number);
  }
  if (call.positional.size() <= place) {
    for (const char* name : {"size", "shape"}) {
      const Val value = in.keyword(call, name);
      if (value.known()) {
        made = integers(SIZE_MAX, name);
        return !made.empty() || value.is_sequence();
      }
    }
  }
  return true;
}

Shape Torch::spread(std::size_t place, std::string_view name, std::size_t count,
                    std::int64_t otherwise) const {
  Shape made = integers(place, name);
  if (made.empty()) made.assign(count, otherwise);
  if (made.size() == 1) made.assign(count, made[0]);
  made.resize(count, made.back());
  return made;
}

std::vector<ValueId> Torch::tensors(const Val& sequence) const {
  std::vector<ValueId> found;
  if (!sequence.is_sequence()) return found;
  for (const Val& part : items_of(sequence)) {
    if (part.is_tensor()) found.push_back(part.tensor());
  }
  return found;
}

// ----------------------------------------------------------------------------------- results

Op Torch::make_op(OpKind kind, std::string_view name, const std::vector<ValueId>& inputs,
                  const std::vector<ValueId>& outputs, double flops) const {
  Op op;
  op.kind = kind;
  op.name = name;
  op.line = call.line;
  for (const ValueId id : inputs) {
    if (id >= 0) op.inputs.push_back(rec.operand(id, "input"));
  }
  op.outputs = outputs;
  op.flops = flops;
  return op;
}

OpId Torch::record(OpKind kind, std::string_view name, const std::vector<ValueId>& inputs,
                   const std::vector<ValueId>& outputs, double flops, int kernels) {
  Op op = make_op(kind, name, inputs, outputs, flops);
  op.device_kernels = kernels;
  return rec.record(std::move(op));
}

bool broadcast(const Shape& a, const Shape& b, Shape& made) {
  made.assign(std::max(a.size(), b.size()), 1);
  for (std::size_t i = 0; i < made.size(); ++i) {
    const std::int64_t x = i < a.size() ? a[a.size() - 1 - i] : 1;
    const std::int64_t y = i < b.size() ? b[b.size() - 1 - i] : 1;
    if (x != y && x != 1 && y != 1) return false;
    made[made.size() - 1 - i] = x == 1 ? y : x;
  }
  return true;
}

std::int64_t wrapped_dim(std::int64_t dim, std::size_t rank) {
  const auto size = static_cast<std::int64_t>(std::max<std::size_t>(rank, 1));
  if (dim < 0) dim += size;
  return std::clamp<std::int64_t>(dim, 0, size - 1);
}

bool is_dense(const Value& value) {
  std::vector<std::pair<std::int64_t, std::int64_t>> order;  // stride, size
  for (std::size_t d = 0; d < value.shape.size(); ++d) {
    if (value.shape[d] != 1) order.emplace_back(value.strides[d], value.shape[d]);
  }
  std::sort(order.begin(), order.end());
  std::int64_t expected = 1;
  for (const auto& [stride, size] : order) {
    if (stride != expected) return false;
    expected *= size;
  }
  return true;
}

ValueId Torch::make_like(ValueId like, Type type) {
  const Shape shape = value(like).shape;
  const bool keep = is_dense(value(like));
  const Shape strides = value(like).strides;
  const ValueId made = rec.make(shape, type);
  if (keep) rec.value(made).strides = strides;
  return made;
}

Val Torch::elementwise(std::string_view name, const std::vector<ValueId>& inputs, Type type,
                       double steps, OpKind kind) {
  Shape shape;
  ValueId full = -1;  // an input of the result's shape, whose layout the result keeps
  for (const ValueId id : inputs) {
    Shape joined;
    if (!broadcast(shape, value(id).shape, joined)) {
      return in.lost(call.line, "shapes that do not broadcast in '" + std::string(name) + "'");
    }
    shape = joined;
  }
  for (const ValueId id : inputs) {
    if (full < 0 && value(id).shape == shape) full = id;
  }
  const Val out_argument = in.keyword(call, "out");
  ValueId out = -1;
  if (in_place && !inputs.empty())
    out = inputs[0];
  else if (out_argument.is_tensor())
    out = out_argument.tensor();
  else
    out = full >= 0 ? make_like(full, type) : rec.make(shape, type);
  Op op = make_op(kind, name, inputs, {out},
                  steps * static_cast<double>(quoin::architect::elements_of(shape)));
  op.in_place = in_place;
  rec.record(std::move(op));
  return tensor_val(out);
}

ValueId Torch::contiguous(ValueId id, std::string_view why) {
  if (is_contiguous(value(id))) return id;
  const Shape shape = value(id).shape;
  const ValueId made = rec.make(shape, value(id).type);
  Op op = make_op(OpKind::copy, why, {id}, {made});
  op.reshapes = true;
  rec.record(std::move(op));
  return made;
}

ValueId Torch::cast(ValueId id, Type type) {
  if (value(id).type == type || type == Type::unknown) return id;
  const ValueId made = make_like(id, type);
  record(OpKind::cast, "to", {id}, {made});
  return made;
}

}  // namespace quoin::architect
