// Arithmetic, comparisons and rearrangements of tiles.
#include <algorithm>
#include <cmath>

#include "architect/model/host/arithmetic.h"
#include "architect/model/tile/tile.h"
#include "architect/model/torch/torch.h"

namespace quoin::architect {
namespace {

bool broadcast(const TileShape& a, const TileShape& b, TileShape& made) {
  made = {};
  made.rank = std::max(a.rank, b.rank);
  for (int d = 0; d < made.rank; ++d) {  // Triton aligns shapes at the left after a rank match
    const std::int64_t x = d < made.rank - a.rank ? 1 : a.size[d - (made.rank - a.rank)];
    const std::int64_t y = d < made.rank - b.rank ? 1 : b.size[d - (made.rank - b.rank)];
    if (x != y && x != 1 && y != 1) return false;
    made.size[d] = std::max(x, y);
  }
  return true;
}

IndexOp index_op(Operator op) {
  switch (op) {
    case Operator::add: return IndexOp::add;
    case Operator::subtract: return IndexOp::subtract;
    case Operator::multiply: return IndexOp::multiply;
    case Operator::floor_divide: return IndexOp::divide;
    case Operator::modulo: return IndexOp::remainder;
    case Operator::bit_and: return IndexOp::bit_and;
    case Operator::bit_or: return IndexOp::bit_or;
    case Operator::bit_xor: return IndexOp::bit_xor;
    case Operator::shift_left: return IndexOp::shift_left;
    case Operator::shift_right: return IndexOp::shift_right;
    default: return IndexOp::constant;
  }
}

Type arithmetic_type(const Tile& a, const Tile& b) {
  if (a.weak && !b.weak && (is_float(b.type) || !is_float(a.type))) return b.type;
  if (b.weak && !a.weak && (is_float(a.type) || !is_float(b.type))) return a.type;
  return promoted(a.type, b.type);
}

/// Where the elements of a result come from: the operand that is a full loaded tile.
void inherit(Tile& made, const Tile& a, const Tile& b) {
  made.depends = a.depends | b.depends;
  for (const Tile* part : {&a, &b}) {
    if (part->access < 0 || made.access >= 0 || !(part->shape == made.shape)) continue;
    made.access = part->access;
    made.axis = part->axis;
    made.cast = part->cast;
    made.transposed = part->transposed;
  }
  made.computed = true;
}

Val number_of(const Tile& tile, const IndexGraph& graph) {
  if (tile.number) return real_val(*tile.number);
  if (tile.is(Tile::Kind::index) && graph.is_constant(tile.node)) {
    return int_val(graph.at(tile.node).value);
  }
  return unknown_val();
}

}  // namespace

Tile TileInterpreter::broadcast_to(const Tile& tile, const TileShape& shape) {
  if (tile.shape == shape) return tile;
  Tile made = tile;
  if (tile.shape.rank < shape.rank) {
    // Missing dimensions are new leading ones.
    std::vector<int> from;
    for (int d = 0; d < shape.rank; ++d) {
      const int old = d - (shape.rank - tile.shape.rank);
      from.push_back(old >= 0 ? old : -1);
    }
    made = rearranged(tile, from);
  }
  made.shape = shape;
  return made;
}

Tile TileInterpreter::rearranged(const Tile& tile, const std::vector<int>& from) {
  if (static_cast<int>(from.size()) > kMaxTileDims) return {};
  Tile made = tile;
  made.shape = {};
  made.shape.rank = static_cast<int>(from.size());
  std::array<IndexId, kMaxTileDims> to{-1, -1, -1, -1, -1};
  bool moved = false;
  made.axis = {-1, -1, -1, -1, -1};
  for (std::size_t d = 0; d < from.size(); ++d) {
    if (from[d] < 0 || from[d] >= tile.shape.rank) continue;
    made.shape.size[d] = tile.shape.size[from[d]];
    made.axis[d] = tile.axis[from[d]];
    to[from[d]] = graph.lane(static_cast<int>(d), tile.shape.size[from[d]]);
    moved = moved || from[d] != static_cast<int>(d);
  }
  if (made.is(Tile::Kind::index) && made.node >= 0 && moved) {
    made.node = graph.replace_lanes(made.node, to);
  }
  note_tile(made);
  return made;
}

/// Lanes keep their order: a lane of the old shape is computed from those of the new one.
Tile TileInterpreter::reshaped(const Tile& tile, const TileShape& shape) {
  if (tile.shape == shape) return tile;
  Tile made = tile;
  made.shape = shape;
  made.axis = {-1, -1, -1, -1, -1};
  if (made.is(Tile::Kind::index) && made.node >= 0) {
    IndexId linear = graph.constant(0);
    for (int d = 0; d < shape.rank; ++d) {
      linear = graph.binary(IndexOp::add,
                            graph.binary(IndexOp::multiply, linear, graph.constant(shape.size[d])),
                            graph.lane(d, shape.size[d]));
    }
    std::array<IndexId, kMaxTileDims> to{-1, -1, -1, -1, -1};
    IndexId rest = linear;
    for (int d = tile.shape.rank; d-- > 0;) {
      const IndexId size = graph.constant(tile.shape.size[d]);
      to[d] = d == 0 ? rest : graph.binary(IndexOp::remainder, rest, size);
      rest = graph.binary(IndexOp::divide, rest, size);
    }
    made.node = graph.replace_lanes(made.node, to);
  }
  return made;
}

Tile TileInterpreter::mixed(const Tile& tile, const TileShape& shape) {
  Tile made = tile;
  made.shape = shape;
  made.axis = {-1, -1, -1, -1, -1};
  made.computed = true;
  if (made.is(Tile::Kind::index)) {
    Depends depends = made.depends;
    if (made.node >= 0) depends |= graph.at(made.node).depends & ~(0x1fU << 20);
    made.node = graph.data(depends);
  }
  return made;
}

Tile TileInterpreter::convert(const Tile& tile, Type type) {
  if (type == Type::unknown || tile.pointer) return tile;
  Tile made = tile;
  made.type = type;
  made.weak = false;
  if (tile.is(Tile::Kind::index)) {
    if (!is_float(type)) {
      if (type == Type::boolean || type == Type::int8) made.cast = tile.type != type;
      return made;
    }
    made.kind = Tile::Kind::real;
    if (graph.is_constant(tile.node)) made.number = static_cast<double>(graph.at(tile.node).value);
    if (tile.node >= 0) made.depends |= graph.at(tile.node).depends;
    made.node = -1;
    made.cast = true;
    if (!made.number) arithmetic().convert += tile.shape.elements();
    return made;
  }
  if (!tile.is(Tile::Kind::real)) return tile;
  if (!is_float(type)) {
    made.kind = Tile::Kind::index;
    made.node =
        tile.number
            ? graph.constant(static_cast<std::int64_t>(std::clamp(*tile.number, -9e18, 9e18)))
            : graph.data(tile.depends);
    made.number.reset();
  }
  if (tile.type != type) {
    made.cast = true;
    if (!tile.number) arithmetic().convert += tile.shape.elements();
  }
  return made;
}

Tile TileInterpreter::binary(Operator op, const Tile& a, const Tile& b, int line) {
  if (!a.known() || !b.known()) return {};
  if (a.is(Tile::Kind::items) && b.is(Tile::Kind::items) && op == Operator::add) {
    std::vector<Tile> items = *a.items;
    items.insert(items.end(), b.items->begin(), b.items->end());
    return tuple(std::move(items));
  }
  const bool tiles = (a.is(Tile::Kind::index) || a.is(Tile::Kind::real)) &&
                     (b.is(Tile::Kind::index) || b.is(Tile::Kind::real));
  if (!tiles) return lost(line, "an operator");
  TileShape shape;
  if (!broadcast(a.shape, b.shape, shape)) return lost(line, "shapes that do not broadcast");
  const bool integers = a.is(Tile::Kind::index) && b.is(Tile::Kind::index);
  if (integers && op != Operator::divide && op != Operator::power) {
    Tile x = broadcast_to(a, shape);
    Tile y = broadcast_to(b, shape);
    Tile made = a.pointer || !b.pointer ? x : y;
    made.shape = shape;
    const bool logic = op == Operator::bit_and || op == Operator::bit_or;
    made.type = a.pointer ? a.type : b.pointer ? b.type : arithmetic_type(a, b);
    made.pointer = a.pointer || b.pointer;
    made.parameter = a.pointer ? a.parameter : b.parameter;
    made.weak = a.weak && b.weak;
    made.access = -1;
    made.product = -1;
    if (!made.pointer) inherit(made, x, y);
    made.node = graph.binary(index_op(op), x.node, y.node);
    // A condition on data leaves what else the mask says.
    if (logic && op == Operator::bit_and && made.node < 0) {
      made.node = x.node >= 0 ? x.node : y.node;
    }
    return made;
  }
  const Val folded = binary_number(op, number_of(a, graph), number_of(b, graph));
  if (folded.is_number() && shape.rank == 0) {
    Tile made = folded.is_integer() ? index(graph.constant(folded.number)) : real({});
    if (folded.is(ValKind::real)) made.number = folded.real;
    made.weak = a.weak && b.weak;
    if (!made.weak)
      made.type = is_float(arithmetic_type(a, b)) ? arithmetic_type(a, b) : Type::float32;
    return made;
  }
  Type type = arithmetic_type(a, b);
  if (!is_float(type)) type = Type::float32;
  Tile made = real(shape, type);
  inherit(made, broadcast_to(a, shape), broadcast_to(b, shape));
  const double count = shape.elements();
  Arithmetic& held = arithmetic();
  const int here = context();
  switch (op) {
    case Operator::add:
    case Operator::subtract: {
      const Tile& product = a.product == here ? a : b;
      if (a.product == kDotProduct || b.product == kDotProduct) break;
      if (product.product == here && product.shape == shape) {
        held.mul -= count;
        held.fma += count;
      } else {
        held.add += count;
      }
      break;
    }
    case Operator::multiply:
      held.mul += count;
      made.product = here;
      break;
    case Operator::power: held.pow += count; break;
    default: held.div += count;
  }
  return made;
}

Tile TileInterpreter::compare(Operator op, const Tile& a, const Tile& b) {
  if (a.is(Tile::Kind::host) || b.is(Tile::Kind::host)) {
    if (op == Operator::is || op == Operator::is_not) {
      const bool null_a = a.is(Tile::Kind::host) && a.host.is_null();
      const bool null_b = b.is(Tile::Kind::host) && b.host.is_null();
      return host_tile(bool_val((null_a && null_b) == (op == Operator::is)));
    }
    if (a.is(Tile::Kind::host) && b.is(Tile::Kind::host))
      return host_tile(host.compare(op, a.host, b.host));
    return host_tile(bool_val(op == Operator::not_equal));
  }
  if (!a.known() || !b.known()) return {};
  TileShape shape;
  if (!broadcast(a.shape, b.shape, shape)) return {};
  const Tile x = broadcast_to(a, shape);
  const Tile y = broadcast_to(b, shape);
  const bool integers = a.is(Tile::Kind::index) && b.is(Tile::Kind::index);
  if (!integers) {
    const Val folded = compare_number(op, number_of(a, graph), number_of(b, graph));
    if (folded.is(ValKind::boolean)) return host_tile(folded);
    arithmetic().compare += shape.elements();
    Tile made = index(graph.data(x.depends | y.depends), shape, Type::boolean);
    return made;
  }
  IndexId node = -1;
  switch (op) {
    case Operator::less: node = graph.binary(IndexOp::less, x.node, y.node); break;
    case Operator::less_equal: node = graph.binary(IndexOp::less_equal, x.node, y.node); break;
    case Operator::greater: node = graph.binary(IndexOp::less, y.node, x.node); break;
    case Operator::greater_equal: node = graph.binary(IndexOp::less_equal, y.node, x.node); break;
    case Operator::equal:
    case Operator::is: node = graph.binary(IndexOp::equal, x.node, y.node); break;
    default:
      node = graph.binary(IndexOp::equal, x.node, y.node);
      if (node >= 0) node = graph.negated(node);
  }
  return index(node, shape, Type::boolean);
}

Tile TileInterpreter::minimum(bool is_max, const Tile& a, const Tile& b) {
  if (!a.known() || !b.known()) return {};
  TileShape shape;
  if (!broadcast(a.shape, b.shape, shape)) return {};
  const Tile x = broadcast_to(a, shape);
  const Tile y = broadcast_to(b, shape);
  if (a.is(Tile::Kind::index) && b.is(Tile::Kind::index)) {
    return index(graph.binary(is_max ? IndexOp::maximum : IndexOp::minimum, x.node, y.node), shape,
                 arithmetic_type(a, b));
  }
  Tile made = real(shape, arithmetic_type(a, b));
  inherit(made, x, y);
  arithmetic().min_max += shape.elements();
  return made;
}

Tile TileInterpreter::select(const Tile& condition, const Tile& yes, const Tile& no) {
  if (yes.is(Tile::Kind::host) || no.is(Tile::Kind::host)) return yes;
  if (!yes.known()) return no;
  if (!no.known()) return yes;
  TileShape shape;
  if (!broadcast(yes.shape, no.shape, shape)) return {};
  TileShape with_condition;
  if (broadcast(shape, condition.shape, with_condition)) shape = with_condition;
  const Tile c = broadcast_to(condition, shape);
  const Tile x = broadcast_to(yes, shape);
  const Tile y = broadcast_to(no, shape);
  if (yes.is(Tile::Kind::index) && no.is(Tile::Kind::index)) {
    Tile made = x;
    made.weak = yes.weak && no.weak;
    made.type = yes.pointer ? yes.type : arithmetic_type(yes, no);
    made.node = graph.select(condition_of(c), x.node, y.node);
    return made;
  }
  Tile made = real(shape, arithmetic_type(yes, no));
  inherit(made, x, y);
  arithmetic().select += shape.elements();
  return made;
}

}  // namespace quoin::architect
