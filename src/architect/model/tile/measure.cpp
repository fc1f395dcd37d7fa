// From what was interpreted to numbers: how often things happen, what share of lanes is active, how
// far apart lanes lie in memory, how many bytes are moved. All by evaluating the index graph at
// sample points (index.h), weighted by how often each point's loops run.
#include <algorithm>
#include <cmath>
#include <map>

#include "architect/model/tile/tile.h"

namespace quoin::architect {
namespace {

constexpr double kSectorBytes = 32;

/// The value that most weight falls on, and its share.
std::pair<std::int64_t, double> mode_of(const std::vector<std::pair<std::int64_t, double>>& votes) {
  std::map<std::int64_t, double> sums;
  double total = 0;
  for (const auto& [value, weight] : votes) {
    sums[value] += weight;
    total += weight;
  }
  std::pair<std::int64_t, double> best{kUnknownStride, 0};
  for (const auto& [value, weight] : sums) {
    if (weight > best.second) best = {value, weight};
  }
  if (total > 0) best.second /= total;
  return best;
}

struct Span {
  double stride = 0, extent = 1;
  double reach = 0;  // the stride over the whole extent, where runs end in jumps
};

/// Elements that a nest of strides touches: overlapping windows count once.
double footprint(std::vector<Span> spans) {
  std::sort(spans.begin(), spans.end(),
            [](const Span& a, const Span& b) { return a.stride < b.stride; });
  double count = 1;
  double reach = 1;
  for (const Span& span : spans) {
    if (span.stride == 0 || span.extent <= 1) continue;
    const double far = std::max(span.stride, span.reach) * (span.extent - 1) + reach;
    if (span.stride < reach)
      count = std::min(count * span.extent, far);
    else
      count *= span.extent;
    reach = far;
  }
  return count;
}

/// Share of the sectors under a footprint that is used: strides that fill each other's gaps count
/// as contiguous.
double footprint_share(std::vector<Span> spans, double bytes) {
  std::sort(spans.begin(), spans.end(),
            [](const Span& a, const Span& b) { return a.stride < b.stride; });
  double run = 1;  // elements
  double gap = 0;
  for (const Span& span : spans) {
    if (span.stride == 0 || span.extent <= 1) continue;
    if (span.stride > run) {
      gap = span.stride;
      break;
    }
    run += span.stride * (span.extent - 1);
  }
  const double run_bytes = run * bytes;
  if (run_bytes >= kSectorBytes || gap == 0) {
    return std::min(1.0, run_bytes / (kSectorBytes * std::ceil(run_bytes / kSectorBytes)));
  }
  return run_bytes / std::min(kSectorBytes, gap * bytes);
}

}  // namespace

/// At each point: how often the context runs per program that the point stands for.
std::vector<double> TileInterpreter::weights_of(const Sampler& sampler, int context) const {
  std::vector<double> weights(Sampler::kPoints, 1);
  const Context& held = contexts_[context];
  for (int loop = held.loop; loop >= 0; loop = kernel.loops[loop].parent) {
    const Sampler::Row& trips = sampler.trips(loop);
    for (int i = 0; i < Sampler::kPoints; ++i) weights[i] *= static_cast<double>(trips[i]);
  }
  for (int path = held.path; path >= 0; path = paths_[path].parent) {
    const Sampler::Row& condition = sampler.base(paths_[path].condition);
    const bool data = (graph.at(paths_[path].condition).depends & kDataBit) != 0;
    for (int i = 0; i < Sampler::kPoints; ++i) {
      if (data)
        weights[i] *= 0.5;  // either way: nothing is known
      else if (condition[i] == 0)
        weights[i] = 0;
    }
  }
  return weights;
}

void TileInterpreter::measure() {
  Sampler sampler(graph, grid_);
  sampler.run();
  for (IndexId id = 0; id < static_cast<IndexId>(graph.size()) && !divides_; ++id) {
    divides_ = graph.at(id).op == IndexOp::divide || graph.at(id).op == IndexOp::remainder;
  }
  std::vector<double> loop_executions;
  measure_loops(sampler, loop_executions);
  std::vector<std::vector<double>> weights;
  std::vector<double> executions;
  for (std::size_t c = 0; c < contexts_.size(); ++c) {
    weights.push_back(weights_of(sampler, static_cast<int>(c)));
    double sum = 0;
    for (const double weight : weights.back()) sum += weight;
    executions.push_back(sum / Sampler::kPoints);
  }
  for (std::size_t i = 0; i < pending_dots_.size(); ++i) {
    kernel.dots[i].executions = executions[pending_dots_[i].context];
  }
  for (std::size_t i = 0; i < pending_reductions_.size(); ++i) {
    kernel.reductions[i].executions = executions[pending_reductions_[i]];
  }
  measure_accesses(sampler, weights);
  measure_strides(sampler, weights);
  measure_footprints(sampler, weights);
  finish_dots();
  add_arithmetic(executions);
  add_index_arithmetic(loop_executions);
  for (const Loop& loop : kernel.loops) {
    kernel.peak_tile_bytes = std::max(kernel.peak_tile_bytes, loop.carried_bytes);
  }
  kernel.peak_tile_bytes =
      std::max(kernel.peak_tile_bytes, 4.0 * static_cast<double>(kernel.largest_tile));
}

void TileInterpreter::measure_loops(const Sampler& sampler, std::vector<double>& executions) {
  for (std::size_t l = 0; l < kernel.loops.size(); ++l) {
    Loop& loop = kernel.loops[l];
    const Sampler::Row& trips = sampler.trips(static_cast<int>(l));
    double sum = 0;
    for (int i = 0; i < Sampler::kPoints; ++i) {
      sum += static_cast<double>(trips[i]);
      loop.trips_vary = loop.trips_vary || trips[i] != trips[0];
    }
    loop.trips = sum / Sampler::kPoints;
    double total = 0;
    for (int i = 0; i < Sampler::kPoints; ++i) {
      double product = 1;
      for (int at = static_cast<int>(l); at >= 0; at = kernel.loops[at].parent) {
        product *= static_cast<double>(sampler.trips(at)[i]);
      }
      total += product;
    }
    loop.executions = total / Sampler::kPoints;
    executions.push_back(loop.executions);
  }
}

void TileInterpreter::measure_accesses(Sampler& sampler,
                                       const std::vector<std::vector<double>>& weights) {
  double active_programs = 0;
  for (std::size_t a = 0; a < pending_accesses_.size(); ++a) {
    const PendingAccess& pending = pending_accesses_[a];
    Access& access = kernel.accesses[a];
    const std::vector<double>& weight = weights[pending.context];
    double sum = 0;
    double inside = 0;
    int alive = 0;
    const bool known = pending.mask >= 0;
    for (int i = 0; i < Sampler::kPoints; ++i) {
      sum += weight[i];
      alive += weight[i] > 0 ? 1 : 0;
      if (!known || sampler.base(pending.mask)[i] != 0) inside += weight[i];
    }
    access.executions = sum / Sampler::kPoints;
    access.active = sum > 0 ? inside / sum : 0;
    active_programs = std::max(active_programs, static_cast<double>(alive) / Sampler::kPoints);
  }
  if (!pending_accesses_.empty()) kernel.active_programs = active_programs;
}

void TileInterpreter::measure_strides(Sampler& sampler,
                                      const std::vector<std::vector<double>>& weights) {
  int rank = 0;
  for (const PendingAccess& pending : pending_accesses_) rank = std::max(rank, pending.shape.rank);
  std::vector<std::vector<double>> runs(pending_accesses_.size());  // elements along each dimension
  for (int d = 0; d < rank; ++d) {
    sampler.run_lane(d);
    for (std::size_t a = 0; a < pending_accesses_.size(); ++a) {
      const PendingAccess& pending = pending_accesses_[a];
      if (d >= pending.shape.rank) continue;
      Access& access = kernel.accesses[a];
      const std::int64_t size = pending.shape.size[d];
      if (pending.address < 0 || (graph.at(pending.address).depends & kDataBit) != 0) {
        access.strides.push_back(size == 1 ? 0 : kUnknownStride);
        runs[a].push_back(1);
        continue;
      }
      std::vector<std::pair<std::int64_t, double>> votes;
      for (int i = 0; i < Sampler::kPoints; ++i) {
        double weight = weights[pending.context][i];
        // Lanes that are masked off are not addressed; where all are, they still tell the layout.
        if (pending.mask >= 0 && sampler.base(pending.mask)[i] == 0) weight *= 1e-6;
        const std::int64_t step =
            (sampler.moved(pending.address)[i] - sampler.base(pending.address)[i]) *
            sampler.lane_move(d, size, i);
        votes.emplace_back(size == 1 ? 0 : step, weight + 1e-12);
      }
      const auto [stride, share] = mode_of(votes);
      access.strides.push_back(share < 0.4 ? kUnknownStride : stride);
      const double run = share >= 0.999 ? static_cast<double>(size)
                                        : std::min(static_cast<double>(size), 1 / (1 - share));
      runs[a].push_back(run);
    }
  }
  if (divides_) measure_reach(sampler, rank);
  for (std::size_t a = 0; a < pending_accesses_.size(); ++a) {
    Access& access = kernel.accesses[a];
    const double bytes = bytes_of(access.type);
    access.unique_elements = 1;
    double best = -1;
    for (std::size_t d = 0; d < access.strides.size(); ++d) {
      const std::int64_t stride = access.strides[d];
      if (stride != 0) access.unique_elements *= static_cast<double>(access.tile[d]);
      if (stride == 0 || access.tile[d] == 1) continue;
      // Useful bytes per sector along this dimension.
      const double step =
          stride == kUnknownStride ? kSectorBytes / bytes : std::abs(static_cast<double>(stride));
      const double score = runs[a][d] * bytes / step;
      if (score <= best) continue;
      best = score;
      access.fast_dim = static_cast<int>(d);
      access.run_bytes = step == 1 ? runs[a][d] * bytes : bytes;
      const double spread = std::min(step * bytes, kSectorBytes);
      access.sector_efficiency = bytes / spread;
      if (step == 1) {  // a run that ends inside a sector wastes the rest of it
        access.sector_efficiency = std::min(
            1.0, access.run_bytes / (kSectorBytes * std::ceil(access.run_bytes / kSectorBytes)));
      }
    }
    if (access.fast_dim < 0) {
      access.run_bytes = bytes;
      access.sector_efficiency = access.tile.empty() ? bytes / kSectorBytes : 1;
    }
    access.program_bytes = access.executions * access.unique_elements * access.active * bytes;
  }
}

/// Where an index was decoded by divisions, a row of lanes wraps to the next line: how far a lane
/// advances on average, over half of the tile.
void TileInterpreter::measure_reach(Sampler& sampler, int rank) {
  for (int d = 0; d < rank; ++d) {
    sampler.run_lane(d, true);
    for (PendingAccess& pending : pending_accesses_) {
      pending.reach.resize(std::max<std::size_t>(pending.reach.size(), d + 1), 0);
      if (d >= pending.shape.rank || pending.shape.size[d] < 8 || pending.address < 0) continue;
      if ((graph.at(pending.address).depends & kDataBit) != 0) continue;
      std::vector<double> each(Sampler::kPoints);
      for (int i = 0; i < Sampler::kPoints; ++i) {
        const std::int64_t moved =
            sampler.moved(pending.address)[i] - sampler.base(pending.address)[i];
        each[i] = std::abs(static_cast<double>(moved)) /
                  std::abs(static_cast<double>(sampler.lane_move(d, pending.shape.size[d], i)));
      }
      std::nth_element(each.begin(), each.begin() + Sampler::kPoints / 2, each.end());
      pending.reach[d] = each[Sampler::kPoints / 2];
    }
  }
}

void TileInterpreter::measure_footprints(Sampler& sampler,
                                         const std::vector<std::vector<double>>& weights) {
  const std::size_t loops = kernel.loops.size();
  std::vector<std::vector<Span>> spans(pending_accesses_.size());
  for (std::size_t l = 0; l < loops; ++l) {
    sampler.run_loop(static_cast<int>(l));
    for (std::size_t a = 0; a < pending_accesses_.size(); ++a) {
      const PendingAccess& pending = pending_accesses_[a];
      if (pending.address < 0) continue;
      const Depends depends = graph.at(pending.address).depends;
      if ((depends & (1U << l)) == 0 || (depends & kDataBit) != 0) continue;
      std::vector<std::pair<std::int64_t, double>> votes;
      for (int i = 0; i < Sampler::kPoints; ++i) {
        votes.emplace_back(sampler.moved(pending.address)[i] - sampler.base(pending.address)[i],
                           weights[pending.context][i] + 1e-12);
      }
      spans[a].push_back({std::abs(static_cast<double>(mode_of(votes).first)),
                          std::max(1.0, kernel.loops[l].trips)});
    }
  }
  double programs = 1;
  for (const std::int64_t size : grid_) programs *= static_cast<double>(size);
  for (std::size_t a = 0; a < pending_accesses_.size(); ++a) {
    Access& access = kernel.accesses[a];
    const double bytes = bytes_of(access.type);
    for (std::size_t d = 0; d < access.strides.size(); ++d) {
      const std::int64_t stride = access.strides[d];
      const bool known = stride != kUnknownStride;
      const std::vector<double>& reach = pending_accesses_[a].reach;
      spans[a].push_back({known ? std::abs(static_cast<double>(stride)) : 1e9,
                          static_cast<double>(access.tile[d]), d < reach.size() ? reach[d] : 0});
    }
    access.footprint_efficiency =
        std::max(access.sector_efficiency, footprint_share(spans[a], bytes));
    access.total_bytes = access.program_bytes * programs;
    double tensor = HUGE_VAL;
    if (access.value >= 0) {
      const Value& value = host.recorder.value(access.value);
      tensor = bytes * static_cast<double>(elements_of(value));
    }
    access.program_distinct_bytes =
        std::min({access.program_bytes, footprint(spans[a]) * bytes * access.active, tensor});
    double different = 1;  // programs whose addresses differ
    for (int axis = 0; axis < 3; ++axis) {
      if (access.address.pid[axis]) different *= static_cast<double>(grid_[axis]);
    }
    access.distinct_bytes = std::min(access.program_distinct_bytes * different, tensor);
  }
}

/// Which way each operand of a dot lies in memory, and how much of the product is inside its masks.
void TileInterpreter::finish_dots() {
  for (std::size_t i = 0; i < kernel.dots.size(); ++i) {
    Dot& dot = kernel.dots[i];
    const PendingDot& pending = pending_dots_[i];
    double useful = 1;
    const auto finish = [&](DotOperand& operand, const Tile& tile, int k_dim) {
      if (operand.access < 0) return;
      const Access& access = kernel.accesses[operand.access];
      useful *= access.active;
      const int axis = tile.axis[k_dim];
      if (axis < 0 || axis >= static_cast<int>(access.strides.size())) return;
      const std::int64_t stride = access.strides[axis];
      if (stride != kUnknownStride) operand.k_contiguous = stride == 1;
    };
    finish(dot.a, pending.a, pending.a.shape.rank - 1);
    finish(dot.b, pending.b, pending.b.shape.rank - 2);
    dot.useful = useful;
  }
}

void TileInterpreter::add_arithmetic(const std::vector<double>& executions) {
  static constexpr double Arithmetic::*kCounters[] = {
      &Arithmetic::fma,     &Arithmetic::add,     &Arithmetic::mul,    &Arithmetic::div,
      &Arithmetic::min_max, &Arithmetic::compare, &Arithmetic::select, &Arithmetic::convert,
      &Arithmetic::exp,     &Arithmetic::log,     &Arithmetic::sqrt,   &Arithmetic::rsqrt,
      &Arithmetic::sincos,  &Arithmetic::tanh,    &Arithmetic::erf,    &Arithmetic::pow,
      &Arithmetic::other,   &Arithmetic::random,
  };
  for (std::size_t c = 0; c < contexts_.size(); ++c) {
    for (const auto counter : kCounters) {
      kernel.arithmetic.*counter += contexts_[c].arithmetic.*counter * executions[c];
    }
  }
}

/// A node is computed as often as the innermost loop it depends on runs.
void TileInterpreter::add_index_arithmetic(const std::vector<double>& loop_executions) {
  const auto elements_of_node = [&](IndexId id) {
    double elements = 1;
    for (const std::uint8_t bits : graph.at(id).lanes)
      elements *= static_cast<double>(std::int64_t{1} << bits);
    return elements;
  };
  double widest = 1;  // the largest tile of two dimensions
  for (const PendingAccess& pending : pending_accesses_) {
    if (pending.shape.rank >= 2) widest = std::max(widest, pending.shape.elements());
  }
  for (IndexId id = 0; id < static_cast<IndexId>(graph.size()); ++id) {
    const IndexNode& node = graph.at(id);
    if (node.op < IndexOp::add) continue;
    const double elements = elements_of_node(id);
    if (elements == 1) continue;  // scalars run on one unit for the whole block
    double times = 1;
    for (std::size_t l = 0; l < loop_executions.size(); ++l) {
      if ((node.depends & (1U << l)) != 0) times = std::max(times, loop_executions[l]);
    }
    // A vector that belongs to a row or column of a tile is computed by every thread that holds
    // some of that row or column: by up to 32 lanes of each warp.
    const double copies = std::max(1.0, widest / elements);
    const bool division = node.op == IndexOp::divide || node.op == IndexOp::remainder;
    if (!division) {
      kernel.arithmetic.integer += elements * times;
      if (!fused(node))
        kernel.arithmetic.integer_issued += elements * times * std::min(copies, 8.0);
    } else if (graph.is_constant(node.b) && !graph.at(node.b).runtime) {
      kernel.arithmetic.integer_div_constant += elements * times;
    } else {
      kernel.arithmetic.integer_div += elements * times;
      kernel.arithmetic.integer_div_issued += elements * times * std::min(copies, 20.0);
    }
  }
}

/// Whether the machine does this in the instruction before it: a multiply and an add are one, and
/// a comparison takes the predicate that it is combined with.
bool TileInterpreter::fused(const IndexNode& node) const {
  const auto part = [&](IndexId id, bool (*is)(IndexOp)) {
    return id >= 0 && is(graph.at(id).op) && graph.at(id).lanes == node.lanes;
  };
  if (node.op == IndexOp::add || node.op == IndexOp::subtract) {
    const auto multiply = [](IndexOp op) { return op == IndexOp::multiply; };
    return part(node.a, multiply) || part(node.b, multiply);
  }
  if (node.op == IndexOp::bit_and || node.op == IndexOp::bit_or) {
    const auto compare = [](IndexOp op) {
      return op == IndexOp::less || op == IndexOp::less_equal || op == IndexOp::equal;
    };
    return part(node.a, compare) || part(node.b, compare);
  }
  return false;
}

}  // namespace quoin::architect
