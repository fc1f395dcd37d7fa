// weight-arithmetic-per-call: arithmetic on weights alone, in every call
//
// What: operations in forward whose inputs are all parameters and constants: scales folded from
// running statistics, weight sums, position tables.
//
// Why it is slow: the result is the same in every call, and each step is a launch; on small
// tensors the host sets the pace.
//
// Estimate: seconds = total - their device and host time.
//
// Silent: copies (see copied-per-call), under 3% of the time.
//
// Source: src/cost/gpu_host.h: 12 us of host time for an elementwise call in eager code.
#include <fmt/format.h>

#include "architect/rules/rules.h"
#include "architect/rules/support.h"

namespace quoin::architect::rule {

Finding weight_arithmetic_per_call(const Case& about) {
  const Program& program = about.program();
  Changed changed(about);
  std::vector<std::string> names;
  double count = 0;
  int line = 0;
  for (std::size_t i = 0; i < program.ops.size(); ++i) {
    const Op& op = program.ops[i];
    if (!op.weight_only || op.kind == OpKind::copy || op.kind == OpKind::fill ||
        op.kind == OpKind::random)
      continue;
    changed.drop(static_cast<OpId>(i));
    names.push_back("`" + op.name + "`");
    count += op.count;
    if (line == 0) line = op.line;
  }
  if (count == 0) return Finding::refused("no arithmetic on weights alone");
  const cost::Seconds after = changed.total();
  if (about.current.total.value - after.value < 0.03 * about.current.total.value) {
    return Finding::refused(fmt::format("{} operations on weights take {} of {}", count_text(count),
                                        milliseconds(about.current.total - after),
                                        milliseconds(about.current.total)));
  }
  Finding out = Finding::applied(after, Effort::edit);
  out.text.bottleneck = fmt::format(
      "Every call computes {} operations on parameters alone (from line {}), {} of {}, although "
      "their result never changes.",
      count_text(count), line, milliseconds(about.current.total - after),
      milliseconds(about.current.total));
  out.text.method =
      fmt::format("Compute {} once and keep the result in a buffer.", list_text(names));
  out.text.plan = fmt::format(
      "Move the operations from line {} on into a method that runs when the weights are loaded, "
      "register their results as buffers, and pass the buffers to the kernels in `forward`.",
      line);
  return out;
}

}  // namespace quoin::architect::rule
