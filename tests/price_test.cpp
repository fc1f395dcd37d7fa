// How well the cost model predicts the operator: its prices against every recorded comparison,
// bench/results/linear-*.json, on the device table's row for the machine that measured it.
#include "linear/plan/price.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cost/devices.h"
#include "linear/backends.h"

namespace quoin::test {
namespace {

struct Prediction {
  std::string what;
  double ratio;  // modelled over measured
};

const Backend* find_backend(const std::string& name) {
  for (const Backend& b : kBackends) {
    if (b.name == name) return &b;
  }
  return nullptr;
}

/// One for each entrant of quoin's own in a cell with hot weights: the model asks in which cache
/// the weights lie, not where the last problem left them.
std::vector<Prediction> predictions(const nlohmann::json& run) {
  const nlohmann::json& machine = run.at("machine");
  const cost::CpuDevice& cpu =
      cost::match_cpu(machine.at("vendor").get<std::string>(), machine.at("family").get<int>(),
                      machine.at("model").get<int>());
  std::vector<Prediction> all;
  for (const nlohmann::json& cell : run.at("cells")) {
    if (cell.at("weights") != "hot") continue;
    for (const nlohmann::json& entrant : cell.at("entrants")) {
      const std::string name = entrant.at("name");
      if (!name.starts_with("quoin ")) continue;
      const Backend* backend = find_backend(name.substr(6));
      if (backend == nullptr) continue;  // the dynamic layer
      const std::int64_t m = cell.at("m"), n = cell.at("n"), k = cell.at("k");
      const Price price = price_product(*backend, cpu, m, n, k, cell.at("threads"));
      const double measured = entrant.at("us").at(1).get<double>() * 1e-6;
      all.push_back({name + " " + std::to_string(m) + "x" + std::to_string(n) + "x" +
                         std::to_string(k) + " threads " + cell.at("threads").dump(),
                     price.total.value / measured});
    }
  }
  return all;
}

double error(const Prediction& p) { return std::abs(std::log(p.ratio)); }

TEST(PriceAgainstResults, MostWithinAQuarter) {
  int runs = 0;
  for (const auto& file : std::filesystem::directory_iterator(QUOIN_RESULTS)) {
    const std::string name = file.path().filename().string();
    if (!name.starts_with("linear-") || file.path().extension() != ".json") continue;
    SCOPED_TRACE(name);
    std::vector<Prediction> all = predictions(nlohmann::json::parse(std::ifstream(file.path())));
    ASSERT_FALSE(all.empty());
    ++runs;
    std::sort(all.begin(), all.end(),
              [](const Prediction& a, const Prediction& b) { return error(a) < error(b); });
    const double median = std::expm1(error(all[all.size() / 2]));
    const auto within = [&](double factor) {
      return static_cast<double>(
                 std::count_if(all.begin(), all.end(),
                               [&](const Prediction& p) { return error(p) <= std::log(factor); })) /
             static_cast<double>(all.size());
    };
    std::printf("%s: %zu prices, median error %.1f%%, within 1.25x %.0f%%, within 1.5x %.0f%%\n",
                name.c_str(), all.size(), 100 * median, 100 * within(1.25), 100 * within(1.5));
    for (std::size_t i = all.size() - std::min<std::size_t>(all.size(), 5); i < all.size(); ++i) {
      std::printf("  %-50s modelled %.2f of measured\n", all[i].what.c_str(), all[i].ratio);
    }
    EXPECT_LE(median, 0.10);
    EXPECT_GE(within(1.25), 0.75);
    EXPECT_GE(within(1.5), 0.85);
  }
  EXPECT_GE(runs, 1);
}

}  // namespace
}  // namespace quoin::test
