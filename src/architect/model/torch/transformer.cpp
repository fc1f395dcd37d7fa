// nn.TransformerEncoderLayer and nn.TransformerEncoder, as the layers they are made of.
#include <algorithm>

#include "architect/model/torch/torch.h"

namespace quoin::architect {
namespace {

Val layer_of(Interpreter& interpreter, const char* name, std::vector<Val> arguments,
             std::vector<std::pair<std::string_view, Val>> keywords = {}) {
  const Val made = interpreter.instance(name);
  Call call{
      .name = name, .positional = std::move(arguments), .keywords = {}, .line = interpreter.line()};
  for (const auto& [key, value] : keywords) {
    call.keywords.emplace_back(interpreter.symbols.intern(key), value);
  }
  init_layer(interpreter, as<InstanceObject>(made), call);
  return made;
}

Val held(Torch& t, InstanceObject& layer, std::string_view name) {
  const Val* found = layer.find(t.in.symbols.intern(name));
  return found == nullptr ? unknown_val() : *found;
}

Val apply(Torch& t, InstanceObject& layer, std::string_view name, const Val& x) {
  return t.in.call(held(t, layer, name),
                   {.name = {}, .positional = {x}, .keywords = {}, .line = t.call.line});
}

Val sum(Torch& t, const Val& a, const Val& b) {
  if (!a.is_tensor() || !b.is_tensor()) return unknown_val();
  return t.in.binary(Operator::add, a, b);
}

Val attend(Torch& t, InstanceObject& layer, const Val& x) {
  Call call{.name = {}, .positional = {x, x, x}, .keywords = {}, .line = t.call.line};
  call.keywords.emplace_back(t.in.symbols.intern("need_weights"), bool_val(false));
  const Val both = t.in.call(held(t, layer, "self_attn"), std::move(call));
  const Val out = both.is_sequence() ? items_of(both)[0] : unknown_val();
  return apply(t, layer, "dropout1", out);
}

Val feed_forward(Torch& t, InstanceObject& layer, const Val& x) {
  Val y = apply(t, layer, "linear1", x);
  if (!y.is_tensor()) return unknown_val();
  Call call{.name = "relu", .positional = {y}, .keywords = {}, .line = t.call.line};
  const std::string_view name = text_of(held(t, layer, "activation"));
  if (!call_torch(t.in, name.empty() ? "relu" : name, call, y)) return unknown_val();
  y = apply(t, layer, "linear2", apply(t, layer, "dropout", y));
  return apply(t, layer, "dropout2", y);
}

}  // namespace

void init_transformer(Torch& t, InstanceObject& layer) {
  Interpreter& in = t.in;
  const auto set = [&](std::string_view name, const Val& value) {
    layer.set(in.symbols.intern(name), value);
  };
  if (layer.layer == "TransformerEncoder") {
    const Val inner = t.arg(0, "encoder_layer");
    const std::int64_t count = std::clamp<std::int64_t>(t.integer(1, "num_layers", 1), 0, 256);
    for (std::int64_t i = 0; i < count; ++i) layer.items.emplace_back(std::to_string(i), inner);
    const Val norm = t.arg(2, "norm");
    set("norm", norm.known() ? norm : null_val());
    return;
  }
  const Val width = t.arg(0, "d_model");
  const Val inner = int_val(t.integer(2, "dim_feedforward", 2048));
  const Val p = real_val(t.real(3, "dropout", 0.1));
  const Val first = bool_val(t.flag(SIZE_MAX, "batch_first", false));
  set("self_attn",
      layer_of(in, "MultiheadAttention", {width, t.arg(1, "nhead")}, {{"batch_first", first}}));
  set("linear1", layer_of(in, "Linear", {width, inner}));
  set("linear2", layer_of(in, "Linear", {inner, width}));
  for (const char* name : {"norm1", "norm2"}) set(name, layer_of(in, "LayerNorm", {width}));
  for (const char* name : {"dropout", "dropout1", "dropout2"}) {
    set(name, layer_of(in, "Dropout", {p}));
  }
  set("activation", t.arg(4, "activation"));
  set("norm_first", bool_val(t.flag(SIZE_MAX, "norm_first", false)));
}

Val call_transformer(Torch& t, InstanceObject& layer) {
  Val x = t.arg(0, "src");
  if (layer.layer == "TransformerEncoder") {
    for (const auto& [name, item] : layer.items) {
      x = t.in.call(item, {.name = {}, .positional = {x}, .keywords = {}, .line = t.call.line});
    }
    return held(t, layer, "norm").is_null() ? x : apply(t, layer, "norm", x);
  }
  const Val first = held(t, layer, "norm_first");
  if (first.number != 0) {
    x = sum(t, x, attend(t, layer, apply(t, layer, "norm1", x)));
    return sum(t, x, feed_forward(t, layer, apply(t, layer, "norm2", x)));
  }
  x = apply(t, layer, "norm1", sum(t, x, attend(t, layer, x)));
  return apply(t, layer, "norm2", sum(t, x, feed_forward(t, layer, x)));
}

}  // namespace quoin::architect
