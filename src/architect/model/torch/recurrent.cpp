// nn.RNN, GRU, LSTM and their cells, and nn.MultiheadAttention.
#include <algorithm>

#include "architect/model/torch/torch.h"

namespace quoin::architect {
namespace {

Val held(Torch& t, InstanceObject& layer, std::string_view name) {
  const Val* found = layer.find(t.in.symbols.intern(name));
  return found == nullptr ? unknown_val() : *found;
}

bool is_true(Torch& t, InstanceObject& layer, std::string_view name) {
  const Val value = held(t, layer, name);
  return value.is_integer() && value.number != 0;
}

std::vector<ValueId> parameters_of(const InstanceObject& layer) {
  std::vector<ValueId> found;
  for (const auto& [symbol, value] : layer.attributes) {
    if (value.is_tensor()) found.push_back(value.tensor());
  }
  return found;
}

/// One step of a cell: two products and the gates.
Val call_cell(Torch& t, InstanceObject& layer, ValueId x, const Rnn& given) {
  Rnn rnn = given;
  const Shape& shape = t.value(x).shape;
  rnn.steps = 1;
  rnn.batch = shape.size() > 1 ? shape[0] : 1;
  const bool lstm = layer.layer == "LSTMCell";
  const ValueId h = t.rec.make({rnn.batch, rnn.hidden}, t.value(x).type);
  std::vector<ValueId> inputs = {x};
  const Val state = t.arg(1, "hx");
  if (state.is_tensor()) inputs.push_back(state.tensor());
  for (const ValueId one : t.tensors(state)) inputs.push_back(one);
  for (const ValueId one : parameters_of(layer)) inputs.push_back(one);
  const std::int64_t gates = lstm ? 4 : layer.layer == "GRUCell" ? 3 : 1;
  std::vector<ValueId> outputs = {h};
  if (lstm) outputs.push_back(t.rec.make({rnn.batch, rnn.hidden}, t.value(x).type));
  Op op = t.make_op(OpKind::rnn, layer.layer, inputs, outputs,
                    2.0 * static_cast<double>(gates * rnn.batch) *
                        static_cast<double>(rnn.hidden * (rnn.input + rnn.hidden)));
  op.device_kernels = 3;
  op.rnn = rnn;
  t.rec.record(std::move(op));
  if (!lstm) return tensor_val(h);
  return t.in.tuple({tensor_val(outputs[0]), tensor_val(outputs[1])});
}

}  // namespace

Val call_recurrent(Torch& t, InstanceObject& layer) {
  const ValueId x = t.tensor(0, "input");
  Rnn rnn;
  rnn.cell = layer.layer.starts_with("LSTM")  ? "LSTM"
             : layer.layer.starts_with("GRU") ? "GRU"
                                              : "RNN";
  rnn.input = held(t, layer, "input_size").number;
  rnn.hidden = held(t, layer, "hidden_size").number;
  rnn.bias = !held(t, layer, "bias").known() || is_true(t, layer, "bias");
  if (layer.layer.ends_with("Cell")) return call_cell(t, layer, x, rnn);
  rnn.layers = std::max<std::int64_t>(held(t, layer, "num_layers").number, 1);
  rnn.directions = is_true(t, layer, "bidirectional") ? 2 : 1;
  const bool batch_first = is_true(t, layer, "batch_first");
  const Shape shape = t.value(x).shape;
  if (shape.size() < 2) return t.in.lost(t.call.line, "a recurrent layer over a vector");
  const bool batched = shape.size() == 3;
  rnn.steps = batched && batch_first ? shape[1] : shape[0];
  rnn.batch = batched ? shape[batch_first ? 0 : 1] : 1;
  Shape out = shape;
  out.back() = rnn.hidden * rnn.directions;
  const Type type = t.value(x).type;
  const ValueId output = t.rec.make(out, type);
  Shape last = {rnn.layers * rnn.directions, rnn.batch, rnn.hidden};
  if (!batched) last.erase(last.begin() + 1);
  std::vector<ValueId> outputs = {output, t.rec.make(last, type)};
  const bool lstm = rnn.cell == "LSTM";
  if (lstm) outputs.push_back(t.rec.make(last, type));
  std::vector<ValueId> inputs = {x};
  const Val state = t.arg(1, "hx");
  if (state.is_tensor()) inputs.push_back(state.tensor());
  for (const ValueId one : t.tensors(state)) inputs.push_back(one);
  for (const ValueId one : parameters_of(layer)) inputs.push_back(one);
  const double gates = lstm ? 4 : rnn.cell == "GRU" ? 3 : 1;
  const double wide = static_cast<double>(rnn.hidden * rnn.directions);
  const double first = static_cast<double>(rnn.input + rnn.hidden);
  const double rest = wide + static_cast<double>(rnn.hidden);
  const double macs = gates * static_cast<double>(rnn.hidden * rnn.directions) *
                      (first + static_cast<double>(rnn.layers - 1) * rest);
  Op op = t.make_op(OpKind::rnn, rnn.cell, inputs, outputs,
                    2 * macs * static_cast<double>(rnn.steps * rnn.batch));
  op.device_kernels =
      static_cast<int>(std::min<std::int64_t>(rnn.layers * rnn.directions * rnn.steps, 1'000'000));
  op.rnn = rnn;
  t.rec.record(std::move(op));
  if (!lstm) return t.in.tuple({tensor_val(outputs[0]), tensor_val(outputs[1])});
  return t.in.tuple(
      {tensor_val(outputs[0]), t.in.tuple({tensor_val(outputs[1]), tensor_val(outputs[2])})});
}

/// In projection, attention, out projection: as the operations that the layer runs.
Val call_multihead(Torch& t, InstanceObject& layer) {
  const ValueId query = t.tensor(0, "query");
  const ValueId key = t.tensor(1, "key");
  const ValueId value = t.tensor(2, "value");
  const Val weight = held(t, layer, "in_proj_weight");
  const Val bias = held(t, layer, "in_proj_bias");
  if (query < 0 || key < 0 || value < 0 || !weight.is_tensor()) return unknown_val();
  const bool batch_first = is_true(t, layer, "batch_first");
  const std::int64_t heads = std::max<std::int64_t>(held(t, layer, "num_heads").number, 1);
  const Shape shape = t.value(query).shape;
  if (shape.size() != 3) return t.in.lost(t.call.line, "attention without a batch");
  const std::int64_t width = shape[2];
  const std::int64_t batch = shape[batch_first ? 0 : 1];
  const std::int64_t length = shape[batch_first ? 1 : 0];
  const std::int64_t keys = t.value(key).shape[batch_first ? 1 : 0];
  const auto part_of = [&](const Val& whole, std::int64_t part) {
    if (!whole.is_tensor()) return ValueId{-1};
    Shape rows = t.value(whole.tensor()).shape;
    const Shape strides = t.value(whole.tensor()).strides;
    rows[0] = width;
    return t.rec.view(whole.tensor(), rows, strides, "narrow", part * width * strides[0]);
  };
  std::vector<ValueId> projected;
  if (query == key && key == value) {
    const Val all = make_linear(t, query, weight.tensor(), bias.is_tensor() ? bias.tensor() : -1);
    for (std::int64_t part = 0; part < 3; ++part) {
      const Shape strides = t.value(all.tensor()).strides;
      projected.push_back(t.rec.view(all.tensor(), shape, strides, "chunk", part * width));
    }
  } else {
    std::int64_t part = 0;
    for (const ValueId from : {query, key, value}) {
      projected.push_back(
          make_linear(t, from, part_of(weight, part), part_of(bias, part)).tensor());
      ++part;
    }
  }
  std::vector<ValueId> split;
  for (const ValueId one : projected) {  // [batch, heads, length, head_dim]
    const Value from = t.value(one);
    const std::int64_t rows = from.shape[batch_first ? 1 : 0];
    const Shape strides = {from.strides[batch_first ? 0 : 1], width / heads,
                           from.strides[batch_first ? 1 : 0], 1};
    split.push_back(t.rec.view(one, {batch, heads, rows, width / heads}, strides, "heads"));
  }
  const ValueId mask = t.tensor(SIZE_MAX, "attn_mask");
  const bool wants_weights = t.flag(4, "need_weights", true);
  ValueId context = -1;
  if (wants_weights) {  // the weights are returned, so the product is materialised
    const Val keys_t = make_permuted(t, split[1], {0, 1, 3, 2}, "transpose");
    Val scores = make_matmul(t, split[0], keys_t.tensor(), "baddbmm");
    scores = make_softmax(t, "softmax", scores.tensor(), -1);
    context = make_matmul(t, scores.tensor(), split[2], "bmm").tensor();
    make_reduction(t, "mean", scores.tensor(), {1}, false, t.value(query).type);
  } else {
    context = make_attention(t, split[0], split[1], split[2], mask, false).tensor();
  }
  const Shape order = batch_first ? Shape{0, 2, 1, 3} : Shape{2, 0, 1, 3};
  const Val moved = make_permuted(t, context, order, "permute");
  const ValueId joined = t.contiguous(moved.tensor());
  const Val flat = make_view(t, joined, shape, "view", true);
  const Val out = held(t, layer, "out_proj");
  const Val result =
      make_linear(t, flat.tensor(), held(t, as<InstanceObject>(out), "weight").tensor(),
                  held(t, as<InstanceObject>(out), "bias").is_tensor()
                      ? held(t, as<InstanceObject>(out), "bias").tensor()
                      : -1);
  const Val weights = wants_weights
                          ? tensor_val(t.rec.make({batch, length, keys}, t.value(query).type))
                          : null_val();
  return t.in.tuple({result, weights});
}

bool call_module_method(Interpreter& interpreter, const Val& module, std::string_view name,
                        Call& call, Val& result) {
  auto& layer = as<InstanceObject>(module);
  const Val first = call.positional.empty() ? unknown_val() : call.positional[0];
  const Val second = call.positional.size() > 1 ? call.positional[1] : null_val();
  result = module;
  if (name == "register_buffer" || name == "register_parameter" || name == "add_module" ||
      name == "register_module") {
    const Val value =
        call.positional.size() > 1
            ? second
            : interpreter.keyword(call, name == "register_buffer" ? "tensor" : "param");
    if (text_of(first).empty()) return false;
    layer.set(interpreter.symbols.intern(text_of(first)), value.known() ? value : null_val());
    if (layer.layer == "Sequential" || layer.layer == "ModuleList") {
      layer.items.emplace_back(std::string(text_of(first)), value);
    }
  } else if (name == "append") {
    layer.items.emplace_back(std::to_string(layer.items.size()), first);
  } else if (name == "extend") {
    std::vector<Val> items;
    if (!interpreter.iterate(first, items)) return false;
    for (const Val& value : items) {
      layer.items.emplace_back(std::to_string(layer.items.size()), value);
    }
  } else if (name == "super.__init__") {
    if (!layer.layer.empty() && layer.layer != "Module") init_layer(interpreter, layer, call);
    result = null_val();
  } else if (name == "super.forward" || name == "forward" || name == "__call__") {
    return call_layer(interpreter, layer, call, result);
  } else if (name == "parameters" || name == "buffers" || name == "children" || name == "modules" ||
             name == "named_parameters" || name == "named_children" || name == "named_modules" ||
             name == "values" || name == "items" || name == "keys") {
    std::vector<Val> found;
    const bool named = name.starts_with("named") || name == "items";
    const bool tensors = name.ends_with("parameters") || name == "buffers";
    const auto add = [&](std::string_view key, const Val& value) {
      if (tensors ? !value.is_tensor() : !value.is(ValKind::instance) && !value.is_tensor()) return;
      if (!tensors && value.is_tensor() && name != "values" && name != "items") return;
      found.push_back(named            ? interpreter.tuple({interpreter.string(key), value})
                      : name == "keys" ? interpreter.string(key)
                                       : value);
    };
    for (const auto& [symbol, value] : layer.attributes)
      add(interpreter.symbols.text(symbol), value);
    for (const auto& [key, value] : layer.items) add(key, value);
    result = interpreter.list(std::move(found));
  } else if (name == "state_dict") {
    result = interpreter.dict();
  } else if (name == "flatten_parameters" || name == "save_for_backward" ||
             name == "load_state_dict" || name == "reset_parameters" || name == "mark_dirty") {
    result = null_val();
  } else if (name == "apply" || name == "to" || name == "cuda" || name == "eval" ||
             name == "train" || name == "requires_grad_" || name == "float" || name == "cpu") {
    return true;
  } else if (name == "half" || name == "bfloat16" || name == "double") {
    const Type type = dtype_of(name);
    for (const auto& [symbol, value] : layer.attributes) {
      if (value.is_tensor()) interpreter.recorder.value(value.tensor()).type = type;
      if (value.is(ValKind::instance)) {
        Call inner = call;
        Val ignored;
        call_module_method(interpreter, value, name, inner, ignored);
      }
    }
  } else if (name == "size" || name == "__len__") {
    result = int_val(static_cast<std::int64_t>(layer.items.size()));
  } else {
    return false;
  }
  return true;
}

}  // namespace quoin::architect
