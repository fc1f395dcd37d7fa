// make_plan: the split, the prices and the refusals as a value to print.
#include "quoin/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "cost/devices.h"
#include "linear/backends.h"
#include "linear/check.h"
#include "linear/errors.h"
#include "linear/layer.h"
#include "linear/plan/gpu_plan.h"
#include "linear/plan/price.h"
#include "linear/plan/split.h"
#include "linear/select.h"

namespace quoin {
namespace {

Status check_sizes(std::int64_t m, std::int64_t n, std::int64_t k, int threads) {
  if (m < 0 || n < 0 || k < 0) {
    return fail(ErrorCode::invalid_argument, "M x N x K is {} x {} x {}: none may be negative", m,
                n, k);
  }
  if (k > kMaxK) {
    return fail(ErrorCode::unsupported,
                "K is {}; it may be at most {}, or a sum of products no "
                "longer fits int32",
                k, kMaxK);
  }
  constexpr std::int64_t kMost = std::int64_t{1} << 40;  // their products stay far inside a double
  if (m > kMost || n > kMost || (n > 0 && m > std::numeric_limits<std::int64_t>::max() / n)) {
    return fail(ErrorCode::unsupported,
                "M x N is {} x {}; each may be at most 2^40, and their "
                "product 2^63 - 1",
                m, n);
  }
  return check_threads(threads);
}

struct PlanDevice {
  const cost::CpuDevice* row = nullptr;
  bool this_machine = false;
};

Result<PlanDevice> plan_device(std::string_view name) {
  if (name.empty()) {
    return PlanDevice{&cost::match_cpu(this_cpu().vendor, this_cpu().family, this_cpu().model),
                      true};
  }
  if (const cost::CpuDevice* cpu = cost::find_cpu(name)) return PlanDevice{cpu, false};
  std::string known;
  for (const cost::CpuDevice& cpu : cost::cpu_devices()) {
    known += fmt::format("{}{}", known.empty() ? "" : ", ", cpu.name);
  }
  for (const cost::GpuDevice& gpu : cost::gpu_devices()) {
    if (compute_capability(gpu.name) > 0) known += fmt::format(", {}", gpu.name);
  }
  return fail(ErrorCode::invalid_argument,
              "device \"{}\" is not in the device table; devices with "
              "backends: {}",
              name, known);
}

/// Every backend with its price, cheapest first, those that cannot run (or were not asked for)
/// last.
std::vector<PlanCandidate> price_candidates(const Plan& plan, const PlanDevice& device,
                                            std::string_view only) {
  std::vector<PlanCandidate> candidates;
  for (const Backend& backend : kBackends) {
    PlanCandidate candidate;
    candidate.backend = backend.name;
    candidate.tile = fmt::format("{}x{}", backend.tile_rows, backend.tile_cols);
    candidate.modelled_seconds =
        price_product(backend, *device.row, plan.m, plan.n, plan.k, plan.threads).total.value;
    if (device.this_machine) candidate.refused_because = refusal(backend, this_cpu());
    if (candidate.refused_because.empty() && !only.empty() && only != backend.name) {
      candidate.refused_because = fmt::format("backend {} was asked for", only);
    }
    candidates.push_back(std::move(candidate));
  }
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const PlanCandidate& a, const PlanCandidate& b) {
                     const bool a_out = !a.refused_because.empty();
                     const bool b_out = !b.refused_because.empty();
                     return a_out != b_out ? b_out : a.modelled_seconds < b.modelled_seconds;
                   });
  return candidates;
}

const Backend* find_backend(std::string_view name) {
  const auto* found = std::find_if(kBackends.begin(), kBackends.end(),
                                   [&](const Backend& b) { return b.name == name; });
  return found == kBackends.end() ? nullptr : found;
}

void fill_choice(Plan& plan, const Backend& backend, const cost::CpuDevice& cpu) {
  const Price price = price_product(backend, cpu, plan.m, plan.n, plan.k, plan.threads);
  const Split split = split_product(backend, plan.m, plan.n, plan.k);
  plan.backend = backend.name;
  plan.device = cpu.name;
  plan.row_block = std::min(split.row_block, plan.m);
  plan.k_block = split.k_block;
  plan.tile_rows = plan.row_block > 0 ? even_tile_rows(backend, plan.row_block) : 0;
  plan.tile_cols = backend.tile_cols;
  if (!split.empty()) {
    const auto row_tiles = [&](std::int64_t rows) {
      return rows == 0 ? 0 : (rows + backend.tile_rows - 1) / backend.tile_rows;
    };
    plan.tiles = split.col_blocks * (plan.m / split.row_block * row_tiles(split.row_block) +
                                     row_tiles(plan.m % split.row_block));
  }
  plan.modelled_seconds = price.total.value;
  plan.compute_limit_seconds = price.compute_limit.value;
  plan.memory_limit_seconds = price.memory_limit.value;
}

}  // namespace

Result<Plan> make_plan(std::int64_t m, std::int64_t n, std::int64_t k, int threads,
                       std::string_view backend, std::string_view device) {
  if (Status status = check_sizes(m, n, k, threads); !status) return status.error();
  if (const cost::GpuDevice* gpu = cost::find_gpu(device); gpu != nullptr) {
    return plan_on_gpu(m, n, k, backend, *gpu);
  }
  Result<PlanDevice> where = plan_device(device);
  if (!where) return where.error();
  const Backend* chosen = backend.empty() ? &kBackends.front() : find_backend(backend);
  if (where->this_machine || chosen == nullptr) {
    Result<const Backend*> selected = select_backend(backend);
    if (!selected) return selected.error();
    chosen = selected.value();
  }
  Plan plan;
  plan.m = m;
  plan.n = n;
  plan.k = k;
  plan.threads = threads;
  plan.candidates = price_candidates(plan, where.value(), backend);
  fill_choice(plan, *chosen, *where->row);
  return plan;
}

Result<Plan> LinearLayer::plan(std::int64_t m, const RunOptions& options) const {
  if (!prepared_) return fail(ErrorCode::invalid_argument, "this layer was moved from");
  if (prepared_->gpu) {
    if (Status s = check_sizes(m, prepared_->n, prepared_->k, options.threads); !s)
      return s.error();
    return prepared_->gpu->plan(m);
  }
  return make_plan(m, prepared_->n, prepared_->k, options.threads, prepared_->backend->name);
}

namespace {

std::string gpu_text(const Plan& plan) {
  std::string text = fmt::format(
      "{} x {} x {} (M x N x K) on {}\n"
      "  backend {}, kernel {}: {} tiles of {} x {}\n"
      "  modelled {:.2f} us; at the compute limit {:.2f} us, reading the weights {:.2f} us\n",
      plan.m, plan.n, plan.k, plan.device, plan.backend, plan.kernel, plan.tiles, plan.tile_rows,
      plan.tile_cols, plan.modelled_seconds * 1e6, plan.compute_limit_seconds * 1e6,
      plan.memory_limit_seconds * 1e6);
  for (const PlanCandidate& c : plan.candidates) {
    const bool out = !c.refused_because.empty();
    text += fmt::format(
        "  candidate {:<6} {:<26} {}\n", c.backend, c.tile,
        out ? "out: " + c.refused_because : fmt::format("{:>10.2f} us", c.modelled_seconds * 1e6));
  }
  return text;
}

}  // namespace

std::string to_string(const Plan& plan) {
  if (!plan.kernel.empty()) return gpu_text(plan);
  std::string text = fmt::format(
      "{} x {} x {} (M x N x K) on {} with {} thread{}\n"
      "  backend {}: {} tiles of {} x {}, {} rows per pass over the weights\n"
      "  modelled {:.1f} us; at the compute limit {:.1f} us, reading the weights {:.1f} us\n",
      plan.m, plan.n, plan.k, plan.device, plan.threads, plan.threads == 1 ? "" : "s", plan.backend,
      plan.tiles, plan.tile_rows, plan.tile_cols, plan.row_block, plan.modelled_seconds * 1e6,
      plan.compute_limit_seconds * 1e6, plan.memory_limit_seconds * 1e6);
  for (const PlanCandidate& candidate : plan.candidates) {
    text +=
        fmt::format("  candidate {:<12} tile {:<6} {:>10.1f} us{}\n", candidate.backend,
                    candidate.tile, candidate.modelled_seconds * 1e6,
                    candidate.refused_because.empty() ? "" : "  out: " + candidate.refused_because);
  }
  return text;
}

}  // namespace quoin
