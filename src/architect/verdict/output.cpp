// The verdict as JSON and text, and the explanation behind it.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

#include "architect/rules/rules.h"
#include "architect/rules/support.h"
#include "architect/verdict/verdict.h"

namespace quoin::architect {
namespace {

using nlohmann::ordered_json;

std::string dump(const ordered_json& json) {
  return json.dump(2, ' ', false, ordered_json::error_handler_t::replace);
}

std::string loops_text(const Kernel& kernel) {
  std::string out;
  for (const Loop& loop : kernel.loops) {
    out += fmt::format("{}line {}: {:.4g}{}", out.empty() ? "" : ", ", loop.line, loop.trips,
                       loop.trips_known ? "" : " (not known)");
  }
  return out.empty() ? "none" : out;
}

void explain_launch(std::string& out, const Program& program, const Op& op, const OpPrice& price) {
  const Kernel& kernel = *kernel_of(program, op);
  const cost::KernelTime& k = price.kernel;
  fmt::format_to(std::back_inserter(out),
                 "      grid {} x {} x {}, {} warps, {} stages, {:.0f} programs per SM, {:.2f} "
                 "waves; loops: {}\n",
                 op.launch->grid[0], op.launch->grid[1], op.launch->grid[2], op.launch->num_warps,
                 op.launch->num_stages, k.resident, k.waves, loops_text(kernel));
  fmt::format_to(
      std::back_inserter(out),
      "      dram {} ({}), l2 {}, issue {}, tensor {}, latency {}, dispatch {}: limited by {}\n",
      milliseconds(k.dram), bytes_text(k.dram_bytes.value), milliseconds(k.l2),
      milliseconds(k.issue), milliseconds(k.tensor), milliseconds(k.latency),
      milliseconds(k.dispatch), cost::name(k.limiter));
  for (const Dot& dot : kernel.dots) {
    const auto side = [](const DotOperand& operand) {
      return fmt::format(
          "{}{}{}", name(operand.stored),
          operand.stored != operand.type ? fmt::format(" cast to {}", name(operand.type)) : "",
          !operand.k_contiguous   ? ""
          : *operand.k_contiguous ? " along K"
                                  : " across K");
    };
    fmt::format_to(std::back_inserter(out),
                   "      line {}: dot {} x {} x {}, {:.0f} times a program, a: {}, b: {}\n",
                   dot.line, dot.m, dot.n, dot.k, dot.executions, side(dot.a), side(dot.b));
  }
}

void explain_program(std::string& out, std::string_view title, const Program& program,
                     const ProgramPrice& price) {
  fmt::format_to(std::back_inserter(out), "{}: {} ({} of the device, {} of the host)\n", title,
                 milliseconds(price.total), milliseconds(price.device), milliseconds(price.host));
  // Long unrolled programs: the longest operations say enough.
  std::vector<std::size_t> order(program.ops.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  const auto time = [&](std::size_t i) { return price.ops[i].device.value * program.ops[i].count; };
  constexpr std::size_t kMost = 24;
  if (order.size() > kMost) {
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return time(a) > time(b); });
    fmt::format_to(std::back_inserter(out), "  the {} longest of {} operations\n", kMost,
                   order.size());
    order.resize(kMost);
    std::sort(order.begin(), order.end());
  }
  for (std::size_t i : order) {
    const Op& op = program.ops[i];
    fmt::format_to(std::back_inserter(out), "  {:>9}  {}{}{}: read {}, written {}, {:.3g} GFLOP\n",
                   milliseconds(cost::Seconds{time(i)}), op_name(op),
                   op.count > 1 ? fmt::format(" x {}", count_text(op.count)) : "",
                   op.weight_only ? ", weights only" : "", bytes_text(op.bytes_read),
                   bytes_text(op.bytes_written),
                   (op.launch ? price.ops[i].kernel.flops.value : op.flops) / 1e9);
    if (kernel_of(program, op) != nullptr) explain_launch(out, program, op, price.ops[i]);
  }
}

}  // namespace

std::string to_json(const Verdict& v) {
  ordered_json out;
  out["worth_optimizing"] = v.worth ? "yes" : "no";
  out["reason"] = v.reason;
  out["bottleneck"] = v.bottleneck;
  out["optimisation method"] = v.method;
  out["modification plan"] = v.plan;
  out["expected_speedup"] = v.speedup;
  return dump(out);
}

std::string to_text(const Verdict& v) {
  if (!v.worth) return fmt::format("Not worth optimizing. {}\n", v.reason);
  return fmt::format(
      "Worth optimizing ({}).\n  Reason:     {}\n  Bottleneck: {}\n  Method:     {}\n  Plan:       "
      "{}\n",
      v.speedup, v.reason, v.bottleneck, v.method, v.plan);
}

std::string explain(const Verdict& v, const Model& model, const cost::GpuDevice& gpu) {
  std::string out = fmt::format("device: {} ({})\n", gpu.title, gpu.name);
  explain_program(out, "current", model.current, v.current);
  if (model.reference.present) explain_program(out, "reference", model.reference, v.reference);
  fmt::format_to(std::back_inserter(out), "limit of this work: {}\n", milliseconds(v.limit));
  if (v.correction != 1) {
    fmt::format_to(std::back_inserter(out),
                   "measurements in the document: modelled times x {:.2f}\n", v.correction);
  }
  out += "rules:\n";
  for (const RulePrice& price : v.rules) {
    if (price.finding.applies) {
      fmt::format_to(std::back_inserter(out), "  {:<27} {:>9}  {}{}\n", price.rule->id,
                     milliseconds(price.after),
                     times(v.before.value / std::max(price.after.value, 1e-12)),
                     &price == v.chosen() ? "  chosen" : "");
      if (!price.finding.note.empty()) {
        fmt::format_to(std::back_inserter(out), "  {:<27}            {}\n", "", price.finding.note);
      }
    } else {
      fmt::format_to(std::back_inserter(out), "  {:<27}         -  {}\n", price.rule->id,
                     price.finding.refused_because);
    }
  }
  if (v.worth && v.chosen()->after.value > 1.3 * v.limit.value) {
    fmt::format_to(
        std::back_inserter(out), "what remains after the change: {} above the limit of {}",
        times(v.chosen()->after.value / std::max(v.limit.value, 1e-12)), milliseconds(v.limit));
    if (v.current.host.value > v.current.device.value)
      out += "; a CUDA graph of the whole call would take the host's share away";
    out += "\n";
  }
  if (model.not_understood.empty()) {
    out += "not understood: nothing\n";
  } else {
    out += "not understood:\n";
    for (const NotUnderstood& each : model.not_understood) {
      fmt::format_to(std::back_inserter(out), "  line {}{}: {}\n", each.line,
                     each.reference ? " (reference)" : "", each.what);
    }
  }
  return out;
}

std::string model_json(const Verdict& v, const Model& model, const cost::GpuDevice& gpu) {
  ordered_json out;
  out["device"] = gpu.name;
  out["modelled_current_ms"] = v.current.total.value * 1e3;
  out["modelled_reference_ms"] = v.reference.total.value * 1e3;
  out["modelled_limit_ms"] = v.limit.value * 1e3;
  out["correction"] = v.correction;
  out["launches"] = ordered_json::array();
  for (std::size_t i = 0; i < model.current.ops.size(); ++i) {
    const Op& op = model.current.ops[i];
    const OpPrice& price = v.current.ops[i];
    const bool launch = kernel_of(model.current, op) != nullptr;
    ordered_json each;
    each["name"] = op.name;
    each["line"] = op.line;
    each["count"] = op.count;
    each["grid"] = launch ? ordered_json(op.launch->grid) : ordered_json::array();
    each["flops"] = launch ? price.kernel.flops.value : op.flops;
    each["dram_bytes"] = launch ? price.kernel.dram_bytes.value : op.bytes_read + op.bytes_written;
    each["ms"] = price.device.value * 1e3;
    each["limiter"] = launch ? std::string(cost::name(price.kernel.limiter)) : "";
    out["launches"].push_back(std::move(each));
  }
  out["rules"] = ordered_json::array();
  for (const RulePrice& price : v.rules) {
    ordered_json each;
    each["id"] = price.rule->id;
    each["category"] = name(price.rule->category);
    each["modelled_ms"] =
        price.finding.applies ? ordered_json(price.after.value * 1e3) : ordered_json(nullptr);
    each["refused_because"] = price.finding.refused_because;
    out["rules"].push_back(std::move(each));
  }
  out["chosen"] = v.worth ? ordered_json(v.chosen()->rule->id) : ordered_json(nullptr);
  out["not_understood"] = ordered_json::array();
  for (const NotUnderstood& each : model.not_understood) {
    out["not_understood"].push_back(
        {{"line", each.line}, {"what", each.what}, {"reference", each.reference}});
  }
  return dump(out);
}

}  // namespace quoin::architect
