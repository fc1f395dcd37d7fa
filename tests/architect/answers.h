// Checks of the answer's form, for every test that makes one, and reading of files.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "architect/verdict/sentences.h"

namespace quoin::architect {

inline std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// "30-40%" is 1.3 to 1.4; "2.1-2.8x" is that.
inline std::pair<double, double> range_of(const std::string& text) {
  const std::size_t dash = text.find('-');
  if (dash == std::string::npos || text.empty()) return {1, 1};
  const double low = std::stod(text.substr(0, dash)), high = std::stod(text.substr(dash + 1));
  return text.back() == '%' ? std::pair{1 + low / 100, 1 + high / 100} : std::pair{low, high};
}

/// The six keys in their order, strings, sentence counts, empty where "no".
inline void check_answer(const std::string& json, const std::string& name) {
  const auto answer = nlohmann::ordered_json::parse(json, nullptr, false);
  ASSERT_FALSE(answer.is_discarded()) << name;
  const std::vector<std::string> keys = {"worth_optimizing",  "reason",
                                         "bottleneck",        "optimisation method",
                                         "modification plan", "expected_speedup"};
  std::vector<std::string> found;
  for (const auto& [key, value] : answer.items()) {
    found.push_back(key);
    EXPECT_TRUE(value.is_string()) << name << ": " << key;
  }
  ASSERT_EQ(found, keys) << name;
  const auto text = [&](const char* key) { return answer[key].get<std::string>(); };
  EXPECT_EQ(count_sentences(text("reason")), 1) << name << ": " << text("reason");
  if (text("worth_optimizing") == "no") {
    for (std::size_t i = 2; i < keys.size(); ++i)
      EXPECT_EQ(answer[keys[i]], "") << name << ": " << keys[i];
    return;
  }
  EXPECT_EQ(text("worth_optimizing"), "yes") << name;
  const auto between = [&](const char* key, int least, int most) {
    const int count = count_sentences(text(key));
    EXPECT_GE(count, least) << name << ": " << key << ": " << text(key);
    EXPECT_LE(count, most) << name << ": " << key << ": " << text(key);
    EXPECT_EQ(text(key).back(), '.') << name << ": " << key;
  };
  between("bottleneck", 1, 2);
  between("optimisation method", 1, 2);
  between("modification plan", 2, 3);
  const auto [low, high] = range_of(text("expected_speedup"));
  EXPECT_GT(low, 1.0) << name;
  EXPECT_GT(high, low) << name << ": " << text("expected_speedup");
}

}  // namespace quoin::architect
