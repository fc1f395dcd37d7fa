// unfused-pass: a pass over memory that its neighbour could do
//
// What: elementwise operations (and streaming kernels) whose only input of size is what the
// operation before them has just written, and nobody else reads; or whose result one launch
// alone reads, each element once.
//
// Why it is slow: the intermediate is written and read again, and every pass is a launch.
//
// Estimate: seconds = total - the passes' time + their other operands over the streaming rate,
// where they go into the store of the launch before them or the load of the launch behind; a
// chain behind a library call becomes one kernel: bytes in + bytes out over the streaming rate.
//
// Silent: across a reduction's tiles (a norm with statistics, a softmax, a row sum after a
// product), where the intermediate is an output or has other readers, where the passes are under
// 3% of the time.
//
// Source: collected rewrites: fusion gains 1.04 (median) and 12 of 35 lost, most of them because
// parallelism was lost; only the passes' own time is counted here.
#include <fmt/format.h>

#include <algorithm>

#include "architect/rules/rules.h"
#include "architect/rules/support.h"

namespace quoin::architect::rule {
namespace {

bool fusible(const Program& program, const Op& op) {
  if (is_pointwise(op)) return op.count == 1;
  if (op.kind == OpKind::norm) return op.name.find("batch") != std::string::npos && !op.training;
  const Kernel* kernel = kernel_of(program, op);
  if (kernel == nullptr || !streams(program, op) || !kernel->reductions.empty()) return false;
  for (const Access& access : kernel->accesses) {
    if (access.kind == AccessKind::atomic) return false;
  }
  const Value* out = first_output(program, op);
  for (const Operand& operand : op.inputs) {
    const Value* in = value_at(program, operand.value);
    if (in != nullptr && out != nullptr && elements_of(*in) == elements_of(*out)) return true;
  }
  return false;
}

/// The operation whose result this one mainly reads, where it may take the work over.
OpId main_producer(const Program& program, const Op& op) {
  const Value* out = first_output(program, op);
  if (out == nullptr) return -1;
  OpId latest = -1;
  for (const Operand& operand : op.inputs) {
    const Value* in = value_at(program, operand.value);
    if (in == nullptr || elements_of(*in) != elements_of(*out)) continue;
    for (OpId by : operand.producers) latest = std::max(latest, by);
  }
  if (latest < 0 || is_output(program, latest)) return -1;
  return consumers_of(program, latest).size() == 1 ? latest : -1;
}

/// The launch that alone reads this result, each element about once: it could do the work when it
/// loads.
OpId main_reader(const Program& program, OpId id) {
  const Op& op = op_at(program, id);
  if (op.outputs.size() != 1 || is_output(program, id)) return -1;
  const std::vector<OpId> readers = consumers_of(program, id);
  if (readers.size() != 1) return -1;
  const Op& reader = op_at(program, readers.front());
  const Kernel* kernel = kernel_of(program, reader);
  // A pass itself would rather go into this one.
  if (kernel == nullptr || !kernel->dots.empty() || fusible(program, reader)) return -1;
  const ValueId root = root_of(program, op.outputs.front());
  double loaded = 0, distinct = 0;
  for (const Access& access : kernel->accesses) {
    if (access.kind == AccessKind::atomic) return -1;
    if (root_of(program, accessed(reader, access)) != root) continue;
    if (access.kind == AccessKind::store) return -1;
    loaded += access.total_bytes;
    distinct = std::max(distinct, access.distinct_bytes);
  }
  return distinct > 0 && loaded < 1.3 * distinct ? readers.front() : -1;
}

}  // namespace

Finding unfused_pass(const Case& about) {
  const Program& program = about.program();
  Changed changed(about);
  std::vector<std::string> passes, hosts;
  double saved_bytes = 0;
  bool before_its_store = true;
  for (std::size_t i = 0; i < program.ops.size(); ++i) {
    const Op& op = program.ops[i];
    if (op.weight_only || !fusible(program, op)) continue;
    OpId by = main_producer(program, op);
    const bool after_it = by >= 0 && (kernel_of(program, op_at(program, by)) != nullptr ||
                                      fusible(program, op_at(program, by)));
    if (!after_it) by = main_reader(program, static_cast<OpId>(i));
    if (by < 0) continue;
    const Op& host = op_at(program, by);
    // What else it reads must still be read.
    const double result = output_bytes(program, op);
    const double other = std::max(0.0, op.bytes_read - result);
    const double extra = other > 0.2 * result ? other / cost::stream_rate(about.gpu).value : 0;
    const double was = changed.price(static_cast<OpId>(i)).device.value;
    if (extra > 0.8 * was) continue;
    changed.drop(static_cast<OpId>(i));
    changed.add_device(by, cost::Seconds{extra});
    saved_bytes += (op.bytes_read + op.bytes_written) * op.count - other;
    passes.push_back("`" + op.name + "`");
    hosts.push_back("`" + host.name + "`");
    before_its_store = before_its_store && after_it;
  }
  if (passes.empty()) return Finding::refused("no pass could be done by its neighbour");
  const cost::Seconds after = changed.total();
  if (about.current.total.value - after.value < 0.03 * about.current.total.value) {
    return Finding::refused(fmt::format("{} passes take under 3% of {}", passes.size(),
                                        milliseconds(about.current.total)));
  }
  Finding out = Finding::applied(after, Effort::rework);
  const std::string what = list_text(passes), into = list_text(hosts);
  out.text.bottleneck = fmt::format(
      "{} {} over memory of {} own beside {}: {} that are written and read again, {} of {}.", what,
      passes.size() == 1 ? "makes a pass" : "make passes", passes.size() == 1 ? "its" : "their",
      into, bytes_text(saved_bytes), milliseconds(about.current.total - after),
      milliseconds(about.current.total));
  if (before_its_store) {
    out.text.method = fmt::format(
        "Fuse {} into the kernel before {}, on the values that it holds before its store.", what,
        passes.size() == 1 ? "it" : "them");
    out.text.plan = fmt::format(
        "Apply {} to the tile in registers at the end of {}, load its other operands there with "
        "the store's own offsets and mask, and drop the separate passes. Grid and tiles stay as "
        "they are.",
        what, into);
  } else {
    out.text.method = fmt::format(
        "Fuse {} into {}, on the values as that kernel loads or stores them, so that the "
        "intermediate is never written.",
        what, into);
    out.text.plan = fmt::format(
        "Pass what {} reads to {} directly, apply the same arithmetic right after its `tl.load` "
        "(or before its `tl.store` where it comes first), and drop the separate passes. Grid and "
        "tiles stay as they are.",
        what, into);
  }
  return out;
}

}  // namespace quoin::architect::rule
