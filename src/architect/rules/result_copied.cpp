// result-copied: a kernel's result copied into another layout
//
// What: a launch writes its result in one layout and host code copies it into another right
// after (`out.view(n, h, w, c).permute(0, 3, 1, 2).contiguous()`, a cat or a stack of results).
//
// Why it is slow: the result is written, read and written again; a layout change moves 32 bytes
// per element.
//
// Estimate: seconds = total - the copy's time; the kernel writes the final layout with its own
// store.
//
// Silent: where the copies are under 3% of the time, or where anything else reads the first
// layout.
//
// Source: a permuted copy of 32 million floats: 226 us on an H200, 2026-11-21, against 53 us for
// its bytes.
#include <fmt/format.h>

#include "architect/rules/rules.h"
#include "architect/rules/support.h"

namespace quoin::architect::rule {

Finding result_copied(const Case& about) {
  const Program& program = about.program();
  Changed changed(about);
  std::vector<std::string> kernels;
  double seconds = 0;
  for (std::size_t i = 0; i < program.ops.size(); ++i) {
    const Op& op = program.ops[i];
    if (op.kind != OpKind::copy || op.weight_only) continue;
    bool from_launch = !op.inputs.empty();
    std::string producer;
    for (const Operand& operand : op.inputs) {
      bool written = false;
      for (OpId by : operand.producers) {
        if (kernel_of(program, op_at(program, by)) == nullptr) continue;
        written = consumers_of(program, by).size() == 1;
        producer = "`" + op_at(program, by).name + "`";
      }
      from_launch = from_launch && written;
    }
    if (!from_launch) continue;
    seconds += device_time(about, static_cast<OpId>(i));
    changed.drop(static_cast<OpId>(i));
    kernels.push_back(producer);
  }
  if (kernels.empty()) return Finding::refused("no result of a kernel is copied");
  const cost::Seconds after = changed.total();
  if (about.current.total.value - after.value < 0.03 * about.current.total.value) {
    return Finding::refused(fmt::format("the copies take {} of {}", milliseconds({seconds}),
                                        milliseconds(about.current.total)));
  }
  Finding out = Finding::applied(after, Effort::edit);
  const std::string who = list_text(kernels);
  out.text.bottleneck = fmt::format(
      "What {} writes is copied into another layout at once: {} of {} go into these copies.", who,
      milliseconds({seconds}), milliseconds(about.current.total));
  out.text.method =
      fmt::format("Let {} store its result in the final layout, so that no copy follows.", who);
  out.text.plan = fmt::format(
      "Allocate the output in its final shape, pass its strides to {} and compute the store's "
      "addresses from the image, "
      "channel and position indices that the kernel already has. Remove the permute and the "
      "contiguous copy after the "
      "launch.",
      who);
  return out;
}

}  // namespace quoin::architect::rule
