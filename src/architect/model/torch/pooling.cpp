// Pooling: max and average, fixed windows and adaptive ones.
#include <algorithm>

#include "architect/model/torch/torch.h"

namespace quoin::architect {
namespace {

template <int dims, bool is_max>
bool pool(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  if (x < 0) return false;
  PoolArguments p;
  p.dims = dims;
  p.max = is_max;
  p.kernel = t.spread(1, "kernel_size", dims, 1);
  p.stride = t.integers(2, "stride").empty() ? p.kernel : t.spread(2, "stride", dims, 1);
  p.padding = t.spread(3, "padding", dims, 0);
  p.dilation = is_max ? t.spread(4, "dilation", dims, 1) : Shape(dims, 1);
  p.ceil = t.flag(is_max ? 5 : 4, "ceil_mode", false);
  p.indices = is_max && t.flag(6, "return_indices", false);
  result = make_pool(t, x, p);
  return true;
}

template <int dims, bool is_max>
bool adaptive(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  if (x < 0) return false;
  PoolArguments p;
  p.dims = dims;
  p.max = is_max;
  p.adaptive = true;
  p.output = t.spread(1, "output_size", dims, 1);
  result = make_pool(t, x, p);
  return true;
}

constexpr TorchRow kRows[] = {
    {"max_pool1d", pool<1, true>},
    {"max_pool2d", pool<2, true>},
    {"max_pool3d", pool<3, true>},
    {"avg_pool1d", pool<1, false>},
    {"avg_pool2d", pool<2, false>},
    {"avg_pool3d", pool<3, false>},
    {"lp_pool1d", pool<1, false>},
    {"lp_pool2d", pool<2, false>},
    {"adaptive_avg_pool1d", adaptive<1, false>},
    {"adaptive_avg_pool2d", adaptive<2, false>},
    {"adaptive_avg_pool3d", adaptive<3, false>},
    {"adaptive_max_pool1d", adaptive<1, true>},
    {"adaptive_max_pool2d", adaptive<2, true>},
    {"adaptive_max_pool3d", adaptive<3, true>},
};

std::int64_t pooled_size(const PoolArguments& p, std::size_t d, std::int64_t in) {
  const std::int64_t stride = std::max<std::int64_t>(p.stride[d], 1);
  const std::int64_t reach = in + 2 * p.padding[d] - p.dilation[d] * (p.kernel[d] - 1) - 1;
  std::int64_t out = (p.ceil ? (reach + stride - 1) / stride : reach / stride) + 1;
  if (p.ceil && (out - 1) * stride >= in + p.padding[d]) --out;
  return std::max<std::int64_t>(out, 0);
}

}  // namespace

std::span<const TorchRow> pooling_functions() { return kRows; }

Val make_pool(Torch& t, ValueId x, const PoolArguments& given) {
  PoolArguments p = given;
  const Shape from = t.value(x).shape;
  const auto dims = static_cast<std::size_t>(p.dims);
  if (from.size() < dims + 1) return t.in.lost(t.call.line, "a pool over too few dimensions");
  Shape shape = from;
  const std::size_t first = from.size() - dims;
  double window = 1;
  Pool pool;
  pool.max = p.max;
  pool.adaptive = p.adaptive;
  pool.dims = p.dims;
  for (std::size_t d = 0; d < dims; ++d) {
    const std::int64_t in = from[first + d];
    if (p.adaptive) {
      shape[first + d] = p.output[d] > 0 ? p.output[d] : in;
      p.kernel.resize(dims, 1);
      p.kernel[d] = (in + shape[first + d] - 1) / std::max<std::int64_t>(shape[first + d], 1);
      p.stride = p.kernel;
      p.padding.assign(dims, 0);
    } else {
      shape[first + d] = pooled_size(p, d, in);
    }
    window *= static_cast<double>(p.kernel[d]);
    pool.kernel[3 - dims + d] = p.kernel[d];
  }
  for (std::size_t d = 0; d < dims; ++d) {
    pool.stride[3 - dims + d] = p.stride[d];
    pool.padding[3 - dims + d] = p.padding[d];
  }
  const ValueId made = t.rec.make(shape, t.value(x).type);
  const std::string name = std::string(p.adaptive ? "adaptive_" : "") + (p.max ? "max" : "avg") +
                           "_pool" + std::to_string(p.dims) + "d";
  Op op =
      t.make_op(OpKind::pool, name, {x}, {made}, window * static_cast<double>(elements_of(shape)));
  op.pool = pool;
  t.rec.record(std::move(op));
  if (!p.indices) return tensor_val(made);
  const ValueId indices = t.rec.make(shape, Type::int64);
  t.rec.add_output(indices);
  return t.in.tuple({tensor_val(made), tensor_val(indices)});
}

}  // namespace quoin::architect
