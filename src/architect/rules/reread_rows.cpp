// reread-rows: a row read again that fits on the chip
//
// What: a kernel whose program loops over its row twice or more (statistics, then their use)
// although the row is short enough to hold.
//
// Why it is slow: the second pass reads the row again from L2, or from memory where many
// programs run at once.
//
// Estimate: loads once: the kernel with one pass over the bytes, priced by distinct bytes over
// the streaming rate.
//
// Silent: rows over 64 KB per program, kernels whose second pass is free because they are
// already at the bandwidth.
//
// Source: a row kernel that holds 4,096 halves reaches 96% of a pure copy (H100).
#include <fmt/format.h>

#include <algorithm>

#include "architect/rules/rules.h"
#include "architect/rules/support.h"

namespace quoin::architect::rule {

Finding reread_rows(const Case& about) {
  const Program& program = about.program();
  Repriced repriced(about);
  double row = 0;
  bool columns = false;  // the walk is across rows: no reduction inside a tile
  for (OpId id : launches(program)) {
    const Op& op = op_at(program, id);
    const Kernel& kernel = *kernel_of(program, op);
    if (!kernel.dots.empty() || kernel.loops.size() < 2 || device_share(about, id) < 0.04) continue;
    // Two loads of the same bytes in different loops.
    double held = 0, moved = 0;
    bool twice = false;
    for (std::size_t i = 0; i < kernel.accesses.size(); ++i) {
      const Access& a = kernel.accesses[i];
      if (a.kind != AccessKind::load) {
        moved += a.distinct_bytes;
        continue;
      }
      bool again = false;
      for (std::size_t j = 0; j < i; ++j) {
        const Access& b = kernel.accesses[j];
        again =
            again || (b.kind == AccessKind::load && b.value == a.value && a.value >= 0 &&
                      b.loop != a.loop && b.program_distinct_bytes == a.program_distinct_bytes &&
                      a.program_distinct_bytes > 2048);
      }
      twice = twice || again;
      if (again) held = std::max(held, a.program_distinct_bytes);
      if (!again) moved += a.distinct_bytes;
    }
    if (!twice || held > 65536 || op.launch->programs < 2.0 * about.gpu.sms) continue;
    const double was = repriced.price(id);
    const double best = moved / cost::stream_rate(about.gpu).value * 1.08 + 3e-6;
    if (best > 0.92 * was) continue;
    if (!repriced.take(id, op, best)) continue;
    columns = kernel.reductions.empty();
    row = held;
  }
  if (repriced.none()) return Finding::refused("no kernel walks a short row twice");
  Finding out = repriced.finding(Effort::rework);
  const std::string who = repriced.who();
  out.text.bottleneck = fmt::format(
      "Each program of {} walks its row of {} more than once: {} where one pass over the bytes "
      "needs {}.",
      who, bytes_text(row), repriced.before(), repriced.after());
  if (columns) {
    out.text.method =
        "Load the whole tile once, hold it in registers, and do the statistics and their use on "
        "what is held.";
    out.text.plan = fmt::format(
        "In {} replace the loop over the reduced dimension by one two-dimensional load of [its "
        "next power of two, a block of 32 to 128 neighbours], reduce the tile along its first axis "
        "with `tl.sum` or `tl.max`, and store the result from the same tile.",
        who);
    return out;
  }
  out.text.method =
      "Load the row once, hold it in registers, and do the statistics and their use on what is "
      "held.";
  out.text.plan = fmt::format(
      "In {} set the block to the next power of two of the row, load it once with a mask, reduce "
      "the tile with `tl.sum` or `tl.max`, and store the result from the same tile. Use 8 "
      "warps for rows above 2,048 elements.",
      who);
  return out;
}

}  // namespace quoin::architect::rule
