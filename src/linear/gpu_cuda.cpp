// Layers on CUDA devices: what prepare and run do there. Host code alone; the kernels and their
// launches are in kernels/cuda/ and quantize/cuda.cu, the choice among them in plan/cuda_plan.h.
//
// A call makes the device's primary context current and puts the caller's back, so that it works
// on any device, from any thread, and creates no context elsewhere (cudaSetDevice back to a device
// that the caller never used would). Everything slow, loading kernels and asking how many fit, is
// done once for each device, at the first `prepare` or `quantize_rows` there.
//
// Tested by tests/cuda/api_test.cpp; bench/cuda/host_cost.cpp times a call on the host.
#include <cuda.h>
#include <cuda_runtime.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <utility>
#include <vector>

#include "linear/errors.h"
#include "linear/gpu.h"
#include "linear/kernels/cuda/kernels.h"
#include "linear/kernels/cuda/sm90a_configs.h"
#include "linear/plan/cuda_plan.h"
#include "linear/plan/gpu_plan.h"
#include "linear/quantize/cuda.h"
#include "quoin/device.h"

namespace quoin {
namespace {

/// An error of CUDA's, in a call that says what it was about. The caller's own checks must not find
/// it again.
template <class... Args>
Error cuda_failure(cudaError_t error, fmt::format_string<Args...> what, Args&&... args) {
  static_cast<void>(cudaGetLastError());
  return fail(
      error == cudaErrorMemoryAllocation ? ErrorCode::out_of_memory : ErrorCode::unavailable,
      "{}: {} ({})", fmt::format(what, std::forward<Args>(args)...), cudaGetErrorName(error),
      cudaGetErrorString(error));
}

/// The driver's functions that the runtime does not wrap, found at run time: quoin does not link
/// libcuda, which only machines with a GPU have.
struct Driver {
  decltype(&cuDeviceGet) device_get = nullptr;
  decltype(&cuDevicePrimaryCtxRetain) retain = nullptr;
  decltype(&cuCtxPushCurrent) push = nullptr;
  decltype(&cuCtxPopCurrent) pop = nullptr;

  Driver() {
    const auto find = [](const char* name, auto& function) {
      void* found = nullptr;
      cudaDriverEntryPointQueryResult result{};
      const cudaError_t error =
          cudaGetDriverEntryPointByVersion(name, &found, 12000, cudaEnableDefault, &result);
      if (error == cudaSuccess && result == cudaDriverEntryPointSuccess) {
        function = reinterpret_cast<std::decay_t<decltype(function)>>(found);
      }
    };
    find("cuDeviceGet", device_get);
    find("cuDevicePrimaryCtxRetain", retain);
    find("cuCtxPushCurrent", push);
    find("cuCtxPopCurrent", pop);
  }
  [[nodiscard]] bool complete() const {
    return device_get != nullptr && retain != nullptr && push != nullptr && pop != nullptr;
  }
};

const Driver& driver() {
  static const Driver found;
  return found;
}

/// One CUDA device: what it is, and once it is used, its context and the kernels' residency.
class Device {
 public:
  explicit Device(int index) : index_(index) {
    cudaDeviceProp properties{};
    error_ = cudaGetDeviceProperties(&properties, index);
    if (error_ != cudaSuccess) return;
    name_ = properties.name;
    capability_ = 10 * properties.major + properties.minor;
    memory_bytes_ = static_cast<std::int64_t>(properties.totalGlobalMem);
    row_ = describe(properties);
  }

  [[nodiscard]] GpuInfo info() const {
    return {index_,   name_,         capability_ / 10,      capability_ % 10,
            row_.sms, memory_bytes_, std::string(row_.name)};
  }
  [[nodiscard]] int index() const { return index_; }
  [[nodiscard]] int capability() const { return capability_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const cost::GpuDevice& row() const { return row_; }
  [[nodiscard]] CUcontext context() const { return context_; }
  [[nodiscard]] bool runs(const GpuBackend& backend) const {
    return error_ == cudaSuccess && capability_ >= backend.first_capability &&
           capability_ <= backend.last_capability;
  }
  [[nodiscard]] bool is_hopper() const { return runs(kGpuBackends[0]); }

  /// Clusters of a kernel that fit at once; after `use`.
  [[nodiscard]] int resident(int kernel, bool is_16_bit) const {
    return resident_[is_16_bit ? 1 : 0][static_cast<std::size_t>(kernel)];
  }

  /// Makes the device ready for calls with this width of output.
  [[nodiscard]] Status use(bool is_16_bit);

 private:
  static cost::GpuDevice describe(const cudaDeviceProp& properties) {
    const std::string_view name = properties.name;
    const bool hopper = properties.major == 9;
    std::string_view like = name.find("H200") != name.npos ? "h200" : "h100-sxm";
    if (!hopper) {
      like = name.find("L40") != name.npos    ? "l40s"
             : name.find("L4") != name.npos   ? "l4"
             : name.find("4090") != name.npos ? "rtx-4090"
             : properties.major > 9           ? "b200"
                                              : "a100-sxm-80";
    }
    cost::GpuDevice row = *cost::find_gpu(like);
    row.sms = properties.multiProcessorCount;  // a slice of a card has fewer
    return row;
  }
  [[nodiscard]] cudaError_t load(bool is_16_bit);

  int index_;
  cudaError_t error_ = cudaSuccess;
  std::string name_;
  int capability_ = 0;
  std::int64_t memory_bytes_ = 0;
  cost::GpuDevice row_;

  std::mutex mutex_;
  CUcontext context_ = nullptr;
  bool common_loaded_ = false;
  std::array<bool, 2> loaded_{};
  std::array<std::array<int, cuda::kKernelCount>, 2> resident_{};
};

/// The device's context is current while this lives, then the caller's again.
class Inside {
 public:
  explicit Inside(const Device& device)
      : inside_(driver().push(device.context()) == CUDA_SUCCESS) {}
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;
  ~Inside() {
    CUcontext out = nullptr;
    if (inside_) static_cast<void>(driver().pop(&out));
  }
  [[nodiscard]] bool ok() const { return inside_; }

 private:
  bool inside_;
};

Status Device::use(bool is_16_bit) {
  const std::lock_guard lock(mutex_);
  if (loaded_[is_16_bit ? 1 : 0]) return {};
  if (context_ == nullptr) {
    CUdevice handle{};
    CUcontext context = nullptr;
    if (!driver().complete() || driver().device_get(&handle, index_) != CUDA_SUCCESS ||
        driver().retain(&context, handle) != CUDA_SUCCESS) {
      return fail(ErrorCode::unavailable, "device {} ({}) gives no CUDA context", index_, name_);
    }
    context_ = context;  // kept for as long as the process lives
  }
  const Inside inside(*this);
  if (!inside.ok()) {
    return fail(ErrorCode::unavailable, "device {} ({}) has lost its context", index_, name_);
  }
  if (const cudaError_t error = load(is_16_bit); error != cudaSuccess) {
    return cuda_failure(error, "loading quoin's kernels on device {} ({})", index_, name_);
  }
  loaded_[is_16_bit ? 1 : 0] = true;
  return {};
}

cudaError_t Device::load(bool is_16_bit) {
  if (!common_loaded_) {
    if (const cudaError_t error = cuda::ready_sm80(); error != cudaSuccess) return error;
    if (const cudaError_t error = cuda::ready_quantize(); error != cudaSuccess) return error;
    common_loaded_ = true;
  }
  if (!is_hopper()) return cudaSuccess;
  const auto candidates = cuda::sm90a_candidates();
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const cuda::Candidate& candidate = candidates[i];
    if (!is_16_bit && candidate.kernel_32 == nullptr) continue;
    int& resident = resident_[is_16_bit ? 1 : 0][i];
    if (const cudaError_t error = cuda::ready(candidate, is_16_bit, &resident);
        error != cudaSuccess) {
      return error;
    }
  }
  return cudaSuccess;
}

/// This machine's devices, or why there are none.
struct Machine {
  std::vector<std::unique_ptr<Device>> devices;
  std::string reason;

  Machine() {
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess || count == 0) {
      static_cast<void>(cudaGetLastError());
      reason = fmt::format("no CUDA device: {}",
                           cudaGetErrorString(error == cudaSuccess ? cudaErrorNoDevice : error));
      return;
    }
    for (int i = 0; i < count; ++i) devices.push_back(std::make_unique<Device>(i));
  }
};

/// Never destroyed: a layer may be the last thing that a process frees.
Machine& machine() {
  static auto* found = new Machine;
  return *found;
}

/// The device, ready for calls.
Result<Device*> use_device(int index, bool is_16_bit) {
  Machine& here = machine();
  if (here.devices.empty()) {
    return fail(ErrorCode::unavailable, "device {} is not available: {}", index, here.reason);
  }
  if (index >= static_cast<int>(here.devices.size())) {
    return fail(ErrorCode::unavailable,
                "device {} is not available: this machine has {}, from 0 on", index,
                here.devices.size());
  }
  Device* device = here.devices[static_cast<std::size_t>(index)].get();
  if (!device->runs(kGpuBackends.back())) {
    return fail(ErrorCode::unavailable,
                "device {} ({}) has compute capability {}.{}; quoin needs 8.0 or later", index,
                device->name(), device->capability() / 10, device->capability() % 10);
  }
  if (Status status = device->use(is_16_bit); !status) return status.error();
  return device;
}

/// The backend for a device: the one asked for, by option or by QUOIN_BACKEND, or its fastest.
Result<const GpuBackend*> select_gpu_backend(std::string_view name, const Device& device) {
  const bool by_option = !name.empty();
  if (!by_option) {
    if (const char* variable = std::getenv("QUOIN_BACKEND"); variable != nullptr) name = variable;
  }
  for (const GpuBackend& backend : kGpuBackends) {
    if (name != backend.name) continue;
    if (device.runs(backend)) return &backend;
    return fail(ErrorCode::unavailable,
                "backend {} is not available: device {} ({}) has compute capability {}.{}", name,
                device.index(), device.name(), device.capability() / 10, device.capability() % 10);
  }
  if (by_option) {
    return fail(ErrorCode::invalid_argument,
                "backend \"{}\" is not for GPUs; on device {} it is sm90a or sm80", name,
                device.index());
  }
  return device.is_hopper() ? &kGpuBackends[0] : &kGpuBackends[1];
}

bool is_aligned(const void* pointer, std::int64_t bytes) {
  return reinterpret_cast<std::uintptr_t>(pointer) % static_cast<std::uintptr_t>(bytes) == 0;
}

/// A GPU faults where an element lies across its own size.
Status check_aligned(std::string_view what, const ConstTensor& tensor) {
  if (is_aligned(tensor.data, size_of(tensor.type))) return {};
  return fail(ErrorCode::invalid_argument,
              "{} ({}) starts at {}; on a GPU it must lie on a multiple of {} bytes", what,
              to_string(tensor), tensor.data, size_of(tensor.type));
}

/// The device can read what the view points to. Only asked where a layer is prepared.
Status check_reachable(std::string_view what, const ConstTensor& tensor, const Device& device) {
  if (tensor.data == nullptr) return {};
  cudaPointerAttributes attributes{};
  if (const cudaError_t error = cudaPointerGetAttributes(&attributes, tensor.data);
      error != cudaSuccess) {
    return cuda_failure(error, "{} at {}", what, tensor.data);
  }
  if (attributes.type == cudaMemoryTypeUnregistered) {
    return fail(ErrorCode::invalid_argument,
                "{} ({}) at {} is host memory; a layer for device {} takes that device's", what,
                to_string(tensor), tensor.data, device.index());
  }
  if (attributes.type == cudaMemoryTypeDevice && attributes.device != device.index()) {
    return fail(ErrorCode::invalid_argument,
                "{} ({}) at {} is memory of device {}; this layer is for device {}", what,
                to_string(tensor), tensor.data, attributes.device, device.index());
  }
  return {};
}

/// The stride of a single row is never used and may be anything: what every kernel takes.
std::int64_t row_stride_elems(const ConstTensor& t) {
  return t.shape[0] > 1 ? t.strides[0] : (t.shape[1] + 15) / 16 * 16;
}

/// Which kernel does M rows, remembered without locks: a table of the last answers, each a single
/// word (rows, kernel + 1) that is written whole.
class Picks {
 public:
  [[nodiscard]] int kernel(const cost::GpuDevice& row, const cuda::CudaShape& shape) const {
    if (shape.m > kMost) return -1;
    std::atomic<std::uint64_t>& slot = slots_[static_cast<std::size_t>(shape.m) % kSlots];
    const auto rows = static_cast<std::uint64_t>(shape.m) << 8;
    const std::uint64_t known = slot.load(std::memory_order_relaxed);
    if ((known & ~std::uint64_t{0xFF}) == rows && known != 0) {
      return static_cast<int>(known & 0xFF) - 1;
    }
    const int kernel = cuda::pick_cuda(row, shape);
    slot.store(rows | static_cast<std::uint64_t>(kernel + 1), std::memory_order_relaxed);
    return kernel;
  }

 private:
  static constexpr std::size_t kSlots = 64;
  static constexpr std::int64_t kMost = 0x7FFFFFFF;  // no sm90a kernel takes more
  static_assert(cuda::kKernelCount < 255);
  mutable std::array<std::atomic<std::uint64_t>, kSlots> slots_{};
};

class CudaLayer final : public GpuLayer {
 public:
  CudaLayer(const Device& device, const LinearWeights& weights, const LinearOptions& options)
      : device_(device) {
    problem_.w = static_cast<const std::int8_t*>(weights.weight.data);
    problem_.n = weights.weight.shape[0];
    problem_.k = weights.weight.shape[1];
    problem_.w_stride_elems = row_stride_elems(weights.weight);
    problem_.out_type = options.out_type;
    problem_.factor = options.dequant_factor;
    if (weights.scale_w) problem_.scale_w = static_cast<const float*>(weights.scale_w->data);
    if (weights.bias) {
      problem_.bias = weights.bias->data;
      problem_.bias_type = weights.bias->type;
    }
  }
  ~CudaLayer() override {
    if (copy_ == nullptr) return;
    const Inside inside(device_);
    static_cast<void>(cudaFree(copy_));
  }

  /// Copies a weight that the copy engine could not read, and encodes the maps of those it can.
  [[nodiscard]] Status finish(const GpuBackend& chosen, cudaStream_t stream) {
    backend = chosen.name;
    if (problem_.n == 0 || problem_.k == 0) return {};
    if (!is_aligned(problem_.w, 16) || problem_.w_stride_elems % 16 != 0) {
      if (Status status = copy_weight(stream); !status) return status;
    }
    if (backend != kGpuBackends[0].name) return {};
    const auto candidates = cuda::sm90a_candidates();
    maps_.resize(candidates.size());
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      if (const cudaError_t error = cuda::encode_weights(candidates[i], problem_, &maps_[i]);
          error != cudaSuccess) {
        return cuda_failure(error, "describing a weight of {} x {} to the copy engine of device {}",
                            problem_.n, problem_.k, device_.index());
      }
    }
    return {};
  }

  [[nodiscard]] Status run(const QuantizedRows& x, const Tensor& y, void* stream) const override {
    cuda::Problem p = problem_;
    p.x = static_cast<const std::int8_t*>(x.codes.data);
    p.x_stride_elems = row_stride_elems(x.codes);
    p.m = x.codes.shape[0];
    if (x.scales) {
      p.scale_x = static_cast<const float*>(x.scales->data);
      if (Status status = check_aligned("scale_x", *x.scales); !status) return status;
    }
    if (Status status = set_output(p, y); !status) return status;
    if (p.m == 0 || p.n == 0) return {};
    const Inside inside(device_);
    return launched(launch(p, static_cast<cudaStream_t>(stream), false), p, inside, stream);
  }

  [[nodiscard]] Status run_dynamic(const ConstTensor& x, const Tensor& y, std::byte* workspace,
                                   void* stream) const override {
    const auto align = -reinterpret_cast<std::uintptr_t>(workspace) % GpuWorkspace::kAlign;
    cuda::Problem p = problem_;
    p.m = x.shape[0];
    p.x_stride_elems = GpuWorkspace::codes_stride(p.k);
    auto* codes = reinterpret_cast<std::int8_t*>(workspace + align);
    auto* scales = reinterpret_cast<float*>(codes + p.m * p.x_stride_elems);
    p.x = codes;
    p.scale_x = scales;
    if (Status status = check_aligned("x", x); !status) return status;
    if (Status status = set_output(p, y); !status) return status;
    if (p.m == 0 || p.n == 0) return {};
    const Inside inside(device_);
    const auto on = static_cast<cudaStream_t>(stream);
    // Either may start while the kernel before it still runs, and waits for it inside.
    const bool early = kernel_of(p) >= 0 && cuda::launch_dependently({p.m, p.n, p.k});
    cudaError_t error = cuda::launch_quantize(
        {x.data, codes, scales, p.m, p.k, row_stride_elems(x), p.x_stride_elems, x.type}, on,
        early);
    if (error == cudaSuccess) error = launch(p, on, early);
    return launched(error, p, inside, stream);
  }

  [[nodiscard]] Result<Plan> plan(std::int64_t m) const override {
    return plan_on_gpu(m, problem_.n, problem_.k, backend, device_.row(),
                       static_cast<int>(size_of(problem_.out_type)));
  }

 private:
  [[nodiscard]] Status copy_weight(cudaStream_t stream) {
    const std::int64_t stride = (problem_.k + 15) / 16 * 16;
    const auto bytes = static_cast<std::size_t>(problem_.n * stride);
    cudaError_t error = cudaMalloc(&copy_, bytes);
    if (error != cudaSuccess) {
      copy_ = nullptr;
      return cuda_failure(error, "{} bytes on device {} for a copy of an unaligned weight", bytes,
                          device_.index());
    }
    error = cudaMemcpy2DAsync(copy_, static_cast<std::size_t>(stride), problem_.w,
                              static_cast<std::size_t>(problem_.w_stride_elems),
                              static_cast<std::size_t>(problem_.k),
                              static_cast<std::size_t>(problem_.n), cudaMemcpyDefault, stream);
    if (error == cudaSuccess) error = cudaStreamSynchronize(stream);
    if (error != cudaSuccess) {
      return cuda_failure(error, "copying an unaligned weight of {} x {} on device {}", problem_.n,
                          problem_.k, device_.index());
    }
    problem_.w = static_cast<const std::int8_t*>(copy_);
    problem_.w_stride_elems = stride;
    weight_copied = true;
    held_bytes = bytes;
    return {};
  }

  [[nodiscard]] static Status set_output(cuda::Problem& p, const Tensor& y) {
    p.y = y.data;
    p.y_stride_elems = row_stride_elems(y);
    return check_aligned("y", y);
  }

  /// The number of the sm90a kernel for a problem; -1: sm80's.
  [[nodiscard]] int kernel_of(const cuda::Problem& p) const {
    if (maps_.empty()) return -1;
    const int kernel =
        picks_.kernel(device_.row(), {p.m, p.n, p.k, static_cast<int>(size_of(p.out_type))});
    if (kernel < 0 || cuda::refusal(cuda::config_at(kernel), p) != nullptr) return -1;
    return kernel;
  }

  [[nodiscard]] cudaError_t launch(const cuda::Problem& p, cudaStream_t stream, bool early) const {
    const int kernel = kernel_of(p);
    if (kernel < 0) return cuda::launch_sm80(p, stream);
    const auto at = static_cast<std::size_t>(kernel);
    cuda::LaunchPlan plan;
    plan.candidate = &cuda::sm90a_candidates()[at];
    plan.resident = device_.resident(kernel, size_of(p.out_type) == 2);
    plan.map_w = &maps_[at];
    return cuda::launch(plan, p, stream, early);
  }

  [[nodiscard]] Status launched(cudaError_t error, const cuda::Problem& p, const Inside& inside,
                                const void* stream) const {
    if (error == cudaSuccess && inside.ok()) return {};
    return cuda_failure(inside.ok() ? error : cudaErrorDeviceUninitialized,
                        "launching {} x {} x {} on device {}, stream {}", p.m, p.n, p.k,
                        device_.index(), stream);
  }

  const Device& device_;
  cuda::Problem problem_;  // without what a call brings
  void* copy_ = nullptr;
  std::vector<CUtensorMap> maps_;  // of the weight, one a kernel; empty: sm80's alone
  Picks picks_;
};

}  // namespace

Result<std::unique_ptr<GpuLayer>> prepare_on_gpu(const LinearWeights& weights,
                                                 const LinearOptions& options) {
  Result<Device*> device = use_device(options.device, size_of(options.out_type) == 2);
  if (!device) return device.error();
  Result<const GpuBackend*> backend = select_gpu_backend(options.backend, *device.value());
  if (!backend) return backend.error();
  const Inside inside(*device.value());
  if (!inside.ok()) {
    return fail(ErrorCode::unavailable, "device {} has lost its context", options.device);
  }
  const auto check = [&](std::string_view what,
                         const std::optional<ConstTensor>& tensor) -> Status {
    if (!tensor) return {};
    if (Status status = check_aligned(what, *tensor); !status) return status;
    return check_reachable(what, *tensor, *device.value());
  };
  if (Status status = check("weight", weights.weight); !status) return status.error();
  if (Status status = check("scale_w", weights.scale_w); !status) return status.error();
  if (Status status = check("bias", weights.bias); !status) return status.error();
  auto layer = std::make_unique<CudaLayer>(*device.value(), weights, options);
  const auto stream = static_cast<cudaStream_t>(options.stream);
  if (Status status = layer->finish(*backend.value(), stream); !status) return status.error();
  return std::unique_ptr<GpuLayer>(std::move(layer));
}

Status quantize_on_gpu(const ConstTensor& x, const Tensor& codes, const Tensor& scales,
                       const RunOptions& options) {
  if (Status status = check_aligned("x", x); !status) return status;
  if (Status status = check_aligned("scales", scales); !status) return status;
  Result<Device*> device = use_device(options.device, true);
  if (!device) return device.error();
  if (x.shape[0] == 0) return {};
  const Inside inside(*device.value());
  const cudaError_t error = cuda::launch_quantize(
      {x.data, static_cast<std::int8_t*>(codes.data), static_cast<float*>(scales.data), x.shape[0],
       x.shape[1], row_stride_elems(x), row_stride_elems(codes), x.type},
      static_cast<cudaStream_t>(options.stream));
  if (error == cudaSuccess && inside.ok()) return {};
  return cuda_failure(error, "quantising {} x {} on device {}, stream {}", x.shape[0], x.shape[1],
                      options.device, options.stream);
}

std::string gpu_refusal(const GpuBackend& backend) {
  const Machine& here = machine();
  std::string others;
  for (const auto& device : here.devices) {
    if (device->runs(backend)) return {};
    others += fmt::format("{}{} has {}.{}", others.empty() ? "" : ", ", device->name(),
                          device->capability() / 10, device->capability() % 10);
  }
  if (here.devices.empty()) return here.reason;
  return fmt::format("no device of compute capability {}.{} here: {}",
                     backend.first_capability / 10, backend.first_capability % 10, others);
}

std::vector<GpuInfo> gpus() {
  std::vector<GpuInfo> list;
  for (const auto& device : machine().devices) list.push_back(device->info());
  return list;
}

std::shared_ptr<void> copy_to_gpu(int device, const void* host, std::size_t bytes) {
  Result<Device*> found = use_device(device, true);
  if (!found) return nullptr;
  const Device* on = found.value();
  const Inside inside(*on);
  void* memory = nullptr;
  if (cudaMalloc(&memory, bytes == 0 ? 1 : bytes) != cudaSuccess) return nullptr;
  std::shared_ptr<void> owned(memory, [on](void* pointer) {
    const Inside again(*on);
    static_cast<void>(cudaFree(pointer));
  });
  if (host != nullptr && cudaMemcpy(memory, host, bytes, cudaMemcpyHostToDevice) != cudaSuccess) {
    return nullptr;
  }
  return owned;
}

bool copy_from_gpu(int device, void* host, const void* from, std::size_t bytes) {
  Result<Device*> found = use_device(device, true);
  if (!found) return false;
  const Inside inside(*found.value());
  return cudaMemcpy(host, from, bytes, cudaMemcpyDeviceToHost) == cudaSuccess;
}

}  // namespace quoin
