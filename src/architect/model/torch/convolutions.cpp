// Convolutions of one to three dimensions, plain and transposed, grouped and depthwise.
#include <algorithm>

#include "architect/model/torch/torch.h"

namespace quoin::architect {
namespace {

/// [d][h][w] with the used dimensions last.
std::array<std::int64_t, 3> last(const Shape& from, int dims, std::int64_t otherwise) {
  std::array<std::int64_t, 3> made{otherwise, otherwise, otherwise};
  for (int d = 0; d < dims && d < static_cast<int>(from.size()); ++d) made[3 - dims + d] = from[d];
  return made;
}

std::int64_t out_size(const ConvArguments& c, std::size_t d, std::int64_t in, std::int64_t kernel) {
  const std::int64_t reach = c.dilation[d] * (kernel - 1);
  if (c.transposed) {
    return (in - 1) * c.stride[d] - 2 * c.padding[d] + reach + c.output_padding[d] + 1;
  }
  if (c.same) return in;
  return (in + 2 * c.padding[d] - reach - 1) / std::max<std::int64_t>(c.stride[d], 1) + 1;
}

template <int dims, bool transposed>
bool convolution(Torch& t, Val& result) {
  const ValueId x = t.tensor(0, "input");
  const ValueId weight = t.tensor(1, "weight");
  if (x < 0 || weight < 0) return false;
  ConvArguments c;
  c.dims = dims;
  c.transposed = transposed;
  c.stride = t.spread(3, "stride", dims, 1);
  c.same = text_of(t.arg(4, "padding")) == "same";
  c.padding = t.spread(4, "padding", dims, 0);
  c.output_padding = transposed ? t.spread(5, "output_padding", dims, 0) : Shape(dims, 0);
  c.groups = t.integer(6, "groups", 1);
  c.dilation = t.spread(transposed ? 7 : 5, "dilation", dims, 1);
  result = make_convolution(t, x, weight, t.tensor(2, "bias"), c);
  return true;
}

constexpr TorchRow kRows[] = {
    {"conv1d", convolution<1, false>},          {"conv2d", convolution<2, false>},
    {"conv3d", convolution<3, false>},          {"conv_transpose1d", convolution<1, true>},
    {"conv_transpose2d", convolution<2, true>}, {"conv_transpose3d", convolution<3, true>},
};

}  // namespace

std::span<const TorchRow> convolution_functions() { return kRows; }

Val make_convolution(Torch& t, ValueId x, ValueId weight, ValueId bias, const ConvArguments& c) {
  const Shape from = t.value(x).shape;
  const Shape w = t.value(weight).shape;
  const auto dims = static_cast<std::size_t>(c.dims);
  const bool batched = from.size() == dims + 2;
  if ((!batched && from.size() != dims + 1) || w.size() != dims + 2) {
    return t.in.lost(t.call.line, "a convolution of " + std::to_string(from.size()) +
                                      " dimensions with a weight of " + std::to_string(w.size()));
  }
  Conv conv;
  conv.dims = c.dims;
  conv.transposed = c.transposed;
  conv.groups = std::max<std::int64_t>(c.groups, 1);
  conv.batch = batched ? from[0] : 1;
  conv.in_channels = from[batched ? 1 : 0];
  conv.out_channels = c.transposed ? w[1] * conv.groups : w[0];
  conv.bias = bias >= 0;
  const Shape in_sizes(from.end() - c.dims, from.end());
  const Shape kernel(w.begin() + 2, w.end());
  Shape out_sizes;
  for (std::size_t d = 0; d < dims; ++d) {
    out_sizes.push_back(std::max<std::int64_t>(0, out_size(c, d, in_sizes[d], kernel[d])));
  }
  conv.in = last(in_sizes, c.dims, 1);
  conv.out = last(out_sizes, c.dims, 1);
  conv.kernel = last(kernel, c.dims, 1);
  conv.stride = last(c.stride, c.dims, 1);
  conv.padding = last(c.padding, c.dims, 0);
  if (c.same) {
    for (int d = 0; d < 3; ++d) conv.padding[d] = (conv.kernel[d] - 1) / 2;
  }
  conv.dilation = last(c.dilation, c.dims, 1);
  Shape shape;
  if (batched) shape.push_back(from[0]);
  shape.push_back(conv.out_channels);
  shape.insert(shape.end(), out_sizes.begin(), out_sizes.end());
  // Each weight meets each place of the output (transposed: of the input) once.
  const double places = static_cast<double>(elements_of(c.transposed ? in_sizes : out_sizes)) *
                        static_cast<double>(conv.batch);
  const ValueId made = t.rec.make(shape, t.value(x).type);
  Op op = t.make_op(
      OpKind::conv,
      std::string(c.transposed ? "conv_transpose" : "conv") + std::to_string(c.dims) + "d",
      {x, weight, bias}, {made}, 2 * places * static_cast<double>(elements_of(w)));
  op.inputs[1].role = "weight";
  if (bias >= 0) op.inputs[2].role = "bias";
  op.conv = conv;
  t.rec.record(std::move(op));
  return tensor_val(made);
}

}  // namespace quoin::architect
