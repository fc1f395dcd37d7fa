#include "architect/model/explain.h"

#include <fmt/format.h>

#include <cmath>

namespace quoin::architect {
namespace {

std::string list_of(const std::vector<std::int64_t>& sizes) {
  std::string text = "[";
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    if (i != 0) text += ", ";
    text += sizes[i] == kUnknownStride ? "?" : std::to_string(sizes[i]);
  }
  return text + "]";
}

/// "1.5 GB"
std::string amount(double value, const char* unit) {
  static constexpr const char* kPrefixes[] = {"", "k", "M", "G", "T", "P"};
  int prefix = 0;
  while (std::abs(value) >= 1000 && prefix < 5) {
    value /= 1000;
    ++prefix;
  }
  return fmt::format("{:.3g} {}{}", value, kPrefixes[prefix], unit);
}

std::string dependence(const Dependence& on, const Kernel& kernel) {
  std::string text;
  for (int axis = 0; axis < 3; ++axis) {
    if (on.pid[axis]) text += fmt::format(" pid{}", axis);
  }
  for (std::size_t i = 0; i < kernel.loops.size(); ++i) {
    if ((on.loops >> i & 1U) == 0) continue;
    text += " " + (kernel.loops[i].variable.empty() ? fmt::format("loop{}", i)
                                                    : kernel.loops[i].variable);
  }
  if (on.data) text += " data";
  return text.empty() ? " nothing" : text;
}

std::string value_text(const Program& program, ValueId id) {
  if (id < 0) return "none";
  const Value& value = program.values[id];
  std::string text = fmt::format("%{}", id);
  if (!value.name.empty()) text += " " + value.name;
  text += " " + to_text(value);
  if (value.weight_only) text += " weight";
  if (value.base >= 0) text += fmt::format(" = {} of %{}", value.view, value.base);
  return text;
}

std::string operand_text(const Program& program, const Operand& operand) {
  std::string text = operand.role + ": " + value_text(program, operand.value);
  if (!operand.producers.empty()) {
    text += " from";
    for (const OpId op : operand.producers) text += fmt::format(" #{}", op);
  }
  return text;
}

std::string detail_text(const Op& op) {
  std::string text;
  if (op.matmul) {
    const Matmul& m = *op.matmul;
    text += fmt::format("    {} x [{} x {} x {}] {}, K contiguous: a {} b {}{}\n", m.batch, m.m,
                        m.n, m.k, name(m.type), m.a_k_contiguous, m.b_k_contiguous,
                        m.b_is_weight ? ", b is a weight" : "");
  }
  if (op.conv) {
    const Conv& c = *op.conv;
    text += fmt::format(
        "    batch {} channels {} -> {} groups {} in {}x{}x{} out {}x{}x{} kernel {}x{}x{} stride "
        "{}x{}x{} padding {}x{}x{} dilation {}x{}x{}\n",
        c.batch, c.in_channels, c.out_channels, c.groups, c.in[0], c.in[1], c.in[2], c.out[0],
        c.out[1], c.out[2], c.kernel[0], c.kernel[1], c.kernel[2], c.stride[0], c.stride[1],
        c.stride[2], c.padding[0], c.padding[1], c.padding[2], c.dilation[0], c.dilation[1],
        c.dilation[2]);
  }
  if (op.attention) {
    text += fmt::format("    batch {} heads {} queries {} keys {} head {}{}\n", op.attention->batch,
                        op.attention->heads, op.attention->queries, op.attention->keys,
                        op.attention->head_dim, op.attention->causal ? " causal" : "");
  }
  if (op.rnn) {
    text += fmt::format("    {} layers {} directions {} steps {} batch {} input {} hidden {}\n",
                        op.rnn->cell, op.rnn->layers, op.rnn->directions, op.rnn->steps,
                        op.rnn->batch, op.rnn->input, op.rnn->hidden);
  }
  return text;
}

std::string operand_text(const DotOperand& operand, const Kernel& kernel) {
  std::string text = operand.access < 0 ? "computed" : kernel.accesses[operand.access].pointer;
  text += fmt::format(" {}", name(operand.stored));
  if (operand.cast_in_registers) text += fmt::format(" cast to {}", name(operand.type));
  if (operand.transposed) text += " transposed";
  if (operand.k_contiguous) text += *operand.k_contiguous ? " K-major" : " not K-major";
  return text;
}

std::string arithmetic_text(const Arithmetic& a) {
  struct Part {
    const char* label;
    double count;
  };
  const Part parts[] = {{"fma", a.fma},
                        {"add", a.add},
                        {"mul", a.mul},
                        {"div", a.div},
                        {"minmax", a.min_max},
                        {"compare", a.compare},
                        {"select", a.select},
                        {"convert", a.convert},
                        {"exp", a.exp},
                        {"log", a.log},
                        {"sqrt", a.sqrt},
                        {"rsqrt", a.rsqrt},
                        {"sincos", a.sincos},
                        {"tanh", a.tanh},
                        {"erf", a.erf},
                        {"pow", a.pow},
                        {"other", a.other},
                        {"random", a.random},
                        {"int", a.integer},
                        {"int-div", a.integer_div},
                        {"int-div-const", a.integer_div_constant}};
  std::string text;
  for (const Part& part : parts) {
    if (part.count != 0) text += fmt::format(" {} {}", part.label, amount(part.count, ""));
  }
  return text;
}

std::string kernel_text(const Kernel& kernel, const Launch& launch) {
  std::string text;
  text += "    arguments:";
  for (const Argument& argument : kernel.arguments) {
    if (argument.number) text += fmt::format(" {}={}", argument.name, *argument.number);
  }
  text += "\n";
  for (std::size_t i = 0; i < kernel.loops.size(); ++i) {
    const Loop& loop = kernel.loops[i];
    text += fmt::format("    loop {} {} line {}: {:.4g} trips{}{}, body {:.4g} times, carries {}\n",
                        i, loop.variable, loop.line, loop.trips,
                        loop.trips_known ? "" : " (unknown)", loop.trips_vary ? " (varying)" : "",
                        loop.executions, amount(loop.carried_bytes, "B"));
  }
  for (const Access& access : kernel.accesses) {
    const char* kind = access.kind == AccessKind::load    ? "load"
                       : access.kind == AccessKind::store ? "store"
                                                          : "atomic";
    text += fmt::format(
        "    {} {} line {}: {} tile {} strides {} x {:.4g}, active {:.3g}, run {:.4g} B, sectors "
        "{:.2g}, depends on{}; program {} ({} distinct), all {} ({} distinct)\n",
        kind, access.pointer.empty() ? "?" : access.pointer, access.line, name(access.type),
        list_of(access.tile), list_of(access.strides), access.executions, access.active,
        access.run_bytes, access.sector_efficiency, dependence(access.address, kernel),
        amount(access.program_bytes, "B"), amount(access.program_distinct_bytes, "B"),
        amount(access.total_bytes, "B"), amount(access.distinct_bytes, "B"));
  }
  for (const Dot& dot : kernel.dots) {
    text += fmt::format("    dot line {}: {}x{}x{}{} a: {} b: {} -> {}{} x {:.4g}, useful {:.3g}\n",
                        dot.line, dot.m, dot.n, dot.k,
                        dot.batch == 1 ? "" : fmt::format(" x{}", dot.batch),
                        operand_text(dot.a, kernel), operand_text(dot.b, kernel), name(dot.result),
                        dot.allow_tf32 ? "" : " ieee", dot.executions, dot.useful);
  }
  for (const Reduction& reduction : kernel.reductions) {
    text += fmt::format("    {} {} line {}: tile {} axis {} x {:.4g}\n",
                        reduction.scan ? "scan" : "reduce", reduction.name, reduction.line,
                        list_of(reduction.tile), reduction.axis, reduction.executions);
  }
  text += "    per program:" + arithmetic_text(kernel.arithmetic) + "\n";
  if (kernel.active_programs < 1) {
    text += fmt::format("    active programs {:.3g}\n", kernel.active_programs);
  }
  if (launch.autotune_configs > 0) {
    text += fmt::format("    the first of {} autotune configurations\n", launch.autotune_configs);
  }
  return text;
}

}  // namespace

std::string to_text(const Value& value) {
  std::string text = name(value.type) + list_of(value.shape);
  if (!is_contiguous(value)) text += " strides " + list_of(value.strides);
  return text;
}

std::string to_text(const Program& program) {
  std::string text;
  for (const ValueId id : program.inputs) {
    text += "  input " + value_text(program, id) + "\n";
  }
  for (std::size_t i = 0; i < program.ops.size(); ++i) {
    const Op& op = program.ops[i];
    text += fmt::format("  #{} {} {} line {}", i, name(op.kind), op.name, op.line);
    if (op.count != 1) text += fmt::format(" x {:.6g}", op.count);
    text += fmt::format(": {} {} read {} written", amount(op.flops, "flop"),
                        amount(op.bytes_read, "B"), amount(op.bytes_written, "B"));
    if (op.weight_only) text += ", weights alone";
    if (op.in_place) text += ", in place";
    if (op.launch) {
      text += fmt::format(", grid {}x{}x{} warps {}{} stages {}{}", op.launch->grid[0],
                          op.launch->grid[1], op.launch->grid[2], op.launch->num_warps,
                          op.launch->warps_given ? "" : "*", op.launch->num_stages,
                          op.launch->stages_given ? "" : "*");
    }
    text += "\n";
    for (const Operand& input : op.inputs) text += "    " + operand_text(program, input) + "\n";
    for (const ValueId output : op.outputs) text += "    -> " + value_text(program, output) + "\n";
    text += detail_text(op);
    if (op.launch) text += kernel_text(program.kernels[op.launch->kernel], *op.launch);
  }
  for (const ValueId id : program.outputs) {
    text += "  output " + value_text(program, id) + "\n";
  }
  if (!program.complete) text += "  forward did not run to its end\n";
  return text;
}

std::string to_text(const Model& model) {
  std::string text =
      "reference\n" + to_text(model.reference) + "current\n" + to_text(model.current);
  text += fmt::format("outputs match: {}\n", model.outputs_match);
  for (const NotUnderstood& lost : model.not_understood) {
    text += fmt::format("not understood, line {} ({}): {}\n", lost.line,
                        lost.reference ? "reference" : "current", lost.what);
  }
  return text;
}

}  // namespace quoin::architect
