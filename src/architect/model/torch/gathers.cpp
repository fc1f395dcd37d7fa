// Functions whose addresses come from data: embedding, gather, scatter, and their kin.
#include <algorithm>

#include "architect/model/torch/torch.h"

namespace quoin::architect {
namespace {

Val gathered(Torch& t, std::string_view name, ValueId from, ValueId by, Shape shape) {
  const ValueId made = t.rec.make(std::move(shape), t.value(from).type);
  Op op = t.make_op(OpKind::gather, name, {from, by}, {made});
  if (op.inputs.size() > 1) op.inputs[1].role = "index";
  op.bytes_read = bytes_of(t.value(made)) + (by >= 0 ? bytes_of(t.value(by)) : 0);
  t.rec.record(std::move(op));
  return tensor_val(made);
}

bool embedding(Torch& t, Val& result) {
  const ValueId by = t.tensor(0, "input");
  const ValueId table = t.tensor(1, "weight");
  if (by < 0 || table < 0 || t.value(table).shape.size() != 2) return false;
  Shape shape = t.value(by).shape;
  shape.push_back(t.value(table).shape[1]);
  result = gathered(t, "embedding", table, by, std::move(shape));
  return true;
}

bool index_select(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  const ValueId by = t.tensor(2, "index");
  if (x < 0 || by < 0) return false;
  Shape shape = t.value(x).shape;
  if (shape.empty()) return false;
  shape[wrapped_dim(t.integer(1, "dim", 0), shape.size())] = elements_of(t.value(by));
  result = gathered(t, "index_select", x, by, std::move(shape));
  return true;
}

bool gather(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  const bool take = t.call.name == "take";
  const ValueId by = t.tensor(take ? 1 : 2, "index");
  if (x < 0 || by < 0) return false;
  result = gathered(t, t.call.name, x, by, t.value(by).shape);
  return true;
}

bool one_hot(Torch& t, Val& result) {
  const ValueId by = t.tensor(0, "input");
  const Val classes = t.arg(1, "num_classes");
  if (by < 0 || !classes.is_integer()) return false;
  Shape shape = t.value(by).shape;
  shape.push_back(classes.number);
  const ValueId made = t.rec.make(shape, Type::int64);
  t.record(OpKind::scatter, "one_hot", {by}, {made}, 0, 3);
  result = tensor_val(made);
  return true;
}

bool scatter(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  if (x < 0) return false;
  std::vector<ValueId> inputs;
  for (const Val& value : t.call.positional) {
    if (value.is_tensor()) inputs.push_back(value.tensor());
  }
  for (const char* name : {"index", "src", "source"}) {
    const Val given = t.in.keyword(t.call, name);
    if (given.is_tensor()) inputs.push_back(given.tensor());
  }
  const ValueId made = t.in_place ? x : t.make_like(x, t.value(x).type);
  Op op = t.make_op(OpKind::scatter, t.call.name, inputs, {made});
  op.in_place = t.in_place;
  op.device_kernels = t.in_place ? 1 : 2;
  t.rec.record(std::move(op));
  result = tensor_val(made);
  return true;
}

bool nonzero(Torch& t, Val& result) {
  t.in.misunderstood(t.call.line, "'" + std::string(t.call.name) + "', whose size depends on data");
  result = unknown_val();
  return true;
}

bool cdist(Torch& t, Val& result) {
  const ValueId a = t.tensor(0, "x1");
  const ValueId b = t.tensor(1, "x2");
  if (a < 0 || b < 0 || t.value(a).shape.size() < 2 || t.value(b).shape.size() < 2) return false;
  Shape shape = t.value(a).shape;
  const Shape& other = t.value(b).shape;
  const double k = static_cast<double>(shape.back());
  shape.back() = other[other.size() - 2];
  const ValueId made = t.rec.make(shape, t.value(a).type);
  t.record(OpKind::other, "cdist", {a, b}, {made}, 3 * k * static_cast<double>(elements_of(shape)));
  result = tensor_val(made);
  return true;
}

constexpr TorchRow kRows[] = {
    {"embedding", embedding},
    {"index_select", index_select},
    {"gather", gather},
    {"take", gather},
    {"take_along_dim", gather},
    {"one_hot", one_hot},
    {"scatter", scatter},
    {"scatter_add", scatter},
    {"scatter_reduce", scatter},
    {"index_add", scatter},
    {"index_copy", scatter},
    {"index_fill", scatter},
    {"masked_scatter", scatter},
    {"index_put", scatter},
    {"nonzero", nonzero},
    {"masked_select", nonzero},
    {"unique", nonzero},
    {"bincount", nonzero},
    {"cdist", cdist},
};

}  // namespace

std::span<const TorchRow> gather_functions() { return kRows; }

}  // namespace quoin::architect
