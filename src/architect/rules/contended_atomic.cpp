// contended-atomic: many programs that add to one address
//
// What: a reduction whose programs each end with an atomic on the same few addresses, so that
// they take turns there.
//
// Why it is slow: one 32-byte sector takes 0.56e9 atomics a second however many programs there
// are; a kernel of a million small programs waits 1.9 ms for them.
//
// Estimate: seconds = total - kernel + kernel without its atomics + a second pass over one
// partial sum per program (read rate, 5 us).
//
// Silent: where the atomics are not what limits the kernel, or spread over many addresses.
//
// Source: measured 2026-11-21 on an H200: 1,048,576 atomics on one address take 1.9 ms; the sum
// of 2 GB in blocks of 256 elements 2.1 ms with them, 0.7 ms without.
#include <fmt/format.h>

#include <algorithm>

#include "architect/rules/rules.h"
#include "architect/rules/support.h"

namespace quoin::architect::rule {

Finding contended_atomic(const Case& about) {
  const Program& program = about.program();
  Repriced repriced(about);
  double count = 0;
  for (OpId id : launches(program)) {
    const Op& op = op_at(program, id);
    const cost::KernelTime& detail = about.current.ops[static_cast<std::size_t>(id)].kernel;
    if (detail.atomics.value < 0.5 * detail.time.value) continue;
    cost::TiledKernel alone = tiled_kernel(program, op);
    double partial = 0;
    for (cost::TileAccess& access : alone.accesses) {
      if (access.kind != cost::TileAccess::Kind::atomic) continue;
      access.kind = cost::TileAccess::Kind::store;
      const double bytes = std::max(access.total.value, 4 * op.launch->programs);
      access.total = access.distinct = cost::Bytes{bytes};
      partial += bytes;
    }
    const double was = repriced.price(id);
    const double best = cost::price(alone, about.gpu).time.value + 5e-6 +
                        partial / cost::read_rate(about.gpu).value;
    if (best > 0.95 * was) continue;
    if (!repriced.take(id, op, best)) continue;
    count = op.launch->programs;
  }
  if (repriced.none()) return Finding::refused("no kernel waits for atomics on one address");
  Finding out = repriced.finding(Effort::edit);
  const std::string who = repriced.who();
  out.text.bottleneck = fmt::format(
      "{} programs of {} end with an atomic on the same address and take turns there: {} where the "
      "bytes need {}.",
      count_text(count), who, repriced.before(), repriced.after());
  out.text.method =
      "Let each program store its partial result to a slot of its own, and add the slots in a "
      "second, small pass.";
  out.text.plan = fmt::format(
      "Allocate one float per program, replace the `tl.atomic_add` in {} by a `tl.store` at the "
      "program id, and sum that buffer afterwards with one small kernel or `torch.sum`. A loop "
      "over several blocks per program with one partial sum at its end works as well.",
      who);
  return out;
}

}  // namespace quoin::architect::rule
