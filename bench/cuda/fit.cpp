// Fits the planner's rates (CudaRates) and each kernel's factor (Config::permille) to sweeps
// (bench.cu's JSON, one row a kernel and launch). Prints what the picks lose before and after, and
// the numbers to be written into cuda_plan.h and sm90a_configs.h.
//
//   g++ -std=c++20 -O2 -Isrc -Iinclude -DFMT_HEADER_ONLY bench/cuda/fit.cpp \
//       src/linear/plan/cuda_plan.cpp src/cost/devices.cpp -o fit
//   ./fit h200 bench/results/h200-2026-12-01-layers.json 2048:bench/results/h200-2026-11-22.json
//
// ROWS:FILE takes that file's shapes from so many rows on. What is made small: the mean logarithm
// of the pick's time over the fastest, as if prices were off by 1.2% (each kernel is picked with a
// weight that falls with its distance from the cheapest), launched early, twice, and plainly, once;
// published layers count four times. With 0.3 of the prices' own squared error prices come out
// right to 9% (with 0.05 to 14%, with 1 picks lose 0.1% more). By coordinate descent, with a few
// random restarts of the factors: seconds.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <initializer_list>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "linear/kernels/cuda/sm90a_configs.h"
#include "linear/plan/cuda_plan.h"

namespace {

using namespace quoin::cuda;

constexpr double kPriceError = 0.012;
constexpr double kWeightOfPrices = 0.3;

using Times = std::map<std::string, double>;
using Shapes = std::map<std::tuple<std::int64_t, std::int64_t, std::int64_t>, Times>;

/// One kernel for one shape: its price without its factor, and its time, launched early or not.
struct Timed {
  int kernel;
  double price, gain;          // seconds
  std::array<double, 2> time;  // microseconds: plainly, as launched where it may be early
};

struct Fitted {
  CudaShape shape;
  double weight;
  std::array<double, 2> best;
  std::vector<Timed> kernels;
};

bool is_published(std::int64_t n, std::int64_t k) {
  for (const auto& [rows, depth] :
       {std::pair{2048, 2048}, {4096, 4096}, {28672, 4096}, {4096, 14336}, {8192, 8192}}) {
    if (n == rows && k == depth) return true;
  }
  return false;
}

/// A time that is there twice: the geometric mean.
void read(const char* path, std::int64_t from_rows, Shapes& shapes) {
  std::ifstream file(path);
  if (!file) {
    std::printf("%s: cannot be read\n", path);
    std::exit(2);
  }
  const nlohmann::json sweep = nlohmann::json::parse(file);
  for (const auto& row : sweep["rows"]) {
    const std::string kernel = row["kernel"];
    if (!row["ours"].get<bool>() || row["m"] < from_rows || kernel == "sm80" ||
        kernel.starts_with("quantise")) {
      continue;
    }
    double& time = shapes[{row["m"], row["n"], row["k"]}][kernel];
    const double now = row["cold_us"];
    time = time > 0 ? std::sqrt(time * now) : now;
  }
}

struct Fit {
  const quoin::cost::GpuDevice& device;
  CudaRates rates;
  std::array<double, kKernelCount> factor{};
  std::vector<Fitted> shapes;

  Fit(const quoin::cost::GpuDevice& on, const Shapes& timed) : device(on) {
    for (int kernel = 0; kernel < kKernelCount; ++kernel) {
      factor[kernel] = config_at(kernel).permille / 1000.0;
    }
    for (const auto& [key, times] : timed) {
      const auto& [m, n, k] = key;
      Fitted f{{m, n, k}, is_published(n, k) ? 4.0 : 1.0, {1e30, 1e30}, {}};
      for (const auto& [name_of, time] : times) {
        f.best[1] = std::min(f.best[1], time);
        if (!name_of.ends_with(" >")) f.best[0] = std::min(f.best[0], time);
      }
      for (const CudaPlanned& planned : plan_cuda(device, f.shape)) {
        const Config& c = *planned.config;
        const auto plain = times.find(name(c));
        if (!planned.refused_because.empty() || !planned.in_range || plain == times.end()) continue;
        Timed t{planned.kernel, 0, early_gain(c, f.shape, device), {plain->second, plain->second}};
        if (product_start(c, f.shape, device, true) == Start::early) {
          const auto early = times.find(name(c) + " >");  // not timed: most of what it should gain
          t.time[1] = early != times.end() ? early->second : plain->second - 0.8e6 * t.gain;
        }
        f.kernels.push_back(t);
      }
      if (!f.kernels.empty()) shapes.push_back(std::move(f));
    }
    price();
  }

  /// Anew, after a change of the rates.
  void price() {
    for (Fitted& f : shapes) {
      for (Timed& t : f.kernels) {
        const Config& c = config_at(t.kernel);
        t.price = cuda_price(c, f.shape, device, rates) * 1000 / c.permille;
      }
    }
  }
  /// As cuda_plan.cpp ranks it.
  [[nodiscard]] double launched(const Timed& t, bool early) const {
    const double plain = t.price * factor[t.kernel];
    return early ? std::max(plain / 2, plain - std::max(0.0, t.gain)) : plain;
  }
  [[nodiscard]] const Timed& pick(const Fitted& f, bool early) const {
    return *std::min_element(
        f.kernels.begin(), f.kernels.end(),
        [&](const Timed& a, const Timed& b) { return launched(a, early) < launched(b, early); });
  }
  /// Of the pick over the best, where prices may be off.
  [[nodiscard]] double expected(const Fitted& f, bool early) const {
    const double least = launched(pick(f, early), early);
    double weights = 0, sum = 0;
    for (const Timed& t : f.kernels) {
      const double weight = std::exp((1 - launched(t, early) / least) / kPriceError);
      weights += weight;
      sum += weight * t.time[early ? 1 : 0];
    }
    return sum / weights / f.best[early ? 1 : 0];
  }
  [[nodiscard]] double loss() const {
    double lost = 0, weights = 0, off = 0;
    int prices = 0;
    for (const Fitted& f : shapes) {
      lost += f.weight * (2 * std::log(expected(f, true)) + std::log(expected(f, false)));
      weights += 3 * f.weight;
      for (const Timed& t : f.kernels) {
        if (t.time[0] > 1.1 * f.best[0]) continue;
        off += std::pow(std::log(t.price * factor[t.kernel] * 1e6 / t.time[0]), 2);
        ++prices;
      }
    }
    return lost / weights + kWeightOfPrices * off / std::max(1, prices);
  }

  /// Multiplies `value` by whichever of `steps` helps; true where one did.
  template <class Changed>
  bool improve(double& value, std::initializer_list<double> steps, double& least,
               Changed&& changed) {
    bool better = false;
    for (const double step : steps) {
      const double before = value;
      value *= step;
      changed();
      if (const double now = loss(); now < least - 1e-7) {
        least = now, better = true;
      } else {
        value = before;
        changed();
      }
    }
    return better;
  }
  bool improve_factors(double& least) {
    bool better = false;
    for (double& f : factor) {
      better |= improve(f, {0.995, 1.005, 0.985, 1.015, 0.96, 1.04, 0.9, 1.1}, least, [] {});
    }
    return better;
  }
  bool improve_rates(double& least) {  // not macs, clock and finish: with these free they drift
    bool better = false;
    for (double* rate : {&rates.feed, &rates.feed_all, &rates.block, &rates.latency,
                         &rates.memory_share, &rates.start, &rates.cluster}) {
      better |= improve(*rate, {0.97, 1.03, 0.99, 1.01}, least, [&] {
        rates.memory_share = std::min(rates.memory_share, 0.93);
        price();
      });
    }
    return better;
  }
  void run() {
    std::mt19937 random(1);
    double least = loss();
    for (int restart = 0; restart < 20; ++restart) {
      while (improve_factors(least) || improve_rates(least)) {
      }
      const auto before = factor;
      for (double& f : factor) f *= std::exp(0.02 * std::normal_distribution<double>()(random));
      double now = loss();
      for (int round = 0; round < 15 && improve_factors(now); ++round) {
      }
      if (now < least) {
        least = now;
      } else {
        factor = before;
      }
    }
  }

  void print_losses(bool each) const {
    for (const bool early : {true, false}) {
      double sum = 0, worst = 0;
      for (const Fitted& f : shapes) {
        const Timed& t = pick(f, early);
        const double lost = t.time[early ? 1 : 0] / f.best[early ? 1 : 0];
        sum += std::log(lost), worst = std::max(worst, lost);
        if (!each || lost < 1.03) continue;
        std::printf("  %lld x %lld x %lld: %s, %.3f\n", static_cast<long long>(f.shape.m),
                    static_cast<long long>(f.shape.n), static_cast<long long>(f.shape.k),
                    name(config_at(t.kernel)).c_str(), lost);
      }
      std::printf("%s, %zu shapes: pick over fastest %.4f in the geometric mean, worst %.3f\n",
                  early ? "launched early where that gains" : "launched plainly", shapes.size(),
                  std::exp(sum / static_cast<double>(shapes.size())), worst);
    }
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::printf("fit DEVICE [ROWS:]SWEEP.json...\n");
    return 2;
  }
  const quoin::cost::GpuDevice* device = quoin::cost::find_gpu(argv[1]);
  if (device == nullptr) {
    std::printf("no device %s\n", argv[1]);
    return 2;
  }
  Shapes timed;
  for (int i = 2; i < argc; ++i) {
    char* path = nullptr;
    const long long rows = std::strtoll(argv[i], &path, 10);
    const bool limited = path != argv[i] && *path == ':';
    read(limited ? path + 1 : argv[i], limited ? rows : 1, timed);
  }
  Fit fit(*device, timed);
  if (fit.shapes.empty()) {
    std::printf("no shape in these files\n");
    return 2;
  }
  fit.print_losses(false);
  fit.run();
  fit.print_losses(true);
  const CudaRates& r = fit.rates;
  std::printf(
      "feed %.1f feed_all %.0f block %.0f latency %.0f memory_share %.3f start %.2fe-6 "
      "cluster %.2fe-6\n",
      r.feed, r.feed_all, r.block, r.latency, r.memory_share, r.start * 1e6, r.cluster * 1e6);
  for (int kernel = 0; kernel < kKernelCount; ++kernel) {
    std::printf("%5.0f  %s\n", 1000 * fit.factor[kernel], name(config_at(kernel)).c_str());
  }
  return 0;
}
