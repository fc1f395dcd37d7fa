// Loss functions: elementwise work over predictions and targets, then a mean or a sum.
#include <algorithm>

#include "architect/model/torch/torch.h"

namespace quoin::architect {
namespace {

/// Records a loss: `kernels` passes, of which all but the last write a tensor of the input's size.
Val loss(Torch& t, std::string_view name, const std::vector<ValueId>& inputs, Shape each,
         double steps, int kernels) {
  const std::string_view reduction = text_of(t.arg(SIZE_MAX, "reduction"));
  const ValueId made = t.rec.make(reduction == "none" ? each : Shape{}, t.value(inputs[0]).type);
  const double elements = static_cast<double>(elements_of(t.value(inputs[0])));
  const double bytes = bytes_of(t.value(inputs[0]));
  Op op = t.make_op(OpKind::loss, name, inputs, {made}, steps * elements);
  op.device_kernels = kernels;
  for (const ValueId id : inputs) {
    if (id >= 0) op.bytes_read += t.rec.unique_bytes(id);
  }
  const double between = std::max(0, kernels - 1);
  op.bytes_read += between * bytes;
  op.bytes_written = between * bytes + bytes_of(t.value(made));
  t.rec.record(std::move(op));
  return tensor_val(made);
}

struct Pairwise {
  std::string_view name;
  double steps;
  int kernels;
};

constexpr Pairwise kPairwise[] = {
    {"mse_loss", 3, 2},
    {"l1_loss", 2, 2},
    {"smooth_l1_loss", 5, 2},
    {"huber_loss", 5, 2},
    {"kl_div", 12, 4},
    {"binary_cross_entropy", 20, 2},
    {"poisson_nll_loss", 12, 4},
    {"binary_cross_entropy_with_logits", 24, 6},
    {"hinge_embedding_loss", 4, 5},
    {"soft_margin_loss", 12, 5},
    {"gaussian_nll_loss", 20, 6},
    {"margin_ranking_loss", 4, 5},
};

bool pairwise(Torch& t, Val& result) {
  for (const Pairwise& row : kPairwise) {
    if (row.name != t.call.name) continue;
    std::vector<ValueId> inputs;
    for (const Val& value : t.call.positional) {
      if (value.is_tensor()) inputs.push_back(value.tensor());
    }
    for (const char* name : {"input", "target", "weight"}) {
      const Val given = t.in.keyword(t.call, name);
      if (given.is_tensor()) inputs.push_back(given.tensor());
    }
    if (inputs.empty()) return false;
    Shape each = t.value(inputs[0]).shape;
    for (const ValueId id : inputs) {
      Shape joined;
      if (broadcast(each, t.value(id).shape, joined)) each = joined;
    }
    result = loss(t, row.name, inputs, each, row.steps, row.kernels);
    return true;
  }
  return false;
}

/// cross_entropy is log_softmax and nll_loss.
bool cross_entropy(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  const ValueId target = t.tensor(1, "target");
  if (x < 0 || target < 0) return false;
  ValueId logs = x;
  if (t.call.name == "cross_entropy") {
    const std::int64_t dim = t.value(x).shape.size() > 1 ? 1 : 0;
    logs = make_softmax(t, "log_softmax", x, dim).tensor();
  }
  const std::string_view reduction = text_of(t.arg(SIZE_MAX, "reduction"));
  const ValueId made =
      t.rec.make(reduction == "none" ? t.value(target).shape : Shape{}, t.value(x).type);
  Op op = t.make_op(OpKind::loss, "nll_loss", {logs, target}, {made},
                    2 * static_cast<double>(elements_of(t.value(target))));
  // One element of each row is read.
  op.bytes_read =
      static_cast<double>(elements_of(t.value(target))) * 32 + bytes_of(t.value(target));
  t.rec.record(std::move(op));
  result = tensor_val(made);
  return true;
}

/// Distances and similarities of rows: several elementwise kernels and reductions.
bool rows(Torch& t, Val& result) {
  const ValueId a = t.tensor(0, "x1");
  const ValueId b = t.tensor(1, "x2");
  if (a < 0 || b < 0) return false;
  const bool cosine = t.call.name == "cosine_similarity";
  const std::int64_t dim = cosine ? t.integer(2, "dim", 1) : -1;
  const Val product = t.elementwise(cosine ? "mul" : "sub", {a, b}, t.value(a).type, 1);
  if (!product.is_tensor()) return false;
  Val made = make_reduction(t, cosine ? "sum" : "norm", product.tensor(), {dim}, false,
                            t.value(a).type, 2);
  if (cosine) {
    const Val left = make_reduction(t, "norm", a, {dim}, false, t.value(a).type, 2);
    const Val right = make_reduction(t, "norm", b, {dim}, false, t.value(b).type, 2);
    made = t.elementwise("div", {made.tensor(), left.tensor(), right.tensor()}, t.value(a).type, 6);
  }
  result = made;
  return true;
}

bool triplet(Torch& t, Val& result) {
  std::vector<ValueId> inputs;
  for (const Val& value : t.call.positional) {
    if (value.is_tensor()) inputs.push_back(value.tensor());
  }
  if (inputs.size() < 2) return false;
  Shape each = t.value(inputs[0]).shape;
  if (!each.empty()) each.pop_back();
  result = loss(t, t.call.name, inputs, each, 8, 8);
  return true;
}

constexpr TorchRow kRows[] = {
    {"mse_loss", pairwise},
    {"l1_loss", pairwise},
    {"smooth_l1_loss", pairwise},
    {"huber_loss", pairwise},
    {"kl_div", pairwise},
    {"binary_cross_entropy", pairwise},
    {"poisson_nll_loss", pairwise},
    {"binary_cross_entropy_with_logits", pairwise},
    {"hinge_embedding_loss", pairwise},
    {"soft_margin_loss", pairwise},
    {"gaussian_nll_loss", pairwise},
    {"margin_ranking_loss", pairwise},
    {"cross_entropy", cross_entropy},
    {"nll_loss", cross_entropy},
    {"cosine_similarity", rows},
    {"pairwise_distance", rows},
    {"triplet_margin_loss", triplet},
    {"triplet_margin_with_distance_loss", triplet},
    {"cosine_embedding_loss", triplet},
    {"multi_margin_loss", triplet},
};

}  // namespace

std::span<const TorchRow> loss_functions() { return kRows; }

}  // namespace quoin::architect
