// The planner of the CUDA kernels: the list, refusals, prices that behave, golden picks, and how
// far the picks are from the fastest kernel of a measured sweep.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <tuple>

#include "linear/kernels/cuda/sm90a_configs.h"
#include "linear/plan/cuda_plan.h"

namespace quoin::cuda {
namespace {

const cost::GpuDevice& h200() { return *cost::find_gpu("h200"); }

std::string pick(const CudaShape& shape) { return name(*plan_cuda(h200(), shape).front().config); }

TEST(CudaPlan, ListsEveryKernelOnceWithPriceOrReason) {
  const auto plan = plan_cuda(h200(), {128, 2048, 2048});
  std::set<std::string> names;
  for (const CudaPlanned& c : plan) {
    EXPECT_TRUE(names.insert(name(*c.config)).second) << name(*c.config);
    EXPECT_EQ(c.refused_because.empty(), c.seconds > 0) << name(*c.config);
  }
  EXPECT_EQ(plan.size(),
            std::size(kDecodeConfigs) + std::size(kMiddleConfigs) + std::size(kLargeConfigs));
}

TEST(CudaPlan, ThePickIsTheFirstOfThePlan) {
  for (const std::int64_t m : {0, 1, 5, 16, 17, 64, 65, 128, 129, 160, 161, 500, 3000, 70000}) {
    for (const std::int64_t n : {0, 1, 72, 2048, 28672}) {
      for (const std::int64_t k : {0, 1, 100, 4096}) {
        for (const auto& [out_bytes, early] : {std::pair{2, true}, {2, false}, {4, true}}) {
          const CudaShape shape{m, n, k, out_bytes, early};
          const auto plan = plan_cuda(h200(), shape);
          const bool none = !plan.front().refused_because.empty();
          EXPECT_EQ(pick_cuda(h200(), shape), none ? -1 : plan.front().kernel)
              << m << " x " << n << " x " << k;
          for (const CudaPlanned& c : plan) {
            EXPECT_EQ(c.config, &config_at(c.kernel));
            EXPECT_EQ(cuda_applies(*c.config, shape), c.refused_because.empty())
                << name(*c.config) << ": " << c.refused_because;
          }
        }
      }
    }
  }
}

TEST(CudaPlan, RefusesWhatNoCoordinateReaches) {
  const std::string tall = cuda_refusal(kLargeConfigs[0], {std::int64_t{1} << 31, 64, 64});
  EXPECT_NE(tall.find("2147483648 x 64"), std::string::npos) << tall;
  for (const Config& c : kMiddleConfigs) {  // 2^22 tiles of 64 side by side, 65,535 at most
    EXPECT_NE(cuda_refusal(c, {100, std::int64_t{1} << 28, 512}), "") << name(c);
  }
}

TEST(CudaPlan, SaysWhyAKernelIsRefused) {
  const Config decode = kDecodeConfigs[0];  // 8 tokens or twice as many, K in two
  EXPECT_EQ(cuda_refusal(decode, {16, 64, 4096}), "");
  EXPECT_EQ(cuda_refusal(decode, {17, 64, 4096}), "17 tokens, made for 16");
  EXPECT_EQ(cuda_refusal(decode, {8, 64, 128}), "K = 128 has 1 blocks of 128 for 2 CTAs");
  EXPECT_EQ(cuda_refusal(decode, {8, 64, 129}), "");
  EXPECT_EQ(cuda_refusal(decode, {0, 64, 128}), "M x N x K is 0 x 64 x 128: nothing to multiply");
  for (const Config& c : kLargeConfigs) {
    EXPECT_EQ(cuda_refusal(c, {512, 512, 512, 4}).empty(), c.sums() <= 128) << name(c);
  }
}

TEST(CudaPlan, RefusedOnesComeLast) {
  bool refused = false;
  for (const CudaPlanned& c : plan_cuda(h200(), {100, 1000, 1000, 4})) {
    EXPECT_TRUE(!refused || !c.refused_because.empty()) << name(*c.config);
    refused = refused || !c.refused_because.empty();
  }
  EXPECT_TRUE(refused);
}

TEST(CudaPlan, SomeKernelIsMadeForEveryShape) {
  for (const std::int64_t m : {1, 9, 17, 33, 65, 100, 128, 129, 191, 192, 700, 1024, 5000}) {
    for (const std::int64_t n : {1, 512, 2048, 4096, 11008, 28672}) {
      for (const std::int64_t k : {1, 128, 256, 4096, 18944}) {  // 128: too short to split
        for (const int out_bytes : {2, 4}) {
          const CudaPlanned first = plan_cuda(h200(), {m, n, k, out_bytes}).front();
          EXPECT_TRUE(first.refused_because.empty() && first.in_range)
              << m << " x " << n << " x " << k << ": " << name(*first.config);
        }
      }
    }
  }
}

TEST(CudaPlan, GoldenPicks) {
  EXPECT_EQ(pick({1, 4096, 4096}), "x8 W64 k2 s10 h4 o2");
  EXPECT_EQ(pick({16, 28672, 4096}), "x16 W64 k2 s20 h4 p");
  EXPECT_EQ(pick({32, 28672, 4096}), "x32 W64 k2 s17 h2 p");
  EXPECT_EQ(pick({16, 4096, 14336}), "x16 W64 k2 s20 h4 p");
  EXPECT_EQ(pick({8, 8192, 8192}), "x8 W64 k2 s10 h4 o2");
  EXPECT_EQ(pick({1, 6144, 4096, 2, false}), "x16 W64 s10 h4 o2");
  EXPECT_EQ(pick({16, 4096, 14336, 2, false}), "x16 W64 k2 s10 h4 o2");
  EXPECT_EQ(pick({96, 2048, 2048, 2, false}), "x64 W64 k2 s12");
  EXPECT_EQ(pick({160, 2048, 2048, 2, false}), "x64 w64 s12");
  EXPECT_EQ(pick({128, 18944, 3584}), "x128 w224 s4 p");
  EXPECT_EQ(pick({130, 18944, 3584}), pick({192, 18944, 3584}));
  EXPECT_EQ(pick({64, 2048, 2048}), "x64 W64 k2 s12");
  EXPECT_EQ(pick({65, 2048, 2048}), "x80 W64 k2 s10");
  EXPECT_EQ(pick({96, 2048, 2048}), "x96 W64 k2 s9");
  EXPECT_EQ(pick({128, 2048, 2048}), "x64 w64 s12");
  EXPECT_EQ(pick({512, 4096, 4096}), "x128 w128 s6");
  EXPECT_EQ(pick({2048, 4096, 4096}), "x128 w256 c2x1 s4 p");
  EXPECT_EQ(pick({2048, 28672, 4096}), "x128 w192+64 c2x1 s5 pp p");
}

// Measured: time of dependent launches over time of others (gains_behind_...'s comments).
TEST(CudaPlan, LaunchesEarlyWhereThatGains) {
  const auto chained = [](const CudaShape& s) { return quantiser_start(s, true) != Start::after; };
  const auto some_kernel_gains_or_loses = [](const CudaShape& s) {
    for (int kernel = 0; kernel < kKernelCount; ++kernel) {
      if (early_gain(config_at(kernel), s, h200()) != 0) return true;
    }
    return false;
  };
  for (const CudaShape& s : {CudaShape{1, 2048, 2048}, CudaShape{512, 2048, 2048},
                             CudaShape{128, 28672, 4096}, CudaShape{192, 4096, 14336}}) {
    EXPECT_TRUE(chained(s)) << s.m << " x " << s.n << " x " << s.k;
  }
  for (const CudaShape& s : {CudaShape{384, 4096, 4096}, CudaShape{192, 28672, 4096},
                             CudaShape{193, 4096, 14336}, CudaShape{128, 8192, 8192}}) {
    EXPECT_FALSE(chained(s)) << s.m << " x " << s.n << " x " << s.k;
  }
  for (const CudaShape& s :
       {CudaShape{1, 2048, 2048}, CudaShape{512, 2048, 2048}, CudaShape{96, 4096, 4096},
        CudaShape{32, 4096, 14336}, CudaShape{128, 28672, 4096}}) {
    EXPECT_TRUE(some_kernel_gains_or_loses(s)) << s.m << " x " << s.n << " x " << s.k;
  }
  for (const CudaShape& s :
       {CudaShape{1024, 2048, 2048}, CudaShape{97, 4096, 4096}, CudaShape{97, 4096, 14336},
        CudaShape{65, 8192, 8192}, CudaShape{129, 28672, 4096}}) {
    EXPECT_FALSE(some_kernel_gains_or_loses(s)) << s.m << " x " << s.n << " x " << s.k;
  }
}

TEST(CudaPlan, LaunchesNoKernelEarlyThatLosesByIt) {
  const CudaShape deep{8, 3584, 18944};
  for (const Config& c : kDecodeConfigs) {
    const bool two_ctas = c.ctas == 2;  // measured: 1.2 us more, and 2.2 less for persistent ones
    EXPECT_EQ(product_start(c, deep, h200(), true), two_ctas ? Start::after : Start::early)
        << name(c);
    EXPECT_EQ(product_start(c, deep, h200(), false), Start::after) << name(c);
    EXPECT_EQ(early_gain(c, deep, h200()) < 0, two_ctas) << name(c);
  }
}

// Measured: product_start's and quantiser_start's comments.
TEST(CudaPlan, WaitsFirstWhereItMayNotBeEarlyAndGains) {
  const Config& decode = kDecodeConfigs[0];  // two CTAs an SM
  for (const bool early : {true, false}) {   // what was asked of the planner
    EXPECT_EQ(product_start(decode, {1, 2048, 2048, 2, early}, h200(), true), Start::early);
    EXPECT_EQ(product_start(decode, {1, 2048, 2048, 2, early}, h200(), false), Start::waiting);
  }
  EXPECT_EQ(product_start(decode, {1, 4096, 4096}, h200(), false), Start::waiting);
  EXPECT_EQ(product_start(decode, {1, 6144, 2048}, h200(), false), Start::after);  // uneven
  EXPECT_EQ(product_start(decode, {1, 6144, 4096}, h200(), false), Start::after);
  EXPECT_EQ(product_start(decode, {1, 28672, 4096}, h200(), false), Start::after);  // 1%

  EXPECT_EQ(quantiser_start({1, 4096, 4096}, true), Start::early);
  EXPECT_EQ(quantiser_start({1, 4096, 4096}, false), Start::waiting);
  EXPECT_EQ(quantiser_start({16, 4096, 4096}, true), Start::waiting);
  EXPECT_EQ(quantiser_start({16, 28672, 4096}, true), Start::early);
  EXPECT_EQ(quantiser_start({16, 28672, 4096}, false), Start::waiting);
  EXPECT_EQ(quantiser_start({4096, 4096, 4096}, false), Start::after);
}

TEST(CudaPlan, BandsOfTilesLeaveRoomInL2) {
  EXPECT_EQ(raster_rows(2048, 2048), 256);
  EXPECT_EQ(raster_rows(4096, 4096), 256);
  EXPECT_EQ(raster_rows(14336, 4096), 4096);
  EXPECT_EQ(raster_rows(4096, 14336), 2048);
  EXPECT_EQ(raster_rows(8192, 8192), 2048);
  EXPECT_EQ(raster_rows(std::int64_t{1} << 31, 100'000), 2048);
}

TEST(CudaPlan, NarrowTilesEvenOutWhatClustersHaveToDo) {
  int tailed = 0;
  for (const Config& c : kLargeConfigs) {
    if (c.tail_b == 0) continue;
    ++tailed;
    for (const int clusters : {1, 7, 66, 132}) {
      for (const int groups_a : {1, 8, 16, 33}) {
        for (const int rows : {1, 63, 64, 65, 192, 193, 1000, 2048, 4096, 8192, 28672}) {
          const Columns columns = columns_of(c, rows, groups_a, clusters);
          const auto covered = columns.wide * c.tile_b + columns.narrow * c.tail_b;
          EXPECT_GE(covered, rows);
          // Wide tiles beside narrow ones lie inside, and so does the first narrow one.
          if (columns.narrow > 0) {
            EXPECT_LE(columns.wide * c.tile_b, rows);
            EXPECT_GE(rows, c.tail_b);
          }
          // Counted: every cluster takes each `clusters`th tile, the wide ones first.
          const int wide = columns.wide * groups_a, all = wide + columns.narrow * groups_a;
          std::int64_t busiest = 0;
          for (int first = 0; first < clusters; ++first) {
            std::int64_t has = 0;
            for (int tile = first; tile < all; tile += clusters) {
              has += tile < wide ? c.tile_b : c.tail_cost();
            }
            busiest = std::max(busiest, has);
          }
          EXPECT_EQ(columns.busiest, busiest) << rows << ' ' << groups_a << ' ' << clusters;
          const int only_wide = (rows + c.tile_b - 1) / c.tile_b * groups_a;
          EXPECT_LE(busiest, (only_wide + clusters - 1) / clusters * c.tile_b);
        }
      }
    }
    // 4096 x 4096: 1,056 rows where wide tiles alone would be 1,152 (of 993 on average).
    const int clusters = 132 / c.cluster(), groups_a = 32 / c.cluster_a;
    EXPECT_EQ(columns_of(c, 4096, groups_a, clusters).busiest, 1056) << name(c);
    // In columns of 20 wide ones and 4 narrow.
    EXPECT_EQ(cuda_tiles(c, {4096, 4096, 4096}, h200()), 32 * 24) << name(c);
  }
  EXPECT_GT(tailed, 0);
}

// A narrow tile costs half as much as one three times as wide: few are worth their while.
TEST(CudaPlan, FewColumnsOfAPickAreNarrow) {
  int picked = 0;
  for (const std::int64_t m : {1024, 4096, 8192, 16384}) {
    for (std::int64_t n = 256; n <= 32768; n += 256) {
      const Config& c = *plan_cuda(h200(), {m, n, 4096}).front().config;
      if (c.tail_b == 0) continue;
      ++picked;
      const auto groups_a = static_cast<int>(m / (c.tile_a * c.cluster_a));
      const Columns columns = columns_of(c, static_cast<int>(n), groups_a, 132 / c.cluster());
      EXPECT_GT(columns.narrow, 0) << m << " x " << n;
      EXPECT_LE(columns.narrow * c.tail_b * 5, n) << m << " x " << n;
    }
  }
  EXPECT_GT(picked, 0);
}

TEST(CudaPlan, PricesBehave) {
  cost::GpuDevice half = h200();
  half.sms /= 2;
  for (const CudaPlanned& c : plan_cuda(h200(), {4096, 8192, 8192})) {
    if (!c.refused_because.empty()) continue;
    const double whole = c.seconds;
    EXPECT_GT(cuda_price(*c.config, {4096, 8192, 8192}, half), 1.8 * whole) << name(*c.config);
    EXPECT_GT(cuda_price(*c.config, {4096, 8192, 16384}, h200()), 1.8 * whole) << name(*c.config);
  }
  // No shape is cheaper than its bytes at the datasheet's bandwidth.
  for (const std::int64_t m : {1, 64, 512, 8192}) {
    const CudaShape shape{m, 4096, 4096};
    const double bytes = 4096.0 * 4096 + static_cast<double>(m) * 4096 * 3;
    EXPECT_GT(plan_cuda(h200(), shape).front().seconds, bytes / h200().memory.value);
  }
}

// Measured: at most 1.13 (every_m of the results file).
TEST(CudaPlan, PickedPriceNeverJumpsFar) {
  for (const std::int64_t n : {2048, 4096}) {
    double last = 0;
    for (std::int64_t m = 1; m <= 256; ++m) {
      const double price = plan_cuda(h200(), {m, n, n}).front().seconds;
      if (m > 1) {
        EXPECT_LT(price, 1.2 * last) << m << " x " << n;
      }
      last = price;
    }
  }
}

nlohmann::json published() {
  std::ifstream file(QUOIN_RESULTS "/h200-2026-12-01.json");
  return file ? nlohmann::json::parse(file) : nlohmann::json::object();
}

// The run's picks, launched as the library does: from one M to the next at most 15% more.
TEST(CudaPlan, TimeNeverJumpedInThePublishedRun) {
  std::map<std::pair<int, int>, std::pair<int, double>> last;
  int steps = 0;
  const nlohmann::json run = published();
  for (const auto& row : run["every_m"]) {
    const int m = row["m"];
    const double time = row["pick_us"];
    auto& [before, took] = last[{row["n"], row["k"]}];
    if (m > 1) {
      EXPECT_EQ(m, before + 1);
      EXPECT_LT(time, 1.15 * took) << m << " x " << row["n"];
      ++steps;
    }
    before = m, took = time;
  }
  EXPECT_EQ(steps, 2 * 255);
}

TEST(CudaPlan, PicksAreCloseToTheFastestOfTheSweep) {
  std::map<std::tuple<int, int, int>, std::map<std::string, double>> shapes;
  const nlohmann::json sweep = published();
  for (const auto& row : sweep["rows"]) {
    if (row["ours"].get<bool>()) {
      shapes[{row["m"], row["n"], row["k"]}][row["kernel"]] = row["cold_us"];
    }
  }
  ASSERT_EQ(shapes.size(), 90U);
  double sum = 0;
  for (const auto& [shape, times] : shapes) {
    const auto [m, n, k] = shape;
    double best = 1e30, picked = 0;
    for (const auto& [kernel, time] : times) {
      if (kernel.rfind("quantise", 0) == 0 || kernel == "sm80") continue;
      best = std::min(best, time);  // whichever way it was launched
    }
    for (const CudaPlanned& c : plan_cuda(h200(), {m, n, k})) {
      const bool early = product_start(*c.config, {m, n, k}, h200(), true) == Start::early;
      // Not every kernel is timed on every shape.
      const auto found = times.find(name(*c.config) + (early ? " >" : ""));
      if (found == times.end()) continue;
      picked = found->second;
      break;
    }
    EXPECT_LT(picked / best, 1.12) << m << " x " << n << " x " << k;
    sum += std::log(picked / best);
  }
  EXPECT_LT(std::exp(sum / static_cast<double>(shapes.size())), 1.01);
}

}  // namespace
}  // namespace quoin::cuda
