// split-reduction: statistics in one kernel, their use in another
//
// What: a launch that only reduces rows (sums, maxima, often by atomics) followed by one that
// reads the same tensor again and applies the result.
//
// Why it is slow: the tensor crosses the memory twice more than it must, and programs that add
// to the same address by atomics take turns: 0.56e9 a second on one sector.
//
// Estimate: one kernel per row: read + write where a row fits into a program (64 K floats at
// most on 8 warps), otherwise read twice + write, over the streaming rate, with 8% for the wait
// between the passes.
//
// Silent: rows under 256 elements, fewer rows than 2 x SMs (the parallelism would be lost: one
// program per row starves the card), a third reader of the tensor.
//
// Source: two kernels with atomics 17 ms, one kernel per row 6.7 ms for rows of 1 MB on an H200,
// 2026-11-21.
#include <fmt/format.h>

#include <algorithm>

#include "architect/rules/rules.h"
#include "architect/rules/support.h"

namespace quoin::architect::rule {
namespace {

/// The tensor that both launches read, or -1.
ValueId shared_input(const Program& program, const Op& first, const Op& second) {
  for (const Operand& a : first.inputs) {
    for (const Operand& b : second.inputs) {
      const ValueId root = root_of(program, a.value);
      if (root < 0 || root != root_of(program, b.value)) continue;
      const Value* value = value_at(program, root);
      if (value != nullptr && bytes_of(*value) > 1e6 && value->origin != Origin::parameter)
        return root;
    }
  }
  return -1;
}

bool misaligned(const Program& program, ValueId tensor) {
  const Value& value = *value_at(program, tensor);
  return value.shape.size() > 1 && value.shape.back() * bytes_of(value.type) % 32 != 0;
}

}  // namespace

Finding split_reduction(const Case& about) {
  const Program& program = about.program();
  const std::vector<OpId> all = launches(program);
  for (OpId first : all) {
    const Op& reduce = op_at(program, first);
    const Kernel& kernel = *kernel_of(program, reduce);
    bool atomic = false;
    for (const Access& access : kernel.accesses)
      atomic = atomic || access.kind == AccessKind::atomic;
    if (kernel.reductions.empty() || !kernel.dots.empty()) continue;
    for (OpId second : all) {
      if (second <= first) continue;
      const Op& apply = op_at(program, second);
      const Kernel& user = *kernel_of(program, apply);
      if (!user.dots.empty()) continue;
      const ValueId tensor = shared_input(program, reduce, apply);
      if (tensor < 0) continue;
      const double bytes = bytes_of(*value_at(program, tensor));
      double rows = 0;
      for (const Access& access : kernel.accesses) {
        if (access.kind != AccessKind::load)
          rows = std::max(rows, access.distinct_bytes / bytes_of(access.type));
      }
      const double written = output_bytes(program, apply);
      if (rows < 2.0 * about.gpu.sms || written < 0.5 * bytes || rows * 1024 > bytes) continue;
      const double row = bytes / rows;
      const bool held = row <= 262144;
      // Rows that start inside a sector: partly written sectors are merged in memory.
      const double merged = misaligned(program, tensor) ? 2.2 : 1;
      const double moved = (held ? bytes : 2 * bytes) + merged * written;
      Changed changed(about);
      changed.drop(first);
      // Small launches between the two (square roots of sums) go too.
      for (OpId between : all) {
        if (between > first && between < second && device_share(about, between) < 0.05)
          changed.drop(between);
      }
      const double best = moved / cost::stream_rate(about.gpu).value * 1.08 + 5e-6;
      const double was = device_time(about, first) + device_time(about, second);
      if (best > 0.92 * was) continue;
      changed.device(second, cost::Seconds{best});
      Finding out;
      out.applies = true;
      out.after = changed.total();
      out.effort = Effort::rework;
      out.text.bottleneck = fmt::format(
          "{} reads {} of {} only to form {} row results{}, and {} reads all of it again: together "
          "{} where one kernel needs about {}.",
          op_name(reduce), bytes_text(bytes), value_name(program, tensor), count_text(rows),
          atomic ? " by atomics on shared addresses" : "", op_name(apply), milliseconds({was}),
          milliseconds({best}));
      out.text.method =
          fmt::format("Merge both into one kernel with a program per row that {}.",
                      held ? "holds its row in registers between the statistics and their use"
                           : "reduces its row in a loop and then walks it a second time");
      out.text.plan = fmt::format(
          "Give `{}` a grid of {} rows, accumulate the statistics per lane over blocks of 1024 to "
          "4096 elements, reduce once, and apply them in the same program. {} and its "
          "buffers disappear.",
          apply.name, count_text(rows), op_name(reduce));
      return out;
    }
  }
  return Finding::refused("no reducing launch is followed by one that reads the same tensor");
}

}  // namespace quoin::architect::rule
