// What a rule is: a bad pattern that it looks for in a kernel model, the rewrite that removes it,
// and the price of the rewritten program. One file for each; rules.h lists them. Rules see the
// model and prices, never syntax and never one another. A rule that does not apply says why.
//
// The head comment of each rule's file is its page in docs/rules.md (scripts/rules_page.py).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "architect/rules/estimate.h"

namespace quoin::architect {

enum class Category { fusion, algorithm, launches, layout };

[[nodiscard]] std::string_view name(Category category) noexcept;

/// What a rule looks at.
struct Case {
  const Model& model;
  const cost::GpuDevice& gpu;
  const ProgramPrice& current;
  const ProgramPrice& reference;

  [[nodiscard]] const Program& program() const noexcept { return model.current; }
};

/// Sentences about this document, each with a full stop.
struct Text {
  std::string bottleneck;  // one or two
  std::string method;      // one or two
  std::string plan;        // one or two: the verdict adds what the output is
};

enum class Effort {
  edit,     // a few lines of host code or of one kernel
  rework,   // one kernel's body changes
  rewrite,  // a new kernel, or several merged
};

struct Finding {
  bool applies = false;
  std::string refused_because;  // where it does not
  cost::Seconds after;          // the program, changed
  Effort effort = Effort::rework;
  Text text;
  std::string note;  // for --explain: what the price does not show

  [[nodiscard]] static Finding applied(cost::Seconds after, Effort effort) {
    Finding out;
    out.applies = true;
    out.after = after;
    out.effort = effort;
    return out;
  }
  [[nodiscard]] static Finding refused(std::string why) {
    Finding out;
    out.refused_because = std::move(why);
    return out;
  }
};

struct Rule {
  std::string_view id;  // the bad pattern, in kebab case; its file is the same with underscores
  Category category = Category::algorithm;
  std::string_view title;
  Finding (*apply)(const Case& about) = nullptr;
};

}  // namespace quoin::architect
