// No CUDA in this build: every question about GPUs has an answer all the same.
#include "linear/errors.h"
#include "linear/gpu.h"
#include "quoin/device.h"

namespace quoin {
namespace {

constexpr const char* kWhy = "this build of quoin has no CUDA (QUOIN_CUDA)";

Error no_device(int device) {
  return fail(ErrorCode::unavailable, "device {} is not available: {}", device, kWhy);
}

}  // namespace

Result<std::unique_ptr<GpuLayer>> prepare_on_gpu(const LinearWeights&,
                                                 const LinearOptions& options) {
  return no_device(options.device);
}

Status quantize_on_gpu(const ConstTensor&, const Tensor&, const Tensor&,
                       const RunOptions& options) {
  return no_device(options.device);
}

std::string gpu_refusal(const GpuBackend&) { return kWhy; }

std::vector<GpuInfo> gpus() { return {}; }

std::shared_ptr<void> copy_to_gpu(int, const void*, std::size_t) { return nullptr; }
bool copy_from_gpu(int, void*, const void*, std::size_t) { return false; }

}  // namespace quoin
