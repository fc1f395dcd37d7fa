// Python loops. A loop of `forward` whose iterations do the same device work (an RNN's time steps)
// is not run to its end: after three iterations that record the same operations it jumps to the
// last one, and the operations of the third count for all that were skipped.
#include <algorithm>

#include "architect/model/host/interpreter.h"

namespace quoin::architect {
namespace {

// Loops over a few layers run as they are: their operations keep their own tensors.
constexpr std::size_t kLongLoop = 12;

std::uint64_t mixed(std::uint64_t hash, std::uint64_t value) {
  hash ^= value + 0x9e3779b97f4a7c15ULL + (hash << 6) + (hash >> 2);
  return hash;
}

}  // namespace

/// What a run of operations does, whatever tensors it does it to.
std::uint64_t Interpreter::operations_hash(std::size_t from, std::size_t to) const {
  const Program& program = recorder.program();
  std::uint64_t hash = to - from;
  const auto add_value = [&](ValueId id) {
    if (id < 0) return;
    for (const std::int64_t size : program.values[id].shape) {
      hash = mixed(hash, static_cast<std::uint64_t>(size));
    }
    for (const std::int64_t stride : program.values[id].strides) {
      hash = mixed(hash, static_cast<std::uint64_t>(stride));
    }
  };
  for (std::size_t i = from; i < to; ++i) {
    const Op& op = program.ops[i];
    hash = mixed(hash, static_cast<std::uint64_t>(op.kind));
    hash = mixed(hash, std::hash<std::string>()(op.name));
    hash = mixed(hash, static_cast<std::uint64_t>(op.line));
    hash = mixed(hash, static_cast<std::uint64_t>(op.count));
    for (const Operand& input : op.inputs) add_value(input.value);
    for (const ValueId output : op.outputs) add_value(output);
    if (op.launch) {
      for (const std::int64_t size : op.launch->grid) {
        hash = mixed(hash, static_cast<std::uint64_t>(size));
      }
    }
  }
  return hash;
}

Interpreter::Flow Interpreter::run_iteration(NodeId statement, const Val& item) {
  assign(tree_->child(statement, 0), item);
  const Flow flow = run_block(tree_->child(statement, 2));
  return flow == Flow::continued ? Flow::normal : flow;
}

/// Extrapolates what an iteration did to lists and to counters of this function.
void Interpreter::skip_iterations(std::size_t from, std::size_t to, std::int64_t count,
                                  const std::vector<std::pair<Symbol, Val>>& before) {
  for (std::size_t i = from; i < to; ++i) {
    recorder.program().ops[i].count *= static_cast<double>(count + 1);
  }
  const auto appends = appends_;
  for (std::int64_t i = 0; i < count && steps_ < kMaxSteps; ++i, ++steps_) {
    for (const auto& [list, value] : appends) {
      if (list->items.size() < kMaxItems) list->items.push_back(value);
    }
  }
  for (const auto& [symbol, old] : before) {
    Val* now = scope_->find(symbol);
    if (now == nullptr || !old.is(ValKind::integer) || !now->is(ValKind::integer)) continue;
    now->number += (now->number - old.number) * count;
  }
}

Interpreter::Flow Interpreter::run_for(NodeId statement) {
  const NodeId iterable = tree_->child(statement, 1);
  std::vector<Val> items;
  const Val over = evaluate(iterable);
  if (!iterate(over, items)) {
    misunderstood(tree_->at(statement).line,
                  "a loop over '" + source_of(iterable) + "', whose items are not known");
    return Flow::normal;
  }
  const bool running = recorder.phase == Recorder::Phase::running;
  if (running) {
    recorder.loops.push_back({tree_->at(statement).line, static_cast<double>(items.size())});
  }
  const bool outer_track = track_appends_;
  const auto outer_appends = std::move(appends_);
  appends_.clear();
  const auto& ops = recorder.program().ops;
  std::uint64_t last_hash = 0;
  Flow flow = Flow::normal;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const bool compressible = running && items.size() > kLongLoop && i >= 1 && i + 2 < items.size();
    const std::size_t from = ops.size();
    std::vector<std::pair<Symbol, Val>> before;
    if (compressible) {
      before = scope_->variables;
      appends_.clear();
      track_appends_ = true;
    }
    flow = run_iteration(statement, items[i]);
    if (flow != Flow::normal) break;
    if (!compressible || ops.size() == from) continue;
    const std::uint64_t hash = operations_hash(from, ops.size());
    if (i >= 2 && hash == last_hash) {
      const auto skipped = static_cast<std::int64_t>(items.size() - i - 2);
      skip_iterations(from, ops.size(), skipped, before);
      i += static_cast<std::size_t>(skipped);
      last_hash = 0;
      continue;
    }
    last_hash = hash;
  }
  track_appends_ = outer_track;
  // What this loop appended is an append of an enclosing iteration too.
  auto inner = std::move(appends_);
  appends_ = outer_appends;
  if (outer_track) appends_.insert(appends_.end(), inner.begin(), inner.end());
  if (running) recorder.loops.pop_back();
  return flow == Flow::broke || flow == Flow::continued ? Flow::normal : flow;
}

Interpreter::Flow Interpreter::run_while(NodeId statement) {
  const NodeId condition = tree_->child(statement, 0);
  for (;;) {
    ++steps_;
    if (out_of_steps()) {
      misunderstood(tree_->at(statement).line, "an endless loop, or one too long to follow");
      return Flow::returned;
    }
    const int truth = this->truth(evaluate(condition));
    if (truth < 0) {
      misunderstood(tree_->at(statement).line,
                    "a loop while '" + source_of(condition) + "', which is not known");
    }
    if (truth != 1) return Flow::normal;
    const Flow flow = run_block(tree_->child(statement, 1));
    if (flow == Flow::broke) return Flow::normal;
    if (flow == Flow::returned || flow == Flow::raised) return flow;
  }
}

}  // namespace quoin::architect
