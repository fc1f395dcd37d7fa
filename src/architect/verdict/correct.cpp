#include "architect/verdict/correct.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace quoin::architect {
namespace {

std::string ms_text(double ms) {
  return ms < 0.1 ? fmt::format("{:.1f} us", ms * 1e3) : fmt::format("{:.2f} ms", ms);
}

/// The launch that a metrics block speaks of, or null.
const OpPrice* price_of(const Model& model, const ProgramPrice& current,
                        const std::string& kernel) {
  for (std::size_t i = 0; i < model.current.ops.size(); ++i) {
    if (model.current.ops[i].launch && model.current.ops[i].name == kernel) return &current.ops[i];
  }
  return nullptr;
}

/// Seconds of one kernel from its metrics: its duration, or its bytes over the bandwidth that was
/// seen.
std::optional<double> measured_seconds(const KernelMetrics& metrics, const OpPrice& price,
                                       const cost::GpuDevice& gpu) {
  if (const auto duration = metrics.find("gpu__time_duration.sum")) {
    if (*duration > 0) return *duration * 1e-9;  // Nsight Compute's base unit
  }
  const auto busy = metrics.find("dram__throughput.avg.pct_of_peak_sustained_elapsed");
  if (const auto bytes = metrics.find("dram__bytes.sum"); bytes && busy && *busy > 1) {
    return *bytes / (*busy / 100 * gpu.memory.value);
  }
  // Without bytes the modelled ones must do; they are trusted where memory is what the kernel does.
  if (busy && *busy > 30 && price.kernel.dram.value > 0.3 * price.device.value) {
    return price.kernel.dram_bytes.value / (*busy / 100 * gpu.memory.value);
  }
  return std::nullopt;
}

void from_metrics(Correction& out, const Model& model, const ProgramPrice& current,
                  const cost::GpuDevice& gpu) {
  double modelled = 0, measured = 0, longest = -1;
  for (const KernelMetrics& metrics : model.performance.metrics) {
    const OpPrice* price = price_of(model, current, metrics.kernel);
    if (price == nullptr) continue;
    const auto dram = metrics.find("dram__throughput.avg.pct_of_peak_sustained_elapsed");
    const auto sm = metrics.find("sm__throughput.avg.pct_of_peak_sustained_elapsed");
    if (price->device.value > longest && (dram || sm)) {
      longest = price->device.value;
      out.at_bandwidth = dram && *dram >= 85;
      out.cited = fmt::format(
          "the profiler saw `{}`{}{}{}", metrics.kernel,
          dram ? fmt::format(" use {:.0f}% of the memory bandwidth", *dram) : "",
          dram && sm ? " and" : "", sm ? fmt::format(" keep the SMs {:.0f}% busy", *sm) : "");
    }
    const auto seconds = measured_seconds(metrics, *price, gpu);
    if (!seconds) continue;
    modelled += price->device.value;
    measured += *seconds;
  }
  if (modelled > 0) {
    const double share = modelled / std::max(current.device.value, 1e-12);
    out.factor = 1 + (std::clamp(measured / modelled, 0.3, 3.0) - 1) * std::min(1.0, share);
  }
}

}  // namespace

Correction correction_of(const Model& model, const ProgramPrice& current,
                         const ProgramPrice& reference, const cost::GpuDevice& gpu) {
  Correction out;
  const Performance& given = model.performance;
  if (given.form == PerformanceForm::ncu) from_metrics(out, model, current, gpu);
  if (given.current_ms && *given.current_ms > 0 && current.total.value > 0) {
    out.factor = *given.current_ms * 1e-3 / current.total.value;
    out.measured = true;
    out.cited = fmt::format("measured at {}", ms_text(*given.current_ms));
    if (given.reference_ms && *given.reference_ms > 0) {
      out.cited += fmt::format(" against {} in PyTorch", ms_text(*given.reference_ms));
    }
  }
  if (given.reference_ms && *given.reference_ms > 0) {
    out.reference = cost::Seconds{*given.reference_ms * 1e-3};
  } else if (out.measured) {
    out.reference =
        reference.total;  // no better knowledge: the model's, not scaled by the kernel's error
  }
  return out;
}

}  // namespace quoin::architect
