#include "architect/model/tile/index.h"

#include <algorithm>
#include <cmath>

namespace quoin::architect {
namespace {

std::uint64_t key_of(const IndexNode& node) {
  std::uint64_t hash = static_cast<std::uint64_t>(node.op) * 0x9e3779b97f4a7c15ULL;
  for (const std::int64_t part :
       {static_cast<std::int64_t>(node.a), static_cast<std::int64_t>(node.b),
        static_cast<std::int64_t>(node.c), node.value, static_cast<std::int64_t>(node.runtime)}) {
    hash ^= static_cast<std::uint64_t>(part) + 0x9e3779b97f4a7c15ULL + (hash << 6) + (hash >> 2);
  }
  return hash;
}

bool same(const IndexNode& x, const IndexNode& y) {
  return x.op == y.op && x.a == y.a && x.b == y.b && x.c == y.c && x.value == y.value &&
         x.runtime == y.runtime;
}

std::uint8_t log2_of(std::int64_t size) {
  std::uint8_t bits = 0;
  while ((std::int64_t{1} << bits) < size && bits < 40) ++bits;
  return bits;
}

}  // namespace

/// Integer arithmetic as the GPU does it: divisions truncate, by zero gives zero, overflow wraps.
std::int64_t apply(IndexOp op, std::int64_t a, std::int64_t b) noexcept {
  const auto ua = static_cast<std::uint64_t>(a);
  const auto ub = static_cast<std::uint64_t>(b);
  switch (op) {
    case IndexOp::add: return static_cast<std::int64_t>(ua + ub);
    case IndexOp::subtract: return static_cast<std::int64_t>(ua - ub);
    case IndexOp::multiply: return static_cast<std::int64_t>(ua * ub);
    case IndexOp::divide: return b == 0 || (a == INT64_MIN && b == -1) ? 0 : a / b;
    case IndexOp::remainder: return b == 0 || b == -1 ? 0 : a % b;
    case IndexOp::minimum: return std::min(a, b);
    case IndexOp::maximum: return std::max(a, b);
    case IndexOp::bit_and: return a & b;
    case IndexOp::bit_or: return a | b;
    case IndexOp::bit_xor: return a ^ b;
    case IndexOp::shift_left: return b < 0 || b > 63 ? 0 : static_cast<std::int64_t>(ua << ub);
    case IndexOp::shift_right: return b < 0 || b > 63 ? 0 : a >> b;
    case IndexOp::less: return a < b ? 1 : 0;
    case IndexOp::less_equal: return a <= b ? 1 : 0;
    case IndexOp::equal: return a == b ? 1 : 0;
    default: return 0;
  }
}

IndexId IndexGraph::insert(IndexNode node) {
  const std::uint64_t key = key_of(node);
  const auto [begin, end] = known_.equal_range(key);
  for (auto it = begin; it != end; ++it) {
    if (same(nodes_[it->second], node)) return it->second;
  }
  for (const IndexId part : {node.a, node.b, node.c}) {
    const bool leaf = node.op == IndexOp::program || node.op == IndexOp::lane ||
                      node.op == IndexOp::iteration || node.op == IndexOp::trips ||
                      (node.op == IndexOp::phi && part == node.a);
    if (part < 0 || leaf) continue;
    node.depends |= nodes_[part].depends;
    for (int d = 0; d < kMaxTileDims; ++d) {
      node.lanes[d] = std::max(node.lanes[d], nodes_[part].lanes[d]);
    }
  }
  const auto id = static_cast<IndexId>(nodes_.size());
  nodes_.push_back(node);
  known_.emplace(key, id);
  return id;
}

IndexId IndexGraph::constant(std::int64_t value, bool runtime) {
  IndexNode node;
  node.value = value;
  node.runtime = runtime;
  return insert(node);
}

IndexId IndexGraph::program(int axis) {
  IndexNode node;
  node.op = IndexOp::program;
  node.a = axis;
  node.depends = program_bit(axis);
  return insert(node);
}

IndexId IndexGraph::lane(int dim, std::int64_t size) {
  if (size <= 1 || dim >= kMaxTileDims) return constant(0);
  IndexNode node;
  node.op = IndexOp::lane;
  node.a = dim;
  node.value = size;
  node.depends = lane_bit(dim);
  node.lanes[dim] = log2_of(size);
  return insert(node);
}

IndexId IndexGraph::iteration(int loop) {
  IndexNode node;
  node.op = IndexOp::iteration;
  node.a = loop;
  node.depends = 1U << loop;
  return insert(node);
}

IndexId IndexGraph::trips(int loop) {
  IndexNode node;
  node.op = IndexOp::trips;
  node.a = loop;
  for (const IndexId bound : {loops_[loop].begin, loops_[loop].end, loops_[loop].step}) {
    if (bound >= 0) node.depends |= nodes_[bound].depends;
  }
  return insert(node);
}

IndexId IndexGraph::phi(int loop, IndexId init) {
  IndexNode node;  // each is its own: two variables of a loop differ even where they start alike
  node.op = IndexOp::phi;
  node.a = loop;
  node.b = init;
  node.value = static_cast<std::int64_t>(nodes_.size());
  node.depends = 1U << loop;
  return insert(node);
}

IndexId IndexGraph::data(Depends depends) {
  IndexNode node;
  node.op = IndexOp::data;
  node.value = static_cast<std::int64_t>(nodes_.size());
  node.depends = depends | kDataBit;
  return insert(node);
}

IndexId IndexGraph::binary(IndexOp op, IndexId a, IndexId b) {
  if (a < 0 || b < 0) return -1;
  const IndexNode& x = nodes_[a];
  const IndexNode& y = nodes_[b];
  const bool cx = x.op == IndexOp::constant;
  const bool cy = y.op == IndexOp::constant;
  if (cx && cy) return constant(apply(op, x.value, y.value), x.runtime || y.runtime);
  const auto is = [](const IndexNode& node, bool known, std::int64_t value) {
    return known && node.value == value;
  };
  if (op == IndexOp::add && is(y, cy, 0)) return a;
  if (op == IndexOp::add && is(x, cx, 0)) return b;
  if (op == IndexOp::subtract && is(y, cy, 0)) return a;
  if (op == IndexOp::multiply && is(y, cy, 1)) return a;
  if (op == IndexOp::multiply && is(x, cx, 1)) return b;
  if (op == IndexOp::multiply && (is(x, cx, 0) || is(y, cy, 0))) return constant(0);
  if (op == IndexOp::divide && is(y, cy, 1)) return a;
  if (op == IndexOp::remainder && is(y, cy, 1)) return constant(0);
  IndexNode node;
  node.op = op;
  node.a = a;
  node.b = b;
  return insert(node);
}

IndexId IndexGraph::select(IndexId condition, IndexId yes, IndexId no) {
  if (condition < 0 || yes < 0 || no < 0) return -1;
  if (is_constant(condition)) return nodes_[condition].value != 0 ? yes : no;
  if (yes == no) return yes;
  IndexNode node;
  node.op = IndexOp::select;
  node.a = condition;
  node.b = yes;
  node.c = no;
  return insert(node);
}

IndexId IndexGraph::negated(IndexId condition) {
  return binary(IndexOp::equal, condition, constant(0));
}

int IndexGraph::add_loop(const IndexLoop& loop) {
  loops_.push_back(loop);
  return static_cast<int>(loops_.size()) - 1;
}

void IndexGraph::set_step(IndexId phi, IndexId step) {
  nodes_[phi].c = step;
  if (step >= 0) nodes_[phi].depends |= nodes_[step].depends;
  for (std::size_t i = 0; i < derived_.size(); ++i) {
    const Derived derived = derived_[i];
    if (derived.from == phi && step >= 0) set_step(derived.made, replace_lanes(step, derived.to));
  }
}

/// Writes `node` as phi plus other terms that the loop leaves alone.
bool IndexGraph::split_step(IndexId node, IndexId phi, int sign, int depth, bool& found,
                            std::vector<std::pair<IndexId, int>>& rest) const {
  if (node == phi) {
    if (found || sign < 0) return false;
    found = true;
    return true;
  }
  const IndexNode& held = nodes_[node];
  const Depends loop = 1U << nodes_[phi].a;
  if ((held.depends & (loop | kDataBit)) == 0) {
    rest.emplace_back(node, sign);
    return true;
  }
  if (depth > 32 || (held.op != IndexOp::add && held.op != IndexOp::subtract)) return false;
  return split_step(held.a, phi, sign, depth + 1, found, rest) &&
         split_step(held.b, phi, held.op == IndexOp::add ? sign : -sign, depth + 1, found, rest);
}

void IndexGraph::close_phi(IndexId phi, IndexId last) {
  bool found = false;
  std::vector<std::pair<IndexId, int>> rest;
  if (last < 0 || !split_step(last, phi, 1, 0, found, rest) || !found) return;
  IndexId step = constant(0);
  for (const auto& [term, sign] : rest) {
    step = binary(sign > 0 ? IndexOp::add : IndexOp::subtract, step, term);
  }
  set_step(phi, step);
}

IndexId IndexGraph::replace_lanes(IndexId node, const std::array<IndexId, kMaxTileDims>& to) {
  std::unordered_map<IndexId, IndexId> done;
  return node < 0 ? -1 : replace(node, to, done, 0);
}

IndexId IndexGraph::replace(IndexId id, const std::array<IndexId, kMaxTileDims>& to,
                            std::unordered_map<IndexId, IndexId>& done, int depth) {
  const IndexNode node = nodes_[id];
  const bool has_lanes = (node.depends & (0x1fU << 20)) != 0;
  const bool open_phi = node.op == IndexOp::phi && node.c < 0;
  if (depth > 300 || full() || (!has_lanes && !open_phi)) return id;
  if (const auto it = done.find(id); it != done.end()) return it->second;
  IndexId made = id;
  if (node.op == IndexOp::lane) {
    made = to[node.a] < 0 ? constant(0) : to[node.a];
  } else if (node.op == IndexOp::data) {
    made = id;
  } else if (node.op == IndexOp::phi) {
    const IndexId init = replace(node.b, to, done, depth + 1);
    made = phi(node.a, init);
    if (node.c >= 0)
      set_step(made, replace(node.c, to, done, depth + 1));
    else
      derived_.push_back({id, made, to});
  } else if (node.op == IndexOp::select) {
    const IndexId a = replace(node.a, to, done, depth + 1);
    const IndexId b = replace(node.b, to, done, depth + 1);
    made = select(a, b, replace(node.c, to, done, depth + 1));
  } else {
    const IndexId a = replace(node.a, to, done, depth + 1);
    made = binary(node.op, a, replace(node.b, to, done, depth + 1));
  }
  done[id] = made;
  return made;
}

// ------------------------------------------------------------------------------------ sampling

Sampler::Sampler(const IndexGraph& graph, const std::array<std::int64_t, 3>& grid)
    : graph_(graph), grid_(grid) {
  // Multiples of square roots of primes modulo one: evenly spread in every coordinate and pair.
  static constexpr int kPrimes[] = {2,  3,  5,  7,  11, 13, 17, 19, 23, 29, 31, 37,
                                    41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89};
  for (const int prime : kPrimes) {
    std::array<double, kPoints> row{};
    if (prime == 2) {  // the first program id is stratified: its averages are exact
      for (int i = 0; i < kPoints; ++i) row[i] = (i + 0.5) / kPoints;
      uniform_.push_back(row);
      continue;
    }
    const double root = std::sqrt(static_cast<double>(prime));
    for (int i = 0; i < kPoints; ++i) {
      const double x = (i + 0.5) * root;
      row[i] = x - std::floor(x);
    }
    uniform_.push_back(row);
  }
  sort();
}

/// Operands before users, without recursion.
void Sampler::sort() {
  const std::size_t count = graph_.size();
  std::vector<std::uint8_t> state(count, 0);  // 1: open, 2: done
  std::vector<IndexId> stack;
  const auto push = [&](IndexId id) {
    if (id >= 0 && state[id] == 0) stack.push_back(id);
  };
  order_.reserve(count);
  for (std::size_t start = 0; start < count; ++start) {
    push(static_cast<IndexId>(start));
    while (!stack.empty()) {
      const IndexId id = stack.back();
      if (state[id] == 0) {
        state[id] = 1;
        const IndexNode& node = graph_.at(id);
        if (node.op == IndexOp::iteration || node.op == IndexOp::trips || node.op == IndexOp::phi) {
          const IndexLoop& loop = graph_.loops()[node.a];
          push(loop.begin);
          push(loop.end);
          push(loop.step);
        }
        if (node.op >= IndexOp::add) {
          push(node.a);
          push(node.b);
        } else if (node.op == IndexOp::phi) {
          push(node.b);
        }
        if (node.op == IndexOp::select || node.op == IndexOp::phi) push(node.c);
        continue;
      }
      stack.pop_back();
      if (state[id] == 1) {
        state[id] = 2;
        order_.push_back(id);
      }
    }
  }
}

std::int64_t Sampler::lane_move(int dim, std::int64_t size, int point) const {
  const auto lane = static_cast<std::int64_t>(uniform_[3 + dim][point] * static_cast<double>(size));
  const std::int64_t by = far_ ? std::max<std::int64_t>(size / 2, 1) : 1;
  return lane + by < size ? by : -by;
}

void Sampler::evaluate_loop(int loop, std::vector<Row>& rows) {
  const IndexLoop& held = graph_.loops()[loop];
  for (int i = 0; i < kPoints; ++i) {
    std::int64_t trips = 1;
    if (held.end >= 0 && held.begin >= 0) {
      const std::int64_t begin = rows[held.begin][i];
      const std::int64_t end = rows[held.end][i];
      const std::int64_t step = held.step >= 0 ? rows[held.step][i] : 1;
      trips = step > 0   ? (end > begin ? (end - begin - 1) / step + 1 : 0)
              : step < 0 ? (begin > end ? (begin - end - 1) / -step + 1 : 0)
                         : 1;
    }
    trips_[loop][i] = trips;
    iterations_[loop][i] =
        static_cast<std::int64_t>(uniform_[8 + loop][i] * static_cast<double>(trips));
  }
}

void Sampler::evaluate_node(IndexId id, std::vector<Row>& rows, bool moved) {
  const IndexNode& node = graph_.at(id);
  Row& out = rows[id];
  const auto in = [&](IndexId part) -> const Row& {
    if (!moved) return rows[part];
    return this->moved(part);
  };
  switch (node.op) {
    case IndexOp::constant: out.fill(node.value); return;
    case IndexOp::program:
      for (int i = 0; i < kPoints; ++i) {
        out[i] =
            static_cast<std::int64_t>(uniform_[node.a][i] * static_cast<double>(grid_[node.a]));
      }
      return;
    case IndexOp::lane:
      for (int i = 0; i < kPoints; ++i) {
        out[i] =
            static_cast<std::int64_t>(uniform_[3 + node.a][i] * static_cast<double>(node.value));
        if (moved && node.a == moved_lane_) out[i] += lane_move(node.a, node.value, i);
      }
      return;
    case IndexOp::iteration:
      out = iterations_[node.a];
      if (moved && node.a == moved_loop_)
        for (std::int64_t& value : out) ++value;
      return;
    case IndexOp::trips: out = trips_[node.a]; return;
    case IndexOp::data:
      for (int i = 0; i < kPoints; ++i) out[i] = (i * 7919 + node.value * 31) % 1021;
      return;
    case IndexOp::phi: {
      Row iteration = iterations_[node.a];
      if (moved && node.a == moved_loop_)
        for (std::int64_t& value : iteration) ++value;
      const Row& init = in(node.b);
      if (node.c < 0) {
        out = init;
        return;
      }
      const Row& step = in(node.c);
      for (int i = 0; i < kPoints; ++i) {
        out[i] = apply(IndexOp::add, init[i], apply(IndexOp::multiply, iteration[i], step[i]));
      }
      return;
    }
    case IndexOp::select: {
      const Row& a = in(node.a);
      const Row& b = in(node.b);
      const Row& c = in(node.c);
      for (int i = 0; i < kPoints; ++i) out[i] = a[i] != 0 ? b[i] : c[i];
      return;
    }
    default: {
      const Row& a = in(node.a);
      const Row& b = in(node.b);
      // The frequent ones in loops that vectorise.
      if (node.op == IndexOp::add) {
        for (int i = 0; i < kPoints; ++i) {
          out[i] = static_cast<std::int64_t>(static_cast<std::uint64_t>(a[i]) +
                                             static_cast<std::uint64_t>(b[i]));
        }
      } else if (node.op == IndexOp::multiply) {
        for (int i = 0; i < kPoints; ++i) {
          out[i] = static_cast<std::int64_t>(static_cast<std::uint64_t>(a[i]) *
                                             static_cast<std::uint64_t>(b[i]));
        }
      } else {
        for (int i = 0; i < kPoints; ++i) out[i] = apply(node.op, a[i], b[i]);
      }
    }
  }
}

void Sampler::run() {
  base_.resize(graph_.size());
  trips_.resize(graph_.loops().size());
  iterations_.resize(graph_.loops().size());
  std::vector<bool> ready(graph_.loops().size(), false);
  for (const IndexId id : order_) {
    const IndexNode& node = graph_.at(id);
    const bool of_loop =
        node.op == IndexOp::iteration || node.op == IndexOp::trips || node.op == IndexOp::phi;
    if (of_loop && !ready[node.a]) {
      evaluate_loop(node.a, base_);
      ready[node.a] = true;
    }
    evaluate_node(id, base_, false);
  }
  for (std::size_t loop = 0; loop < ready.size(); ++loop) {
    if (!ready[loop]) evaluate_loop(static_cast<int>(loop), base_);
  }
  moved_ = {};
}

void Sampler::run_lane(int dim, bool far) {
  moved_lane_ = dim;
  far_ = far;
  moved_loop_ = -1;
  evaluate(moved_, true);
}

void Sampler::run_loop(int loop) {
  moved_lane_ = -1;
  moved_loop_ = loop;
  evaluate(moved_, true);
}

void Sampler::evaluate(std::vector<Row>& rows, bool moved) {
  rows.resize(graph_.size());
  const Depends bit = moved_lane_ >= 0 ? lane_bit(moved_lane_) : 1U << moved_loop_;
  for (const IndexId id : order_) {
    if ((graph_.at(id).depends & bit) != 0) evaluate_node(id, rows, moved);
  }
}

const Sampler::Row& Sampler::moved(IndexId node) const {
  const Depends bit = moved_lane_ >= 0 ? lane_bit(moved_lane_) : 1U << moved_loop_;
  return (graph_.at(node).depends & bit) != 0 ? moved_[node] : base_[node];
}

}  // namespace quoin::architect
