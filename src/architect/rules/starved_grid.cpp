// starved-grid: fewer programs than the card has room for
//
// What: a launch with fewer programs than SMs, or one wave of few warps, whose programs each
// walk a long loop: one program per image, per (batch, group), or per block of rows that also
// loops over all columns.
//
// Why it is slow: bandwidth and tensor cores need many loads in flight; SMs without a program
// add none, and what runs waits at every iteration.
//
// Estimate: the same work on enough programs: programs x f, iterations / f with f = 2 x SMs x 4
// / programs, at most the loop's trips, priced again; a second small pass adds the partial
// results (3 us and their bytes).
//
// Silent: grids of two waves or more, loops under 8 iterations, products (see unsplit-k and
// tile-misfit).
//
// Source: collected kernels: fusions that left one program per image lost 2 to 4 times. Measured
// 2026-11-21 on an H200: 64 rows of 64 K floats read by 64 programs of 4 warps: 0.47 TB/s, by
// 8,192 programs 4.45.
#include <fmt/format.h>

#include <algorithm>

#include "architect/rules/rules.h"
#include "architect/rules/support.h"

namespace quoin::architect::rule {

Finding starved_grid(const Case& about) {
  const Program& program = about.program();
  Changed changed(about);
  std::vector<std::string> kernels;
  double programs = 0, trips = 0, before = 0, after = 0, factor = 1;
  for (OpId id : launches(program)) {
    const Op& op = op_at(program, id);
    cost::TiledKernel now = tiled_kernel(program, op);
    const double count = now.grid[0] * now.grid[1] * now.grid[2];
    if (count >= 8.0 * about.gpu.sms || device_share(about, id) < 0.04) continue;
    // The outermost loop is the one that more programs can share.
    const Kernel& kernel = *kernel_of(program, op);
    double most = 0;
    for (const Loop& loop : kernel.loops) {
      if (loop.parent < 0 && !loop.static_range) most = std::max(most, loop.trips);
    }
    if (most < 8) continue;
    const bool product = kernel.dots.size() == 1 && kernel.reductions.empty();
    if (product) continue;
    const double f = std::min(most, std::max(2.0, 16.0 * about.gpu.sms / count));
    cost::TiledKernel wide = now;
    wide.grid[2] *= f;
    for (std::size_t i = 1; i < wide.stages.size(); ++i) wide.stages[i].executions /= f;
    for (cost::TileDot& dot : wide.dots) dot.executions /= dot.stage > 0 ? f : 1;
    wide.instructions /= f;
    wide.special /= f;
    for (cost::TileAccess& access : wide.accesses) {
      if (access.stage == 0) continue;
      access.executions /= f;
      access.program = access.program / f;
      access.program_distinct = access.program_distinct / f;
      access.depends[2] = true;
    }
    const double best = cost::price(wide, about.gpu).time.value * 1.1 + 5e-6;
    const double was = changed.price(id).device.value;
    if (best > 0.8 * was) continue;
    changed.device(id, cost::Seconds{best});
    if (was > before) {
      programs = count;
      trips = most;
      factor = f;
      before = was;
      after = best;
    }
    kernels.push_back(op_name(op));
  }
  if (kernels.empty()) return Finding::refused("every long loop runs in enough programs");
  Finding out = Finding::applied(changed.total(), Effort::rework);
  const std::string who = list_text(kernels);
  out.text.bottleneck = fmt::format(
      "{} starts {} programs on {} SMs and each walks {} iterations alone, so it takes {} where "
      "the same work spread over the card needs about {}.",
      who, count_text(programs), about.gpu.sms, count_text(trips), milliseconds({before}),
      milliseconds({after}));
  out.text.method = fmt::format(
      "Split the loop over about {:.0f} times as many programs and combine their partial results.",
      factor);
  out.text.plan = fmt::format(
      "Give {} another grid axis over blocks of its outer loop, let each program handle one block, "
      "and write partial results (sum, or maximum and sum) to a "
      "small float32 buffer. Combine them with `tl.atomic_add` or in a second launch over the few "
      "partials.",
      who);
  return out;
}

}  // namespace quoin::architect::rule
