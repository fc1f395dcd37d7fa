// reduction-inside-loop: a block-wide reduction in every iteration
//
// What: a loop over blocks of a row that calls tl.sum or tl.max on each block and adds a scalar,
// with few elements per thread.
//
// Why it is slow: every reduction is shuffles, shared memory and two barriers, and the next load
// waits for them: 564 ns an iteration instead of 123.
//
// Estimate: the loop with one running value per lane, blocks 4 times as long, and a single
// reduction behind it; priced again.
//
// Silent: scans, reductions of whole rows that are held at once, blocks of 2,048 elements and
// more.
//
// Source: measured 2026-11-21 on an H200, 256 programs over rows of 64 K floats: 162 us with the
// sum in the loop, 45 us behind it.
#include <fmt/format.h>

#include <algorithm>

#include "architect/rules/rules.h"
#include "architect/rules/support.h"

namespace quoin::architect::rule {

Finding reduction_inside_loop(const Case& about) {
  const Program& program = about.program();
  Repriced repriced(about);
  double trips = 0, block = 0;
  for (OpId id : launches(program)) {
    const Op& op = op_at(program, id);
    const Kernel& kernel = *kernel_of(program, op);
    cost::TiledKernel better = tiled_kernel(program, op);
    if (!better.dots.empty() || device_share(about, id) < 0.04) continue;
    bool scans = false;
    double widest = 0;
    for (const Reduction& reduction : kernel.reductions) {
      scans = scans || reduction.scan;
      if (reduction.loop >= 0) widest = std::max(widest, reduction.elements);
    }
    if (scans || widest == 0 || widest >= 2048) continue;
    double loops = 0;
    for (std::size_t i = 1; i < better.stages.size(); ++i) {
      if (better.stages[i].barriers <= 0) continue;
      loops = std::max(loops, better.stages[i].executions);
      better.stages[i].barriers = 0;
    }
    if (loops < 4) continue;
    const double f = std::clamp(std::min(2048 / widest, loops / 2), 1.0, 8.0);
    for (std::size_t i = 1; i < better.stages.size(); ++i) better.stages[i].executions /= f;
    for (cost::TileAccess& access : better.accesses) {
      if (access.stage == 0) continue;
      access.executions /= f;
      access.lanes *= f;
    }
    better.stages[0].barriers += 1;
    const double was = repriced.price(id);
    const double best = cost::price(better, about.gpu).time.value * 1.03;
    if (best > 0.93 * was) continue;
    if (!repriced.take(id, op, best)) continue;
    trips = loops;
    block = widest;
  }
  if (repriced.none()) return Finding::refused("no loop waits for a reduction in each iteration");
  Finding out = repriced.finding(Effort::edit);
  const std::string who = repriced.who();
  out.text.bottleneck = fmt::format(
      "{} reduces each block of {:.0f} elements to a scalar in all of its {} iterations, and every "
      "reduction stops the whole block: {} where the bytes need {}.",
      who, block, count_text(trips), repriced.before(), repriced.after());
  out.text.method =
      "Accumulate one value per lane in the loop, over longer blocks, and reduce once behind it.";
  out.text.plan = fmt::format(
      "In {} replace the scalar accumulators by `tl.zeros((BLOCK,), tl.float32)` vectors, add the "
      "masked block to them in the loop, and call `tl.sum` once after the loop. Raise the "
      "block size to 1024 or 2048 with 4 or 8 warps.",
      who);
  return out;
}

}  // namespace quoin::architect::rule
