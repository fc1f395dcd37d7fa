// unsplit-k: few tiles and a long K
//
// What: a product whose output has fewer tiles than the card has SMs while its K loop is long: a
// skinny linear layer, a batch of 10 against a weight of 4096 x 25088.
//
// Why it is slow: each program walks all of K alone at one memory round trip per step, and most
// SMs have nothing to do.
//
// Estimate: programs x s, iterations / s, plus an addition of s partial tiles (atomics or a
// second pass of s m n 4 bytes); the best s of 2 to 32 while each part keeps 8 steps.
//
// Silent: at least one tile per SM, under 16 steps of K.
//
// Source: collected rewrites: split-K gains 8 times (median) where it applies. Measured
// 2026-11-21 on an H200: 16 x 4096 x 25088 in tf32, one program per 64 columns: 613 us; the
// weight's bytes take 96.
#include <fmt/format.h>

#include <algorithm>

#include "architect/rules/dots.h"
#include "architect/rules/rules.h"
#include "architect/rules/support.h"

namespace quoin::architect::rule {

Finding unsplit_k(const Case& about) {
  const Program& program = about.program();
  Changed changed(about);
  std::vector<std::string> kernels;
  double split = 1, programs = 0, steps = 0;
  for (OpId id : launches(program)) {
    const Op& op = op_at(program, id);
    const cost::TiledKernel now = tiled_kernel(program, op);
    if (now.dots.size() != 1 || now.dots.front().stage == 0) continue;
    const double count = now.grid[0] * now.grid[1] * now.grid[2];
    const double iterations = now.dots.front().executions;
    const Kernel& kernel = *kernel_of(program, op);
    if (!kernel.dots.front().accumulates || !kernel.reductions.empty()) continue;
    if (count >= about.gpu.sms || iterations < 16 || device_share(about, id) < 0.05) continue;
    const double before = changed.price(id).device.value;
    double best = before;
    for (double s : {2.0, 4.0, 8.0, 16.0, 32.0}) {
      if (iterations / s < 8 || count * s > 8 * about.gpu.sms) continue;
      cost::TiledKernel parts = now;
      parts.grid[2] *= s;
      parts.stages[static_cast<std::size_t>(parts.dots.front().stage)].executions /= s;
      parts.dots.front().executions /= s;
      for (cost::TileAccess& access : parts.accesses) {
        if (!access.feeds_dot) continue;
        access.executions /= s;
        access.program = access.program / s;
        access.program_distinct = access.program_distinct / s;
        access.depends[2] = true;
      }
      const double partial = output_bytes(program, op) * s;
      const double time = cost::price(parts, about.gpu).time.value +
                          partial * 2 / cost::l2_rate(about.gpu).value + 3e-6;
      if (time < best) {
        best = time;
        split = s;
      }
    }
    if (best > 0.85 * before) continue;
    changed.device(id, cost::Seconds{best});
    kernels.push_back(op_name(op));
    programs = count;
    steps = iterations;
  }
  if (kernels.empty())
    return Finding::refused("every product with a long K has a tile for each SM");
  Finding out = Finding::applied(changed.total(), Effort::rework);
  const std::string who = list_text(kernels);
  out.text.bottleneck =
      fmt::format("{} starts {:.0f} programs on {} SMs, and each walks {:.0f} steps of K alone.",
                  who, programs, about.gpu.sms, steps);
  out.text.method =
      fmt::format("Split K over {:.0f} programs per tile and add their partial sums.", split);
  out.text.plan = fmt::format(
      "Add a grid axis of {:.0f} to {}, let each program start at `program_id(2)` and step by "
      "{:.0f} blocks of K, and add the partial tiles with "
      "`tl.atomic_add` into a zeroed float32 output (or in a small second kernel that also applies "
      "bias and activation).",
      split, who, split);
  return out;
}

}  // namespace quoin::architect::rule
