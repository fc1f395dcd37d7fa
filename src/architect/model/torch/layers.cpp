// Layers of torch.nn: their parameters when they are made, their work when they are called.
#include <algorithm>

#include "architect/model/torch/torch.h"

namespace quoin::architect {
namespace {

void set(Torch& t, InstanceObject& layer, std::string_view name, const Val& value) {
  layer.set(t.in.symbols.intern(name), value);
}

Val get(Torch& t, InstanceObject& layer, std::string_view name) {
  const Val* held = layer.find(t.in.symbols.intern(name));
  return held == nullptr ? unknown_val() : *held;
}

ValueId tensor_of(Torch& t, InstanceObject& layer, std::string_view name) {
  const Val held = get(t, layer, name);
  return held.is_tensor() ? held.tensor() : -1;
}

std::int64_t integer_of(Torch& t, InstanceObject& layer, std::string_view name,
                        std::int64_t otherwise) {
  const Val held = get(t, layer, name);
  return held.is_integer() ? held.number : otherwise;
}

Shape integers_of(Torch& t, InstanceObject& layer, std::string_view name, std::size_t count,
                  std::int64_t otherwise) {
  const Val held = get(t, layer, name);
  Shape made;
  if (held.is_integer()) made.push_back(held.number);
  if (held.is_sequence()) {
    for (const Val& part : items_of(held))
      made.push_back(part.is_integer() ? part.number : otherwise);
  }
  if (made.empty()) made.push_back(otherwise);
  if (count != 0) made.resize(count, made.back());
  return made;
}

/// Parameters belong to the module, whenever they are made.
Val parameter(Torch& t, Shape shape, Type type) {
  const ValueId made = t.rec.make(std::move(shape), type);
  t.rec.value(made).origin = Origin::parameter;
  return tensor_val(made);
}

/// Arguments by place and name, kept as attributes.
void keep_arguments(Torch& t, InstanceObject& layer,
                    std::initializer_list<std::string_view> names) {
  std::size_t place = 0;
  for (const std::string_view name : names) {
    const Val given = t.arg(place++, name);
    if (given.known()) set(t, layer, name, given);
  }
}

Type layer_type(Torch& t) { return t.type(SIZE_MAX, "dtype", Type::float32); }

void init_linear(Torch& t, InstanceObject& layer) {
  keep_arguments(t, layer, {"in_features", "out_features"});
  const std::int64_t in = t.integer(0, "in_features", 0);
  const std::int64_t out = t.integer(1, "out_features", 0);
  set(t, layer, "weight", parameter(t, {out, in}, layer_type(t)));
  set(t, layer, "bias", t.flag(2, "bias", true) ? parameter(t, {out}, layer_type(t)) : null_val());
}

struct ConvName {
  int dims = 0;
  bool transposed = false;
};

/// "ConvTranspose2d" -> 2, transposed; 0 for any other layer.
ConvName conv_name(std::string_view layer) {
  if (layer.starts_with("Lazy")) layer.remove_prefix(4);
  if (!layer.starts_with("Conv") || layer.size() < 6) return {};
  const char digit = layer[layer.size() - 2];
  if (digit < '1' || digit > '3') return {};
  return {digit - '0', layer.find("Transpose") != layer.npos};
}

void init_conv(Torch& t, InstanceObject& layer, ConvName name) {
  const auto dims = static_cast<std::size_t>(name.dims);
  keep_arguments(t, layer, {"in_channels", "out_channels"});
  const std::int64_t in = t.integer(0, "in_channels", 0);
  const std::int64_t out = t.integer(1, "out_channels", 0);
  const Shape kernel = t.spread(2, "kernel_size", dims, 1);
  // Conv: stride, padding, dilation, groups, bias. Transposed: stride, padding, output_padding,
  // groups, bias, dilation.
  const bool tr = name.transposed;
  const std::int64_t groups = std::max<std::int64_t>(t.integer(6, "groups", 1), 1);
  set(t, layer, "kernel_size", t.in.shape_val(kernel));
  set(t, layer, "stride", t.in.shape_val(t.spread(3, "stride", dims, 1)));
  const Val padding = t.arg(4, "padding");
  set(t, layer, "padding",
      padding.is(ValKind::string) ? padding : t.in.shape_val(t.spread(4, "padding", dims, 0)));
  set(t, layer, "dilation", t.in.shape_val(t.spread(tr ? 8 : 5, "dilation", dims, 1)));
  set(t, layer, "output_padding",
      t.in.shape_val(tr ? t.spread(5, "output_padding", dims, 0) : Shape(dims, 0)));
  set(t, layer, "groups", int_val(groups));
  Shape weight = tr ? Shape{in, out / groups} : Shape{out, in / groups};
  weight.insert(weight.end(), kernel.begin(), kernel.end());
  set(t, layer, "weight", parameter(t, weight, layer_type(t)));
  const bool bias = t.flag(7, "bias", true);
  set(t, layer, "bias", bias ? parameter(t, {out}, layer_type(t)) : null_val());
}

void init_norm(Torch& t, InstanceObject& layer) {
  const std::string& name = layer.layer;
  const bool batch = name.starts_with("BatchNorm") || name.starts_with("SyncBatchNorm");
  const bool instance = name.starts_with("InstanceNorm");
  const bool group = name == "GroupNorm";
  std::size_t place = 0;
  Shape shape;
  if (group) {
    keep_arguments(t, layer, {"num_groups", "num_channels"});
    shape = {t.integer(1, "num_channels", 0)};
    place = 2;
  } else if (batch || instance) {
    keep_arguments(t, layer, {"num_features"});
    shape = {t.integer(0, "num_features", 0)};
    place = 1;
  } else {
    shape = t.integers(0, "normalized_shape");
    set(t, layer, "normalized_shape", t.in.shape_val(shape));
    place = 1;
  }
  const Val eps = t.arg(place, "eps");
  set(t, layer, "eps", eps.known() ? eps : real_val(1e-5));
  const bool has_momentum = batch || instance;
  const Val momentum = has_momentum ? t.arg(place + 1, "momentum") : unknown_val();
  set(t, layer, "momentum", momentum.known() ? momentum : real_val(0.1));
  const bool affine =
      t.flag(has_momentum ? place + 2 : place + 1,
             batch || instance || group ? "affine" : "elementwise_affine", !instance);
  set(t, layer, "affine", bool_val(affine));
  set(t, layer, "elementwise_affine", bool_val(affine));
  set(t, layer, "weight", affine ? parameter(t, shape, layer_type(t)) : null_val());
  const bool bias = affine && name != "RMSNorm" && t.flag(SIZE_MAX, "bias", true);
  set(t, layer, "bias", bias ? parameter(t, shape, layer_type(t)) : null_val());
  const bool tracks = batch && t.flag(place + 3, "track_running_stats", true);
  set(t, layer, "track_running_stats", bool_val(tracks));
  set(t, layer, "running_mean", tracks ? parameter(t, shape, Type::float32) : null_val());
  set(t, layer, "running_var", tracks ? parameter(t, shape, Type::float32) : null_val());
  set(t, layer, "num_batches_tracked", tracks ? parameter(t, {}, Type::int64) : null_val());
}

void init_recurrent(Torch& t, InstanceObject& layer) {
  const bool plain = layer.layer == "RNN";
  keep_arguments(t, layer, {"input_size", "hidden_size", "num_layers"});
  const std::int64_t input = t.integer(0, "input_size", 0);
  const std::int64_t hidden = t.integer(1, "hidden_size", 0);
  const std::int64_t layers = std::clamp<std::int64_t>(t.integer(2, "num_layers", 1), 1, 64);
  const std::size_t shift = plain && t.arg(3, "nonlinearity").is(ValKind::string) ? 1 : 0;
  const bool bias = t.flag(3 + shift, "bias", true);
  const bool both = t.flag(6 + shift, "bidirectional", false);
  set(t, layer, "num_layers", int_val(layers));
  set(t, layer, "bias", bool_val(bias));
  set(t, layer, "batch_first", bool_val(t.flag(4 + shift, "batch_first", false)));
  set(t, layer, "bidirectional", bool_val(both));
  const std::int64_t gates = layer.layer == "LSTM" ? 4 : layer.layer == "GRU" ? 3 : 1;
  for (std::int64_t l = 0; l < layers; ++l) {
    const std::int64_t in = l == 0 ? input : hidden * (both ? 2 : 1);
    for (const char* direction : {"", "_reverse"}) {
      if (*direction != 0 && !both) continue;
      const std::string tail = "_l" + std::to_string(l) + direction;
      set(t, layer, "weight_ih" + tail, parameter(t, {gates * hidden, in}, Type::float32));
      set(t, layer, "weight_hh" + tail, parameter(t, {gates * hidden, hidden}, Type::float32));
      if (!bias) continue;
      set(t, layer, "bias_ih" + tail, parameter(t, {gates * hidden}, Type::float32));
      set(t, layer, "bias_hh" + tail, parameter(t, {gates * hidden}, Type::float32));
    }
  }
}

void init_multihead(Torch& t, InstanceObject& layer) {
  keep_arguments(t, layer, {"embed_dim", "num_heads"});
  const std::int64_t width = t.integer(0, "embed_dim", 0);
  const bool bias = t.flag(3, "bias", true);
  set(t, layer, "batch_first", bool_val(t.flag(SIZE_MAX, "batch_first", false)));
  set(t, layer, "in_proj_weight", parameter(t, {3 * width, width}, Type::float32));
  set(t, layer, "in_proj_bias", bias ? parameter(t, {3 * width}, Type::float32) : null_val());
  const Val out = t.in.instance("Linear");
  auto& linear = as<InstanceObject>(out);
  set(t, linear, "weight", parameter(t, {width, width}, Type::float32));
  set(t, linear, "bias", bias ? parameter(t, {width}, Type::float32) : null_val());
  set(t, layer, "out_proj", out);
}

void init_container(Torch& t, InstanceObject& layer) {
  std::vector<Val> items = t.call.positional;
  if (items.size() == 1 && items[0].is(ValKind::dict)) {
    for (const auto& [key, value] : as<DictObject>(items[0]).items) {
      layer.items.emplace_back(std::string(text_of(key)), value);
    }
    return;
  }
  if (layer.layer != "Sequential" && items.size() == 1) {
    std::vector<Val> inner;
    if (t.in.iterate(items[0], inner)) items = std::move(inner);
  }
  for (const Val& value : items) {
    layer.items.emplace_back(std::to_string(layer.items.size()), value);
  }
}

/// Layers that are one function of their arguments: the function's name in lower case.
struct Functional {
  std::string_view layer, function;
  std::initializer_list<std::string_view> arguments;
};

const Functional kFunctional[] = {
    {"ReLU", "relu", {}},
    {"ReLU6", "relu6", {}},
    {"LeakyReLU", "leaky_relu", {"negative_slope"}},
    {"PReLU", "prelu", {}},
    {"ELU", "elu", {"alpha"}},
    {"SELU", "selu", {}},
    {"CELU", "celu", {}},
    {"GELU", "gelu", {}},
    {"SiLU", "silu", {}},
    {"Mish", "mish", {}},
    {"Sigmoid", "sigmoid", {}},
    {"Tanh", "tanh", {}},
    {"Hardtanh", "hardtanh", {"min_val", "max_val"}},
    {"Hardswish", "hardswish", {}},
    {"Hardsigmoid", "hardsigmoid", {}},
    {"Softplus", "softplus", {"beta", "threshold"}},
    {"Softsign", "softsign", {}},
    {"Tanhshrink", "tanhshrink", {}},
    {"Hardshrink", "hardshrink", {"lambd"}},
    {"Softshrink", "softshrink", {"lambd"}},
    {"LogSigmoid", "logsigmoid", {}},
    {"Threshold", "threshold", {"threshold", "value"}},
    {"RReLU", "rrelu", {}},
    {"GLU", "glu", {"dim"}},
    {"Softmax", "softmax", {"dim"}},
    {"LogSoftmax", "log_softmax", {"dim"}},
    {"Softmin", "softmin", {"dim"}},
    {"Flatten", "flatten", {"start_dim", "end_dim"}},
    {"Unflatten", "unflatten", {"dim", "sizes"}},
    {"PixelShuffle", "pixel_shuffle", {"upscale_factor"}},
    {"PixelUnshuffle", "pixel_unshuffle", {"upscale_factor"}},
    {"Upsample", "interpolate", {"size", "scale_factor", "mode"}},
    {"LocalResponseNorm", "local_response_norm", {"size"}},
    {"ChannelShuffle", "channel_shuffle", {}},
    {"CosineSimilarity", "cosine_similarity", {"dim"}},
    {"MSELoss", "mse_loss", {}},
    {"PairwiseDistance", "pairwise_distance", {}},
    {"L1Loss", "l1_loss", {}},
    {"SmoothL1Loss", "smooth_l1_loss", {}},
    {"HuberLoss", "huber_loss", {}},
    {"CrossEntropyLoss", "cross_entropy", {}},
    {"NLLLoss", "nll_loss", {}},
    {"KLDivLoss", "kl_div", {}},
    {"BCELoss", "binary_cross_entropy", {}},
    {"BCEWithLogitsLoss", "binary_cross_entropy_with_logits", {}},
    {"HingeEmbeddingLoss", "hinge_embedding_loss", {}},
    {"TripletMarginLoss", "triplet_margin_loss", {}},
    {"CosineEmbeddingLoss", "cosine_embedding_loss", {}},
    {"MarginRankingLoss", "margin_ranking_loss", {}},
    {"Unfold", "unfold", {"kernel_size", "dilation", "padding", "stride"}},
    {"Fold", "fold", {"output_size", "kernel_size", "dilation", "padding", "stride"}},
    {"MaxPool1d",
     "max_pool1d",
     {"kernel_size", "stride", "padding", "dilation", "return_indices", "ceil_mode"}},
    {"MaxPool2d",
     "max_pool2d",
     {"kernel_size", "stride", "padding", "dilation", "return_indices", "ceil_mode"}},
    {"MaxPool3d",
     "max_pool3d",
     {"kernel_size", "stride", "padding", "dilation", "return_indices", "ceil_mode"}},
    {"AvgPool1d", "avg_pool1d", {"kernel_size", "stride", "padding", "ceil_mode"}},
    {"AvgPool2d", "avg_pool2d", {"kernel_size", "stride", "padding", "ceil_mode"}},
    {"AvgPool3d", "avg_pool3d", {"kernel_size", "stride", "padding", "ceil_mode"}},
    {"AdaptiveAvgPool1d", "adaptive_avg_pool1d", {"output_size"}},
    {"AdaptiveAvgPool2d", "adaptive_avg_pool2d", {"output_size"}},
    {"AdaptiveAvgPool3d", "adaptive_avg_pool3d", {"output_size"}},
    {"AdaptiveMaxPool1d", "adaptive_max_pool1d", {"output_size"}},
    {"AdaptiveMaxPool2d", "adaptive_max_pool2d", {"output_size"}},
    {"AdaptiveMaxPool3d", "adaptive_max_pool3d", {"output_size"}},
};

const Functional* functional(std::string_view layer) {
  for (const Functional& row : kFunctional) {
    if (row.layer == layer) return &row;
  }
  return nullptr;
}

Val call_norm(Torch& t, InstanceObject& layer, ValueId x) {
  const std::string& name = layer.layer;
  const ValueId weight = tensor_of(t, layer, "weight");
  const ValueId bias = tensor_of(t, layer, "bias");
  const std::size_t rank = t.value(x).shape.size();
  std::vector<int> dims;
  if (name == "GroupNorm") {
    for (std::size_t d = 1; d < rank; ++d) dims.push_back(static_cast<int>(d));
    return make_norm(t, "group_norm", x, weight, bias, dims, 2,
                     integer_of(t, layer, "num_groups", 1));
  }
  const bool batch = name.find("BatchNorm") != name.npos;
  if (batch || name.starts_with("InstanceNorm")) {
    if (batch) dims.push_back(0);
    for (std::size_t d = 2; d < rank; ++d) dims.push_back(static_cast<int>(d));
    const Val out =
        make_norm(t, batch ? "batch_norm" : "instance_norm", x, weight, bias, dims, batch ? 1 : 2);
    if (batch && !t.rec.program().ops.empty() && t.rec.phase == Recorder::Phase::running) {
      t.rec.program().ops.back().training = false;  // running statistics, as after eval()
    }
    return out;
  }
  const std::size_t width = integers_of(t, layer, "normalized_shape", 0, 0).size();
  for (std::size_t d = rank - std::min(rank, width); d < rank; ++d)
    dims.push_back(static_cast<int>(d));
  return make_norm(t, name == "RMSNorm" ? "rms_norm" : "layer_norm", x, weight, bias, dims, 1);
}

Val call_conv(Torch& t, InstanceObject& layer, ConvName name, ValueId x) {
  const auto dims = static_cast<std::size_t>(name.dims);
  ConvArguments c;
  c.dims = name.dims;
  c.transposed = name.transposed;
  c.stride = integers_of(t, layer, "stride", dims, 1);
  c.padding = integers_of(t, layer, "padding", dims, 0);
  c.dilation = integers_of(t, layer, "dilation", dims, 1);
  c.output_padding = integers_of(t, layer, "output_padding", dims, 0);
  c.groups = integer_of(t, layer, "groups", 1);
  c.same = text_of(get(t, layer, "padding")) == "same";
  return make_convolution(t, x, tensor_of(t, layer, "weight"), tensor_of(t, layer, "bias"), c);
}

bool call_functional(Torch& t, InstanceObject& layer, const Functional& row, Val& result) {
  Call call{
      .name = row.function, .positional = t.call.positional, .keywords = {}, .line = t.call.line};
  for (const auto& [symbol, value] : layer.attributes) call.keywords.emplace_back(symbol, value);
  return call_torch(t.in, row.function, call, result);
}

Val call_container(Torch& t, InstanceObject& layer) {
  Val value = t.arg(0, "input");
  for (const auto& [name, item] : layer.items) {
    value =
        t.in.call(item, {.name = {}, .positional = {value}, .keywords = {}, .line = t.call.line});
  }
  return value;
}

Val padded(Torch& t, InstanceObject& layer) {
  Call call{.name = "pad",
            .positional = {t.arg(0, "input"), get(t, layer, "padding")},
            .keywords = {},
            .line = t.call.line};
  const auto dims = static_cast<std::size_t>(layer.layer[layer.layer.size() - 2] - '0');
  if (call.positional[1].is_integer()) {
    call.positional[1] = t.in.shape_val(Shape(2 * dims, call.positional[1].number));
  }
  Val result;
  return call_torch(t.in, "pad", call, result) ? result : unknown_val();
}

}  // namespace

bool init_layer(Interpreter& interpreter, InstanceObject& layer, const Call& given) {
  Call call = given;
  Torch t(interpreter, call);
  const std::string& name = layer.layer;
  if (name == "Linear" || name == "LazyLinear")
    init_linear(t, layer);
  else if (const ConvName conv = conv_name(name); conv.dims != 0)
    init_conv(t, layer, conv);
  else if (name.ends_with("Norm") || name.find("BatchNorm") != name.npos ||
           name.starts_with("InstanceNorm")) {
    if (name != "LocalResponseNorm") init_norm(t, layer);
  } else if (name == "Embedding") {
    keep_arguments(t, layer, {"num_embeddings", "embedding_dim"});
    set(t, layer, "weight",
        parameter(t, {t.integer(0, "num_embeddings", 0), t.integer(1, "embedding_dim", 0)},
                  layer_type(t)));
  } else if (name == "RNN" || name == "GRU" || name == "LSTM")
    init_recurrent(t, layer);
  else if (name == "RNNCell" || name == "GRUCell" || name == "LSTMCell") {
    const std::int64_t gates = name == "LSTMCell" ? 4 : name == "GRUCell" ? 3 : 1;
    const std::int64_t hidden = t.integer(1, "hidden_size", 0);
    keep_arguments(t, layer, {"input_size", "hidden_size"});
    set(t, layer, "weight_ih",
        parameter(t, {gates * hidden, t.integer(0, "input_size", 0)}, Type::float32));
    set(t, layer, "weight_hh", parameter(t, {gates * hidden, hidden}, Type::float32));
    set(t, layer, "bias_ih", parameter(t, {gates * hidden}, Type::float32));
    set(t, layer, "bias_hh", parameter(t, {gates * hidden}, Type::float32));
  } else if (name == "MultiheadAttention")
    init_multihead(t, layer);
  else if (name.starts_with("TransformerEncoder"))
    init_transformer(t, layer);
  else if (name == "Sequential" || name == "ModuleList" || name == "ParameterList" ||
           name == "ModuleDict" || name == "ParameterDict")
    init_container(t, layer);
  else if (name.starts_with("Dropout") || name == "AlphaDropout")
    keep_arguments(t, layer, {"p"});
  else if (name.find("Pad") != name.npos)
    keep_arguments(t, layer, {"padding"});
  else if (name == "PReLU") {
    set(t, layer, "weight", parameter(t, {t.integer(0, "num_parameters", 1)}, Type::float32));
  } else if (name == "Bilinear") {
    set(t, layer, "weight",
        parameter(t,
                  {t.integer(2, "out_features", 0), t.integer(0, "in1_features", 0),
                   t.integer(1, "in2_features", 0)},
                  Type::float32));
    set(t, layer, "bias", parameter(t, {t.integer(2, "out_features", 0)}, Type::float32));
  }
  if (const Functional* row = functional(name)) {
    std::size_t place = 0;
    for (const std::string_view argument : row->arguments) {
      const Val value = t.arg(place++, argument);
      if (value.known()) set(t, layer, argument, value);
    }
    for (const auto& [symbol, value] : call.keywords) layer.set(symbol, value);
  }
  return true;
}

bool call_layer(Interpreter& interpreter, InstanceObject& layer, Call& call, Val& result) {
  Torch t(interpreter, call);
  const std::string& name = layer.layer;
  if (name == "Identity") {
    result = t.arg(0, "input");
    return true;
  }
  if (name == "Sequential") {
    result = call_container(t, layer);
    return true;
  }
  const ValueId x = t.tensor(0, "input");
  if (x < 0) {
    result = unknown_val();
    return !t.arg(0, "input").known();
  }
  const bool is_norm = name != "LocalResponseNorm" &&
                       (name.ends_with("Norm") || name.find("BatchNorm") != name.npos ||
                        name.starts_with("InstanceNorm"));
  if (name == "Linear") {
    result = make_linear(t, x, tensor_of(t, layer, "weight"), tensor_of(t, layer, "bias"));
  } else if (const ConvName conv = conv_name(name); conv.dims != 0) {
    result = call_conv(t, layer, conv, x);
  } else if (is_norm) {
    result = call_norm(t, layer, x);
  } else if (name.find("Dropout") != name.npos) {
    const Val p = get(t, layer, "p");
    result = make_dropout(t, x, p.is_number() ? p.as_real() : 0.5, false);
  } else if (name == "Embedding") {
    Call inner{.name = "embedding",
               .positional = {tensor_val(x), get(t, layer, "weight")},
               .keywords = {},
               .line = call.line};
    return call_torch(interpreter, "embedding", inner, result);
  } else if (name == "RNN" || name == "GRU" || name == "LSTM" || name.ends_with("Cell")) {
    result = call_recurrent(t, layer);
  } else if (name == "MultiheadAttention") {
    result = call_multihead(t, layer);
  } else if (name.starts_with("TransformerEncoder")) {
    result = call_transformer(t, layer);
  } else if (name.find("Pad") != name.npos) {
    result = padded(t, layer);
  } else if (name == "Bilinear") {
    Call inner = call;
    inner.positional.push_back(get(t, layer, "weight"));
    inner.positional.push_back(get(t, layer, "bias"));
    return call_torch(interpreter, "bilinear", inner, result);
  } else if (const Functional* row = functional(name)) {
    return call_functional(t, layer, *row, result);
  } else {
    return false;
  }
  return true;
}

Val fan_in_and_out(Interpreter& interpreter, const Val& weight) {
  if (!weight.is_tensor()) return unknown_val();
  const Shape& shape = interpreter.recorder.value(weight.tensor()).shape;
  if (shape.size() < 2) return unknown_val();
  std::int64_t rest = 1;
  for (std::size_t d = 2; d < shape.size(); ++d) rest *= shape[d];
  return interpreter.tuple({int_val(shape[1] * rest), int_val(shape[0] * rest)});
}

}  // namespace quoin::architect
