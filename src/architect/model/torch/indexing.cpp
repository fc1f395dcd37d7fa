// x[...] read and written: integers, slices, None and the ellipsis are views; tensors and lists
// gather.
#include <algorithm>

#include "architect/model/torch/torch.h"

namespace quoin::architect {
namespace {

struct Indexed {
  Shape shape, strides;
  std::int64_t shift = 0;
  Shape gathered;  // shape of the index tensors, broadcast
  std::vector<ValueId> index_tensors;
  bool boolean = false;
  bool known = true;
};

std::vector<Val> indices_of(const Val& index) {
  return index.is(ValKind::tuple) ? items_of(index) : std::vector<Val>{index};
}

void apply_slice(const SliceObject& slice, std::int64_t size, std::int64_t stride, Indexed& made) {
  const auto bound = [&](const Val& value, std::int64_t otherwise) {
    if (value.is_null()) return otherwise;
    if (!value.is_integer()) {
      made.known = false;
      return otherwise;
    }
    return std::clamp<std::int64_t>(value.number < 0 ? value.number + size : value.number, 0, size);
  };
  const std::int64_t step =
      slice.step.is_integer() && slice.step.number > 0 ? slice.step.number : 1;
  const std::int64_t begin = bound(slice.begin, 0);
  const std::int64_t end = bound(slice.end, size);
  made.shape.push_back(end > begin ? (end - begin + step - 1) / step : 0);
  made.strides.push_back(stride * step);
  made.shift += begin * stride;
}

Indexed apply(const Recorder& recorder, const Value& value, const std::vector<Val>& indices) {
  Indexed made;
  std::size_t consumed = 0;
  for (const Val& index : indices) {
    const bool takes = !index.is_null() && !index.is(ValKind::ellipsis);
    std::size_t width = takes ? 1 : 0;
    if (index.is_tensor() && recorder.value(index.tensor()).type == Type::boolean) {
      width = recorder.value(index.tensor()).shape.size();
    }
    consumed += width;
  }
  std::size_t d = 0;
  const std::size_t rank = value.shape.size();
  for (const Val& index : indices) {
    if (index.is_null()) {
      made.shape.push_back(1);
      made.strides.push_back(0);
      continue;
    }
    if (index.is(ValKind::ellipsis)) {
      for (std::size_t left = rank > consumed ? rank - consumed : 0; left > 0; --left, ++d) {
        made.shape.push_back(value.shape[d]);
        made.strides.push_back(value.strides[d]);
      }
      continue;
    }
    if (d >= rank) {
      made.known = false;
      return made;
    }
    if (index.is(ValKind::slice)) {
      apply_slice(as<SliceObject>(index), value.shape[d], value.strides[d], made);
    } else if (index.is_integer()) {
      const std::int64_t at = index.number < 0 ? index.number + value.shape[d] : index.number;
      made.shift += at * value.strides[d];
    } else if (index.is_tensor()) {
      const Value& by = recorder.value(index.tensor());
      made.index_tensors.push_back(index.tensor());
      made.boolean = made.boolean || by.type == Type::boolean;
      Shape joined;
      if (!broadcast(made.gathered, by.shape, joined)) made.known = false;
      made.gathered = joined;
      if (by.type == Type::boolean) d += by.shape.empty() ? 0 : by.shape.size() - 1;
    } else if (index.is(ValKind::list)) {
      made.gathered = {static_cast<std::int64_t>(items_of(index).size())};
    } else {
      made.known = false;
      made.shape.push_back(1);
      made.strides.push_back(value.strides[d]);
    }
    ++d;
  }
  for (; d < rank; ++d) {
    made.shape.push_back(value.shape[d]);
    made.strides.push_back(value.strides[d]);
  }
  return made;
}

}  // namespace

Val index_tensor(Interpreter& interpreter, ValueId tensor, const Val& index) {
  Recorder& recorder = interpreter.recorder;
  Indexed made = apply(recorder, recorder.value(tensor), indices_of(index));
  if (!made.known) interpreter.misunderstood(interpreter.line(), "an index of a tensor");
  if (made.index_tensors.empty() && made.gathered.empty()) {
    return tensor_val(
        recorder.view(tensor, std::move(made.shape), std::move(made.strides), "[...]", made.shift));
  }
  if (made.boolean) {
    interpreter.misunderstood(interpreter.line(),
                              "a tensor indexed by a mask: its size is unknown");
  }
  Shape shape = made.gathered;
  shape.insert(shape.end(), made.shape.begin(), made.shape.end());
  const ValueId result = recorder.make(shape, recorder.value(tensor).type);
  Op op;
  op.kind = OpKind::gather;
  op.name = "index";
  op.line = interpreter.line();
  op.inputs.push_back(recorder.operand(tensor, "input"));
  for (const ValueId by : made.index_tensors) op.inputs.push_back(recorder.operand(by, "index"));
  op.outputs = {result};
  op.bytes_read = bytes_of(recorder.value(result));  // it reads what it keeps
  for (const ValueId by : made.index_tensors) op.bytes_read += bytes_of(recorder.value(by));
  recorder.record(std::move(op));
  return tensor_val(result);
}

void assign_tensor_item(Interpreter& interpreter, ValueId tensor, const Val& index,
                        const Val& value) {
  Recorder& recorder = interpreter.recorder;
  Indexed made = apply(recorder, recorder.value(tensor), indices_of(index));
  const ValueId part =
      recorder.view(tensor, std::move(made.shape), std::move(made.strides), "[...]", made.shift);
  Op op;
  op.line = interpreter.line();
  op.in_place = true;
  op.outputs = {part};
  if (!made.index_tensors.empty()) {
    op.kind = OpKind::scatter;
    op.name = "index_put";
    for (const ValueId by : made.index_tensors) op.inputs.push_back(recorder.operand(by, "index"));
  } else if (value.is_tensor()) {
    // x[i] += y reads and writes x[i] in place and then assigns it to itself: no copy.
    if (recorder.value(value.tensor()).storage == recorder.value(tensor).storage) return;
    op.kind = OpKind::copy;
    op.name = "copy_";
  } else {
    op.kind = OpKind::fill;
    op.name = "fill_";
  }
  if (value.is_tensor()) op.inputs.push_back(recorder.operand(value.tensor(), "input"));
  recorder.record(std::move(op));
}

}  // namespace quoin::architect
