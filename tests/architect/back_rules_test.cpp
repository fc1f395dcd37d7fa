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

/// Rows that each add 2 x 256 sums, in the way that `adds` says.
std::string row_sums(std::string_view adds) {
  return fmt::format(R"(# PyTorch Reference
```python
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, grad, x):
        return torch.stack([(grad * x).float().sum(0), grad.float().sum(0)])


def get_inputs():
    return [torch.randn(65536, 256).half(), torch.randn(65536, 256).half()]


def get_init_inputs():
    return []
```

# Current Triton Kernel
```python
import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def affine_grad_kernel(grad_ptr, x_ptr, out_ptr, COLS: tl.constexpr):
    row = tl.program_id(0)
    cols = tl.arange(0, COLS)
    both = tl.arange(0, 2 * COLS)
    grad = tl.load(grad_ptr + row * COLS + cols).to(tl.float32)
    x = tl.load(x_ptr + row * COLS + cols).to(tl.float32)
    {}


class ModelNew(nn.Module):
    def forward(self, grad, x):
        rows, cols = grad.shape
        out = torch.zeros((2, cols), device=grad.device, dtype=torch.float32)
        affine_grad_kernel[(rows,)](grad, x, out, COLS=256, num_warps=4)
        return out
```

# Performance
No performance data available. Analyze code structure only.
)",
                     adds);
}

// Each atomic is replaced by a store of its own sums: two of them cost what one of both does.
TEST(BackRuleContendedAtomic, TwoAtomicsCostWhatOneOfTheirSizeDoes) {
  const Judged two =
      judge_text(row_sums("tl.atomic_add(out_ptr + cols, grad * x)\n"
                          "    tl.atomic_add(out_ptr + COLS + cols, grad)"));
  const Judged one = judge_text(row_sums("tl.atomic_add(out_ptr + both, tl.cat(grad * x, grad))"));
  for (const Judged* each : {&two, &one}) {
    EXPECT_TRUE(each->model.not_understood.empty()) << each->model.not_understood.front().what;
    ASSERT_TRUE(each->price("contended-atomic").finding.applies);
  }
  EXPECT_NEAR(two.price("contended-atomic").after.value, one.price("contended-atomic").after.value,
              0.05 * one.price("contended-atomic").after.value);
}

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
