// stepwise-recurrence: a recurrent layer launched step by step
//
// What: a Python loop over time steps that launches kernels or PyTorch operations for each step
// of an RNN, GRU or LSTM.
//
// Why it is slow: every step costs several launches (75 to 110 us of host time each for Triton
// in eager code, about 12 for a PyTorch operation) for microseconds of work, and the recurrent
// weights are fetched anew.
//
// Estimate: one persistent kernel per layer, the directions side by side: layers x steps x (2 us
// + recurrent weight bytes over what one SM reads from L2, 85e9 bytes a second), plus the
// input-side gates of all steps as one product per layer and direction.
//
// Silent: no Python loop of 8 or more iterations with a dependence between its steps.
//
// Source: persistent recurrent kernels of collected rewrites gain 10 times (median). A
// bidirectional GRU of 6 layers, 512 steps, hidden size 256: 28 ms on an H100.
#include <fmt/format.h>

#include <algorithm>

#include "architect/rules/rules.h"
#include "architect/rules/support.h"

namespace quoin::architect::rule {

Finding stepwise_recurrence(const Case& about) {
  const Program& program = about.program();
  Changed changed(about);
  double steps = 0, inside = 0, calls = 0, weight = 0;
  int line = 0;
  std::vector<std::string> names;
  for (std::size_t i = 0; i < program.ops.size(); ++i) {
    const Op& op = program.ops[i];
    if (op.loops.empty() || op.loops.back().trips < 8 || op.count < 8) continue;
    inside += op.count;
    if (op.count > steps) {
      steps = op.count;
      line = op.loops.back().line;
    }
    calls += device_time(about, static_cast<OpId>(i));
    // The recurrent weight: the largest parameter that a step multiplies by.
    if (op.matmul || (kernel_of(program, op) != nullptr && !kernel_of(program, op)->dots.empty())) {
      double read = 0;
      for (const Operand& operand : op.inputs) {
        const Value* value = value_at(program, operand.value);
        const Value* root = value_at(program, root_of(program, operand.value));
        if (value != nullptr && root != nullptr && root->origin == Origin::parameter)
          read += bytes_of(*value);
      }
      weight = std::max(weight, read);
      names.push_back("`" + op.name + "`");
    }
    changed.drop(static_cast<OpId>(i));
  }
  if (steps < 32 || weight <= 0)
    return Finding::refused("no Python loop runs the steps of a recurrent layer");
  // Directions are loops of their own: both can run side by side.
  bool bidirectional = false;
  double layers = 1, length = steps;
  for (const Op& op : about.model.reference.ops) {
    if (!op.rnn) continue;
    bidirectional = op.rnn->directions == 2;
    layers = static_cast<double>(op.rnn->layers);
    length = static_cast<double>(op.rnn->steps);
  }
  const double serial = about.model.reference.ops.empty() || length == steps
                            ? steps / (bidirectional ? 2 : 1)
                            : layers * length;
  const double each = 2e-6 + weight / 85e9 * (bidirectional ? 0.78 : 1);
  Finding out = Finding::applied(changed.total() + cost::Seconds{serial * each}, Effort::rewrite);
  out.text.bottleneck = fmt::format(
      "The Python loop over time (line {}) runs {} launches and operations for {} steps, so the "
      "host sets the pace: {} for {} of device work.",
      line, count_text(inside), count_text(length), milliseconds(about.current.total),
      milliseconds({calls}));
  out.text.method =
      "Use a persistent kernel per layer with the time loop inside and hybrid computation: the "
      "input-side gates of all steps in one product before it, only the recurrent product inside.";
  out.text.plan = fmt::format(
      "Compute `gates_x` for all {} steps with one product per direction, then launch one kernel "
      "per layer whose programs keep the hidden state on chip, loop `for t in range(...)`, "
      "multiply it by "
      "the recurrent weight ({}), apply the gates and store each step's output. Run both "
      "directions as programs of the same launch where there are two.",
      count_text(length), bytes_text(weight));
  return out;
}

}  // namespace quoin::architect::rule
