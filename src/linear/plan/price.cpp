#include "linear/plan/price.h"

#include <algorithm>

#include "cost/roofline.h"
#include "linear/pack.h"

namespace quoin {
namespace {

// Shares of the limits that the kernels reach on Zen 5; bench/results/ has the measurements, and
// tests/plan_test.cpp says how well the prices predict them.
constexpr double kComputeShare = 0.94;
constexpr double kMemoryShare = 0.95;
constexpr cost::Seconds kThreadStart = cost::microseconds(3);

cost::BytesPerSecond read_rate(const cost::CpuDevice& cpu, cost::Bytes weights, int threads) {
  const int cores = std::clamp(threads, 1, cpu.cores);
  const auto rate = [&](const cost::ReadRate& level) {  // between the two measured points, linear
    if (cpu.cores == 1) return level.one;
    const double part = static_cast<double>(cores - 1) / (cpu.cores - 1);
    return level.one + (level.all - level.one) * part;
  };
  if (weights <= cpu.l2 * (0.75 * cores)) return rate(cpu.from_l2);
  if (weights <= cpu.l3 * 0.75) return rate(cpu.from_l3);
  return rate(cpu.from_memory);
}

}  // namespace

cost::OpsPerSecond peak_rate(const Backend& backend, const cost::CpuDevice& cpu) {
  const double at_once = std::min(1.0, double{1} * cpu.vector_bits / backend.vector_bits);
  return {cpu.clock.value * backend.ops_per_cycle * at_once};
}

LoneStream lone_stream(const Backend& backend, const cost::CpuDevice& cpu, int rows) {
  constexpr double kClose = 1.1;
  const cost::Seconds compute = cost::Ops{2.0 * rows} / peak_rate(backend, cpu);
  const cost::Seconds memory = cost::Bytes{1} / cpu.from_memory.one;
  const bool memory_bound = compute * kClose < memory;
  const cost::Bytes ahead =
      memory_bound ? cpu.stream_ahead.memory_bound : cpu.stream_ahead.compute_bound;
  return {static_cast<std::int64_t>(ahead.value), memory_bound};
}

Price price_product(const Backend& backend, const cost::CpuDevice& cpu, std::int64_t m,
                    std::int64_t n, std::int64_t k, int threads) {
  const auto weights = cost::Bytes{static_cast<double>(packed_bytes(backend, n, k))};
  const cost::OpsPerSecond peak = peak_rate(backend, cpu) * std::min(threads, cpu.cores);
  const cost::Work work =
      cost::linear_work(static_cast<double>(m), static_cast<double>(n), static_cast<double>(k));
  const cost::Ops padded{2.0 * static_cast<double>(m) * weights.value};
  Price price;
  price.compute_limit = work.ops / peak;
  price.memory_limit = work.bytes / read_rate(cpu, weights, threads);
  price.total = cost::roofline(
      {padded, weights}, {peak * kComputeShare, read_rate(cpu, weights, threads) * kMemoryShare});
  if (threads > 1) price.total = price.total + kThreadStart;
  return price;
}

}  // namespace quoin
