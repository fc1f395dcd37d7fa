// PyTorch as the host interpreter sees it: every function, method and layer by name, with the
// shapes it gives and the device work it does. One table per family, each in a file of its own;
// table.cpp joins them. Nothing here knows syntax.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "architect/model/host/interpreter.h"

namespace quoin::architect {

[[nodiscard]] Type dtype_of(std::string_view name);  // "float16", "half"; unknown otherwise
[[nodiscard]] Type promoted(Type a, Type b);

// What the interpreter calls. True where the name is known.
bool call_torch(Interpreter& interpreter, std::string_view name, Call& call, Val& result);
bool call_cuda(Interpreter& interpreter, std::string_view name, Call& call, Val& result);
Val index_tensor(Interpreter& interpreter, ValueId tensor, const Val& index);
void assign_tensor_item(Interpreter& interpreter, ValueId tensor, const Val& index,
                        const Val& value);
bool tensor_attribute(Interpreter& interpreter, ValueId tensor, std::string_view name, Val& result);
bool init_layer(Interpreter& interpreter, InstanceObject& layer, const Call& call);
bool call_layer(Interpreter& interpreter, InstanceObject& layer, Call& call, Val& result);
bool call_module_method(Interpreter& interpreter, const Val& module, std::string_view name,
                        Call& call, Val& result);
Val fan_in_and_out(Interpreter& interpreter, const Val& weight);

/// One call under way: its arguments read with defaults, its results made.
class Torch {
 public:
  Torch(Interpreter& interpreter, Call& made, bool writes_in_place = false)
      : in(interpreter), rec(interpreter.recorder), call(made), in_place(writes_in_place) {}

  Interpreter& in;
  Recorder& rec;
  Call& call;
  bool in_place;  // relu_, or inplace=True

  [[nodiscard]] Val arg(std::size_t place, std::string_view name) const {
    return in.argument(call, place, name);
  }
  [[nodiscard]] ValueId tensor(std::size_t place, std::string_view name) const;  // or -1
  [[nodiscard]] std::int64_t integer(std::size_t place, std::string_view name,
                                     std::int64_t otherwise) const;
  [[nodiscard]] double real(std::size_t place, std::string_view name, double otherwise) const;
  [[nodiscard]] bool flag(std::size_t place, std::string_view name, bool otherwise) const;
  [[nodiscard]] Type type(std::size_t place, std::string_view name, Type otherwise) const;
  /// An int or a tuple of them; empty where absent or unknown.
  [[nodiscard]] Shape integers(std::size_t place, std::string_view name) const;
  /// Sizes given one by one or as a tuple, from argument `place` on.
  [[nodiscard]] bool sizes(std::size_t place, Shape& made) const;
  /// The same int for each of `count` dimensions where one is given.
  [[nodiscard]] Shape spread(std::size_t place, std::string_view name, std::size_t count,
                             std::int64_t otherwise) const;
  [[nodiscard]] const Value& value(ValueId id) const { return rec.value(id); }
  [[nodiscard]] std::vector<ValueId> tensors(const Val& sequence) const;

  /// `op` with these inputs and outputs recorded; the roles default to "input".
  OpId record(OpKind kind, std::string_view name, const std::vector<ValueId>& inputs,
              const std::vector<ValueId>& outputs, double flops = 0, int kernels = 1);
  Op make_op(OpKind kind, std::string_view name, const std::vector<ValueId>& inputs,
             const std::vector<ValueId>& outputs, double flops = 0) const;
  /// A new tensor laid out as `like` where that is dense (a transposed matrix stays one).
  ValueId make_like(ValueId like, Type type);
  /// An elementwise operation over broadcast inputs.
  Val elementwise(std::string_view name, const std::vector<ValueId>& inputs, Type type,
                  double steps, OpKind kind = OpKind::elementwise);
  ValueId contiguous(ValueId id, std::string_view why = "contiguous");
  ValueId cast(ValueId id, Type type);
};

[[nodiscard]] bool broadcast(const Shape& a, const Shape& b, Shape& made);
[[nodiscard]] std::int64_t wrapped_dim(std::int64_t dim, std::size_t rank);
[[nodiscard]] bool is_dense(const Value& value);
/// Strides for `shape` over the memory of `value`, or false where that needs a copy.
[[nodiscard]] bool reshaped_strides(const Value& value, const Shape& shape, Shape& strides);

using TorchHandler = bool (*)(Torch& torch, Val& result);
struct TorchRow {
  std::string_view name;
  TorchHandler handler;
};

std::span<const TorchRow> creation_functions();
std::span<const TorchRow> view_functions();
std::span<const TorchRow> copy_functions();
std::span<const TorchRow> elementwise_functions();
std::span<const TorchRow> reduction_functions();
std::span<const TorchRow> product_functions();
std::span<const TorchRow> convolution_functions();
std::span<const TorchRow> pooling_functions();
std::span<const TorchRow> norm_functions();
std::span<const TorchRow> loss_functions();
std::span<const TorchRow> gather_functions();
std::span<const TorchRow> einops_functions();
/// Elementwise functions of one input, by name; null where unknown.
bool call_unary(Torch& torch, std::string_view name, Val& result);

/// What a value lies between now, and what the result of a call does, given its first operands.
Bounds bounds_of(const Torch& torch, const Val& value);
void note_bounds(Torch& torch, std::string_view name, const std::array<Bounds, 2>& before,
                 const Val& result);

// Shared by functions and layers.
Val make_linear(Torch& torch, ValueId x, ValueId weight, ValueId bias);
Val make_matmul(Torch& torch, ValueId a, ValueId b, std::string_view name, ValueId add = -1);
struct ConvArguments {
  int dims = 2;
  bool transposed = false;
  Shape stride, padding, dilation, output_padding;
  std::int64_t groups = 1;
  bool same = false;  // padding="same"
};
Val make_convolution(Torch& torch, ValueId x, ValueId weight, ValueId bias,
                     const ConvArguments& arguments);
struct PoolArguments {
  int dims = 2;
  bool max = false, adaptive = false, ceil = false, indices = false;
  Shape kernel, stride, padding, dilation, output;
};
Val make_pool(Torch& torch, ValueId x, const PoolArguments& arguments);
Val make_norm(Torch& torch, std::string_view name, ValueId x, ValueId weight, ValueId bias,
              std::vector<int> dims, double reads, std::int64_t groups = 0);
Val make_reduction(Torch& torch, std::string_view name, ValueId x, Shape dims, bool keep, Type type,
                   double steps = 1);
Val make_softmax(Torch& torch, std::string_view name, ValueId x, std::int64_t dim);
Val make_attention(Torch& torch, ValueId q, ValueId k, ValueId v, ValueId mask, bool causal);
Val call_recurrent(Torch& torch, InstanceObject& layer);
Val call_multihead(Torch& torch, InstanceObject& layer);
void init_transformer(Torch& torch, InstanceObject& layer);
Val call_transformer(Torch& torch, InstanceObject& layer);
Val make_view(Torch& torch, ValueId x, Shape shape, std::string_view how, bool may_copy);
Val make_permuted(Torch& torch, ValueId x, const Shape& order, std::string_view how);
Val make_dropout(Torch& torch, ValueId x, double p, bool training);

}  // namespace quoin::architect
