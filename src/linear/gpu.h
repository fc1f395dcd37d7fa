// The part of a layer that lives on a CUDA device, as prepare.cpp and run.cpp see it: nothing of
// CUDA's headers. gpu_cuda.cpp is behind it, or gpu_none.cpp in a build without CUDA.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "linear/backends.h"
#include "quoin/linear.h"
#include "quoin/plan.h"
#include "quoin/result.h"
#include "quoin/tensor.h"

namespace quoin {

/// A prepared layer on a device. Arguments have been checked but for what only CUDA can tell.
class GpuLayer {
 public:
  GpuLayer() = default;
  GpuLayer(const GpuLayer&) = delete;
  GpuLayer& operator=(const GpuLayer&) = delete;
  virtual ~GpuLayer() = default;

  [[nodiscard]] virtual Status run(const QuantizedRows& x, const Tensor& y,
                                   const RunOptions& options) const = 0;
  [[nodiscard]] virtual Status run_dynamic(const ConstTensor& x, const Tensor& y,
                                           std::byte* workspace,
                                           const RunOptions& options) const = 0;
  [[nodiscard]] virtual Result<Plan> plan(std::int64_t m) const = 0;

  std::string_view backend;
  bool weight_copied = false;
  std::size_t held_bytes = 0;
};

[[nodiscard]] Result<std::unique_ptr<GpuLayer>> prepare_on_gpu(const LinearWeights& weights,
                                                               const LinearOptions& options);

[[nodiscard]] Status quantize_on_gpu(const ConstTensor& x, const Tensor& codes,
                                     const Tensor& scales, const RunOptions& options);

/// What a dynamic product keeps between its two steps: codes in rows on 16 bytes, then scales.
struct GpuWorkspace {
  static constexpr std::size_t kAlign = 128;

  static std::int64_t codes_stride(std::int64_t k) { return (k + 15) / 16 * 16; }

  /// Bytes for m rows of k, with room to align the start; nothing where that overflows.
  static std::optional<std::size_t> bytes(std::int64_t m, std::int64_t k) {
    std::int64_t total = 0;
    if (__builtin_mul_overflow(m, codes_stride(k) + 4, &total) ||
        __builtin_add_overflow(total, std::int64_t{kAlign}, &total)) {
      return {};
    }
    return static_cast<std::size_t>(total);
  }
};

/// Why no device of this machine runs the backend; empty where one does.
[[nodiscard]] std::string gpu_refusal(const GpuBackend& backend);

/// Device memory for programs and tests that hold their operands on the host: a copy of `bytes`
/// (null: uninitialised), freed with the last pointer; null where that fails. Synchronous.
[[nodiscard]] std::shared_ptr<void> copy_to_gpu(int device, const void* host, std::size_t bytes);
[[nodiscard]] bool copy_from_gpu(int device, void* host, const void* from, std::size_t bytes);

}  // namespace quoin
