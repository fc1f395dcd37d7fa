// Normalisations. `reads` is how often eager PyTorch reads the input: once for a row that a block
// holds, twice where statistics come first.
#include <algorithm>

#include "architect/model/torch/torch.h"

namespace quoin::architect {

Val make_norm(Torch& t, std::string_view name, ValueId x, ValueId weight, ValueId bias,
              std::vector<int> dims, double reads, std::int64_t groups) {
  const ValueId made = t.make_like(x, t.value(x).type);
  Op op = t.make_op(OpKind::norm, name, {x, weight, bias}, {made},
                    8 * static_cast<double>(elements_of(t.value(x))));
  for (std::size_t i = 1; i < op.inputs.size(); ++i) {
    op.inputs[i].role = op.inputs[i].value == weight ? "weight" : "bias";
  }
  op.dims = std::move(dims);
  op.groups = groups;
  op.device_kernels = reads > 1 ? 2 : 1;
  op.bytes_read = reads * bytes_of(t.value(x));
  t.rec.record(std::move(op));
  return tensor_val(made);
}

namespace {

std::vector<int> dims_from(std::size_t first, std::size_t rank) {
  std::vector<int> dims;
  for (std::size_t d = first; d < rank; ++d) dims.push_back(static_cast<int>(d));
  return dims;
}

bool layer_norm(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  if (x < 0) return false;
  const std::size_t rank = t.value(x).shape.size();
  const std::size_t width =
      std::min(rank, std::max<std::size_t>(1, t.integers(1, "normalized_shape").size()));
  const ValueId bias = t.call.name == "rms_norm" ? -1 : t.tensor(3, "bias");
  result =
      make_norm(t, t.call.name, x, t.tensor(2, "weight"), bias, dims_from(rank - width, rank), 1);
  return true;
}

bool batch_norm(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  if (x < 0) return false;
  const bool training = t.flag(5, "training", false);
  std::vector<int> dims = dims_from(2, t.value(x).shape.size());
  dims.insert(dims.begin(), 0);
  result = make_norm(t, "batch_norm", x, t.tensor(3, "weight"), t.tensor(4, "bias"), dims,
                     training ? 2 : 1);
  if (!t.rec.program().ops.empty() && t.rec.phase == Recorder::Phase::running) {
    t.rec.program().ops.back().training = training;
  }
  return true;
}

bool group_norm(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  if (x < 0) return false;
  result = make_norm(t, "group_norm", x, t.tensor(2, "weight"), t.tensor(3, "bias"),
                     dims_from(1, t.value(x).shape.size()), 2, t.integer(1, "num_groups", 1));
  return true;
}

bool instance_norm(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  if (x < 0) return false;
  result = make_norm(t, "instance_norm", x, t.tensor(3, "weight"), t.tensor(4, "bias"),
                     dims_from(2, t.value(x).shape.size()), 2);
  return true;
}

bool response_norm(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  if (x < 0) return false;
  result = make_norm(t, "local_response_norm", x, -1, -1, {1}, 3);
  return true;
}

/// F.normalize: a norm along dim, a clamp, and a division.
bool normalize(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  if (x < 0) return false;
  const Val norm = make_reduction(t, "norm", x, {t.integer(2, "dim", 1)}, true, t.value(x).type, 2);
  const Val floor = t.elementwise("clamp_min", {norm.tensor()}, t.value(x).type, 1);
  result = t.elementwise("div", {x, floor.tensor()}, t.value(x).type, 4);
  return true;
}

constexpr TorchRow kRows[] = {
    {"layer_norm", layer_norm},       {"rms_norm", layer_norm},
    {"batch_norm", batch_norm},       {"group_norm", group_norm},
    {"instance_norm", instance_norm}, {"local_response_norm", response_norm},
    {"normalize", normalize},
};

}  // namespace

std::span<const TorchRow> norm_functions() { return kRows; }

}  // namespace quoin::architect
