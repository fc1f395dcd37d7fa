// Operators torch.ops.quoin.*, through PyTorch's stable ABI (2.10 and later).
//
// Weights are packed once on the CPU and used in place on a GPU. PyTorch's operators know tensors
// and numbers only, so a packed layer lives here, in a *slot*: a cell that a module asks for
// (`_new_slot`) and names by its number, in an int64 tensor on the CPU (torch.compile would make a
// plain number part of the program, and compile anew for each layer). A slot says what it was
// packed from - addresses, versions, shapes, types - and is filled again whenever an operator comes
// with anything else, so a stale pack cannot run. Without a slot the CPU packs for each call.
//
// The out variants return nothing: PyTorch's functionalisation takes custom operators that way
// only.
#include <dlfcn.h>
#include <fmt/format.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "quoin/quoin.h"

namespace {

using quoin::ConstTensor;
using quoin::DataType;
using quoin::LinearLayer;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

void check(const quoin::Status& status) {
  if (!status) throw std::runtime_error(status.error().message);
}

DataType type_of(const char* name, ScalarType type) {
  switch (type) {
    case ScalarType::Char: return DataType::int8;
    case ScalarType::Int: return DataType::int32;
    case ScalarType::Half: return DataType::float16;
    case ScalarType::BFloat16: return DataType::bfloat16;
    case ScalarType::Float: return DataType::float32;
    default:
      throw std::runtime_error(
          fmt::format("{} is {}; quoin takes torch.int8, int32, float16, bfloat16 and float32",
                      name, torch::headeronly::toString(type)));
  }
}

std::int32_t torch_type(DataType type) {
  switch (type) {
    case DataType::int8: return aoti_torch_dtype_int8();
    case DataType::int32: return aoti_torch_dtype_int32();
    case DataType::float16: return aoti_torch_dtype_float16();
    case DataType::bfloat16: return aoti_torch_dtype_bfloat16();
    case DataType::float32: return aoti_torch_dtype_float32();
  }
  return -1;
}

/// kCpu or the CUDA device's number.
int device_of(const Tensor& t) { return t.is_cuda() ? t.get_device_index() : quoin::kCpu; }

std::string place(int device) {
  return device == quoin::kCpu ? "the CPU" : fmt::format("cuda:{}", device);
}

std::string shape_text(const Tensor& t) {
  std::string text = "shape [";
  for (std::int64_t i = 0; i < t.dim(); ++i) text += fmt::format("{}{}", i ? ", " : "", t.size(i));
  text += "] strides [";
  for (std::int64_t i = 0; i < t.dim(); ++i)
    text += fmt::format("{}{}", i ? ", " : "", t.stride(i));
  return text + "]";
}

/// PyTorch hands None on as an undefined tensor where an operator wants a tensor.
void check_given(const char* name, const Tensor& t) {
  if (!t.defined()) throw std::runtime_error(fmt::format("{} is None; it must be a tensor", name));
}

/// Everything of a call on x's device.
void check_place(const char* name, const Tensor& t, int device) {
  check_given(name, t);
  if (device_of(t) == device && (t.is_cpu() || t.is_cuda())) return;
  throw std::runtime_error(fmt::format("{} is on {}, but x on {}; move one of them", name,
                                       place(device_of(t)), place(device)));
}

/// A tensor of one or two dimensions as a view.
template <class View = ConstTensor>
View view_of(const char* name, const Tensor& t) {
  const std::int64_t rank = t.dim();
  if (rank != 1 && rank != 2) {
    throw std::runtime_error(
        fmt::format("{} has {}; it must have 1 or 2 dimensions", name, shape_text(t)));
  }
  View view{};
  if constexpr (std::is_same_v<View, ConstTensor>) {
    view.data = t.const_data_ptr();
  } else {
    view.data = t.mutable_data_ptr();
  }
  view.type = type_of(name, t.scalar_type());
  view.rank = static_cast<int>(rank);
  view.shape = {t.size(0), rank == 2 ? t.size(1) : 1};
  view.strides = {t.stride(0), rank == 2 ? t.stride(1) : 1};
  return view;
}

/// [..., K] as a matrix, without a copy where the leading dimensions allow it.
struct Rows {
  Tensor tensor;  // keeps a copy alive
  std::vector<std::int64_t> leading;
  std::int64_t count = 1, k = 0, row_stride = 0;
};

/// The distance of rows, or nothing where the leading dimensions are no even sequence of rows.
std::optional<std::int64_t> even_row_stride(const Tensor& t, std::int64_t k) {
  std::optional<std::int64_t> step;
  std::int64_t rows = 1;
  for (std::int64_t i = t.dim() - 2; i >= 0; --i) {
    const std::int64_t size = t.size(i);
    if (size == 0) return k;
    if (size == 1) continue;
    if (!step) {
      step = t.stride(i);
    } else if (t.stride(i) != *step * rows) {
      return {};
    }
    rows *= size;
  }
  return step.value_or(k);
}

Rows rows_of(const char* name, const Tensor& t) {
  check_given(name, t);
  const std::int64_t rank = t.dim();
  if (rank < 1) throw std::runtime_error(fmt::format("{} is a scalar; it must be [..., K]", name));
  Rows rows{t, {}, 1, t.size(rank - 1), 0};
  if (rows.k > 1 && t.stride(rank - 1) != 1) {
    throw std::runtime_error(fmt::format(
        "{} has {}; its last dimension must be contiguous (stride 1): call .contiguous()", name,
        shape_text(t)));
  }
  for (std::int64_t i = 0; i + 1 < rank; ++i) {
    rows.leading.push_back(t.size(i));
    rows.count *= t.size(i);
  }
  std::optional<std::int64_t> stride = even_row_stride(t, rows.k);
  if (!stride || (*stride < rows.k && rows.count > 1)) {
    rows.tensor = torch::stable::contiguous(t);
    stride = rows.k;
  }
  rows.row_stride = *stride;
  return rows;
}

ConstTensor matrix_of(const char* name, const Rows& rows) {
  return quoin::matrix(rows.tensor.const_data_ptr(), type_of(name, rows.tensor.scalar_type()),
                       rows.count, rows.k, rows.row_stride);
}

/// A contiguous new tensor on `like`'s device.
Tensor empty(const std::vector<std::int64_t>& sizes, DataType type, int device) {
  std::array<std::int64_t, 64> strides{};
  std::int64_t step = 1;
  for (std::size_t i = sizes.size(); i-- > 0;) {
    strides.at(i) = step;
    step *= std::max<std::int64_t>(sizes[i], 1);
  }
  AtenTensorHandle handle = nullptr;
  const bool cpu = device == quoin::kCpu;
  TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(
      static_cast<std::int64_t>(sizes.size()), sizes.data(), strides.data(), torch_type(type),
      cpu ? aoti_torch_device_type_cpu() : aoti_torch_device_type_cuda(), cpu ? 0 : device,
      &handle));
  return Tensor(handle);
}

/// scales [...] beside x [..., K]: one to a row, in order.
ConstTensor scales_of(const Tensor& scales, const Rows& x, Tensor& kept) {
  if (scales.dim() == 2 && x.leading.size() == 1 && scales.size(1) == 1) {  // [M, 1]
    return view_of("scale_x", scales);
  }
  bool same = scales.dim() == static_cast<std::int64_t>(x.leading.size());
  for (std::int64_t i = 0; same && i < scales.dim(); ++i) {
    same = scales.size(i) == x.leading[static_cast<std::size_t>(i)];
  }
  if (!same) {
    throw std::runtime_error(fmt::format(
        "scale_x has {}, but x has {}; it needs one scale to a row: x's shape without the last "
        "dimension",
        shape_text(scales), shape_text(x.tensor)));
  }
  kept = torch::stable::contiguous(scales);
  return quoin::vector(kept.const_data_ptr(), type_of("scale_x", kept.scalar_type()), x.count);
}

/// The output as a matrix of rows; its shape must be x's with N for K.
quoin::Tensor out_matrix(const Tensor& out, const Rows& x, std::int64_t n) {
  bool same =
      out.dim() == static_cast<std::int64_t>(x.leading.size()) + 1 && out.size(out.dim() - 1) == n;
  for (std::size_t i = 0; same && i < x.leading.size(); ++i) {
    same = out.size(static_cast<std::int64_t>(i)) == x.leading[i];
  }
  const std::optional<std::int64_t> stride =
      same ? even_row_stride(out, n) : std::optional<std::int64_t>();
  if (!same || !stride || (n > 1 && out.stride(out.dim() - 1) != 1)) {
    throw std::runtime_error(fmt::format(
        "out has {}; it must be x's shape ({}) with {} as its last dimension, rows evenly apart",
        shape_text(out), shape_text(x.tensor), n));
  }
  return quoin::matrix(out.mutable_data_ptr(), type_of("out", out.scalar_type()), x.count, n,
                       *stride);
}

/// The stream that PyTorch uses now. Looked up by name: PyTorch without CUDA has no such function.
void* current_stream(int device) {
  if (device == quoin::kCpu) return nullptr;
  using Get = AOTITorchError (*)(std::int32_t, void**);
  static const auto get =
      reinterpret_cast<Get>(dlsym(RTLD_DEFAULT, "aoti_torch_get_current_cuda_stream"));
  static const auto get_from_library = []() -> Get {
    if (get != nullptr) return get;
    void* library = dlopen("libtorch_cuda.so", RTLD_LAZY | RTLD_NOLOAD);
    if (library == nullptr) return nullptr;
    return reinterpret_cast<Get>(dlsym(library, "aoti_torch_get_current_cuda_stream"));
  }();
  if (get_from_library == nullptr) throw std::runtime_error("this PyTorch has no CUDA streams");
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(get_from_library(device, &stream));
  return stream;
}

// Off unless asked for: a copy into the weight may be what is ahead on the stream.
std::atomic<bool> overlap{false};

quoin::RunOptions options_for(int device) {
  quoin::RunOptions options;
  options.device = device;
  options.stream = current_stream(device);
  options.overlap = overlap.load(std::memory_order_relaxed);
  if (device == quoin::kCpu) options.threads = static_cast<int>(torch::stable::get_num_threads());
  return options;
}

// --- layers, prepared and kept

template <class Result, class... Args>
Result call_aten(const char* op, const Tensor& self) {
  std::array<StableIValue, 1> stack{torch::stable::detail::from(self)};
  TORCH_ERROR_CODE_CHECK(torch_call_dispatcher(op, "", stack.data(), TORCH_ABI_VERSION));
  return torch::stable::detail::to<Result>(stack[0]);
}

/// What can be told of a tensor without reading it: another one with the same memory may be of
/// another shape or type, and then needs its own checks.
struct Seen {
  const void* data = nullptr;
  ScalarType type = ScalarType::Undefined;
  std::int64_t rank = 0;
  std::array<std::int64_t, 2> shape{}, strides{};
  bool operator==(const Seen&) const = default;

  static Seen of(const Tensor& t) {
    Seen seen{t.const_data_ptr(), t.scalar_type(), t.dim(), {}, {}};
    for (std::int64_t i = 0; i < std::min<std::int64_t>(seen.rank, 2); ++i) {
      seen.shape[static_cast<std::size_t>(i)] = t.size(i);
      seen.strides[static_cast<std::size_t>(i)] = t.stride(i);
    }
    return seen;
  }
};

/// What a layer was made from. Where memory was copied the versions count as well.
struct Origin {
  Seen weight, scale_w, bias;
  DataType out_type = DataType::float16;
  double factor = 0;
  int device = quoin::kCpu;
  bool operator==(const Origin&) const = default;
};

struct OriginHash {
  std::size_t operator()(const Origin& o) const {
    std::size_t hash = 0;
    for (const std::size_t part :
         {reinterpret_cast<std::size_t>(o.weight.data),
          reinterpret_cast<std::size_t>(o.scale_w.data), reinterpret_cast<std::size_t>(o.bias.data),
          static_cast<std::size_t>(o.weight.shape[0]), static_cast<std::size_t>(o.weight.shape[1]),
          static_cast<std::size_t>(o.out_type)}) {
      hash = (hash ^ part) * 0x9E3779B97F4A7C15U;
      hash ^= hash >> 29;
    }
    return hash;
  }
};

/// The weight, scales and bias of a call.
struct Weights {
  const Tensor& weight;
  const Tensor& scale_w;
  const std::optional<Tensor>& bias;

  [[nodiscard]] Origin origin(DataType out_type, double factor) const {
    check_given("scale_w", scale_w);
    return {Seen::of(weight), Seen::of(scale_w), bias ? Seen::of(*bias) : Seen{}, out_type,
            factor,           device_of(weight)};
  }

  [[nodiscard]] LinearLayer prepare(const Origin& o) const {
    check_place("scale_w", scale_w, o.device);
    quoin::LinearWeights weights{view_of("weight", weight), view_of("scale_w", scale_w), {}};
    if (bias) {
      check_place("bias", *bias, o.device);
      weights.bias = view_of("bias", *bias);
    }
    quoin::LinearOptions options;
    options.out_type = o.out_type;
    options.dequant_factor = static_cast<float>(o.factor);
    options.device = o.device;
    options.stream = current_stream(o.device);
    quoin::Result<LinearLayer> layer = quoin::prepare(weights, options);
    if (!layer) throw std::runtime_error(layer.error().message);
    return std::move(layer).value();
  }
};

/// A tensor's contents as far as they can be told apart without reading: its version counts changes
/// in place; the alias keeps the memory from being given to another tensor.
struct Contents {
  std::int64_t version = 0;
  std::optional<Tensor> alias;

  static bool tracked(const Tensor& t) { return !call_aten<bool>("aten::is_inference", t); }
  static std::int64_t version_of(const Tensor& t) {
    return call_aten<std::int64_t>("aten::_version", t);
  }
  static Contents of(const Tensor& t) {
    return {version_of(t), call_aten<Tensor>("aten::detach", t)};
  }
};

struct Packed {
  Origin origin;
  std::optional<LinearLayer> layer;
  Contents weight, scale_w, bias;

  [[nodiscard]] bool fits(const Origin& o, const Weights& w) const {
    if (!layer || !(origin == o)) return false;
    if (!layer->weight_copied()) return true;
    const auto same = [](const Contents& then, const Tensor& now) {
      return Contents::tracked(now) && then.version == Contents::version_of(now);
    };
    return same(weight, w.weight) && same(scale_w, w.scale_w) && (!w.bias || same(bias, *w.bias));
  }
};

struct Slot {
  std::mutex mutex;
  Packed packed;
};

class Slots {
 public:
  std::int64_t add() {
    const std::unique_lock lock(mutex_);
    slots_.emplace(++last_, std::make_shared<Slot>());
    return last_;
  }
  void remove(std::int64_t number) {
    std::shared_ptr<Slot> slot;  // freed outside the lock
    const std::unique_lock lock(mutex_);
    if (const auto it = slots_.find(number); it != slots_.end()) {
      slot = std::move(it->second);
      slots_.erase(it);
    }
  }
  std::shared_ptr<Slot> find(std::int64_t number) {
    const std::shared_lock lock(mutex_);
    const auto it = slots_.find(number);
    return it == slots_.end() ? nullptr : it->second;
  }

 private:
  std::shared_mutex mutex_;
  std::int64_t last_ = 0;
  std::unordered_map<std::int64_t, std::shared_ptr<Slot>> slots_;
};

/// Layers without a slot that hold no copy of anything: right for whoever comes with the same
/// addresses and shapes.
class InPlaceLayers {
 public:
  std::optional<LinearLayer> find(const Origin& origin) {
    const std::shared_lock lock(mutex_);
    const auto it = layers_.find(origin);
    if (it == layers_.end()) return {};
    return it->second;
  }
  void add(const Origin& origin, const LinearLayer& layer) {
    const std::unique_lock lock(mutex_);
    if (layers_.size() >= kMost) layers_.clear();
    layers_.emplace(origin, layer);
  }

 private:
  static constexpr std::size_t kMost = 4096;
  std::shared_mutex mutex_;
  std::unordered_map<Origin, LinearLayer, OriginHash> layers_;
};

// Never destroyed: operators may run while the process ends.
Slots& slots() {
  static auto* const all = new Slots;
  return *all;
}
InPlaceLayers& in_place_layers() {
  static auto* const all = new InPlaceLayers;
  return *all;
}
std::atomic<std::int64_t> prepare_count{0};

LinearLayer prepare_counted(const Weights& weights, const Origin& origin) {
  prepare_count.fetch_add(1, std::memory_order_relaxed);
  return weights.prepare(origin);
}

std::shared_ptr<Slot> slot_of(const std::optional<Tensor>& number) {
  if (!number) return nullptr;
  if (!number->is_cpu() || number->scalar_type() != ScalarType::Long || number->numel() != 1) {
    throw std::runtime_error(
        fmt::format("slot has {}; it must be one int64 on the CPU, from _new_slot, or None",
                    shape_text(*number)));
  }
  return slots().find(*static_cast<const std::int64_t*>(number->const_data_ptr()));
}

LinearLayer layer_for(const Weights& weights, DataType out_type, double factor,
                      const std::optional<Tensor>& slot_number) {
  const Origin origin = weights.origin(out_type, factor);
  if (origin.device != quoin::kCpu) {
    if (std::optional<LinearLayer> layer = in_place_layers().find(origin)) return *layer;
  }
  const std::shared_ptr<Slot> slot = slot_of(slot_number);
  if (slot) {
    const std::lock_guard lock(slot->mutex);
    if (slot->packed.fits(origin, weights)) return *slot->packed.layer;
  }
  LinearLayer layer = prepare_counted(weights, origin);
  if (!layer.weight_copied()) {
    in_place_layers().add(origin, layer);
  } else if (slot && Contents::tracked(weights.weight) && Contents::tracked(weights.scale_w) &&
             (!weights.bias || Contents::tracked(*weights.bias))) {
    Packed packed{origin, layer, Contents::of(weights.weight), Contents::of(weights.scale_w), {}};
    if (weights.bias) packed.bias = Contents::of(*weights.bias);
    const std::lock_guard lock(slot->mutex);
    std::swap(slot->packed, packed);
  }
  return layer;
}

// --- the operators

std::tuple<Tensor, Tensor> quantize_rows(const Tensor& x) {
  const Rows rows = rows_of("x", x);
  const int device = device_of(x);
  std::vector<std::int64_t> sizes = rows.leading;
  const Tensor scales = empty(sizes, DataType::float32, device);
  sizes.push_back(rows.k);
  const Tensor codes = empty(sizes, DataType::int8, device);
  check(quoin::quantize_rows(
      matrix_of("x", rows),
      quoin::matrix(codes.mutable_data_ptr(), DataType::int8, rows.count, rows.k),
      quoin::vector(scales.mutable_data_ptr(), DataType::float32, rows.count),
      options_for(device)));
  return {codes, scales};
}

void quantize_rows_out(const Tensor& x, const Tensor& codes, const Tensor& scales) {
  const Rows rows = rows_of("x", x);
  const int device = device_of(x);
  check_place("codes", codes, device);
  check_place("scales", scales, device);
  const quoin::Tensor to = out_matrix(codes, rows, rows.k);
  if (scales.numel() != rows.count || !scales.is_contiguous()) {
    throw std::runtime_error(
        fmt::format("scales has {}; it must be contiguous, one for each of the "
                    "{} rows of x",
                    shape_text(scales), rows.count));
  }
  check(quoin::quantize_rows(
      matrix_of("x", rows), to,
      quoin::vector(scales.mutable_data_ptr(), type_of("scales", scales.scalar_type()), rows.count),
      options_for(device)));
}

void run_linear(const Rows& x, const Tensor& scale_x, const LinearLayer& layer, const Tensor& out) {
  const int device = device_of(x.tensor);
  check_place("scale_x", scale_x, device);
  Tensor kept;
  const quoin::QuantizedRows rows{matrix_of("x", x), scales_of(scale_x, x, kept)};
  check(layer.run(rows, out_matrix(out, x, layer.n()), options_for(device)));
}

Tensor empty_output(const Rows& x, const LinearLayer& layer) {
  std::vector<std::int64_t> sizes = x.leading;
  sizes.push_back(layer.n());
  return empty(sizes, layer.out_type(), device_of(x.tensor));
}

Tensor linear(const Tensor& x, const Tensor& scale_x, const Tensor& weight, const Tensor& scale_w,
              const std::optional<Tensor>& bias, const std::optional<ScalarType>& out_type,
              double factor, const std::optional<Tensor>& slot) {
  const Rows rows = rows_of("x", x);
  check_place("weight", weight, device_of(x));
  const LinearLayer layer =
      layer_for({weight, scale_w, bias},
                out_type ? type_of("out_dtype", *out_type) : DataType::float16, factor, slot);
  const Tensor out = empty_output(rows, layer);
  run_linear(rows, scale_x, layer, out);
  return out;
}

void linear_out(const Tensor& x, const Tensor& scale_x, const Tensor& weight, const Tensor& scale_w,
                const std::optional<Tensor>& bias, double factor, const std::optional<Tensor>& slot,
                const Tensor& out) {
  const Rows rows = rows_of("x", x);
  check_place("weight", weight, device_of(x));
  check_place("out", out, device_of(x));  // before a layer is prepared for its type
  const LinearLayer layer =
      layer_for({weight, scale_w, bias}, type_of("out", out.scalar_type()), factor, slot);
  run_linear(rows, scale_x, layer, out);
}

void run_dynamic(const Rows& x, const LinearLayer& layer, const Tensor& out) {
  const int device = device_of(x.tensor);
  const quoin::Tensor to = out_matrix(out, x, layer.n());
  const auto bytes = static_cast<std::int64_t>(layer.workspace_bytes(x.count));
  const Tensor workspace = empty({bytes}, DataType::int8, device);
  const std::span<std::byte> room(static_cast<std::byte*>(workspace.mutable_data_ptr()),
                                  static_cast<std::size_t>(bytes));
  check(layer.run_dynamic(matrix_of("x", x), to, room, options_for(device)));
}

Tensor dynamic_linear(const Tensor& x, const Tensor& weight, const Tensor& scale_w,
                      const std::optional<Tensor>& bias, double factor,
                      const std::optional<Tensor>& slot) {
  const Rows rows = rows_of("x", x);
  check_place("weight", weight, device_of(x));
  const LinearLayer layer =
      layer_for({weight, scale_w, bias}, type_of("x", x.scalar_type()), factor, slot);
  const Tensor out = empty_output(rows, layer);
  run_dynamic(rows, layer, out);
  return out;
}

void dynamic_linear_out(const Tensor& x, const Tensor& weight, const Tensor& scale_w,
                        const std::optional<Tensor>& bias, double factor,
                        const std::optional<Tensor>& slot, const Tensor& out) {
  const Rows rows = rows_of("x", x);
  check_place("weight", weight, device_of(x));
  check_place("out", out, device_of(x));  // before a layer is prepared for its type
  const LinearLayer layer =
      layer_for({weight, scale_w, bias}, type_of("out", out.scalar_type()), factor, slot);
  run_dynamic(rows, layer, out);
}

std::int64_t new_slot() { return slots().add(); }
void free_slot(std::int64_t slot) { slots().remove(slot); }
std::int64_t prepare_calls() { return prepare_count.load(std::memory_order_relaxed); }
void set_overlap(bool enabled) { overlap.store(enabled, std::memory_order_relaxed); }

}  // namespace

STABLE_TORCH_LIBRARY(quoin, m) {
  m.def("quantize_rows(Tensor x) -> (Tensor, Tensor)");
  m.def("quantize_rows.out(Tensor x, *, Tensor(a!) codes, Tensor(b!) scales) -> ()");
  m.def(
      "linear(Tensor x, Tensor scale_x, Tensor weight, Tensor scale_w, Tensor? bias=None, "
      "ScalarType? out_dtype=None, float dequant_factor=6.200012400024801e-05, Tensor? slot=None) "
      "-> "
      "Tensor");
  m.def(
      "linear.out(Tensor x, Tensor scale_x, Tensor weight, Tensor scale_w, Tensor? bias=None, "
      "float dequant_factor=6.200012400024801e-05, Tensor? slot=None, *, Tensor(a!) out) -> ()");
  m.def(
      "dynamic_linear(Tensor x, Tensor weight, Tensor scale_w, Tensor? bias=None, float "
      "dequant_factor=6.200012400024801e-05, Tensor? slot=None) -> Tensor");
  m.def(
      "dynamic_linear.out(Tensor x, Tensor weight, Tensor scale_w, Tensor? bias=None, float "
      "dequant_factor=6.200012400024801e-05, Tensor? slot=None, *, Tensor(a!) out) -> ()");
  m.def("_new_slot() -> int");
  m.def("_free_slot(int slot) -> ()");
  m.def("_prepare_calls() -> int");
  m.def("_set_overlap(bool enabled) -> ()");
}

// The same functions for both: they look where their tensors are.
static void implement(torch::stable::detail::StableLibrary& m) {
  m.impl("quantize_rows", TORCH_BOX(&quantize_rows));
  m.impl("quantize_rows.out", TORCH_BOX(&quantize_rows_out));
  m.impl("linear", TORCH_BOX(&linear));
  m.impl("linear.out", TORCH_BOX(&linear_out));
  m.impl("dynamic_linear", TORCH_BOX(&dynamic_linear));
  m.impl("dynamic_linear.out", TORCH_BOX(&dynamic_linear_out));
}

STABLE_TORCH_LIBRARY_IMPL(quoin, CPU, m) { implement(m); }

STABLE_TORCH_LIBRARY_IMPL(quoin, CUDA, m) { implement(m); }

STABLE_TORCH_LIBRARY_IMPL(quoin, CompositeExplicitAutograd, m) {
  m.impl("_new_slot", TORCH_BOX(&new_slot));
  m.impl("_free_slot", TORCH_BOX(&free_slot));
  m.impl("_prepare_calls", TORCH_BOX(&prepare_calls));
  m.impl("_set_overlap", TORCH_BOX(&set_overlap));
}
