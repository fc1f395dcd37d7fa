// Every rule on its case file: cases/<rule>.md holds a document on which the rule fires and, behind
// a comment that names the difference, a near miss on which it must not. Also what holds for rules
// as a list.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "architect/model/model.h"
#include "architect/rules/rules.h"
#include "architect/source/document.h"
#include "architect/verdict/verdict.h"
#include "tests/architect/answers.h"

namespace quoin::architect {
namespace {

struct Judged {
  Model model;
  Verdict verdict;

  [[nodiscard]] const RulePrice& price(std::string_view id) const {
    for (const RulePrice& each : verdict.rules) {
      if (each.rule->id == id) return each;
    }
    return verdict.rules.front();
  }
};

Judged judge_text(const std::string& text) {
  const Result<Document> document = read_document(text);
  EXPECT_TRUE(document.ok());
  Judged out;
  if (document.ok()) out.model = model_of(document.value());
  out.verdict = judge(out.model, *cost::find_gpu("h100-sxm"));
  return out;
}

class BackRules : public ::testing::TestWithParam<std::size_t> {};

TEST_P(BackRules, FiresAndStaysSilent) {
  const Rule& rule = rules()[GetParam()];
  const std::string text = read(fmt::format("{}/{}.md", QUOIN_CASES, rule.id));
  const std::size_t middle = text.find("<!-- near miss: ");
  ASSERT_NE(middle, std::string::npos) << rule.id;

  const Judged fires = judge_text(text.substr(0, middle));
  EXPECT_TRUE(fires.model.not_understood.empty()) << fires.model.not_understood.front().what;
  const RulePrice& hit = fires.price(rule.id);
  ASSERT_TRUE(hit.finding.applies) << rule.id << ": " << hit.finding.refused_because;
  EXPECT_LT(hit.after.value, 0.95 * fires.verdict.before.value) << rule.id;
  EXPECT_FALSE(hit.finding.text.bottleneck.empty());
  EXPECT_FALSE(hit.finding.text.method.empty());
  EXPECT_FALSE(hit.finding.text.plan.empty());
  check_answer(to_json(fires.verdict), std::string(rule.id));

  const Judged misses = judge_text(text.substr(text.find('\n', middle)));
  EXPECT_TRUE(misses.model.not_understood.empty()) << misses.model.not_understood.front().what;
  const RulePrice& miss = misses.price(rule.id);
  if (miss.finding.applies) {
    EXPECT_GT(miss.after.value, 0.95 * misses.verdict.before.value)
        << rule.id << " fires on its near miss";
  } else {
    EXPECT_FALSE(miss.finding.refused_because.empty()) << rule.id;
  }
  check_answer(to_json(misses.verdict), std::string(rule.id) + ", near miss");
}

INSTANTIATE_TEST_SUITE_P(Each, BackRules, ::testing::Range(std::size_t{0}, rules().size()),
                         [](const auto& which) {
                           std::string id(rules()[which.param].id);
                           for (char& c : id) c = c == '-' ? '_' : c;
                           return id;
                         });

TEST(BackRuleList, IdsAreUniqueAndKebabCase) {
  std::set<std::string_view> seen;
  for (const Rule& rule : rules()) {
    EXPECT_TRUE(seen.insert(rule.id).second) << rule.id;
    EXPECT_EQ(rule.id.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-"),
              std::string_view::npos)
        << rule.id;
    EXPECT_NE(rule.apply, nullptr) << rule.id;
    EXPECT_FALSE(rule.title.empty()) << rule.id;
  }
}

TEST(BackRuleList, AnEmptyModelHasAVerdict) {
  const Verdict verdict = judge(Model{}, *cost::find_gpu("h100-sxm"));
  EXPECT_FALSE(verdict.worth);
  check_answer(to_json(verdict), "empty model");
  for (const RulePrice& price : verdict.rules)
    EXPECT_FALSE(price.finding.applies) << price.rule->id;
}

}  // namespace
}  // namespace quoin::architect
