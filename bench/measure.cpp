#include "bench/measure.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <random>

#include "cost/roofline.h"
#include "linear/epilogue.h"
#include "linear/oracle.h"

namespace quoin::bench {
namespace {

using Clock = std::chrono::steady_clock;

double time_runs(const Contestant& contestant, int& next_set, int runs) {
  const Clock::time_point start = Clock::now();
  for (int i = 0; i < runs; ++i) {
    contestant.run(next_set);
    next_set = (next_set + 1) % contestant.sets;
  }
  return std::chrono::duration<double>(Clock::now() - start).count() / runs;
}

struct Rounds {
  std::vector<double> peak, read;
  std::vector<std::vector<double>> times, limit_shares, compute_shares;  // [contestant][round]
};

}  // namespace

QuantizedRows Problem::rows() const { return {matrix(x.data(), m, k), vector(scale_x.data(), m)}; }

LinearWeights Problem::weights() const {
  return {matrix(weight.data(), n, k), vector(scale_w.data(), n), vector(bias.data(), n)};
}

Problem random_problem(std::int64_t m, std::int64_t n, std::int64_t k, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  Problem p;
  p.m = m;
  p.n = n;
  p.k = k;
  const auto fill_codes = [&](std::vector<std::int8_t>& codes, std::int64_t count) {
    codes.resize(static_cast<std::size_t>(count));
    for (std::int8_t& code : codes) code = static_cast<std::int8_t>(random());
  };
  fill_codes(p.x, m * k);
  fill_codes(p.weight, n * k);
  std::uniform_real_distribution<float> scale(0.5F, 2.0F);
  p.scale_x.resize(static_cast<std::size_t>(m));
  p.scale_w.resize(static_cast<std::size_t>(n));
  p.bias.resize(static_cast<std::size_t>(n));
  for (float& s : p.scale_x) s = scale(random);
  for (float& s : p.scale_w) s = scale(random);
  for (Float16& b : p.bias) b.bits = epilogue::half_from_float(scale(random) - 1.0F);
  return p;
}

std::int64_t count_wrong(const Problem& p, const std::vector<Float16>& y) {
  std::vector<double> bias(p.bias.size());
  std::transform(p.bias.begin(), p.bias.end(), bias.begin(),
                 [](Float16 b) { return double{epilogue::float_from_half(b.bits)}; });
  const OracleLinear oracle{.x = p.x.data(),
                            .w = p.weight.data(),
                            .scale_x = p.scale_x.data(),
                            .scale_w = p.scale_w.data(),
                            .bias = bias.data(),
                            .m = p.m,
                            .n = p.n,
                            .k = p.k,
                            .x_stride = p.k,
                            .w_stride = p.k,
                            .factor = kBothAbsmax};
  // About 2^28 multiplies: every n-th output, n odd and so prime to the tiles' sizes.
  const double work =
      static_cast<double>(p.m) * static_cast<double>(p.n) * static_cast<double>(p.k);
  const std::int64_t step = 2 * static_cast<std::int64_t>(work / (1 << 29)) + 1;
  std::int64_t wrong = 0;
  for (std::int64_t i = 0; i < p.m * p.n; i += step) {
    if (y[static_cast<std::size_t>(i)].bits != oracle_output(oracle, i / p.n, i % p.n)) ++wrong;
  }
  return wrong;
}

Spread spread(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const std::size_t last = values.size() - 1;
  return {values[last / 2], values[last / 4], values[last - last / 4]};
}

Comparison compare(const std::vector<Contestant>& contestants, const LimitLoops& limits,
                   double min_seconds) {
  constexpr int kLeastRounds = 9;
  constexpr double kRoundSeconds = 2e-3;  // short rounds: a disturbance hits few of them
  Rounds rounds;
  rounds.times.resize(contestants.size());
  rounds.limit_shares.resize(contestants.size());
  rounds.compute_shares.resize(contestants.size());
  std::vector<int> runs(contestants.size()), next_set(contestants.size());
  for (std::size_t c = 0; c < contestants.size(); ++c) {  // warm-up, and how many runs fill a round
    double once = time_runs(contestants[c], next_set[c], 1);
    once = std::min(once, time_runs(contestants[c], next_set[c], 1));
    runs[c] = std::max(1, static_cast<int>(kRoundSeconds / once));
  }
  const Clock::time_point start = Clock::now();
  const auto elapsed = [&] { return std::chrono::duration<double>(Clock::now() - start).count(); };
  std::size_t read_at = 0;
  const auto weight_bytes = static_cast<std::size_t>(limits.weight_bytes);
  for (int round = 0;
       round < kLeastRounds || elapsed() < min_seconds * static_cast<double>(contestants.size());
       ++round) {
    const auto peak = measure_peak(limits.peak, limits.threads, 0.5e-3);
    const std::size_t part = std::min(limits.read_bytes, std::max<std::size_t>(weight_bytes, 4096));
    if (read_at + part > limits.read_bytes) read_at = 0;
    // One pass where there is more to read than a part: a second one would find it in a cache.
    const double read_seconds = limits.read_bytes > part ? 0 : 0.2e-3;
    const cost::BytesPerSecond read =
        measure_read(limits.read_from + read_at, part, limits.threads, read_seconds);
    read_at += part;
    rounds.peak.push_back(peak ? peak->value : 0);
    rounds.read.push_back(read.value);
    const double compute = peak ? limits.ops / peak->value : 0;
    const double limit = std::max(compute, limits.weight_bytes / read.value);
    for (std::size_t i = 0; i < contestants.size(); ++i) {  // each round begins with another one
      const std::size_t c = (i + static_cast<std::size_t>(round)) % contestants.size();
      const double time = time_runs(contestants[c], next_set[c], runs[c]);
      rounds.times[c].push_back(time);
      rounds.limit_shares[c].push_back(limit / time);
      rounds.compute_shares[c].push_back(compute / time);
    }
  }
  Comparison comparison{spread(rounds.peak), spread(rounds.read), {}};
  for (std::size_t c = 0; c < contestants.size(); ++c) {
    comparison.timings.push_back({contestants[c].name, spread(rounds.times[c]),
                                  spread(rounds.limit_shares[c]),
                                  spread(rounds.compute_shares[c])});
  }
  return comparison;
}

PeakLoop peak_loop(const Backend& backend) {
  if (backend.name == "avx512_vnni") return PeakLoop::vpdpbusd_zmm;
  if (backend.name == "avx_vnni") return PeakLoop::vpdpbusd_ymm;
  return PeakLoop::vpmaddwd_ymm;
}

int cold_sets(std::int64_t weight_bytes) {
  const std::int64_t cache = std::max<std::int64_t>(this_cpu().l3_bytes, std::int64_t{8} << 20);
  return static_cast<int>(2 * cache / std::max<std::int64_t>(weight_bytes, 1)) + 2;
}

}  // namespace quoin::bench
