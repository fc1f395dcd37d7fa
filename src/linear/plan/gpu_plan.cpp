#include "linear/plan/gpu_plan.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "linear/backends.h"
#include "linear/errors.h"
#include "linear/plan/cuda_plan.h"

namespace quoin {
namespace {

struct Capability {
  std::string_view device;
  int value;
};
constexpr Capability kCapabilities[] = {{"a100-sxm-80", 80}, {"h100-sxm", 90}, {"h200", 90},
                                        {"l40s", 89},        {"l4", 89},       {"rtx-4090", 89},
                                        {"b200", 100}};

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// Why the backend's kernels do not run on this device at all.
std::string device_refusal(const GpuBackend& backend, const cost::GpuDevice& device,
                           std::string_view only) {
  const int capability = compute_capability(device.name);
  if (capability == 0) return fmt::format("{} has no CUDA", device.name);
  if (capability < backend.first_capability || capability > backend.last_capability) {
    return fmt::format("{} has compute capability {}.{}; {} needs {}.{}{}", device.name,
                       capability / 10, capability % 10, backend.name,
                       backend.first_capability / 10, backend.first_capability % 10,
                       backend.last_capability > 900 ? " or later" : "");
  }
  if (!only.empty() && only != backend.name) return fmt::format("backend {} was asked for", only);
  return {};
}

/// The sm80 kernel's tile (linear/kernels/cuda/sm80.cu).
struct Sm80Tile {
  int rows, cols;
};
Sm80Tile sm80_tile(std::int64_t m) { return m <= 32 ? Sm80Tile{32, 64} : Sm80Tile{128, 128}; }

void add_sm90a(Plan& plan, const cost::GpuDevice& device, const std::string& refused,
               int out_bytes) {
  const cuda::CudaShape shape{plan.m, plan.n, plan.k, out_bytes};
  for (const cuda::CudaPlanned& c : cuda::plan_cuda(device, shape)) {
    PlanCandidate candidate;
    candidate.backend = kGpuBackends[0].name;
    candidate.tile = name(*c.config);
    candidate.modelled_seconds = c.seconds;
    candidate.refused_because = refused.empty() ? c.refused_because : refused;
    if (plan.backend.empty() && candidate.refused_because.empty()) {
      plan.backend = candidate.backend;
      plan.tile_rows = c.config->swap ? c.config->tile_b : c.config->tile_a;
      plan.tile_cols = c.config->swap ? c.config->tile_a : c.config->tile_b;
      plan.tiles = cuda::cuda_tiles(*c.config, shape, device);
      plan.kernel = candidate.tile;
      plan.modelled_seconds = c.seconds;
    }
    plan.candidates.push_back(std::move(candidate));
  }
}

}  // namespace

int compute_capability(std::string_view device) {
  const auto* found = std::find_if(std::begin(kCapabilities), std::end(kCapabilities),
                                   [&](const Capability& c) { return c.device == device; });
  return found == std::end(kCapabilities) ? 0 : found->value;
}

double sm80_price(std::int64_t m, std::int64_t n, std::int64_t k, int out_bytes,
                  const cost::GpuDevice& device) {
  // Measured on an H200: 1 x 4096 x 4096 22.2 us, 128 x 2048 x 2048 34.7, 512 x 4096 x 4096 54.4,
  // 2048 x 4096 x 4096 214, 8192 x 8192 x 8192 2919.
  constexpr double kStart = 2.5e-6, kMemoryShare = 0.5;
  const double peak_share = m <= 32 ? 0.05 : 0.17;
  const Sm80Tile tile = sm80_tile(m);
  const auto rows = static_cast<double>(m), cols = static_cast<double>(n),
             depth = static_cast<double>(k);
  const double waves = std::ceil(static_cast<double>(ceil_div(m, tile.rows)) *
                                 static_cast<double>(ceil_div(n, tile.cols)) / device.sms);
  const double padded = 2.0 * waves * device.sms * tile.rows * tile.cols * depth;
  const double bytes = (rows + cols) * depth + rows * cols * out_bytes;
  return kStart + std::max(bytes / (device.memory.value * kMemoryShare),
                           padded / (device.int8.value * peak_share));
}

Result<Plan> plan_on_gpu(std::int64_t m, std::int64_t n, std::int64_t k, std::string_view backend,
                         const cost::GpuDevice& device, int out_bytes) {
  const bool known =
      backend.empty() || std::any_of(kGpuBackends.begin(), kGpuBackends.end(),
                                     [&](const GpuBackend& b) { return b.name == backend; });
  if (!known) {
    return fail(ErrorCode::invalid_argument,
                "backend \"{}\" is not for GPUs; on {} it is sm90a or sm80", backend, device.name);
  }
  Plan plan;
  plan.m = m;
  plan.n = n;
  plan.k = k;
  plan.device = device.name;
  add_sm90a(plan, device, device_refusal(kGpuBackends[0], device, backend), out_bytes);

  PlanCandidate last;  // it takes everything, and where both run it is the slower one
  last.backend = kGpuBackends[1].name;
  const Sm80Tile tile = sm80_tile(m);
  last.tile = fmt::format("{}x{}", tile.rows, tile.cols);
  last.modelled_seconds = sm80_price(m, n, k, out_bytes, device);
  last.refused_because = device_refusal(kGpuBackends[1], device, backend);
  if (plan.backend.empty()) {
    if (!last.refused_because.empty()) {
      return fail(ErrorCode::unavailable, "no backend for device {}: {}", device.name,
                  last.refused_because);
    }
    plan.backend = last.backend;
    plan.kernel = last.tile;
    plan.tile_rows = tile.rows;
    plan.tile_cols = tile.cols;
    plan.tiles = ceil_div(m, tile.rows) * ceil_div(n, tile.cols);
    plan.modelled_seconds = last.modelled_seconds;
  }
  const auto refused = std::find_if(plan.candidates.begin(), plan.candidates.end(),
                                    [](const auto& c) { return !c.refused_because.empty(); });
  plan.candidates.insert(last.refused_because.empty() ? refused : plan.candidates.end(),
                         std::move(last));
  plan.row_block = m;
  plan.k_block = k;
  const auto weights = static_cast<double>(n) * static_cast<double>(k);
  plan.compute_limit_seconds = 2.0 * static_cast<double>(m) * weights / device.int8.value;
  plan.memory_limit_seconds = weights / device.memory.value;
  return plan;
}

}  // namespace quoin
