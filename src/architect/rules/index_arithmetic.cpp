// index-arithmetic: more index arithmetic than work
//
// What: a kernel without dots that issues many instructions for each byte: divisions and
// remainders per element, bounds tests per tap, scalar loops over channels.
//
// Why it is slow: the schedulers are full with integer work while the memory waits. A division
// by a runtime value is about 22 instructions.
//
// Estimate: the kernel with its divisions hoisted out of the lanes (a two-dimensional grid), and
// bounds tests and addresses cut by a third by reusing what a lane has loaded for its
// neighbours; priced again, not below the bytes over the streaming rate.
//
// Silent: where the issue pipe is not the limiter, or under 10 instructions per element.
//
// Source: depthwise convolutions of 21 taps on an H100: 1.8 ms flat over all elements, 1.04 ms
// as tiles that share their rows.
#include <fmt/format.h>

#include <algorithm>

#include "architect/rules/rules.h"
#include "architect/rules/support.h"

namespace quoin::architect::rule {

Finding index_arithmetic(const Case& about) {
  const Program& program = about.program();
  Repriced repriced(about);
  double each = 0;
  for (OpId id : launches(program)) {
    const Op& op = op_at(program, id);
    const Kernel& kernel = *kernel_of(program, op);
    const cost::KernelTime& detail = about.current.ops[static_cast<std::size_t>(id)].kernel;
    if (!kernel.dots.empty() || device_share(about, id) < 0.05 ||
        detail.limiter != cost::Pipe::issue)
      continue;
    cost::TiledKernel better = tiled_kernel(program, op);
    const Arithmetic& a = kernel.arithmetic;
    const double index =
        a.integer + a.compare + a.select + 22 * a.integer_div + 5 * a.integer_div_constant;
    if (index < 0.3 * better.instructions) continue;
    better.instructions -= 0.35 * index;
    better.special = std::max(0.0, better.special - 3 * a.integer_div);
    // A lane that keeps its neighbours' values loads half as often.
    for (cost::TileAccess& access : better.accesses) {
      if (access.kind != cost::TileAccess::Kind::load) continue;
      const double again = access.program.value / std::max(access.program_distinct.value, 1.0);
      if (again > 2) access.executions *= 0.75;
    }
    double bytes = 0;
    for (const Access& access : kernel.accesses) bytes += access.distinct_bytes;
    const double was = repriced.price(id);
    const double best = std::max(cost::price(better, about.gpu).time.value,
                                 bytes / cost::stream_rate(about.gpu).value);
    if (best > 0.9 * was) continue;
    if (!repriced.take(id, op, best)) continue;
    const Value* out = first_output(program, op);
    each = out != nullptr ? 0.5 * index * op.launch->programs /
                                static_cast<double>(std::max<std::int64_t>(1, elements_of(*out)))
                          : 0;
  }
  if (repriced.none()) return Finding::refused("no kernel is limited by its index arithmetic");
  Finding out = repriced.finding(Effort::rework);
  const std::string who = repriced.who();
  out.text.bottleneck = fmt::format(
      "{} spends about {} index and mask instructions on each output element, so the schedulers "
      "are full while the memory waits: {} where half of them gone needs {}.",
      who, count_text(each), repriced.before(), repriced.after());
  out.text.method =
      "Move the index arithmetic out of the lanes: a grid over rows or planes instead of a flat "
      "index, and tiles that reuse what they have loaded.";
  out.text.plan = fmt::format(
      "Launch {} on a grid of (planes, row blocks, column blocks) so that batch, channel and row "
      "come from `program_id` and no division is done per lane, hoist the bounds tests out of "
      "the inner loop for interior tiles, and let each program compute several neighbouring rows "
      "from the rows it has loaded.",
      who);
  return out;
}

}  // namespace quoin::architect::rule
