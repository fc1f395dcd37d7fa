// copied-per-call: a copy of a weight in every call
//
// What: host code copies or converts a weight in each forward call (a contiguous() that copies,
// a cast, a stack or cat of weights), and the copy is the same every time.
//
// Why it is slow: the bytes of the weight move twice per call for nothing, and each copy is a
// launch.
//
// Estimate: seconds = total - the copies' time and host time; the weight is prepared once.
//
// Silent: where the copies are under 3% of the time.
//
// Source: of 172 collected kernels 40 transpose a weight per call; 147 KB cost nothing, 4.3 GB
// cost 6 to 8 times the rest.
#include <fmt/format.h>

#include "architect/rules/dots.h"
#include "architect/rules/rules.h"
#include "architect/rules/support.h"

namespace quoin::architect::rule {

Finding copied_per_call(const Case& about) {
  Changed changed(about);
  std::vector<std::string> weights;
  double seconds = 0, moved = 0;
  int copies = 0;
  for (const PerCallCopy& copy : per_call_copies(about.program())) {
    changed.drop(copy.op);
    seconds += device_time(about, copy.op);
    moved += output_bytes(about.program(), op_at(about.program(), copy.op));
    weights.push_back(copy.source);
    ++copies;
  }
  if (copies == 0) return Finding::refused("no weight is copied per call");
  const cost::Seconds after = changed.total();
  if (about.current.total.value - after.value < 0.03 * about.current.total.value) {
    return Finding::refused(fmt::format("{} copies take {} of {}", copies, milliseconds({seconds}),
                                        milliseconds(about.current.total)));
  }
  Finding out = Finding::applied(after, Effort::edit);
  const std::string what = list_text(weights);
  out.text.bottleneck =
      fmt::format("Every call copies {} although the weights never change: {} in {} of {}.", what,
                  bytes_text(moved), milliseconds({seconds}), milliseconds(about.current.total));
  out.text.method = fmt::format("Prepare the copy of {} once and reuse it in every call.", what);
  out.text.plan = fmt::format(
      "Make the copied layout of {} when the module is built or first used, keep it in a buffer, "
      "and pass the buffer "
      "to the kernels in `forward`; rebuild it when a state dict is loaded.",
      what);
  return out;
}

}  // namespace quoin::architect::rule
