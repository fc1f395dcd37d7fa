#include "bench/cell.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <random>
#include <utility>

#include "linear/aligned_buffer.h"
#include "linear/epilogue.h"
#include "linear/oracle.h"
#include "quoin/device.h"

namespace quoin::bench {
namespace {

std::vector<float> random_rows(const Problem& p) {
  std::vector<float> x(static_cast<std::size_t>(p.m * p.k));
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  for (float& value : x) value = normal(random);
  return x;
}

/// What the read loop reads: a buffer like the weights when hot, far more than the cache when cold.
struct ReadBuffer {
  AlignedBuffer data;
  std::size_t bytes = 0;

  ReadBuffer(std::size_t weight_bytes, bool cold) {
    const std::size_t cache =
        static_cast<std::size_t>(std::max<std::int64_t>(this_cpu().l3_bytes, 8 << 20));
    bytes = cold ? std::max(4 * cache, weight_bytes) : weight_bytes;
    bytes = std::max<std::size_t>(bytes, 4096);
    data = allocate_aligned(bytes);
    if (data) std::memset(data.get(), 1, bytes);
  }
};

}  // namespace

Entrant quoin_entrant(const std::string& backend) {
  const auto prepare_job = [backend](const Problem& p, int threads, Float16* y) -> Result<Job> {
    Result<LinearLayer> layer = prepare(p.weights(), {.backend = backend});
    if (!layer) return layer.error();
    const Tensor out = matrix(y, p.m, p.n);
    return Job([layer = std::move(layer).value(), rows = p.rows(), out, threads] {
      if (const Status s = layer.run(rows, out, {.threads = threads}); !s) std::abort();
    });
  };
  return {"quoin " + backend, prepare_job, count_wrong};
}

Entrant dynamic_entrant(const std::string& backend) {
  const auto prepare_job = [backend](const Problem& p, int threads, Float16* y) -> Result<Job> {
    Result<LinearLayer> layer = prepare(p.weights(), {.backend = backend});
    if (!layer) return layer.error();
    auto x = std::make_shared<std::vector<float>>(random_rows(p));
    auto room = std::make_shared<std::vector<std::byte>>(layer->workspace_bytes(p.m));
    const ConstTensor in = matrix(x->data(), DataType::float32, p.m, p.k);
    const Tensor out = matrix(y, p.m, p.n);
    return Job([layer = std::move(layer).value(), x, room, in, out, threads] {
      const Status s = layer.run_dynamic(in, out, *room, {.threads = threads});
      if (!s) std::abort();
    });
  };
  const auto check = [](const Problem& p, const std::vector<Float16>& y) {
    Problem quantised = p;
    const std::vector<float> x = random_rows(p);
    for (std::int64_t row = 0; row < p.m; ++row) {
      std::uint32_t scale = 0;
      oracle_quantize(x.data() + row * p.k, p.k, quantised.x.data() + row * p.k, &scale);
      quantised.scale_x[static_cast<std::size_t>(row)] = epilogue::float_of(scale);
    }
    return count_wrong(quantised, y);
  };
  return {"quoin " + backend + " dynamic", prepare_job, check};
}

std::int64_t count_far(const Problem& p, const std::vector<Float16>& y) {
  std::vector<Float16> exact(y.size());
  const Result<LinearLayer> layer = prepare(p.weights());
  if (!layer || !layer->run(p.rows(), matrix(exact.data(), p.m, p.n))) return p.m * p.n;
  const auto place = [](Float16 v) {  // float16 in order, as integers
    return (v.bits & 0x8000U) != 0 ? -static_cast<int>(v.bits & 0x7FFFU) : int{v.bits};
  };
  std::int64_t far = 0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    if (std::abs(place(y[i]) - place(exact[i])) > 2) ++far;
  }
  return far;
}

CellResult run_cell(const Problem& p, int threads, const std::vector<Entrant>& entrants,
                    const CellOptions& options) {
  CellResult cell{p.m, p.n, p.k, threads, options.cold, {}, {}, {}};
  const int sets = options.cold ? cold_sets(p.n * p.k) : 1;
  std::vector<Float16> y(static_cast<std::size_t>(p.m * p.n));
  std::vector<Contestant> contestants;
  for (const Entrant& entrant : entrants) {
    auto jobs = std::make_shared<std::vector<Job>>();
    std::string refusal;
    for (int set = 0; set < sets && refusal.empty(); ++set) {
      Result<Job> job = entrant.prepare(p, threads, y.data());
      if (job) {
        jobs->push_back(std::move(job).value());
      } else {
        refusal = job.error().message;
      }
    }
    if (!refusal.empty()) {
      cell.refused.push_back(fmt::format("{}: {}", entrant.name, refusal));
      continue;
    }
    std::memset(y.data(), 0x7F, y.size() * sizeof(Float16));  // NaN: what is not written shows
    jobs->front()();
    const std::int64_t wrong = entrant.count_wrong(p, y);
    if (wrong != 0) {
      cell.wrong.push_back(fmt::format("{}: {} outputs differ", entrant.name, wrong));
      continue;
    }
    contestants.push_back(
        {entrant.name, [jobs](int set) { (*jobs)[static_cast<std::size_t>(set)](); }, sets});
  }
  const ReadBuffer buffer(static_cast<std::size_t>(p.n * p.k), options.cold);
  const LimitLoops limits{
      .peak = options.peak,
      .threads = threads,
      .ops = 2.0 * static_cast<double>(p.m) * static_cast<double>(p.n) * static_cast<double>(p.k),
      .weight_bytes = static_cast<double>(p.n * p.k),
      .read_from = buffer.data.get(),
      .read_bytes = buffer.bytes};
  if (!contestants.empty() && buffer.data) {
    cell.comparison = compare(contestants, limits, options.min_seconds);
  }
  return cell;
}

nlohmann::ordered_json to_json(const CellResult& cell) {
  const auto quartiles = [](const Spread& s, double scale) {
    const auto rounded = [&](double v) { return std::round(v * scale * 1e4) / 1e4; };
    return nlohmann::ordered_json{rounded(s.low), rounded(s.median), rounded(s.high)};
  };
  nlohmann::ordered_json json = {
      {"m", cell.m},
      {"n", cell.n},
      {"k", cell.k},
      {"threads", cell.threads},
      {"weights", cell.cold ? "cold" : "hot"},
      {"peak_gops", quartiles(cell.comparison.peak_ops_per_second, 1e-9)},
      {"read_gb_per_s", quartiles(cell.comparison.read_bytes_per_second, 1e-9)},
      {"entrants", nlohmann::ordered_json::array()},
  };
  for (const Timing& timing : cell.comparison.timings) {
    json["entrants"].push_back({{"name", timing.name},
                                {"us", quartiles(timing.seconds, 1e6)},
                                {"share_of_limit", quartiles(timing.limit_share, 1)},
                                {"share_of_peak", quartiles(timing.compute_share, 1)}});
  }
  if (!cell.refused.empty()) json["refused"] = cell.refused;
  if (!cell.wrong.empty()) json["wrong"] = cell.wrong;
  return json;
}

nlohmann::ordered_json machine_json() {
  const Cpu& cpu = this_cpu();
  return {{"cpu", cpu.brand},
          {"vendor", cpu.vendor},
          {"family", cpu.family},
          {"model", cpu.model},
          {"features", describe_features(cpu.features)},
          {"usable_cpus", cpu.usable_cpus},
          {"l2_bytes", cpu.l2_bytes},
          {"l3_bytes", cpu.l3_bytes},
          {"date", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)))},
          {"quoin", version()},
          {"compiler", __VERSION__}};
}

}  // namespace quoin::bench
