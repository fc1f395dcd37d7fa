// Functions that look at the same memory another way: view, transpose, permute, slices, expand.
// They cost nothing; those that may have to copy (reshape, flatten) record the copy they make.
#include <algorithm>

#include "architect/model/torch/torch.h"

namespace quoin::architect {

bool reshaped_strides(const Value& value, const Shape& shape, Shape& strides) {
  strides = contiguous_strides(shape);
  if (is_contiguous(value)) return true;
  // Groups of old dimensions that are contiguous among themselves, matched with groups of new ones.
  Shape old_shape, old_strides;
  for (std::size_t d = 0; d < value.shape.size(); ++d) {
    if (value.shape[d] == 1) continue;
    old_shape.push_back(value.shape[d]);
    old_strides.push_back(value.strides[d]);
  }
  std::size_t o = 0;
  std::size_t n = 0;
  while (o < old_shape.size() && n < shape.size()) {
    std::size_t o_end = o + 1;
    std::size_t n_end = n + 1;
    std::int64_t o_count = old_shape[o];
    std::int64_t n_count = shape[n];
    while (o_count != n_count) {
      if (n_count < o_count) {
        if (n_end >= shape.size()) return false;
        n_count *= shape[n_end++];
      } else {
        if (o_end >= old_shape.size()) return false;
        o_count *= old_shape[o_end++];
      }
    }
    for (std::size_t d = o; d + 1 < o_end; ++d) {
      if (old_strides[d] != old_shape[d + 1] * old_strides[d + 1]) return false;
    }
    std::int64_t stride = old_strides[o_end - 1];
    for (std::size_t d = n_end; d-- > n;) {
      strides[d] = stride;
      stride *= shape[d];
    }
    o = o_end;
    n = n_end;
  }
  return true;
}

Val make_view(Torch& t, ValueId x, Shape shape, std::string_view how, bool may_copy) {
  const std::int64_t count = elements_of(t.value(x));
  std::int64_t known = 1;
  std::int64_t open = -1;
  for (std::size_t d = 0; d < shape.size(); ++d) {
    if (shape[d] < 0)
      open = static_cast<std::int64_t>(d);
    else
      known *= shape[d];
  }
  if (open >= 0) shape[open] = known == 0 ? 0 : count / known;
  if (elements_of(shape) != count) {
    return t.in.lost(t.call.line, "'" + std::string(how) + "' of " + std::to_string(count) +
                                      " elements to " + std::to_string(elements_of(shape)));
  }
  Shape strides;
  if (reshaped_strides(t.value(x), shape, strides)) {
    return tensor_val(t.rec.view(x, std::move(shape), std::move(strides), std::string(how)));
  }
  if (!may_copy) t.in.misunderstood(t.call.line, "a view of memory that is not contiguous");
  const ValueId copy = t.contiguous(x, how);
  return tensor_val(t.rec.view(copy, shape, contiguous_strides(shape), std::string(how)));
}

Val make_permuted(Torch& t, ValueId x, const Shape& order, std::string_view how) {
  const Value& from = t.value(x);
  if (order.size() != from.shape.size())
    return t.in.lost(t.call.line, "'" + std::string(how) + "'");
  Shape shape, strides;
  std::string text = std::string(how) + "(";
  for (const std::int64_t dim : order) {
    const std::int64_t d = wrapped_dim(dim, order.size());
    shape.push_back(from.shape[d]);
    strides.push_back(from.strides[d]);
    text += (text.back() == '(' ? "" : ",") + std::to_string(d);
  }
  return tensor_val(t.rec.view(x, std::move(shape), std::move(strides), text + ")"));
}

namespace {

bool view(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  if (x < 0) return false;
  if (t.call.positional.size() > 1 && t.call.positional[1].is(ValKind::dtype)) {
    return false;  // reinterpreting bits
  }
  Shape shape;
  if (!t.sizes(1, shape)) {
    result = t.in.lost(t.call.line, "the sizes of a '" + std::string(t.call.name) + "'");
    return true;
  }
  result = make_view(t, x, std::move(shape), t.call.name, t.call.name == "reshape");
  return true;
}

bool view_as(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  const ValueId other = t.tensor(1, "other");
  if (x < 0 || other < 0) return false;
  result = make_view(t, x, t.value(other).shape, t.call.name, t.call.name == "reshape_as");
  return true;
}

bool flatten(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  if (x < 0) return false;
  const Shape shape = t.value(x).shape;
  const auto begin =
      static_cast<std::size_t>(wrapped_dim(t.integer(1, "start_dim", 0), shape.size()));
  const auto end = static_cast<std::size_t>(wrapped_dim(t.integer(2, "end_dim", -1), shape.size()));
  Shape made(shape.begin(), shape.begin() + static_cast<std::ptrdiff_t>(begin));
  std::int64_t joined = 1;
  for (std::size_t d = begin; d <= end && d < shape.size(); ++d) joined *= shape[d];
  made.push_back(joined);
  for (std::size_t d = end + 1; d < shape.size(); ++d) made.push_back(shape[d]);
  result = make_view(t, x, std::move(made), "flatten", true);
  return true;
}

bool unflatten(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  if (x < 0) return false;
  Shape shape = t.value(x).shape;
  const std::int64_t dim = wrapped_dim(t.integer(1, "dim", 0), shape.size());
  Shape parts = t.integers(2, "sizes");
  std::int64_t known = 1;
  for (const std::int64_t size : parts) known *= size > 0 ? size : 1;
  for (std::int64_t& size : parts)
    if (size < 0) size = shape[dim] / std::max<std::int64_t>(known, 1);
  shape.erase(shape.begin() + dim);
  shape.insert(shape.begin() + dim, parts.begin(), parts.end());
  result = make_view(t, x, std::move(shape), "unflatten", true);
  return true;
}

bool transpose(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  if (x < 0) return false;
  const std::size_t rank = t.value(x).shape.size();
  Shape order;
  for (std::size_t d = 0; d < rank; ++d) order.push_back(static_cast<std::int64_t>(d));
  const bool last = t.call.name == "t" || t.call.name == "adjoint";
  if (rank >= 2) {
    const std::int64_t a = last ? -2 : t.integer(1, "dim0", t.integer(1, "axis0", 0));
    const std::int64_t b = last ? -1 : t.integer(2, "dim1", t.integer(2, "axis1", 1));
    std::swap(order[wrapped_dim(a, rank)], order[wrapped_dim(b, rank)]);
  }
  result = make_permuted(t, x, order, last ? "t" : "transpose");
  return true;
}

bool permute(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  Shape order;
  if (x < 0) return false;
  if (t.call.positional.size() > 1) {
    if (!t.sizes(1, order)) return false;
  } else {
    order = t.integers(SIZE_MAX, "dims");
  }
  result = make_permuted(t, x, order, "permute");
  return true;
}

bool movedim(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  if (x < 0) return false;
  const std::size_t rank = t.value(x).shape.size();
  const Shape from = t.integers(1, "source");
  const Shape to = t.integers(2, "destination");
  if (from.size() != to.size()) return false;
  Shape order(rank, -1);
  std::vector<bool> used(rank, false);
  for (std::size_t i = 0; i < from.size(); ++i) {
    order[wrapped_dim(to[i], rank)] = wrapped_dim(from[i], rank);
    used[wrapped_dim(from[i], rank)] = true;
  }
  std::size_t next = 0;
  for (std::int64_t& place : order) {
    if (place >= 0) continue;
    while (next < rank && used[next]) ++next;
    place = static_cast<std::int64_t>(next++);
  }
  result = make_permuted(t, x, order, "movedim");
  return true;
}

bool squeeze(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  if (x < 0) return false;
  const Value from = t.value(x);
  const Shape dims = t.integers(1, "dim");
  Shape shape, strides;
  for (std::size_t d = 0; d < from.shape.size(); ++d) {
    bool drop = dims.empty();
    for (const std::int64_t dim : dims) {
      drop = drop || wrapped_dim(dim, from.shape.size()) == static_cast<std::int64_t>(d);
    }
    if (drop && from.shape[d] == 1) continue;
    shape.push_back(from.shape[d]);
    strides.push_back(from.strides[d]);
  }
  result = tensor_val(t.rec.view(x, std::move(shape), std::move(strides), "squeeze"));
  return true;
}

bool unsqueeze(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  if (x < 0) return false;
  Shape shape = t.value(x).shape;
  Shape strides = t.value(x).strides;
  const std::int64_t dim = wrapped_dim(t.integer(1, "dim", 0), shape.size() + 1);
  const std::int64_t stride =
      dim < static_cast<std::int64_t>(shape.size()) ? shape[dim] * strides[dim] : 1;
  shape.insert(shape.begin() + dim, 1);
  strides.insert(strides.begin() + dim, stride);
  result = tensor_val(t.rec.view(x, std::move(shape), std::move(strides), "unsqueeze"));
  return true;
}

Val expanded(Torch& t, ValueId x, Shape shape, std::string_view how) {
  const Value from = t.value(x);
  if (shape.size() < from.shape.size()) return t.in.lost(t.call.line, "'expand'");
  Shape strides(shape.size(), 0);
  const std::size_t added = shape.size() - from.shape.size();
  for (std::size_t d = 0; d < shape.size(); ++d) {
    if (d < added) continue;
    const std::int64_t size = from.shape[d - added];
    if (shape[d] < 0) shape[d] = size;
    strides[d] = size == 1 && shape[d] != 1 ? 0 : from.strides[d - added];
  }
  return tensor_val(t.rec.view(x, std::move(shape), std::move(strides), std::string(how)));
}

bool expand(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  const ValueId other = t.tensor(1, "other");
  Shape shape;
  if (x < 0) return false;
  if (other >= 0)
    shape = t.value(other).shape;
  else if (!t.sizes(1, shape))
    return false;
  result = expanded(t, x, std::move(shape), "expand");
  return true;
}

ValueId narrowed(Torch& t, ValueId x, std::int64_t dim, std::int64_t begin, std::int64_t size,
                 std::string_view how) {
  Shape shape = t.value(x).shape;
  const Shape strides = t.value(x).strides;
  shape[dim] = size;
  return t.rec.view(x, shape, strides, std::string(how), begin * strides[dim]);
}

bool narrow(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  if (x < 0) return false;
  const std::int64_t dim = wrapped_dim(t.integer(1, "dim", 0), t.value(x).shape.size());
  result = tensor_val(
      narrowed(t, x, dim, t.integer(2, "start", 0), t.integer(3, "length", 1), "narrow"));
  return true;
}

bool select(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  if (x < 0) return false;
  const std::size_t rank = t.value(x).shape.size();
  std::vector<Val> indices(rank);
  auto* all = t.in.make<SliceObject>();
  for (Val& index : indices) {
    index = {ValKind::slice};
    index.object = all;
  }
  if (rank == 0) return false;
  indices[wrapped_dim(t.integer(1, "dim", 0), rank)] = t.arg(2, "index");
  result = index_tensor(t.in, x, t.in.tuple(std::move(indices)));
  return true;
}

bool split(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  if (x < 0) return false;
  const bool chunks = t.call.name == "chunk" || t.call.name == "tensor_split";
  const bool unbind = t.call.name == "unbind";
  const std::int64_t dim = wrapped_dim(unbind ? t.integer(1, "dim", 0) : t.integer(2, "dim", 0),
                                       t.value(x).shape.size());
  if (t.value(x).shape.empty()) return false;
  const std::int64_t size = t.value(x).shape[dim];
  Shape parts = t.integers(1, chunks ? "chunks" : "split_size_or_sections");
  const bool list = t.arg(1, chunks ? "chunks" : "split_size").is_sequence();
  if (unbind)
    parts.assign(size, 1);
  else if (parts.empty())
    return false;
  else if (!list) {
    const std::int64_t step = chunks ? (size + std::max<std::int64_t>(parts[0], 1) - 1) /
                                           std::max<std::int64_t>(parts[0], 1)
                                     : parts[0];
    if (step <= 0 || size / step > 10'000) return false;
    parts.clear();
    for (std::int64_t at = 0; at < size; at += step) parts.push_back(std::min(step, size - at));
  }
  std::vector<Val> made;
  std::int64_t begin = 0;
  for (const std::int64_t part : parts) {
    if (unbind) {
      Shape shape = t.value(x).shape;
      Shape strides = t.value(x).strides;
      const std::int64_t shift = begin * strides[dim];
      shape.erase(shape.begin() + dim);
      strides.erase(strides.begin() + dim);
      made.push_back(tensor_val(t.rec.view(x, shape, strides, "unbind", shift)));
    } else {
      made.push_back(tensor_val(narrowed(t, x, dim, begin, part, t.call.name)));
    }
    begin += part;
  }
  result = t.in.tuple(std::move(made));
  return true;
}

/// Sliding windows along one dimension: a view with overlapping strides.
bool unfold(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  if (x < 0 || !t.arg(3, "step").is_integer() || !t.arg(1, "dimension").is_integer()) return false;
  Shape shape = t.value(x).shape;
  Shape strides = t.value(x).strides;
  const std::int64_t dim = wrapped_dim(t.integer(1, "dimension", 0), shape.size());
  const std::int64_t size = t.integer(2, "size", 1);
  const std::int64_t step = std::max<std::int64_t>(t.integer(3, "step", 1), 1);
  shape.push_back(size);
  strides.push_back(strides[dim]);
  shape[dim] = (shape[dim] - size) / step + 1;
  strides[dim] *= step;
  result = tensor_val(t.rec.view(x, std::move(shape), std::move(strides), "unfold"));
  return true;
}

bool diagonal(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  if (x < 0) return false;
  Shape shape = t.value(x).shape;
  Shape strides = t.value(x).strides;
  if (shape.size() < 2) {  // diag of a vector makes a matrix
    const ValueId made =
        t.rec.make({shape.empty() ? 1 : shape[0], shape.empty() ? 1 : shape[0]}, t.value(x).type);
    t.record(OpKind::copy, "diag", {x}, {made});
    result = tensor_val(made);
    return true;
  }
  const bool given = t.call.name == "diagonal";
  const std::int64_t a = wrapped_dim(given ? t.integer(2, "dim1", 0) : 0, shape.size());
  const std::int64_t b = wrapped_dim(given ? t.integer(3, "dim2", 1) : 1, shape.size());
  const std::int64_t size = std::min(shape[a], shape[b]);
  const std::int64_t stride = strides[a] + strides[b];
  for (const std::int64_t d : {std::max(a, b), std::min(a, b)}) {
    shape.erase(shape.begin() + d);
    strides.erase(strides.begin() + d);
  }
  shape.push_back(size);
  strides.push_back(stride);
  result = tensor_val(t.rec.view(x, std::move(shape), std::move(strides), "diagonal"));
  return true;
}

bool as_strided(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  const Shape shape = t.integers(1, "size");
  const Shape strides = t.integers(2, "stride");
  if (x < 0 || shape.size() != strides.size()) return false;
  result = tensor_val(t.rec.view(x, shape, strides, "as_strided"));
  return true;
}

/// What leaves a tensor as it is: detach, cuda, requires_grad_, ...
bool same(Torch& t, Val& result) {
  result = t.arg(0, "input");
  return result.known();
}

bool size(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  if (x < 0) return false;
  const bool strides = t.call.name == "stride";
  const Shape& held = strides ? t.value(x).strides : t.value(x).shape;
  const Val dim = t.arg(1, "dim");
  if (dim.is_integer()) {
    if (held.empty()) return false;
    result = int_val(held[wrapped_dim(dim.number, held.size())]);
  } else {
    result = t.in.shape_val(held);
  }
  return true;
}

/// item and tolist: known for small constants alone.
bool contents(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  const std::vector<double> held = t.in.contents_of(tensor_val(x));
  const bool real = is_float(t.value(x).type);
  std::vector<Val> items;
  for (const double one : held) {
    items.push_back(real ? real_val(one) : int_val(static_cast<std::int64_t>(one)));
  }
  result = unknown_val();
  if (t.call.name == "tolist" && !items.empty())
    result = t.in.list(std::move(items));
  else if (t.call.name == "item" && items.size() == 1)
    result = items[0];
  return true;
}

bool question(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  if (x < 0) return false;
  const std::string_view name = t.call.name;
  const Value& held = t.value(x);
  if (name == "numel" || name == "nelement")
    result = int_val(elements_of(held));
  else if (name == "dim" || name == "ndimension") {
    result = int_val(static_cast<std::int64_t>(held.shape.size()));
  } else if (name == "element_size")
    result = int_val(bytes_of(held.type));
  else if (name == "is_contiguous") {
    result = t.in.keyword(t.call, "memory_format").known() ? bool_val(false)
                                                           : bool_val(is_contiguous(held));
  } else if (name == "is_floating_point")
    result = bool_val(is_float(held.type));
  else if (name == "storage_offset")
    result = int_val(held.offset);
  else if (name == "data_ptr")
    result = int_val(4096);
  else if (name == "get_device")
    result = int_val(0);
  else if (name == "is_tensor")
    result = bool_val(true);
  else if (name == "item" || name == "tolist")
    return contents(t, result);
  else
    result = unknown_val();  // equal, allclose: what it holds
  return true;
}

/// Contexts and settings that change no shape.
bool nothing(Torch&, Val& result) {
  result = null_val();
  return true;
}

bool precision(Torch& t, Val& result) {
  t.rec.program().matmul_tf32 = text_of(t.arg(0, "precision")) != "highest";
  result = null_val();
  return true;
}

bool device(Torch&, Val& result) {
  result = {ValKind::device};
  return true;
}

bool broadcast_shapes(Torch& t, Val& result) {
  Shape shape;
  for (std::size_t i = 0; i < t.call.positional.size(); ++i) {
    Shape joined;
    if (!broadcast(shape, t.integers(i, ""), joined)) return false;
    shape = joined;
  }
  result = t.in.shape_val(shape);
  return true;
}

bool broadcast_tensors(Torch& t, Val& result) {
  Shape shape;
  std::vector<Val> made;
  for (const Val& value : t.call.positional) {
    Shape joined;
    if (!value.is_tensor() || !broadcast(shape, t.value(value.tensor()).shape, joined))
      return false;
    shape = joined;
  }
  for (const Val& value : t.call.positional) {
    made.push_back(expanded(t, value.tensor(), shape, "broadcast"));
  }
  result = t.in.tuple(std::move(made));
  return true;
}

bool promote(Torch& t, Val& result) {
  Type type = Type::unknown;
  for (const Val& value : t.call.positional) {
    if (value.is(ValKind::dtype)) type = promoted(type, value.type());
    if (value.is_tensor()) type = promoted(type, t.value(value.tensor()).type);
  }
  result = dtype_val(type);
  return true;
}

constexpr TorchRow kRows[] = {
    {"view", view},
    {"reshape", view},
    {"view_as", view_as},
    {"reshape_as", view_as},
    {"flatten", flatten},
    {"ravel", flatten},
    {"unflatten", unflatten},
    {"t", transpose},
    {"adjoint", transpose},
    {"transpose", transpose},
    {"swapaxes", transpose},
    {"swapdims", transpose},
    {"permute", permute},
    {"movedim", movedim},
    {"moveaxis", movedim},
    {"squeeze", squeeze},
    {"unsqueeze", unsqueeze},
    {"expand", expand},
    {"expand_as", expand},
    {"broadcast_to", expand},
    {"narrow", narrow},
    {"select", select},
    {"split", split},
    {"chunk", split},
    {"tensor_split", split},
    {"unbind", split},
    {"split_with_sizes", split},
    {"diagonal", diagonal},
    {"diag", diagonal},
    {"as_strided", as_strided},
    {"detach", same},
    {"cuda", same},
    {"cpu", same},
    {"requires_grad", same},
    {"numpy", same},
    {"pin_memory", same},
    {"share_memory", same},
    {"contiguous_format", same},
    {"size", size},
    {"stride", size},
    {"numel", question},
    {"nelement", question},
    {"dim", question},
    {"ndimension", question},
    {"element_size", question},
    {"is_contiguous", question},
    {"is_floating_point", question},
    {"storage_offset", question},
    {"data_ptr", question},
    {"get_device", question},
    {"is_tensor", question},
    {"item", question},
    {"tolist", question},
    {"equal", question},
    {"allclose", question},
    {"record_stream", same},
    {"requires_grad_", same},
    {"no_grad", nothing},
    {"inference_mode", nothing},
    {"enable_grad", nothing},
    {"set_grad_enabled", nothing},
    {"autocast", nothing},
    {"manual_seed", nothing},
    {"set_default_dtype", nothing},
    {"set_default_device", nothing},
    {"set_float32_matmul_precision", precision},
    {"set_printoptions", nothing},
    {"initial_seed", nothing},
    {"set_num_threads", nothing},
    {"device", device},
    {"synchronize", nothing},
    {"is_grad_enabled", nothing},
    {"is_autocast_enabled", nothing},
    {"broadcast_shapes", broadcast_shapes},
    {"broadcast_tensors", broadcast_tensors},
    {"promote_types", promote},
    {"result_type", promote},
    {"script", same},
    {"compile", same},
    {"unfold_view", unfold},
};

}  // namespace

std::span<const TorchRow> view_functions() { return kRows; }

bool tensor_attribute(Interpreter& interpreter, ValueId tensor, std::string_view name,
                      Val& result) {
  const Value& held = interpreter.recorder.value(tensor);
  if (name == "shape")
    result = interpreter.shape_val(held.shape);
  else if (name == "dtype")
    result = dtype_val(held.type);
  else if (name == "device")
    result = {ValKind::device};
  else if (name == "is_cuda")
    result = bool_val(true);
  else if (name == "ndim")
    result = int_val(static_cast<std::int64_t>(held.shape.size()));
  else if (name == "data")
    result = tensor_val(tensor);
  else if (name == "requires_grad" || name == "is_sparse" || name == "is_quantized") {
    result = bool_val(false);
  } else if (name == "itemsize")
    result = int_val(bytes_of(held.type));
  else if (name == "nbytes")
    result = int_val(elements_of(held) * bytes_of(held.type));
  else if (name == "grad" || name == "grad_fn")
    result = null_val();
  else if (name == "T" || name == "mT" || name == "H" || name == "mH") {
    Call call{.name = "t",
              .positional = {tensor_val(tensor)},
              .keywords = {},
              .line = interpreter.line()};
    return call_torch(interpreter, "t", call, result);
  } else {
    return false;
  }
  return true;
}

}  // namespace quoin::architect
