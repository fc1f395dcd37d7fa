// A product on a GPU of the device table as a Plan: its kernels, their prices and refusals.
#pragma once

#include <cstdint>
#include <string_view>

#include "cost/devices.h"
#include "quoin/plan.h"
#include "quoin/result.h"

namespace quoin {

/// By `backend` (sm90a or sm80), or the faster one that the device has where that is empty.
[[nodiscard]] Result<Plan> plan_on_gpu(std::int64_t m, std::int64_t n, std::int64_t k,
                                       std::string_view backend, const cost::GpuDevice& device,
                                       int out_bytes = 2);

/// 10 * major + minor of a device of the table; 0 where it is not NVIDIA's.
[[nodiscard]] int compute_capability(std::string_view device);

/// Seconds that the sm80 kernel should take.
///
///   start + max(bytes over a share of the bandwidth, padded operations over a share of the peak)
///
/// The shares are those of an H200 (docs/sm90a.md); for Ampere and Ada they are assumed.
[[nodiscard]] double sm80_price(std::int64_t m, std::int64_t n, std::int64_t k, int out_bytes,
                                const cost::GpuDevice& device);

}  // namespace quoin
