#include "architect/verdict/verdict.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "architect/rules/rules.h"
#include "architect/rules/support.h"
#include "architect/verdict/correct.h"
#include "architect/verdict/sentences.h"

namespace quoin::architect {
namespace {

using cost::Seconds;

// The gate: a change must be modelled to gain this much. Between 10 and 20% the cheaper change has
// the lower bar.
double bar(Effort effort) {
  switch (effort) {
    case Effort::edit: return 0.10;
    case Effort::rework: return 0.15;
    case Effort::rewrite: return 0.20;
  }
  return 0.20;
}

/// Between prices that differ less than the model's error the smaller change wins.
double weighed(const RulePrice& price) {
  const double effort = price.finding.effort == Effort::edit     ? 1.0
                        : price.finding.effort == Effort::rework ? 1.04
                                                                 : 1.10;
  return price.after.value * effort;
}

/// What no version of this work can beat: every input read and every output written once, and the
/// products and convolutions at the tensor cores' datasheet rate.
Seconds limit_of(const Model& model, const cost::GpuDevice& gpu) {
  const Program& p =
      model.reference.present && !model.reference.ops.empty() ? model.reference : model.current;
  double bytes = 0, seconds = 0;
  for (ValueId id : p.inputs) {
    if (const Value* value = value_at(p, id)) bytes += bytes_of(*value);
  }
  for (ValueId id : p.outputs) {
    if (const Value* value = value_at(p, id)) bytes += bytes_of(*value);
  }
  std::vector<int> seen;
  for (const Op& op : p.ops) {
    for (const Operand& operand : op.inputs) {
      const Value* value = value_at(p, operand.value);
      if (value == nullptr || value->origin != Origin::parameter) continue;
      if (std::find(seen.begin(), seen.end(), value->storage) != seen.end()) continue;
      seen.push_back(value->storage);
      bytes += bytes_of(*value);
    }
    if (op.matmul) {
      const cost::GemmCall c = gemm_call(p, op, true);
      seconds += 2 * c.batch * c.m * c.n * c.k * op.count / cost::peak(gpu, c.type).value;
    } else if (op.conv) {
      const cost::ConvCall c = conv_call(p, op);
      const double points = c.transposed ? c.in_points : c.out_points;
      const auto type = c.element == 2 ? cost::DotType::float16 : cost::DotType::tf32;
      seconds += 2 * c.batch * points * c.in_channels / c.groups * c.out_channels * c.taps *
                 op.count / cost::peak(gpu, type).value;
    }
  }
  return Seconds{std::max(bytes / gpu.memory.value, seconds)};
}

std::string output_sentence(const Program& program) {
  if (program.outputs.empty()) return "";
  std::vector<std::string> texts;
  for (ValueId id : program.outputs) {
    const Value* value = value_at(program, id);
    if (value != nullptr && value->shape_known) texts.push_back(shape_text(*value));
  }
  if (texts.empty()) return "";
  return fmt::format(" The output stays {}.", list_text(texts, 4));
}

/// The operation that takes the most device time, or -1.
OpId main_op(const Program& program, const ProgramPrice& price) {
  OpId best = -1;
  double most = 0;
  for (std::size_t i = 0; i < program.ops.size(); ++i) {
    const double time = price.ops[i].device.value * program.ops[i].count;
    if (time > most) {
      most = time;
      best = static_cast<OpId>(i);
    }
  }
  return best;
}

std::string why_not(const Verdict& v, const Model& model, const Correction& correction,
                    const cost::GpuDevice& gpu) {
  const Program& program = model.current;
  const OpId id = main_op(program, v.current);
  if (id < 0) return "No device work could be derived from the kernel, so no change can be priced.";
  const Op& op = op_at(program, id);
  const OpPrice& price = v.current.ops[static_cast<std::size_t>(id)];
  std::string best = "no single change is modelled to help";
  if (v.chosen() != nullptr) {
    const double gain = v.before.value / std::max(v.chosen()->after.value, 1e-12) - 1;
    best = fmt::format("the best single change found (`{}`) is modelled at {:.0f}%",
                       v.chosen()->rule->id, std::max(0.0, gain * 100));
  }
  const std::string cited = correction.cited.empty() ? "" : fmt::format(" ({})", correction.cited);
  if (kernel_of(program, op) != nullptr && price.kernel.limiter == cost::Pipe::dram) {
    const double rate = price.kernel.dram_bytes.value / price.device.value;
    return fmt::format("{} moves {} at {} of the card's {:.2f} TB/s{}, and {}.", op_name(op),
                       bytes_text(price.kernel.dram_bytes.value),
                       percent(std::min(1.0, rate / gpu.memory.value / correction.factor)),
                       gpu.memory.value / 1e12, cited, best);
  }
  const std::string what = kernel_of(program, op) != nullptr
                               ? fmt::format("is limited by {}", cost::name(price.kernel.limiter))
                               : "is a tuned library kernel";
  return fmt::format("{} takes {} of {} and {}{}, and {}.", op_name(op),
                     milliseconds(price.device * op.count * correction.factor),
                     milliseconds(v.before), what, cited, best);
}

void say_yes(Verdict& v, const Model& model, const Correction& correction) {
  const RulePrice& chosen = *v.chosen();
  const double factor = v.before.value / chosen.after.value;
  const std::string by = correction.cited.empty() ? "by the model" : correction.cited;
  v.worth = true;
  v.reason =
      fmt::format("One call takes {} ({}) and about {} without its bottleneck: {}.",
                  milliseconds(v.before), by, milliseconds(chosen.after), chosen.rule->title);
  v.reason = sentences(v.reason, 1);
  v.bottleneck = sentences(chosen.finding.text.bottleneck, 2);
  v.method = sentences(chosen.finding.text.method, 2);
  const std::string plan = sentences(chosen.finding.text.plan, 2);
  std::string last = output_sentence(model.current);
  if (count_sentences(plan) + (last.empty() ? 0 : 1) < 2)
    last += " Compare the result with the reference on random inputs before timing it.";
  v.plan = sentences(plan + last, 3);
  v.speedup = speedup_range(factor);
}

}  // namespace

Verdict judge(const Model& model, const cost::GpuDevice& gpu) {
  Verdict v;
  v.current = price_program(model.current, gpu);
  v.reference = price_program(model.reference, gpu);
  v.limit = limit_of(model, gpu);
  const Correction correction = correction_of(model, v.current, v.reference, gpu);
  v.correction = correction.factor;
  v.before = v.current.total * correction.factor;

  const Case about{model, gpu, v.current, v.reference};
  v.rules.reserve(rules().size());
  for (const Rule& rule : rules()) {
    RulePrice price;
    price.rule = &rule;
    if (model.current.ops.empty()) {
      price.finding = Finding::refused("no device work was found in the kernel");
    } else {
      price.finding = rule.apply(about);
    }
    if (price.finding.applies) {
      price.after = price.finding.after * correction.factor;
      // Only this rule's price is a program that was measured itself.
      if (rule.id == "slower-than-reference" && correction.reference.value > 0)
        price.after = correction.reference;
    }
    v.rules.push_back(std::move(price));
  }
  for (std::size_t i = 0; i < v.rules.size(); ++i) {
    const RulePrice& price = v.rules[i];
    if (!price.finding.applies || !(price.after.value > 0) || !std::isfinite(price.after.value))
      continue;
    if (v.best < 0 || weighed(price) < weighed(*v.chosen())) v.best = static_cast<int>(i);
  }
  const bool streams_already = correction.at_bandwidth && v.chosen() != nullptr &&
                               v.chosen()->finding.effort == Effort::edit &&
                               v.chosen()->rule->category == Category::layout &&
                               model.current.ops.size() == 1;
  const double gain = v.chosen() != nullptr ? v.before.value / v.chosen()->after.value - 1 : 0;
  if (v.chosen() != nullptr && gain >= bar(v.chosen()->finding.effort) && !streams_already) {
    say_yes(v, model, correction);
  } else {
    v.reason = sentences(why_not(v, model, correction, gpu), 1);
  }
  return v;
}

}  // namespace quoin::architect
