// needless-output: a second buffer where one is enough
//
// What: a buffer that is filled before a kernel overwrites all of it (zeros where empty would
// do), or a result that a later pass writes into a new buffer although it could write in place.
//
// Why it is slow: a fill writes every byte once more. In place saves no traffic by itself, only
// memory: it is proposed where the fill goes.
//
// Estimate: seconds = total - the fills' time.
//
// Silent: buffers that kernels add to (atomics), fills under 3% of the time. An elementwise
// kernel out of place is not a finding: it moves the same bytes.
//
// Source: src/cost/gpu_library.h, fill_time: the read rate.
#include <fmt/format.h>

#include "architect/rules/rules.h"
#include "architect/rules/support.h"

namespace quoin::architect::rule {

Finding needless_output(const Case& about) {
  const Program& program = about.program();
  Changed changed(about);
  double seconds = 0, bytes = 0;
  std::vector<std::string> buffers;
  for (std::size_t i = 0; i < program.ops.size(); ++i) {
    const Op& op = program.ops[i];
    if (op.kind != OpKind::fill || op.outputs.empty()) continue;
    const ValueId root = root_of(program, op.outputs.front());
    // A launch that stores to it without reading it is the first thing that happens to it.
    bool overwritten = false;
    const bool added = !consumers_of(program, static_cast<OpId>(i)).empty();
    for (OpId id : launches(program)) {
      for (ValueId out : op_at(program, id).outputs) {
        overwritten = overwritten || (id > static_cast<OpId>(i) && root_of(program, out) == root);
      }
    }
    if (!overwritten || added) continue;
    changed.drop(static_cast<OpId>(i));
    seconds += device_time(about, static_cast<OpId>(i));
    bytes += output_bytes(program, op);
    buffers.push_back(value_name(program, op.outputs.front()));
  }
  if (buffers.empty()) return Finding::refused("no buffer is filled only to be overwritten");
  const cost::Seconds after = changed.total();
  if (about.current.total.value - after.value < 0.03 * about.current.total.value) {
    return Finding::refused(fmt::format("the fills take {} of {}", milliseconds({seconds}),
                                        milliseconds(about.current.total)));
  }
  Finding out = Finding::applied(after, Effort::edit);
  const std::string what = list_text(buffers);
  out.text.bottleneck =
      fmt::format("{} ({}) is filled in every call and then overwritten: {} of {}.", what,
                  bytes_text(bytes), milliseconds({seconds}), milliseconds(about.current.total));
  out.text.method = fmt::format("Allocate {} without filling it.", what);
  out.text.plan = fmt::format(
      "Use `torch.empty` for {}, or reuse one buffer between calls; the kernel's store covers "
      "every element that is read later.",
      what);
  return out;
}

}  // namespace quoin::architect::rule
