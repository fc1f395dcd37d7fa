// The score over real kernels with measured outcomes: how often "yes" and "no" are right, how far
// the modelled time is from the measured one, how often the predicted range holds the known
// headroom. Printed for every document, so that each change shows what it did; fails below a floor.
// The collection lies beside the checkout (QUOIN_CORPUS, a directory); skipped without it.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "architect/model/model.h"
#include "architect/source/document.h"
#include "architect/verdict/verdict.h"
#include "cost/devices.h"
#include "tests/architect/answers.h"

namespace quoin::architect {
namespace {

namespace fs = std::filesystem;

struct Scored {
  std::string name, known, said, range, rule;
  double measured_ms = 0, modelled_ms = 0, measured_reference_ms = 0, modelled_reference_ms = 0;
  double headroom = 1, low = 1, high = 1, milliseconds = 0;

  [[nodiscard]] double error() const { return std::fabs(std::log(modelled_ms / measured_ms)); }
  [[nodiscard]] bool holds() const { return low / 1.25 <= headroom && headroom <= high * 1.25; }
};

Scored score(const fs::path& document) {
  const nlohmann::json known =
      nlohmann::json::parse(read(fs::path(document).replace_extension(".json")));
  const std::string text = read(document);
  Scored out;
  out.name = document.stem().string();
  const auto start = std::chrono::steady_clock::now();
  const Result<Document> parsed = read_document(text);
  EXPECT_TRUE(parsed.ok()) << out.name;
  if (!parsed.ok()) return out;
  const Model model = model_of(parsed.value());
  const Verdict verdict = judge(model, *cost::find_gpu("h100-sxm"));
  out.milliseconds =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  check_answer(to_json(verdict), out.name);
  EXPECT_FALSE(model.current.ops.empty()) << out.name;
  out.known = known.at("verdict");
  out.said = verdict.worth ? "yes" : "no";
  out.range = verdict.speedup;
  out.rule = verdict.chosen() != nullptr ? std::string(verdict.chosen()->rule->id) : "";
  out.measured_ms = known.at("current_ms");
  out.modelled_ms = verdict.before.value * 1e3;
  out.measured_reference_ms = known.at("reference_ms");
  out.modelled_reference_ms = verdict.reference.total.value * 1e3;
  out.headroom = known.at("headroom");
  if (verdict.worth) std::tie(out.low, out.high) = range_of(verdict.speedup);
  return out;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

TEST(BackCorpus, Score) {
  const char* given = std::getenv("QUOIN_CORPUS");
  const fs::path folder = given != nullptr ? given : QUOIN_CORPUS_DEFAULT;
  if (!fs::is_directory(folder)) GTEST_SKIP() << "no collection at " << folder;
  std::vector<fs::path> documents;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".md" &&
        fs::exists(fs::path(entry.path()).replace_extension(".json"))) {
      documents.push_back(entry.path());
    }
  }
  std::sort(documents.begin(), documents.end());
  ASSERT_FALSE(documents.empty());
  std::vector<Scored> all;
  for (const fs::path& document : documents) all.push_back(score(document));

  double yes = 0, yes_right = 0, no = 0, no_right = 0, hits = 0, within = 0, reference_within = 0;
  std::vector<double> errors, times;
  for (const Scored& s : all) {
    const bool right = s.known == "open" || s.known == s.said;
    fmt::print(
        "{} {:<32.32} {:<4} {:<3} cur {:9.3f} model {:9.3f} x{:<5.2f} ref {:8.3f} model {:8.3f} "
        "x{:<5.2f} head {:6.2f} {:<10} {} {}\n",
        right ? ' ' : '!', s.name, s.known, s.said, s.measured_ms, s.modelled_ms,
        s.modelled_ms / s.measured_ms, s.measured_reference_ms, s.modelled_reference_ms,
        s.modelled_reference_ms / s.measured_reference_ms, s.headroom, s.range,
        s.known == "yes" && s.said == "yes" ? (s.holds() ? "hit " : "miss") : "    ", s.rule);
    errors.push_back(s.error());
    times.push_back(s.milliseconds);
    within += s.error() <= std::log(1.5) ? 1 : 0;
    reference_within +=
        std::fabs(std::log(s.modelled_reference_ms / s.measured_reference_ms)) <= std::log(1.5) ? 1
                                                                                                : 0;
    if (s.known == "yes") {
      ++yes;
      yes_right += s.said == "yes" ? 1 : 0;
      hits += s.said == "yes" && s.holds() ? 1 : 0;
    } else if (s.known == "no") {
      ++no;
      no_right += s.said == "no" ? 1 : 0;
    }
  }
  const double count = static_cast<double>(all.size());
  const double balanced = (yes_right / std::max(1.0, yes) + no_right / std::max(1.0, no)) / 2;
  const double error = std::exp(median(errors)) - 1;
  fmt::print(
      "balanced accuracy {:.3f} (yes {:.0f} of {:.0f}, no {:.0f} of {:.0f}); current time within "
      "1.5x {:.0f}%, median error {:.0f}%; reference within 1.5x {:.0f}%; range hits {:.0f} of "
      "{:.0f} right yes; {:.1f} ms a document (median), {:.1f} at worst\n",
      balanced, yes_right, yes, no_right, no, 100 * within / count, 100 * error,
      100 * reference_within / count, hits, yes_right, median(times),
      *std::max_element(times.begin(), times.end()));
  EXPECT_GE(balanced, 0.85);
  EXPECT_GE(within / count, 0.80);
  EXPECT_LE(error, 0.25);
  EXPECT_GE(hits, 0.60 * yes_right);
}

/// The document that the project began with: the edit measured there gained 2.6 times.
TEST(BackCorpus, Seed) {
  const fs::path folder = fs::path(QUOIN_SHARED) / "seed";
  if (!fs::is_directory(folder)) GTEST_SKIP() << folder << " is not there";
  for (const auto& entry : fs::directory_iterator(folder)) {
    const Result<Document> document = read_document(read(entry.path()));
    ASSERT_TRUE(document.ok());
    const Model model = model_of(document.value());
    const cost::GpuDevice& gpu = *cost::find_gpu("h100-sxm");
    const Verdict verdict = judge(model, gpu);
    ASSERT_TRUE(verdict.worth);
    EXPECT_EQ(verdict.chosen()->rule->id, "widened-int8");
    EXPECT_NE(verdict.method.find("[N, K]"), std::string::npos) << verdict.method;
    EXPECT_NE(verdict.method.find("int32"), std::string::npos) << verdict.method;
    EXPECT_NE(explain(verdict, model, gpu).find("int8 alone"), std::string::npos);
    const auto [low, high] = range_of(verdict.speedup);
    EXPECT_LE(low, 2.6);
    EXPECT_GE(high, 2.6);
  }
}

}  // namespace
}  // namespace quoin::architect
