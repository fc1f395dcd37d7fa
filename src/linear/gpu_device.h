// The CUDA devices of this machine, and what it takes to work on one. Only in a build with CUDA.
//
// A call makes the device's primary context current and puts the caller's back (`Inside`), so that
// it works on any device, from any thread, and creates no context elsewhere (cudaSetDevice back to a
// device that the caller never used would). Everything slow, loading kernels and asking how many
// fit, is done once for each device, at the first `prepare` or `quantize_rows` there (`use_device`).
#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

#include <array>
#include <cstdint>
#include <mutex>
#include <string>
#include <utility>

#include "linear/backends.h"
#include "linear/errors.h"
#include "linear/kernels/cuda/sm90a_configs.h"
#include "linear/plan/cuda_plan.h"
#include "quoin/device.h"

namespace quoin {

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

/// One CUDA device: what it is, and once it is used, its context and the kernels' residency.
class Device {
 public:
  explicit Device(int index);

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
  explicit Inside(const Device& device);
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;
  ~Inside();
  [[nodiscard]] bool ok() const { return inside_; }

 private:
  bool inside_;
};

/// The device, ready for calls.
[[nodiscard]] Result<Device*> use_device(int index, bool is_16_bit);

}  // namespace quoin
