#include "linear/select.h"

#include <fmt/format.h>

#include <cstdlib>
#include <utility>

#include "linear/errors.h"
#include "linear/gpu.h"
#include "quoin/device.h"

namespace quoin {

std::string refusal(const Backend& backend, const Cpu& cpu) {
  if (backend.kernels == nullptr) return "not built for this processor architecture";
  const std::uint32_t missing = backend.needs & ~cpu.features;
  if (missing == 0) return {};
  return fmt::format("this CPU or its operating system lacks {}", describe_features(missing));
}

Result<const Backend*> select_backend(std::string_view name) {
  std::string_view source = "the option `backend`";
  if (name.empty()) {
    if (const char* variable = std::getenv("QUOIN_BACKEND"); variable != nullptr) name = variable;
    source = "the environment variable QUOIN_BACKEND";
  }
  for (const Backend& backend : kBackends) {
    if (!name.empty() && name != backend.name) continue;
    std::string reason = refusal(backend, this_cpu());
    if (reason.empty()) return &backend;
    if (name.empty()) continue;
    return fail(ErrorCode::unavailable, "backend {} (from {}) is not available: {}", name, source,
                reason);
  }
  for (const GpuBackend& backend : kGpuBackends) {
    if (name != backend.name) continue;
    std::string reason = gpu_refusal(backend);
    if (reason.empty()) reason = "it works on a GPU, and these operands are the CPU's";
    return fail(ErrorCode::unavailable, "backend {} (from {}) is not available: {}", name, source,
                reason);
  }
  std::string known;
  for (const Backend& backend : kBackends) {
    known += known.empty() ? "" : ", ";
    known += backend.name;
  }
  return fail(ErrorCode::invalid_argument, "backend \"{}\" (from {}) is not one of {}", name,
              source, known);
}

std::vector<BackendInfo> backends() {
  std::vector<BackendInfo> infos;
  for (const GpuBackend& backend : kGpuBackends) {
    std::string reason = gpu_refusal(backend);
    const bool available = reason.empty();
    infos.push_back({backend.name, backend.summary, available, std::move(reason), true});
  }
  for (const Backend& backend : kBackends) {
    std::string reason = refusal(backend, this_cpu());
    const bool available = reason.empty();
    infos.push_back({backend.name, backend.summary, available, std::move(reason)});
  }
  return infos;
}

std::string_view version() noexcept { return QUOIN_VERSION; }

}  // namespace quoin
