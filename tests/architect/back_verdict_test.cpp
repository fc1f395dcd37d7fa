// The answer: sentences and ranges, measurements that correct the model, and that a document's
// names, layout, comments and the order of independent statements leave the verdict alone.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "architect/model/model.h"
#include "architect/source/document.h"
#include "architect/verdict/sentences.h"
#include "architect/verdict/verdict.h"
#include "tests/architect/answers.h"

namespace quoin::architect {
namespace {

std::string fires_case(const std::string& rule) {
  const std::string text = read(fmt::format("{}/{}.md", QUOIN_CASES, rule));
  return text.substr(0, text.find("<!-- near miss: "));
}

Verdict verdict_of(const std::string& text, const char* gpu = "h100-sxm") {
  const Result<Document> document = read_document(text);
  EXPECT_TRUE(document.ok());
  if (!document.ok()) return {};
  return judge(model_of(document.value()), *cost::find_gpu(gpu));
}

std::string replaced(std::string text,
                     const std::vector<std::pair<std::string, std::string>>& pairs) {
  for (const auto& [from, to] : pairs) {
    for (std::size_t at = text.find(from); at != std::string::npos;
         at = text.find(from, at + to.size())) {
      text.replace(at, from.size(), to);
    }
  }
  return text;
}

void expect_same(const Verdict& a, const Verdict& b, const std::string& what) {
  EXPECT_EQ(a.worth, b.worth) << what;
  EXPECT_EQ(a.speedup, b.speedup) << what;
  ASSERT_NE(a.chosen(), nullptr) << what;
  ASSERT_NE(b.chosen(), nullptr) << what;
  EXPECT_EQ(a.chosen()->rule->id, b.chosen()->rule->id) << what;
  EXPECT_DOUBLE_EQ(a.before.value, b.before.value) << what;
}

TEST(BackSentences, AreCountedAndCut) {
  EXPECT_EQ(count_sentences("One takes 2.42 ms. `self.weight` stays."), 2);
  EXPECT_EQ(sentences("a. b. c.", 2), "a. b.");
  EXPECT_EQ(sentences("no stop", 1), "no stop.");
  EXPECT_EQ(sentences("line\nbreak\tand  spaces.", 1), "line break and spaces.");
  EXPECT_EQ(sentences("", 3), "");
}

TEST(BackSentences, RangesChangeTheirFormAtTwo) {
  EXPECT_EQ(speedup_range(1.35), "25-45%");
  EXPECT_EQ(speedup_range(2.4), "2.1-2.8x");
  EXPECT_EQ(speedup_range(50), "43-58x");
}

TEST(BackMeasured, LatenciesReplaceTheModelledTime) {
  const std::string text = fires_case("transposed-per-call");
  const std::string given =
      replaced(text, {{"No performance data available. Analyze code structure only.",
                       "- **PyTorch baseline**: 5.00 ms\n- **Current Triton**: 4.00 ms\n- "
                       "**Current speedup**: 1.25x (+25.0% vs baseline)"}});
  const Verdict plain = verdict_of(text), measured = verdict_of(given);
  EXPECT_NEAR(measured.before.value, 4.00e-3, 1e-9);
  EXPECT_NE(measured.correction, 1);
  EXPECT_TRUE(measured.worth);
  EXPECT_NE(measured.reason.find("4.00 ms"), std::string::npos) << measured.reason;
  EXPECT_EQ(plain.chosen()->rule->id, measured.chosen()->rule->id);
  check_answer(to_json(measured), "latencies");
}

TEST(BackMeasured, AProfilerThatSeesTheBandwidthUsedEndsTheMatter) {
  std::string text = fires_case("small-programs");
  ASSERT_TRUE(verdict_of(text).worth);
  text =
      replaced(text, {{"# Performance\nNo performance data available. Analyze code structure only.",
                       "# NCU Metrics\n{\"stream_kernel\": "
                       "{\"dram__throughput.avg.pct_of_peak_sustained_elapsed\": 93.1, "
                       "\"sm__throughput.avg.pct_of_peak_sustained_elapsed\": 21.0}}"}});
  const Verdict verdict = verdict_of(text);
  EXPECT_FALSE(verdict.worth);
  EXPECT_NE(verdict.reason.find("93%"), std::string::npos) << verdict.reason;
  check_answer(to_json(verdict), "metrics");
}

TEST(BackDevice, PricesFollowTheCard) {
  const std::string text = fires_case("small-programs");
  EXPECT_GT(verdict_of(text, "l4").before.value, 4 * verdict_of(text, "h100-sxm").before.value);
}

TEST(BackMetamorphic, NamesDoNotMatter) {
  const std::string text = fires_case("transposed-per-call");
  const std::string other = replaced(text, {{"product_kernel", "k1"},
                                            {"x_ptrs", "pa"},
                                            {"w_ptrs", "pb"},
                                            {"x_ptr", "first"},
                                            {"w_ptr", "second"},
                                            {"y_ptr", "third"},
                                            {"rows", "i0"},
                                            {"cols", "j0"},
                                            {"acc", "total"},
                                            {"self.weight", "self.kernel_matrix"},
                                            {"BM", "TILE_A"},
                                            {"BN", "TILE_B"}});
  ASSERT_NE(text, other);
  expect_same(verdict_of(text), verdict_of(other), "renamed");
}

TEST(BackMetamorphic, LayoutAndCommentsDoNotMatter) {
  for (const char* rule :
       {"transposed-per-call", "small-programs", "reduction-inside-loop", "direct-convolution"}) {
    const std::string text = fires_case(rule);
    const std::string other =
        replaced(text, {{"\n    def forward", "\n\n    # what a call does\n    def forward"},
                        {", mask=", ",\n                mask="},
                        {"tl.program_id(0) * ", "tl.program_id(axis=0)  *  "},
                        {"        return y\n", "        # done\n        return (y)\n"}});
    ASSERT_NE(text, other);
    expect_same(verdict_of(text), verdict_of(other), rule);
  }
}

TEST(BackMetamorphic, TheOrderOfIndependentStatementsDoesNotMatter) {
  const std::string text = fires_case("transposed-per-call");
  const std::string one = "    rows = tl.program_id(0) * BM + tl.arange(0, BM)\n";
  const std::string two = "    cols = tl.program_id(1) * BN + tl.arange(0, BN)\n";
  ASSERT_NE(text.find(one + two), std::string::npos);
  expect_same(verdict_of(text), verdict_of(replaced(text, {{one + two, two + one}})), "reordered");
}

}  // namespace
}  // namespace quoin::architect
