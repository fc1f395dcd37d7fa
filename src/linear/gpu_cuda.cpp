// Layers on CUDA devices: what prepare and run do there. Host code alone; the kernels and their
// launches are in kernels/cuda/ and quantize/cuda.cu, the choice among them in plan/cuda_plan.h.
//
// Tested by tests/cuda/api_test.cpp; bench/cuda/host_cost.cu times a call on the host.
#include <cuda.h>
#include <cuda_runtime.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <utility>
#include <vector>

#include "linear/errors.h"
#include "linear/gpu.h"
#include "linear/gpu_device.h"
#include "linear/kernels/cuda/kernels.h"
#include "linear/kernels/cuda/sm90a_configs.h"
#include "linear/plan/cuda_plan.h"
#include "linear/plan/gpu_plan.h"
#include "linear/quantize/cuda.h"

namespace quoin {
namespace {

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
/// word (rows, early, kernel + 1) that is written whole.
class Picks {
 public:
  [[nodiscard]] int kernel(const cost::GpuDevice& row, const cuda::CudaShape& shape) const {
    if (shape.m > kMost) return -1;
    std::atomic<std::uint64_t>& slot = slots_[static_cast<std::size_t>(shape.m) % kSlots];
    const auto rows = (static_cast<std::uint64_t>(shape.m) << 1 | (shape.early ? 1 : 0)) << 8;
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

  [[nodiscard]] Status run(const QuantizedRows& x, const Tensor& y,
                           const RunOptions& options) const override {
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
    const auto on = static_cast<cudaStream_t>(options.stream);
    const int kernel = kernel_of(p, options.overlap);
    return launched(launch(kernel, p, on, start_of(kernel, p, options)), p, inside, on);
  }

  [[nodiscard]] Status run_dynamic(const ConstTensor& x, const Tensor& y, std::byte* workspace,
                                   const RunOptions& options) const override {
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
    const auto on = static_cast<cudaStream_t>(options.stream);
    const int kernel = kernel_of(p, true);  // behind its quantiser
    const cuda::Start start =
        kernel < 0 ? cuda::Start::after
                   : cuda::quantiser_start({p.m, p.n, p.k}, may_start_early(options));
    cudaError_t error = cuda::launch_quantize(
        {x.data, codes, scales, p.m, p.k, row_stride_elems(x), p.x_stride_elems, x.type}, on,
        start);
    // Behind a quantiser that waits first, what is ahead of that has finished.
    if (error == cudaSuccess) {
      error = launch(kernel, p, on,
                     start == cuda::Start::after ? cuda::Start::after : cuda::Start::early);
    }
    return launched(error, p, inside, on);
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

  /// The number of the sm90a kernel for a problem, which may be launched early or not; -1: sm80's.
  [[nodiscard]] int kernel_of(const cuda::Problem& p, bool early) const {
    if (maps_.empty()) return -1;
    const int kernel =
        picks_.kernel(device_.row(), {p.m, p.n, p.k, static_cast<int>(size_of(p.out_type)), early});
    if (kernel < 0 || cuda::refusal(cuda::config_at(kernel), p) != nullptr) return -1;
    return kernel;
  }

  /// A product may fetch its weights before what is ahead on the stream has finished. Not where
  /// what is ahead may be what writes the weights. It is not where the layer's launch before this
  /// one was on the same stream; nor in a capture, but for the layer's first launch ever, since a
  /// graph waits for all that is ahead of itself.
  [[nodiscard]] bool may_start_early(const RunOptions& options) const {
    if (!options.overlap) return false;
    const void* last = last_stream_.load(std::memory_order_relaxed);
    // cudaStreamPerThread is as many streams as there are threads.
    if (last == options.stream && options.stream != cudaStreamPerThread) return true;
    return last != this &&
           capture_of(static_cast<cudaStream_t>(options.stream)) == cudaStreamCaptureStatusActive;
  }
  [[nodiscard]] cuda::Start start_of(int kernel, const cuda::Problem& p,
                                     const RunOptions& options) const {
    if (kernel < 0) return cuda::Start::after;
    return cuda::product_start(cuda::config_at(kernel), {p.m, p.n, p.k}, device_.row(),
                               may_start_early(options));
  }
  void remember_launch(cudaStream_t stream) const {
    const void* last = last_stream_.load(std::memory_order_relaxed);
    // What is captured has not been launched.
    if (last == stream || capture_of(stream) != cudaStreamCaptureStatusNone) return;
    last_stream_.store(stream, std::memory_order_relaxed);
  }
  /// Invalidated where CUDA does not say. The legacy stream is never captured, and must not be
  /// asked about while another one is.
  [[nodiscard]] static cudaStreamCaptureStatus capture_of(cudaStream_t stream) {
    if (stream == nullptr || stream == cudaStreamLegacy) return cudaStreamCaptureStatusNone;
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    if (cudaStreamIsCapturing(stream, &status) == cudaSuccess) return status;
    static_cast<void>(cudaGetLastError());  // the launch says what is wrong
    return cudaStreamCaptureStatusInvalidated;
  }

  [[nodiscard]] cudaError_t launch(int kernel, const cuda::Problem& p, cudaStream_t stream,
                                   cuda::Start start) const {
    if (kernel < 0) return cuda::launch_sm80(p, stream);
    const auto at = static_cast<std::size_t>(kernel);
    cuda::LaunchPlan plan;
    plan.candidate = &cuda::sm90a_candidates()[at];
    plan.resident = device_.resident(kernel, size_of(p.out_type) == 2);
    plan.weights = &maps_[at];
    return cuda::launch(plan, p, stream, start);
  }

  [[nodiscard]] Status launched(cudaError_t error, const cuda::Problem& p, const Inside& inside,
                                cudaStream_t stream) const {
    if (error == cudaSuccess && inside.ok()) {
      remember_launch(stream);
      return {};
    }
    return cuda_failure(inside.ok() ? error : cudaErrorDeviceUninitialized,
                        "launching {} x {} x {} on device {}, stream {}", p.m, p.n, p.k,
                        device_.index(), static_cast<const void*>(stream));
  }

  const Device& device_;
  cuda::Problem problem_;  // without what a call brings
  void* copy_ = nullptr;
  std::vector<cuda::WeightMaps> maps_;  // one a kernel; empty: sm80's alone
  Picks picks_;
  mutable std::atomic<const void*> last_stream_ = this;  // none yet: no stream is there
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

}  // namespace quoin
