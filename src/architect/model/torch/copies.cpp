// Functions that move elements without changing them: contiguous, clone, to, cat, pad, roll, ...
#include <algorithm>

#include "architect/model/torch/torch.h"

namespace quoin::architect {
namespace {

ValueId copied(Torch& t, std::string_view name, const std::vector<ValueId>& inputs, Shape shape,
               bool reshapes = true) {
  const ValueId made = t.rec.make(std::move(shape), t.value(inputs.at(0)).type);
  Op op = t.make_op(OpKind::copy, name, inputs, {made});
  op.reshapes = reshapes;
  t.rec.record(std::move(op));
  return made;
}

bool contiguous(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  if (x < 0) return false;
  const Val format = t.in.keyword(t.call, "memory_format");
  const bool last = format.is(ValKind::builtin) &&
                    as<BuiltinObject>(format).path.find("channels_last") != std::string::npos;
  if (!last) {
    result = tensor_val(t.contiguous(x));
    return true;
  }
  const ValueId made = copied(t, "contiguous", {x}, t.value(x).shape);
  Value& held = t.rec.value(made);
  std::int64_t stride = held.shape.size() > 1 ? held.shape[1] : 1;
  for (std::size_t d = held.shape.size(); d-- > 2;) {
    held.strides[d] = stride;
    stride *= held.shape[d];
  }
  if (held.shape.size() > 1) {
    held.strides[1] = 1;
    held.strides[0] = stride;
  }
  result = tensor_val(made);
  return true;
}

bool clone(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  if (x < 0) return false;
  const ValueId made = t.make_like(x, t.value(x).type);
  t.record(OpKind::copy, "clone", {x}, {made});
  result = tensor_val(made);
  return true;
}

/// to, type, type_as, float, half, ...: a cast where the type changes.
bool to(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  if (x < 0) return false;
  Type type = Type::unknown;
  const std::string_view name = t.call.name;
  if (name == "to" || name == "type" || name == "type_as" || name == "to_dtype") {
    for (std::size_t i = 1; i < t.call.positional.size(); ++i) {
      const Val& given = t.call.positional[i];
      if (given.is(ValKind::dtype)) type = given.type();
      if (given.is_tensor()) type = t.value(given.tensor()).type;
    }
    type = t.type(SIZE_MAX, "dtype", type);
  } else {
    type = dtype_of(name);
  }
  result = tensor_val(t.cast(x, type));
  return true;
}

bool copy_into(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "self");
  const ValueId from = t.tensor(1, "src");
  if (x < 0) return false;
  Op op = t.make_op(OpKind::copy, "copy_", {from}, {x});
  op.in_place = true;
  t.rec.record(std::move(op));
  result = tensor_val(x);
  return true;
}

bool cat(Torch& t, Val& result) {
  const std::vector<ValueId> parts = t.tensors(t.arg(0, "tensors"));
  if (parts.empty()) return false;
  Shape shape = t.value(parts[0]).shape;
  const bool stack = t.call.name == "stack";
  const std::int64_t fallback = t.call.name == "hstack" && shape.size() > 1 ? 1 : 0;
  const Val given = t.in.keyword(t.call, "axis");
  const std::int64_t dim =
      wrapped_dim(given.is_integer() ? given.number : t.integer(1, "dim", fallback),
                  shape.size() + (stack ? 1 : 0));
  Type type = Type::unknown;
  for (const ValueId part : parts) type = promoted(type, t.value(part).type);
  if (stack) {
    shape.insert(shape.begin() + dim, static_cast<std::int64_t>(parts.size()));
  } else if (!shape.empty()) {
    shape[dim] = 0;
    for (const ValueId part : parts) {
      const Shape& one = t.value(part).shape;
      if (one.size() == shape.size()) shape[dim] += one[dim];
    }
  }
  const ValueId made = copied(t, t.call.name, parts, std::move(shape), false);
  t.rec.value(made).type = type;
  result = tensor_val(made);
  return true;
}

bool pad(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  const Shape amounts = t.integers(1, "pad");
  if (x < 0) return false;
  Shape shape = t.value(x).shape;
  for (std::size_t i = 0; i + 1 < amounts.size() && i / 2 < shape.size(); i += 2) {
    shape[shape.size() - 1 - i / 2] += amounts[i] + amounts[i + 1];
  }
  result = tensor_val(copied(t, "pad", {x}, std::move(shape), false));
  return true;
}

bool repeat(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  Shape times;
  if (x < 0 || !t.sizes(1, times)) return false;
  if (t.call.name == "tile" && times.size() < t.value(x).shape.size()) {
    times.insert(times.begin(), t.value(x).shape.size() - times.size(), 1);
  }
  Shape shape = t.value(x).shape;
  if (times.size() < shape.size()) return false;
  shape.insert(shape.begin(), times.size() - shape.size(), 1);
  for (std::size_t d = 0; d < shape.size(); ++d) shape[d] *= times[d];
  result = tensor_val(copied(t, t.call.name, {x}, std::move(shape), false));
  return true;
}

bool repeat_interleave(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  const Val times = t.arg(1, "repeats");
  if (x < 0 || !times.is_integer()) return false;
  Shape shape = t.value(x).shape;
  const Val dim = t.arg(2, "dim");
  if (dim.is_integer())
    shape[wrapped_dim(dim.number, shape.size())] *= times.number;
  else
    shape = {elements_of(shape) * times.number};
  result = tensor_val(copied(t, "repeat_interleave", {x}, std::move(shape), false));
  return true;
}

/// Elements moved within the same shape: roll, flip, rot90.
bool moved(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  if (x < 0) return false;
  result = tensor_val(copied(t, t.call.name, {x}, t.value(x).shape, true));
  return true;
}

/// im2col as a copy: F.unfold(x, kernel, ...), or a view where called as x.unfold(dim, size, step).
bool unfold(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  if (x < 0) return false;
  if (t.call.method) return call_torch(t.in, "unfold_view", t.call, result);
  const Shape& from = t.value(x).shape;
  const Shape kernel = t.spread(1, "kernel_size", 2, 1);
  const Shape dilation = t.spread(2, "dilation", 2, 1);
  const Shape padding = t.spread(3, "padding", 2, 0);
  const Shape stride = t.spread(4, "stride", 2, 1);
  if (from.size() != 4) return false;
  std::int64_t places = 1;
  for (std::size_t d = 0; d < 2; ++d) {
    places *= (from[d + 2] + 2 * padding[d] - dilation[d] * (kernel[d] - 1) - 1) /
                  std::max<std::int64_t>(stride[d], 1) +
              1;
  }
  const Shape shape = {from[0], from[1] * kernel[0] * kernel[1], places};
  result = tensor_val(copied(t, "unfold", {x}, shape, true));
  return true;
}

bool fold(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  const Shape size = t.spread(1, "output_size", 2, 1);
  const Shape kernel = t.spread(2, "kernel_size", 2, 1);
  if (x < 0 || t.value(x).shape.size() != 3) return false;
  const Shape& from = t.value(x).shape;
  const Shape shape = {from[0], from[1] / std::max<std::int64_t>(kernel[0] * kernel[1], 1), size[0],
                       size[1]};
  result = tensor_val(copied(t, "fold", {x}, shape, true));
  return true;
}

bool pixel_shuffle(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  const std::int64_t factor = std::max<std::int64_t>(t.integer(1, "upscale_factor", 1), 1);
  if (x < 0 || t.value(x).shape.size() < 3) return false;
  Shape shape = t.value(x).shape;
  const std::size_t rank = shape.size();
  const bool up = t.call.name == "pixel_shuffle";
  shape[rank - 3] = up ? shape[rank - 3] / (factor * factor) : shape[rank - 3] * factor * factor;
  for (std::size_t d = rank - 2; d < rank; ++d)
    shape[d] = up ? shape[d] * factor : shape[d] / factor;
  result = tensor_val(copied(t, t.call.name, {x}, std::move(shape), true));
  return true;
}

bool interpolate(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  if (x < 0 || t.value(x).shape.size() < 3) return false;
  Shape shape = t.value(x).shape;
  const std::size_t dims = shape.size() - 2;
  const Val size = t.arg(1, "size");
  const Val scale = t.arg(2, "scale_factor");
  const auto part = [](const Val& value, std::size_t i) {
    return value.is_sequence() && i < items_of(value).size() ? items_of(value)[i] : value;
  };
  for (std::size_t d = 0; d < dims; ++d) {
    const Val one = part(size, d);
    const Val factor = part(scale, d);
    if (one.is_integer())
      shape[d + 2] = one.number;
    else if (factor.is_number()) {
      shape[d + 2] =
          static_cast<std::int64_t>(static_cast<double>(shape[d + 2]) * factor.as_real());
    }
  }
  const ValueId made = t.rec.make(shape, t.value(x).type);
  t.record(OpKind::elementwise, "interpolate", {x}, {made},
           8 * static_cast<double>(elements_of(shape)));
  result = tensor_val(made);
  return true;
}

bool meshgrid(Torch& t, Val& result) {
  std::vector<ValueId> parts = t.tensors(t.arg(0, "tensors"));
  if (parts.empty()) {
    for (const Val& value : t.call.positional) {
      if (value.is_tensor()) parts.push_back(value.tensor());
    }
  }
  Shape shape;
  for (const ValueId part : parts) shape.push_back(elements_of(t.value(part)));
  std::vector<Val> made;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    Shape strides(shape.size(), 0);
    strides[i] = 1;
    made.push_back(tensor_val(t.rec.view(parts[i], shape, strides, "meshgrid")));
  }
  result = t.in.tuple(std::move(made));
  return !parts.empty();
}

constexpr TorchRow kRows[] = {
    {"contiguous", contiguous},
    {"clone", clone},
    {"to", to},
    {"type", to},
    {"type_as", to},
    {"float", to},
    {"half", to},
    {"bfloat16", to},
    {"double", to},
    {"int", to},
    {"long", to},
    {"short", to},
    {"bool", to},
    {"int8", to},
    {"copy", copy_into},
    {"cat", cat},
    {"concat", cat},
    {"concatenate", cat},
    {"stack", cat},
    {"hstack", cat},
    {"vstack", cat},
    {"pad", pad},
    {"repeat", repeat},
    {"tile", repeat},
    {"repeat_interleave", repeat_interleave},
    {"roll", moved},
    {"flip", moved},
    {"fliplr", moved},
    {"flipud", moved},
    {"rot90", moved},
    {"channel_shuffle", moved},
    {"unfold", unfold},
    {"fold", fold},
    {"pixel_shuffle", pixel_shuffle},
    {"pixel_unshuffle", pixel_shuffle},
    {"interpolate", interpolate},
    {"upsample", interpolate},
    {"meshgrid", meshgrid},
};

}  // namespace

std::span<const TorchRow> copy_functions() { return kRows; }

}  // namespace quoin::architect
