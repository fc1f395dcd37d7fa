// How good the planner's picks are: for every shape of a sweep (bench.cu's JSON), the time of the
// kernel that plan_cuda picks (or the next one that the sweep has timed), launched as the library
// does, over the fastest of ours, launched either way.
//
//   g++ -std=c++20 -O2 -Isrc -Iinclude -DFMT_HEADER_ONLY bench/cuda/regret.cpp \
//       src/linear/plan/cuda_plan.cpp src/cost/devices.cpp -o regret
//   ./regret h200 bench/results/h200-2026-12-01.json
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <string>
#include <tuple>

#include "linear/plan/cuda_plan.h"

namespace {

using Times = std::map<std::string, double>;
std::map<std::tuple<long long, long long, long long>, Times> shapes;

/// The file has a row a line.
void read(const char* path) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    long long m = 0, n = 0, k = 0;
    char kernel[128], ours[8];
    double cold = 0;
    const auto at = line.find("{\"m\"");
    if (at == std::string::npos ||
        std::sscanf(line.c_str() + at,
                    "{\"m\": %lld, \"n\": %lld, \"k\": %lld, \"kernel\": \"%127[^\"]\", "
                    "\"ours\": %7[a-z], \"right\": %*[a-z], \"cold_us\": %lf",
                    &m, &n, &k, kernel, ours, &cold) != 6) {
      continue;
    }
    if (std::strcmp(ours, "true") != 0 || std::strncmp(kernel, "quantise", 8) == 0) continue;
    shapes[{m, n, k}][kernel] = cold;
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::printf("regret DEVICE SWEEP.json...\n");
    return 2;
  }
  const quoin::cost::GpuDevice* device = quoin::cost::find_gpu(argv[1]);
  if (device == nullptr) {
    std::printf("no device %s\n", argv[1]);
    return 2;
  }
  for (int i = 2; i < argc; ++i) read(argv[i]);
  double sum = 0, worst = 0;
  int count = 0;
  for (const auto& [shape, times] : shapes) {
    const auto& [m, n, k] = shape;
    double best = 1e30;
    std::string fastest;
    for (const auto& [kernel, time] : times) {
      if (time < best) best = time, fastest = kernel;
    }
    for (const auto& planned : quoin::cuda::plan_cuda(*device, {m, n, k})) {
      const bool early = quoin::cuda::product_start(*planned.config, {m, n, k}, *device, true) ==
                         quoin::cuda::Start::early;
      const auto found = times.find(quoin::cuda::name(*planned.config) + (early ? " >" : ""));
      if (!planned.refused_because.empty() || found == times.end()) continue;
      const double regret = found->second / best;
      std::printf("%5lld x %5lld x %5lld  %-22s %9.2f us (priced %9.2f)  regret %.3f%s%s\n", m, n,
                  k, found->first.c_str(), found->second, planned.seconds * 1e6, regret,
                  regret > 1 ? "  best " : "", regret > 1 ? fastest.c_str() : "");
      sum += std::log(regret), worst = std::max(worst, regret), ++count;
      break;
    }
  }
  std::printf("%d shapes: geometric mean of the regret %.4f, worst %.3f\n", count,
              std::exp(sum / std::max(1, count)), worst);
  return 0;
}
