// Index arithmetic of a kernel as a graph: program ids, loop counters, lanes of a tile, and what is
// computed from them. Nothing is solved symbolically beyond constants and the steps of loops;
// questions (what share of a mask is true? how far apart are neighbouring lanes?) are answered by
// evaluating the whole graph at sample points, many at a time. So divisions and remainders, which
// index decoding is full of, need no algebra.
//
// Equal nodes are one node. A node knows what it depends on.
#pragma once

#include <array>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "architect/model/kernel_model.h"

namespace quoin::architect {

using IndexId = std::int32_t;  // -1: unknown

constexpr int kMaxTileDims = 5;

enum class IndexOp : std::uint8_t {
  constant,   // value
  program,    // axis in a
  lane,       // dimension in a, of `value` lanes
  iteration,  // of loop a, from 0
  trips,      // of loop a
  phi,        // of loop a: init b, step c (resolved when the loop ends; c -1: unknown)
  data,       // loaded: unknown, different for every lane
  add,
  subtract,
  multiply,
  divide,
  remainder,
  minimum,
  maximum,
  bit_and,
  bit_or,
  bit_xor,
  shift_left,
  shift_right,
  less,
  less_equal,
  equal,
  select,  // a ? b : c
};

/// What a node depends on, as bits: loops 0-15, program ids 16-18, lanes 20-24, data 28.
using Depends = std::uint32_t;
constexpr Depends kLoopBits = 0xffffU;
constexpr Depends kDataBit = 1U << 28;
constexpr Depends program_bit(int axis) { return 1U << (16 + axis); }
constexpr Depends lane_bit(int dim) { return 1U << (20 + dim); }

struct IndexNode {
  IndexOp op = IndexOp::constant;
  bool runtime = false;  // a constant that the compiler does not know: an argument
  IndexId a = -1, b = -1, c = -1;
  std::int64_t value = 0;
  Depends depends = 0;
  std::array<std::uint8_t, kMaxTileDims> lanes{};  // log2 of the lanes along each dimension
};

/// A loop as the graph sees it.
struct IndexLoop {
  IndexId begin = -1, end = -1, step = -1;  // range(begin, end, step); end -1: trips unknown
  int parent = -1;
};

class IndexGraph {
 public:
  IndexId constant(std::int64_t value, bool runtime = false);
  IndexId program(int axis);
  IndexId lane(int dim, std::int64_t size);
  IndexId iteration(int loop);
  IndexId trips(int loop);
  IndexId phi(int loop, IndexId init);
  IndexId data(Depends depends);
  IndexId binary(IndexOp op, IndexId a, IndexId b);
  IndexId select(IndexId condition, IndexId yes, IndexId no);
  IndexId negated(IndexId condition);  // of a boolean

  int add_loop(const IndexLoop& loop);
  /// Ends a loop: `last` is what `phi` became in its body. Finds the step, or gives up.
  void close_phi(IndexId phi, IndexId last);
  void set_step(IndexId phi, IndexId step);

  /// The node with lane dimensions replaced: dimension d becomes `to[d]` (a node, or -1: gone).
  IndexId replace_lanes(IndexId node, const std::array<IndexId, kMaxTileDims>& to);

  [[nodiscard]] const IndexNode& at(IndexId id) const { return nodes_[id]; }
  [[nodiscard]] bool is_constant(IndexId id) const {
    return id >= 0 && nodes_[id].op == IndexOp::constant;
  }
  [[nodiscard]] std::size_t size() const { return nodes_.size(); }
  [[nodiscard]] const std::vector<IndexLoop>& loops() const { return loops_; }
  [[nodiscard]] std::vector<IndexLoop>& loops() { return loops_; }
  [[nodiscard]] bool full() const { return nodes_.size() > kMaxNodes; }

 private:
  static constexpr std::size_t kMaxNodes = 20'000;

  struct Derived {  // a phi whose lanes were replaced before its step was known
    IndexId from, made;
    std::array<IndexId, kMaxTileDims> to;
  };

  std::vector<IndexNode> nodes_;
  std::vector<IndexLoop> loops_;
  std::vector<Derived> derived_;
  std::unordered_multimap<std::uint64_t, IndexId> known_;

  IndexId insert(IndexNode node);
  bool split_step(IndexId node, IndexId phi, int sign, int depth, bool& found,
                  std::vector<std::pair<IndexId, int>>& rest) const;
  IndexId replace(IndexId node, const std::array<IndexId, kMaxTileDims>& to,
                  std::unordered_map<IndexId, IndexId>& done, int depth);
};

[[nodiscard]] std::int64_t apply(IndexOp op, std::int64_t a, std::int64_t b) noexcept;

/// Sample points and the value of every node at each of them.
class Sampler {
 public:
  static constexpr int kPoints = 96;
  using Row = std::array<std::int64_t, kPoints>;
  using Weights = std::array<double, kPoints>;

  Sampler(const IndexGraph& graph, const std::array<std::int64_t, 3>& grid);

  /// All nodes at the base points.
  void run();
  /// All nodes with the lane of one dimension moved by one (back where it is the last one), or by
  /// half of the tile.
  void run_lane(int dim, bool far = false);
  /// All nodes with one loop's counter moved by one.
  void run_loop(int loop);

  [[nodiscard]] const Row& base(IndexId node) const { return base_[node]; }
  [[nodiscard]] const Row& moved(IndexId node) const;
  /// How far the lane of a dimension of `size` lanes moved at a point.
  [[nodiscard]] std::int64_t lane_move(int dim, std::int64_t size, int point) const;
  [[nodiscard]] const Row& trips(int loop) const { return trips_[loop]; }

 private:
  const IndexGraph& graph_;
  std::array<std::int64_t, 3> grid_;
  std::vector<IndexId> order_;
  std::vector<Row> base_, moved_, trips_, iterations_;
  std::vector<std::array<double, kPoints>> uniform_;  // per coordinate: pids, lanes, loops
  int moved_lane_ = -1, moved_loop_ = -1;
  bool far_ = false;

  void sort();
  void evaluate(std::vector<Row>& rows, bool moved);
  void evaluate_loop(int loop, std::vector<Row>& rows);
  void evaluate_node(IndexId id, std::vector<Row>& rows, bool moved);
};

}  // namespace quoin::architect
