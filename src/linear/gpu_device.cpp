#include "linear/gpu_device.h"

#include <memory>
#include <string_view>
#include <type_traits>
#include <vector>

#include "linear/gpu.h"
#include "linear/kernels/cuda/kernels.h"
#include "linear/quantize/cuda.h"

namespace quoin {
namespace {

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

/// The device table's row for a card; rows are few, so like stands for like.
cost::GpuDevice describe(const cudaDeviceProp& properties) {
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

}  // namespace

Device::Device(int index) : index_(index) {
  cudaDeviceProp properties{};
  error_ = cudaGetDeviceProperties(&properties, index);
  if (error_ != cudaSuccess) return;
  name_ = properties.name;
  capability_ = 10 * properties.major + properties.minor;
  memory_bytes_ = static_cast<std::int64_t>(properties.totalGlobalMem);
  row_ = describe(properties);
}

Inside::Inside(const Device& device) : inside_(driver().push(device.context()) == CUDA_SUCCESS) {}
Inside::~Inside() {
  CUcontext out = nullptr;
  if (inside_) static_cast<void>(driver().pop(&out));
}

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

namespace {

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

}  // namespace

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
