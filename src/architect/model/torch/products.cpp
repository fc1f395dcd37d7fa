// Products: matmul and its kin, linear, einsum. All become `Matmul` with the layouts of both
// operands as the library sees them.
#include <algorithm>
#include <map>

#include "architect/model/torch/torch.h"

namespace quoin::architect {
namespace {

double count(const Shape& shape) { return static_cast<double>(elements_of(shape)); }

/// Records a product whose operands end in [m,k] and [k,n] (strides of k told separately).
ValueId product(Torch& t, std::string_view name, ValueId a, ValueId b, ValueId add, Shape shape,
                const Matmul& matmul) {
  const ValueId made = t.rec.make(std::move(shape), promoted(t.value(a).type, t.value(b).type));
  Op op = t.make_op(OpKind::matmul, name, {a, b, add}, {made},
                    2.0 * static_cast<double>(matmul.batch) * static_cast<double>(matmul.m) *
                        static_cast<double>(matmul.n) * static_cast<double>(matmul.k));
  op.inputs[0].role = "a";
  op.inputs[1].role = "b";
  if (op.inputs.size() > 2) op.inputs[2].role = "bias";
  op.matmul = matmul;
  op.matmul->type = promoted(t.value(a).type, t.value(b).type);
  op.matmul->b_is_weight = t.rec.weight_only(b);
  t.rec.record(std::move(op));
  return made;
}

bool unit(const Value& value, std::size_t from_end) {
  if (value.shape.size() < from_end) return true;
  const std::size_t d = value.shape.size() - from_end;
  return value.strides[d] == 1 || value.shape[d] == 1;
}

}  // namespace

Val make_matmul(Torch& t, ValueId a, ValueId b, std::string_view name, ValueId add) {
  const Shape left = t.value(a).shape;
  const Shape right = t.value(b).shape;
  if (left.empty() || right.empty()) return t.in.lost(t.call.line, "a matmul with a scalar");
  Matmul matmul;
  matmul.m = left.size() > 1 ? left[left.size() - 2] : 1;
  matmul.k = left.back();
  matmul.n = right.size() > 1 ? right.back() : 1;
  const std::int64_t k = right.size() > 1 ? right[right.size() - 2] : right[0];
  if (k != matmul.k) {
    return t.in.lost(t.call.line,
                     "a matmul of K " + std::to_string(matmul.k) + " with K " + std::to_string(k));
  }
  matmul.a_k_contiguous = unit(t.value(a), 1);
  matmul.b_k_contiguous = right.size() > 1 ? unit(t.value(b), 2) : unit(t.value(b), 1);
  Shape batch;
  const Shape batch_a(left.begin(), left.size() > 2 ? left.end() - 2 : left.begin());
  const Shape batch_b(right.begin(), right.size() > 2 ? right.end() - 2 : right.begin());
  if (!broadcast(batch_a, batch_b, batch)) return t.in.lost(t.call.line, "a matmul's batches");
  if (batch_b.empty() || elements_of(batch_b) == 1) {
    matmul.m *= elements_of(batch_a);  // one product over all rows
  } else {
    matmul.batch = elements_of(batch);
  }
  Shape shape = batch;
  if (left.size() > 1) shape.push_back(left[left.size() - 2]);
  if (right.size() > 1) shape.push_back(right.back());
  return tensor_val(product(t, name, a, b, add, std::move(shape), matmul));
}

Val make_linear(Torch& t, ValueId x, ValueId weight, ValueId bias) {
  const Shape from = t.value(x).shape;
  const Shape w = t.value(weight).shape;
  if (from.empty() || w.empty() || from.back() != w.back()) {
    return t.in.lost(t.call.line, "a linear layer with a weight of another width");
  }
  Matmul matmul;
  matmul.k = w.back();
  matmul.n = w.size() > 1 ? w[0] : 1;
  matmul.m = matmul.k == 0 ? 0 : elements_of(from) / matmul.k;
  matmul.a_k_contiguous = unit(t.value(x), 1);
  matmul.b_k_contiguous = unit(t.value(weight), 1);
  Shape shape(from.begin(), from.end() - 1);
  if (w.size() > 1) shape.push_back(w[0]);
  return tensor_val(product(t, "linear", x, weight, bias, std::move(shape), matmul));
}

namespace {

bool matmul(Torch& t, Val& result) {
  const ValueId a = t.tensor(0, "input");
  ValueId b = t.tensor(1, "other");
  for (const char* name : {"mat2", "vec", "vec2", "tensor"}) {
    if (b < 0) b = t.tensor(1, name);
  }
  if (a < 0 || b < 0) return false;
  result = make_matmul(t, a, b, t.call.name);
  return true;
}

bool linear(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  const ValueId weight = t.tensor(1, "weight");
  if (x < 0 || weight < 0) return false;
  result = make_linear(t, x, weight, t.tensor(2, "bias"));
  return true;
}

/// addmm(c, a, b), baddbmm: a product with a third operand added in its epilogue.
bool add_product(Torch& t, Val& result) {
  const ValueId c = t.tensor(0, "input");
  const ValueId a = t.tensor(1, t.call.name == "addmm" ? "mat1" : "batch1");
  const ValueId b = t.tensor(2, t.call.name == "addmm" ? "mat2" : "batch2");
  if (a < 0 || b < 0) return false;
  result = make_matmul(t, a, b, t.call.name, c);
  return true;
}

bool outer(Torch& t, Val& result) {
  const ValueId a = t.tensor(0, "input");
  const ValueId b = t.tensor(1, "vec2");
  if (a < 0 || b < 0) return false;
  const Shape shape = {elements_of(t.value(a)), elements_of(t.value(b))};
  const ValueId made = t.rec.make(shape, promoted(t.value(a).type, t.value(b).type));
  t.record(OpKind::elementwise, "outer", {a, b}, {made}, count(shape));
  result = tensor_val(made);
  return true;
}

/// torch._int_mm, torch._scaled_mm: int8 or fp8 operands, int32 or 16-bit result.
bool typed_product(Torch& t, Val& result) {
  const ValueId a = t.tensor(0, "input");
  const ValueId b = t.tensor(1, "mat2");
  if (a < 0 || b < 0) return false;
  result = make_matmul(t, a, b, t.call.name);
  if (result.is_tensor()) {
    const Type type = t.call.name == "_int_mm" ? Type::int32 : Type::bfloat16;
    t.rec.value(result.tensor()).type = t.type(SIZE_MAX, "out_dtype", type);
  }
  return true;
}

struct Letters {
  std::vector<std::string> inputs;
  std::string output;
};

Letters letters_of(std::string_view equation) {
  Letters made;
  std::string current;
  bool arrow = false;
  for (const char c : equation) {
    if (c == ' ') continue;
    if (c == ',') {
      made.inputs.push_back(current);
      current.clear();
    } else if (c == '-') {
      made.inputs.push_back(current);
      current.clear();
      arrow = true;
    } else if (c != '>') {
      current.push_back(c);
    }
  }
  if (arrow) {
    made.output = current;
    return made;
  }
  made.inputs.push_back(current);
  std::map<char, int> seen;  // implicit: letters that occur once, sorted
  for (const std::string& one : made.inputs) {
    for (const char c : one) ++seen[c];
  }
  for (const auto& [c, times] : seen) {
    if (times == 1 && c != '.') made.output.push_back(c);
  }
  return made;
}

/// Replaces an ellipsis by capital letters for the dimensions it stands for.
void expand_ellipsis(std::string& letters, std::size_t rank) {
  const std::size_t at = letters.find("...");
  if (at == std::string::npos) return;
  const std::size_t width = rank + 3 > letters.size() ? rank + 3 - letters.size() : 0;
  std::string capitals;
  for (std::size_t i = 0; i < width && i < 20; ++i) {
    capitals.push_back(static_cast<char>('Z' - static_cast<int>(width - 1 - i)));
  }
  letters.replace(at, 3, capitals);
}

struct Subscripted {  // a tensor and the letters of its dimensions
  ValueId id = -1;
  std::string letters;
};

using Sizes = std::map<char, std::int64_t>;

bool holds(const std::string& text, char c) { return text.find(c) != std::string::npos; }

/// Two operands as one batched matmul: letters in both and in the result are its batch, letters in
/// both alone its k.
Subscripted contract(Torch& t, const Subscripted& a, const Subscripted& b,
                     const std::string& output, Sizes& size) {
  Matmul matmul;
  matmul.m = matmul.n = matmul.k = 1;
  char last_k = 0;
  double all = 1;
  for (const auto& [c, extent] : size) {
    if (!holds(a.letters, c) && !holds(b.letters, c)) continue;
    all *= static_cast<double>(extent);
    const bool out = holds(output, c);
    if (holds(a.letters, c) && holds(b.letters, c)) {
      (out ? matmul.batch : matmul.k) *= extent;
      if (!out) last_k = c;
    } else if (out) {
      (holds(a.letters, c) ? matmul.m : matmul.n) *= extent;
    } else {
      matmul.k *= extent;
    }
  }
  Shape shape;
  for (const char c : output) shape.push_back(size[c]);
  const Type type = promoted(t.value(a.id).type, t.value(b.id).type);
  const ValueId made = t.rec.make(shape, type);
  Op op = t.make_op(matmul.k == 1 ? OpKind::elementwise : OpKind::matmul, "einsum", {a.id, b.id},
                    {made}, (matmul.k == 1 ? 1 : 2) * all);
  const auto unit_stride = [&](const Subscripted& operand) {
    const std::size_t d = operand.letters.find(last_k);
    return d == std::string::npos || t.value(operand.id).strides[d] == 1;
  };
  matmul.type = type;
  matmul.a_k_contiguous = unit_stride(a);
  matmul.b_k_contiguous = unit_stride(b);
  matmul.b_is_weight = t.rec.weight_only(b.id);
  if (op.kind == OpKind::matmul) op.matmul = matmul;
  t.rec.record(std::move(op));
  return {made, output};
}

/// Operands are contracted from the left; a letter stays as long as somebody still needs it.
bool einsum(Torch& t, Val& result) {
  const std::string_view equation = text_of(t.arg(0, "equation"));
  std::vector<ValueId> operands;
  for (std::size_t i = 1; i < t.call.positional.size(); ++i) {
    if (t.call.positional[i].is_tensor()) operands.push_back(t.call.positional[i].tensor());
    for (const ValueId one : t.tensors(t.call.positional[i])) operands.push_back(one);
  }
  Letters letters = letters_of(equation);
  if (equation.empty() || operands.empty() || operands.size() != letters.inputs.size())
    return false;
  Sizes size;
  std::size_t widest = 0;
  for (std::size_t i = 0; i < operands.size(); ++i) {
    const Shape& shape = t.value(operands[i]).shape;
    const bool dots = letters.inputs[i].find("...") != std::string::npos;
    const std::size_t before = letters.inputs[i].size();
    expand_ellipsis(letters.inputs[i], shape.size());
    if (dots) widest = std::max(widest, letters.inputs[i].size() + 3 - before);
    if (letters.inputs[i].size() != shape.size()) return false;
    for (std::size_t d = 0; d < shape.size(); ++d) {
      std::int64_t& held = size[letters.inputs[i][d]];
      held = std::max(held, shape[d]);
    }
  }
  const bool dots = letters.output.find("...") != std::string::npos;
  expand_ellipsis(letters.output, letters.output.size() - (dots ? 3 : 0) + widest);
  if (operands.size() == 1) {
    Shape shape;
    for (const char c : letters.output) shape.push_back(size[c]);
    const ValueId made = t.rec.make(shape, t.value(operands[0]).type);
    t.record(OpKind::reduction, "einsum", operands, {made}, count(t.value(operands[0]).shape));
    result = tensor_val(made);
    return true;
  }
  Subscripted folded{operands[0], letters.inputs[0]};
  for (std::size_t i = 1; i < operands.size(); ++i) {
    std::string output = letters.output;
    if (i + 1 < operands.size()) {
      output.clear();
      for (const auto& [c, extent] : size) {
        bool needed = holds(letters.output, c);
        for (std::size_t later = i + 1; later < operands.size(); ++later) {
          needed = needed || holds(letters.inputs[later], c);
        }
        if (needed && (holds(folded.letters, c) || holds(letters.inputs[i], c)))
          output.push_back(c);
      }
    }
    folded = contract(t, folded, {operands[i], letters.inputs[i]}, output, size);
  }
  result = tensor_val(folded.id);
  return true;
}

bool bilinear(Torch& t, Val& result) {
  const ValueId a = t.tensor(0, "input1");
  const ValueId b = t.tensor(1, "input2");
  const ValueId weight = t.tensor(2, "weight");
  if (a < 0 || b < 0 || weight < 0 || t.value(weight).shape.size() != 3) return false;
  Shape shape = t.value(a).shape;
  if (shape.empty()) return false;
  shape.back() = t.value(weight).shape[0];
  const ValueId made = t.rec.make(shape, t.value(a).type);
  Op op = t.make_op(
      OpKind::matmul, "bilinear", {a, b, weight, t.tensor(3, "bias")}, {made},
      2 * count(t.value(weight).shape) *
          static_cast<double>(elements_of(shape) / std::max<std::int64_t>(shape.back(), 1)));
  op.device_kernels = 3;
  t.rec.record(std::move(op));
  result = tensor_val(made);
  return true;
}

bool tensordot(Torch& t, Val& result) {
  const ValueId a = t.tensor(0, "a");
  const ValueId b = t.tensor(1, "b");
  if (a < 0 || b < 0) return false;
  const auto dims = static_cast<std::size_t>(t.integer(2, "dims", 2));
  const Shape left = t.value(a).shape;
  const Shape right = t.value(b).shape;
  if (!t.arg(2, "dims").is_integer() || dims > left.size() || dims > right.size()) return false;
  Matmul matmul;
  matmul.m = matmul.n = matmul.k = 1;
  Shape shape;
  for (std::size_t d = 0; d < left.size(); ++d) {
    if (d + dims < left.size()) {
      matmul.m *= left[d];
      shape.push_back(left[d]);
    } else {
      matmul.k *= left[d];
    }
  }
  for (std::size_t d = dims; d < right.size(); ++d) {
    matmul.n *= right[d];
    shape.push_back(right[d]);
  }
  matmul.b_k_contiguous = false;
  result = tensor_val(product(t, "tensordot", a, b, -1, std::move(shape), matmul));
  return true;
}

bool attention(Torch& t, Val& result) {
  const ValueId q = t.tensor(0, "query");
  const ValueId k = t.tensor(1, "key");
  const ValueId v = t.tensor(2, "value");
  if (q < 0 || k < 0 || v < 0) return false;
  result = make_attention(t, q, k, v, t.tensor(3, "attn_mask"), t.flag(5, "is_causal", false));
  return true;
}

constexpr TorchRow kRows[] = {
    {"matmul", matmul},
    {"mm", matmul},
    {"bmm", matmul},
    {"mv", matmul},
    {"dot", matmul},
    {"vdot", matmul},
    {"inner", matmul},
    {"linear", linear},
    {"addmm", add_product},
    {"baddbmm", add_product},
    {"addbmm", add_product},
    {"addmv", add_product},
    {"outer", outer},
    {"ger", outer},
    {"_int_mm", typed_product},
    {"_scaled_mm", typed_product},
    {"einsum", einsum},
    {"bilinear", bilinear},
    {"tensordot", tensordot},
    {"scaled_dot_product_attention", attention},
};

}  // namespace

std::span<const TorchRow> product_functions() { return kRows; }

Val make_attention(Torch& t, ValueId q, ValueId k, ValueId v, ValueId mask, bool causal) {
  Shape shape = t.value(q).shape;
  const Shape keys = t.value(k).shape;
  const Shape values = t.value(v).shape;
  if (shape.size() < 2 || keys.size() < 2 || values.size() < 2) {
    return t.in.lost(t.call.line, "attention over vectors");
  }
  Attention held;
  held.queries = shape[shape.size() - 2];
  held.head_dim = shape.back();
  held.keys = keys[keys.size() - 2];
  held.value_dim = values.back();
  held.heads = shape.size() > 2 ? shape[shape.size() - 3] : 1;
  held.batch =
      elements_of(shape) / std::max<std::int64_t>(1, held.heads * held.queries * held.head_dim);
  held.causal = causal;
  held.mask = mask >= 0;
  shape.back() = held.value_dim;
  const ValueId made = t.rec.make(shape, t.value(q).type);
  const double pairs = static_cast<double>(held.batch) * static_cast<double>(held.heads) *
                       static_cast<double>(held.queries) * static_cast<double>(held.keys);
  Op op = t.make_op(
      OpKind::attention, "scaled_dot_product_attention", {q, k, v, mask}, {made},
      2 * pairs * static_cast<double>(held.head_dim + held.value_dim) * (causal ? 0.5 : 1));
  op.attention = held;
  t.rec.record(std::move(op));
  return tensor_val(made);
}

}  // namespace quoin::architect
