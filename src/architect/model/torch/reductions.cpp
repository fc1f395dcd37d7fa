// Reductions, scans and softmax. What eager PyTorch runs as several kernels says so.
#include <algorithm>

#include "architect/model/torch/torch.h"

namespace quoin::architect {

Val make_reduction(Torch& t, std::string_view name, ValueId x, Shape dims, bool keep, Type type,
                   double steps) {
  const Shape from = t.value(x).shape;
  std::vector<bool> drop(from.size(), dims.empty());
  for (const std::int64_t dim : dims) {
    if (!from.empty()) drop[wrapped_dim(dim, from.size())] = true;
  }
  Shape shape;
  Op op;
  for (std::size_t d = 0; d < from.size(); ++d) {
    if (drop[d]) op.dims.push_back(static_cast<int>(d));
    if (!drop[d])
      shape.push_back(from[d]);
    else if (keep)
      shape.push_back(1);
  }
  const ValueId made = t.rec.make(shape, type);
  std::vector<int> reduced = std::move(op.dims);
  op = t.make_op(OpKind::reduction, name, {x}, {made},
                 steps * static_cast<double>(elements_of(from)));
  op.dims = std::move(reduced);
  t.rec.record(std::move(op));
  return tensor_val(made);
}

Val make_softmax(Torch& t, std::string_view name, ValueId x, std::int64_t dim) {
  const ValueId made = t.make_like(x, is_float(t.value(x).type) ? t.value(x).type : Type::float32);
  const std::size_t rank = t.value(x).shape.size();
  Op op = t.make_op(OpKind::softmax, name, {x}, {made},
                    12 * static_cast<double>(elements_of(t.value(x))));
  op.dims = {static_cast<int>(wrapped_dim(dim, rank))};
  // Rows beyond what a block keeps in registers are read a second time, along other dimensions
  // PyTorch reads three times.
  const bool last = rank == 0 || op.dims[0] + 1 == static_cast<int>(rank);
  const std::int64_t length = rank == 0 ? 1 : t.value(x).shape[op.dims[0]];
  const double reads = last ? (length > 1024 ? 2 : 1) : 3;
  op.bytes_read = reads * bytes_of(t.value(x));
  t.rec.record(std::move(op));
  return tensor_val(made);
}

namespace {

bool wants_dims(const Torch& t) { return t.arg(1, "dim").known() && !t.arg(1, "dim").is_null(); }

Shape dims_of(const Torch& t) {
  Shape dims = t.integers(1, "dim");
  if (dims.empty()) dims = t.integers(SIZE_MAX, "axis");
  return dims;
}

Type summed_type(Type type) { return is_float(type) ? type : Type::int64; }

bool reduce(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  if (x < 0) return false;
  const std::string_view name = t.call.name;
  const bool keep = t.flag(2, "keepdim", false);
  Type type = t.value(x).type;
  if (name == "sum" || name == "prod" || name == "nansum" || name == "cumsum") {
    type = summed_type(type);
  }
  if (name == "any" || name == "all") type = Type::boolean;
  if (name == "count_nonzero") type = Type::int64;
  type = t.type(SIZE_MAX, "dtype", type);
  const std::vector<double> contents = t.in.contents_of(tensor_val(x));
  result = make_reduction(t, name, x, dims_of(t), keep, type);
  if (!contents.empty() && (name == "prod" || name == "sum")) {
    double total = name == "prod" ? 1 : 0;
    for (const double one : contents) total = name == "prod" ? total * one : total + one;
    t.in.contents[t.value(result.tensor()).storage] = {total};
  }
  return true;
}

/// max(x), max(x, dim) -> (values, indices), max(x, y) elementwise.
bool extreme(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  if (x < 0) return false;
  const ValueId other = t.tensor(1, "other");
  const bool is_max = t.call.name == "max";
  if (other >= 0) {
    result = t.elementwise(is_max ? "maximum" : "minimum", {x, other},
                           promoted(t.value(x).type, t.value(other).type), 1);
    return true;
  }
  if (!wants_dims(t)) {
    result = make_reduction(t, t.call.name, x, {}, false, t.value(x).type);
    return true;
  }
  const Val values =
      make_reduction(t, t.call.name, x, dims_of(t), t.flag(2, "keepdim", false), t.value(x).type);
  const ValueId indices = t.rec.make(t.value(values.tensor()).shape, Type::int64);
  t.rec.add_output(indices);
  result = t.in.tuple({values, tensor_val(indices)});
  return true;
}

bool index_extreme(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  if (x < 0) return false;
  result = make_reduction(t, t.call.name, x, dims_of(t), t.flag(2, "keepdim", false), Type::int64);
  return true;
}

/// var, std: Welford in one pass; var_mean gives both.
bool variance(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  if (x < 0) return false;
  Shape dims;
  if (!t.arg(1, "dim").is(ValKind::boolean)) dims = dims_of(t);
  const bool keep = t.flag(SIZE_MAX, "keepdim", t.flag(3, "keepdim", false));
  const Val first = make_reduction(t, t.call.name, x, dims, keep, t.value(x).type, 4);
  if (t.call.name == "var_mean" || t.call.name == "std_mean") {
    const ValueId mean = t.rec.make(t.value(first.tensor()).shape, t.value(x).type);
    t.rec.add_output(mean);
    result = t.in.tuple({first, tensor_val(mean)});
  } else {
    result = first;
  }
  return true;
}

bool norm(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  if (x < 0) return false;
  Shape dims = t.integers(2, "dim");
  if (dims.empty()) dims = t.integers(SIZE_MAX, "axis");
  result = make_reduction(t, "norm", x, dims, t.flag(3, "keepdim", false), t.value(x).type, 2);
  return true;
}

/// Eager logsumexp: amax, subtract, exp, sum, log and add, each a kernel; two write whole tensors.
bool logsumexp(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  if (x < 0) return false;
  const Shape dims = dims_of(t);
  const ValueId input = x;
  Op probe;
  const Shape from = t.value(x).shape;
  Shape shape;
  for (std::size_t d = 0; d < from.size(); ++d) {
    bool drop = dims.empty();
    for (const std::int64_t dim : dims) {
      drop = drop || wrapped_dim(dim, from.size()) == static_cast<std::int64_t>(d);
    }
    if (drop) probe.dims.push_back(static_cast<int>(d));
    if (!drop)
      shape.push_back(from[d]);
    else if (t.flag(2, "keepdim", false))
      shape.push_back(1);
  }
  const ValueId made = t.rec.make(shape, t.value(x).type);
  Op op = t.make_op(OpKind::reduction, "logsumexp", {input}, {made},
                    20 * static_cast<double>(elements_of(from)));
  op.dims = std::move(probe.dims);
  op.device_kernels = 6;
  op.bytes_read = 4 * bytes_of(t.value(x));
  op.bytes_written = 2 * bytes_of(t.value(x)) + bytes_of(t.value(made));
  t.rec.record(std::move(op));
  result = tensor_val(made);
  return true;
}

bool scan(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  if (x < 0) return false;
  Shape dims = dims_of(t);
  if (dims.empty()) dims = {0};
  const ValueId made =
      t.rec.make(t.value(x).shape, t.type(2, "dtype", summed_type(t.value(x).type)));
  Op op = t.make_op(OpKind::scan, t.call.name, {x}, {made},
                    2 * static_cast<double>(elements_of(t.value(x))));
  op.dims = {static_cast<int>(wrapped_dim(dims[0], t.value(x).shape.size()))};
  t.rec.record(std::move(op));
  result = tensor_val(made);
  if (t.call.name == "cummax" || t.call.name == "cummin") {
    const ValueId indices = t.rec.make(t.value(x).shape, Type::int64);
    t.rec.add_output(indices);
    result = t.in.tuple({result, tensor_val(indices)});
  }
  return true;
}

bool softmax(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  if (x < 0) return false;
  const ValueId input = t.cast(x, t.type(SIZE_MAX, "dtype", t.value(x).type));
  result = make_softmax(t, t.call.name, input, t.integer(1, "dim", -1));
  return true;
}

bool sort(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  if (x < 0) return false;
  Shape shape = t.value(x).shape;
  const bool top = t.call.name == "topk";
  const std::int64_t dim =
      wrapped_dim(top ? t.integer(2, "dim", -1) : t.integer(1, "dim", -1), shape.size());
  if (top && !shape.empty()) shape[dim] = t.integer(1, "k", 1);
  const ValueId values = t.rec.make(shape, t.value(x).type);
  const ValueId indices = t.rec.make(shape, Type::int64);
  Op op = t.make_op(OpKind::sort, t.call.name, {x}, {values, indices},
                    20 * static_cast<double>(elements_of(t.value(x))));
  op.dims = {static_cast<int>(dim)};
  op.device_kernels = 4;
  t.rec.record(std::move(op));
  result = t.call.name == "argsort" ? tensor_val(indices)
                                    : t.in.tuple({tensor_val(values), tensor_val(indices)});
  return true;
}

constexpr TorchRow kRows[] = {
    {"sum", reduce},
    {"nansum", reduce},
    {"mean", reduce},
    {"nanmean", reduce},
    {"prod", reduce},
    {"amax", reduce},
    {"amin", reduce},
    {"any", reduce},
    {"all", reduce},
    {"count_nonzero", reduce},
    {"max", extreme},
    {"min", extreme},
    {"argmax", index_extreme},
    {"argmin", index_extreme},
    {"var", variance},
    {"std", variance},
    {"var_mean", variance},
    {"std_mean", variance},
    {"norm", norm},
    {"vector_norm", norm},
    {"matrix_norm", norm},
    {"logsumexp", logsumexp},
    {"cumsum", scan},
    {"cumprod", scan},
    {"cummax", scan},
    {"cummin", scan},
    {"logcumsumexp", scan},
    {"softmax", softmax},
    {"log_softmax", softmax},
    {"softmin", softmax},
    {"sort", sort},
    {"topk", sort},
    {"argsort", sort},
    {"median", index_extreme},
    {"kthvalue", sort},
};

}  // namespace

std::span<const TorchRow> reduction_functions() { return kRows; }

}  // namespace quoin::architect
