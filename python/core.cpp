// Module quoin._core: the library for Python. Arrays come by DLPack or the buffer protocol and are
// used where they are; python/quoin/__init__.py makes the outputs and documents the calls.
#include <fmt/format.h>
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "quoin/quoin.h"
#if QUOIN_PYTHON_ARCHITECT
#include "architect/model/model.h"
#include "architect/source/document.h"
#include "architect/verdict/sentences.h"
#include "architect/verdict/verdict.h"
#include "cost/devices.h"
#endif

namespace nb = nanobind;
using namespace nb::literals;

namespace quoin {
namespace {

using Input = nb::ndarray<nb::ro>;
using Output = nb::ndarray<>;

[[noreturn]] void raise(const Error& error) {
  PyObject* type = PyExc_ValueError;
  switch (error.code) {
    case ErrorCode::invalid_argument: break;
    case ErrorCode::unsupported: type = PyExc_NotImplementedError; break;
    case ErrorCode::unavailable: type = PyExc_RuntimeError; break;
    case ErrorCode::out_of_memory: type = PyExc_MemoryError; break;
  }
  PyErr_SetString(type, error.message.c_str());
  throw nb::python_error();
}

[[noreturn]] void raise_value(const std::string& message) {
  raise({ErrorCode::invalid_argument, message});
}

void check(const Status& status) {
  if (!status) raise(status.error());
}

DataType parse_type(std::string_view argument, std::string_view text) {
  if (const std::optional<DataType> type = parse_data_type(text)) return *type;
  raise_value(fmt::format("{} is '{}'; it must be int8, int32, float16, bfloat16 or float32",
                          argument, text));
}

/// The element type of an array. NumPy has no bfloat16: it travels as uint16 where `hint` says so.
DataType type_of(const char* name, const nb::dlpack::dtype& type,
                 const std::optional<std::string>& hint) {
  using Code = nb::dlpack::dtype_code;
  const auto is = [&](Code code, int bits) {
    return type.code == static_cast<std::uint8_t>(code) && type.bits == bits && type.lanes == 1;
  };
  std::optional<DataType> found;
  if (is(Code::Int, 8)) found = DataType::int8;
  if (is(Code::Int, 32)) found = DataType::int32;
  if (is(Code::Float, 16)) found = DataType::float16;
  if (is(Code::Float, 32)) found = DataType::float32;
  if (is(Code::Bfloat, 16)) found = DataType::bfloat16;
  if (is(Code::UInt, 16) && hint && *hint == "bfloat16") found = DataType::bfloat16;
  if (!found) {
    raise_value(
        fmt::format("{} has elements of DLPack type {} with {} bits, which quoin does not "
                    "take; int8, int32, float16, bfloat16 and float32 are understood "
                    "(bfloat16 bits in uint16 where the type is named)",
                    name, int{type.code}, int{type.bits}));
  }
  if (hint && quoin::name(*found) != *hint) {
    raise_value(
        fmt::format("{} is {}, but its type was given as {}", name, quoin::name(*found), *hint));
  }
  return *found;
}

/// Where an array is: kCpu or a CUDA device's number.
template <class Array>
int device_of(const char* name, const Array& array) {
  switch (array.device_type()) {
    case nb::device::cpu::value: return kCpu;
    case nb::device::cuda::value:
    case nb::device::cuda_managed::value: return array.device_id();
    case nb::device::cuda_host::value: return kCpu;
    default:
      raise_value(
          fmt::format("{} is on DLPack device {}; quoin computes on CPUs (1) and CUDA "
                      "devices (2)",
                      name, array.device_type()));
  }
}

/// A view of an array of one or two dimensions, and a check that all of a call's are in one place.
class Views {
 public:
  template <class View = ConstTensor, class Array>
  View view(const char* name, const Array& array, const std::optional<std::string>& hint = {}) {
    const int where = device_of(name, array);
    if (first_ == nullptr) {
      first_ = name;
      device_ = where;
    } else if (where != device_) {
      raise_value(fmt::format("{} is on {}, but {} on {}; move one of them", name, place(where),
                              first_, place(device_)));
    }
    const auto rank = static_cast<int>(array.ndim());
    if (rank != 1 && rank != 2) {
      raise_value(fmt::format("{} has {} dimensions; it must have 1 or 2", name, rank));
    }
    View view{};
    view.data = data_of(array);
    view.type = type_of(name, array.dtype(), hint);
    view.rank = rank;
    view.shape = {static_cast<std::int64_t>(array.shape(0)),
                  rank == 2 ? static_cast<std::int64_t>(array.shape(1)) : 1};
    view.strides = {array.stride(0), rank == 2 ? array.stride(1) : 1};
    return view;
  }

  [[nodiscard]] int device() const { return device_; }

 private:
  static std::string place(int device) {
    return device == kCpu ? "the CPU" : fmt::format("CUDA device {}", device);
  }
  static const void* data_of(const Input& array) { return array.data(); }
  static void* data_of(const Output& array) { return array.data(); }

  const char* first_ = nullptr;
  int device_ = kCpu;
};

RunOptions options_for(int device, int threads, std::uintptr_t stream) {
  RunOptions options;
  options.threads = threads;
  options.device = device;
  options.stream = reinterpret_cast<void*>(stream);
  return options;
}

void quantize(const Input& x, const Output& codes, const Output& scales, int threads,
              std::uintptr_t stream, const std::optional<std::string>& x_type) {
  Views views;
  const ConstTensor in = views.view("x", x, x_type);
  const Tensor to = views.view<Tensor>("codes", codes);
  const Tensor by = views.view<Tensor>("scales", scales);
  Status status;
  {
    nb::gil_scoped_release release;
    status = quantize_rows(in, to, by, options_for(views.device(), threads, stream));
  }
  check(status);
}

/// A prepared layer, with the arrays that it uses in place on a GPU.
class Layer {
 public:
  Layer(const Input& weight, const std::optional<Input>& scale_w, const std::optional<Input>& bias,
        const std::string& out_type, double dequant_factor, const std::string& backend,
        std::uintptr_t stream, const std::optional<std::string>& bias_type)
      : layer_(make(weight, scale_w, bias, out_type, dequant_factor, backend, stream, bias_type)) {
    if (layer_.device() == kCpu) return;  // copied
    weight_ = weight;
    scale_w_ = scale_w;
    bias_ = bias;
  }

  void run(const Input& codes, const std::optional<Input>& scales, const Output& y, int threads,
           std::uintptr_t stream) const {
    Views views;
    QuantizedRows rows;
    rows.codes = views.view("codes", codes);
    if (scales) rows.scales = views.view("scales", *scales);
    const Tensor out = views.view<Tensor>("out", y, out_hint());
    check_device(views);
    Status status;
    {
      nb::gil_scoped_release release;
      status = layer_.run(rows, out, options_for(layer_.device(), threads, stream));
    }
    check(status);
  }

  void run_dynamic(const Input& x, const Output& y, const Output& workspace, int threads,
                   std::uintptr_t stream, const std::optional<std::string>& x_type) const {
    Views views;
    const ConstTensor in = views.view("x", x, x_type);
    const Tensor out = views.view<Tensor>("out", y, out_hint());
    const Tensor room = views.view<Tensor>("workspace", workspace);
    check_device(views);
    if (room.rank != 1 || room.type != DataType::int8 ||
        (room.strides[0] != 1 && room.shape[0] > 1)) {
      raise_value(fmt::format("workspace is {}; it must be contiguous int8 [{}]", to_string(room),
                              workspace_bytes(in.shape[0])));
    }
    const std::span<std::byte> bytes(static_cast<std::byte*>(room.data),
                                     static_cast<std::size_t>(room.shape[0]));
    Status status;
    {
      nb::gil_scoped_release release;
      status = layer_.run_dynamic(in, out, bytes, options_for(layer_.device(), threads, stream));
    }
    check(status);
  }

  [[nodiscard]] std::size_t workspace_bytes(std::int64_t m) const {
    return layer_.workspace_bytes(m);
  }

  [[nodiscard]] std::string plan(std::int64_t m, int threads) const {
    RunOptions options;
    options.threads = threads;
    options.device = layer_.device();
    const Result<Plan> plan = layer_.plan(m, options);
    if (!plan) raise(plan.error());
    return to_string(plan.value());
  }

  [[nodiscard]] const LinearLayer& get() const { return layer_; }

 private:
  static LinearLayer make(const Input& weight, const std::optional<Input>& scale_w,
                          const std::optional<Input>& bias, const std::string& out_type,
                          double dequant_factor, const std::string& backend, std::uintptr_t stream,
                          const std::optional<std::string>& bias_type) {
    Views views;
    LinearWeights weights;
    weights.weight = views.view("weight", weight);
    if (scale_w) weights.scale_w = views.view("scale_w", *scale_w);
    if (bias) weights.bias = views.view("bias", *bias, bias_type);
    LinearOptions options;
    options.out_type = parse_type("out_type", out_type);
    options.dequant_factor = static_cast<float>(dequant_factor);
    options.backend = backend;
    options.device = views.device();
    options.stream = reinterpret_cast<void*>(stream);
    const auto prepared = [&] {
      nb::gil_scoped_release release;
      return prepare(weights, options);
    }();
    if (!prepared) raise(prepared.error());
    return prepared.value();
  }

  [[nodiscard]] std::optional<std::string> out_hint() const {
    return std::string(name(layer_.out_type()));
  }

  void check_device(const Views& views) const {
    if (views.device() == layer_.device()) return;
    raise_value(
        fmt::format("the arrays are on device {}, but the layer was prepared for {} (-1 is "
                    "the CPU)",
                    views.device(), layer_.device()));
  }

  LinearLayer layer_;
  std::optional<Input> weight_, scale_w_, bias_;
};

std::vector<nb::dict> backend_list() {
  std::vector<nb::dict> list;
  for (const BackendInfo& info : backends()) {
    nb::dict entry;
    entry["name"] = info.name;
    entry["summary"] = info.summary;
    entry["available"] = info.available;
    entry["reason"] = info.reason;
    entry["on_gpu"] = info.on_gpu;
    list.push_back(entry);
  }
  return list;
}

#if QUOIN_PYTHON_ARCHITECT
std::string judge_document(const std::string& text, const std::string& device) {
  const cost::GpuDevice* gpu = cost::find_gpu(device);
  if (gpu == nullptr) {
    raise_value(fmt::format("there is no device '{}'; `quoin devices` lists them", device));
  }
  std::optional<Error> error;
  std::string answer;
  {
    nb::gil_scoped_release release;
    const auto document = architect::read_document(text);
    if (document) {
      answer = architect::to_json(architect::judge(architect::model_of(document.value()), *gpu));
    } else {
      error = document.error();
    }
  }
  if (error) raise(*error);
  return answer;
}
#endif

}  // namespace

NB_MODULE(_core, m) {
  m.attr("version") = std::string(version());
  m.attr("BOTH_ABSMAX") = kBothAbsmax;
  m.attr("ONE_ABSMAX") = kOneAbsmax;
  m.attr("TRUE_SCALES") = kTrueScales;
  m.attr("MAX_K") = kMaxK;
  m.def("backends", &backend_list);
  m.def("quantize_rows", &quantize, "x"_a, "codes"_a, "scales"_a, nb::kw_only(), "threads"_a,
        "stream"_a = 0, "x_type"_a = nb::none());
  nb::class_<Layer>(m, "Layer")
      .def(nb::init<const Input&, const std::optional<Input>&, const std::optional<Input>&,
                    const std::string&, double, const std::string&, std::uintptr_t,
                    const std::optional<std::string>&>(),
           "weight"_a, "scale_w"_a.none(), "bias"_a.none(), nb::kw_only(), "out_type"_a,
           "dequant_factor"_a, "backend"_a, "stream"_a, "bias_type"_a.none())
      .def("run", &Layer::run, "codes"_a, "scales"_a.none(), "out"_a, nb::kw_only(), "threads"_a,
           "stream"_a = 0)
      .def("run_dynamic", &Layer::run_dynamic, "x"_a, "out"_a, "workspace"_a, nb::kw_only(),
           "threads"_a, "stream"_a = 0, "x_type"_a = nb::none())
      .def("workspace_bytes", &Layer::workspace_bytes, "m"_a)
      .def("plan", &Layer::plan, "m"_a, "threads"_a)
      .def_prop_ro("n", [](const Layer& l) { return l.get().n(); })
      .def_prop_ro("k", [](const Layer& l) { return l.get().k(); })
      .def_prop_ro("out_type", [](const Layer& l) { return name(l.get().out_type()); })
      .def_prop_ro("backend", [](const Layer& l) { return l.get().backend(); })
      .def_prop_ro("device", [](const Layer& l) { return l.get().device(); })
      .def_prop_ro("weight_copied", [](const Layer& l) { return l.get().weight_copied(); })
      .def_prop_ro("held_bytes", [](const Layer& l) { return l.get().held_bytes(); });
#if QUOIN_PYTHON_ARCHITECT
  m.def("architect", &judge_document, "document"_a, "device"_a);
#endif
}

}  // namespace quoin
