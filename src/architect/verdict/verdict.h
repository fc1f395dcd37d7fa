// The last stage: prices every rule on a model, corrects the prices with the document's
// measurements, applies the gate, and says the result in sentences. Nothing here knows a rule by
// name but the two whose price is the reference's own time.
//
//   Verdict verdict = judge(model_of(document), *cost::find_gpu("h100-sxm"));
//   std::string answer = to_json(verdict);
#pragma once

#include <string>
#include <vector>

#include "architect/model/kernel_model.h"
#include "architect/rules/estimate.h"
#include "architect/rules/rule.h"
#include "cost/devices.h"

namespace quoin::architect {

struct RulePrice {
  const Rule* rule = nullptr;
  Finding finding;
  cost::Seconds after;  // corrected by the document's measurements; of a rule that applies
};

struct Verdict {
  // The answer.
  bool worth = false;
  std::string reason, bottleneck, method, plan, speedup;
  // Where it comes from.
  ProgramPrice current, reference;
  cost::Seconds before;   // corrected
  cost::Seconds limit;    // roofline of the reference's work
  double correction = 1;  // measured over modelled, 1 without measurements
  std::vector<RulePrice> rules;
  int best = -1;  // index into `rules`, -1 where none applies

  [[nodiscard]] const RulePrice* chosen() const noexcept {
    return best < 0 ? nullptr : &rules[static_cast<std::size_t>(best)];
  }
};

[[nodiscard]] Verdict judge(const Model& model, const cost::GpuDevice& gpu);

/// The six keys in their order, and nothing else.
[[nodiscard]] std::string to_json(const Verdict& verdict);
/// The same for people.
[[nodiscard]] std::string to_text(const Verdict& verdict);

/// Launches with trip counts, grids, bytes, operations and times; the limit; every rule's price;
/// what was not understood, with line numbers.
[[nodiscard]] std::string explain(const Verdict& verdict, const Model& model,
                                  const cost::GpuDevice& gpu);
/// The same as JSON.
[[nodiscard]] std::string model_json(const Verdict& verdict, const Model& model,
                                     const cost::GpuDevice& gpu);

}  // namespace quoin::architect
