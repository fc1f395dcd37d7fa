// many-launches: more launches than the host can keep up with
//
// What: a forward call of many short operations whose host time exceeds the device's work.
//
// Why it is slow: an eager call costs 12 to 50 us of Python and dispatch, a Triton launch with
// its wrapper 75 to 110 us; the device idles between short kernels.
//
// Estimate: pointwise neighbours merged into one launch: each merged operation gives back its
// host time and its device time beyond the merged bytes.
//
// Silent: host time under the device's, fewer than 12 operations. A CUDA graph of the whole call
// is a change of the caller and named in what remains.
//
// Source: residual networks of batch 10 on an H100: 1.1 ms of kernels in a call of 2.9 to 3.9
// ms.
#include <fmt/format.h>

#include <algorithm>

#include "architect/rules/rules.h"
#include "architect/rules/support.h"

namespace quoin::architect::rule {

Finding many_launches(const Case& about) {
  const Program& program = about.program();
  double operations = 0, triton = 0;
  for (const Op& op : program.ops) {
    operations += op.count;
    if (op.launch) triton += op.count;
  }
  if (operations < 12)
    return Finding::refused(fmt::format("a call is {:.0f} operations", operations));
  if (about.current.host.value < 1.05 * about.current.device.value) {
    return Finding::refused(fmt::format("the device works {} and the host {}",
                                        milliseconds(about.current.device),
                                        milliseconds(about.current.host)));
  }
  Changed changed(about);
  double merged = 0;
  for (std::size_t i = 1; i < program.ops.size(); ++i) {
    const Op& op = program.ops[i];
    const Op& before = program.ops[i - 1];
    const bool light = is_pointwise(op) || op.kind == OpKind::copy || op.kind == OpKind::fill ||
                       (op.kind == OpKind::norm && !op.training) ||
                       (op.launch && streams(program, op) && op.launch->programs * 1.0 < 1e5);
    const bool joins = before.launch || is_pointwise(before) || before.kind == OpKind::norm ||
                       before.kind == OpKind::copy;
    if (!light || !joins || op.count != before.count) continue;
    changed.drop(static_cast<OpId>(i));
    merged += op.count;
  }
  const cost::Seconds after = changed.total();
  if (merged < 4 || after.value > 0.95 * about.current.total.value) {
    return Finding::refused("few of the operations are neighbours that could be one launch");
  }
  Finding out = Finding::applied(after, Effort::rework);
  out.text.bottleneck = fmt::format(
      "One call runs {} operations, {} of them Triton launches: the host needs {} for {} of device "
      "work.",
      count_text(operations), count_text(triton), milliseconds(about.current.host),
      milliseconds(about.current.device));
  out.text.method =
      fmt::format("Merge neighbouring short operations into one launch each, about {} of them.",
                  count_text(merged));
  out.text.plan =
      "Write one kernel for each run of elementwise steps (bias, norm with fixed statistics, "
      "activation, residual) and call it once where the code now calls several operations; "
      "prepare contiguous weights and small constants once, outside `forward`.";
  return out;
}

}  // namespace quoin::architect::rule
