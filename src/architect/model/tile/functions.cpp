// tl.* and the methods of tiles.
#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "architect/model/host/arithmetic.h"
#include "architect/model/tile/tile.h"
#include "architect/model/torch/torch.h"

namespace quoin::architect {

const Tile* TileInterpreter::find(const TileCall& call, std::size_t place,
                                  std::string_view name) const {
  if (place < call.positional.size()) return &call.positional[place];
  for (const auto& [symbol, tile] : call.keywords) {
    if (host.symbols.text(symbol) == name) return &tile;
  }
  return nullptr;
}

Tile TileInterpreter::argument(const TileCall& call, std::size_t place,
                               std::string_view name) const {
  const Tile* found = find(call, place, name);
  return found == nullptr ? Tile() : *found;
}

std::int64_t TileInterpreter::integer(const Tile& tile, std::int64_t otherwise) const {
  if (tile.is(Tile::Kind::index) && graph.is_constant(tile.node)) return graph.at(tile.node).value;
  return otherwise;
}

bool TileInterpreter::shape_of(const Tile& tile, TileShape& shape) const {
  shape = {};
  if (tile.is(Tile::Kind::index)) {
    shape.rank = 1;
    shape.size[0] = integer(tile, -1);
    return shape.size[0] > 0;
  }
  if (!tile.is(Tile::Kind::items) || tile.items->size() > kMaxTileDims) return false;
  for (const Tile& part : *tile.items) {
    const std::int64_t size = integer(part, -1);
    if (size <= 0 || size > (1 << 24)) return false;
    shape.size[shape.rank++] = size;
  }
  return true;
}

Type TileInterpreter::type_of(const Tile& tile) const {
  if (tile.is(Tile::Kind::host) && tile.host.is(ValKind::dtype)) return tile.host.type();
  if (tile.is(Tile::Kind::host) && tile.host.is(ValKind::string))
    return dtype_of(text_of(tile.host));
  return Type::unknown;
}

namespace {

using Handler = Tile (*)(TileInterpreter&, TileCall&);

Tile program_id(TileInterpreter& t, TileCall& call) {
  const std::int64_t axis = t.integer(t.argument(call, 0, "axis"), 0);
  return t.index(t.graph.program(static_cast<int>(std::clamp<std::int64_t>(axis, 0, 2))));
}

Tile arange(TileInterpreter& t, TileCall& call) {
  const std::int64_t begin = t.integer(t.argument(call, 0, "start"), -1);
  const std::int64_t end = t.integer(t.argument(call, 1, "end"), -1);
  if (begin < 0 || end <= begin || end - begin > (1 << 24)) {
    return t.lost(call.line, "a tl.arange whose bounds are not known");
  }
  TileShape shape;
  shape.rank = 1;
  shape.size[0] = end - begin;
  return t.index(
      t.graph.binary(IndexOp::add, t.graph.lane(0, end - begin), t.graph.constant(begin)), shape);
}

Tile filled(TileInterpreter& t, const TileShape& shape, Type type, const Tile& value) {
  if (is_float(type)) {
    Tile made = t.real(shape, type);
    if (shape.rank == 0) made.number = value.number;
    return made;
  }
  const std::int64_t number = t.integer(value, 0);
  return t.index(t.graph.constant(number), shape, type);
}

Tile zeros(TileInterpreter& t, TileCall& call) {
  const bool full = call.name == "full";
  TileShape shape;
  const Tile sizes = t.argument(call, 0, "shape");
  if (!t.shape_of(sizes, shape)) return t.lost(call.line, "a tile whose shape is not known");
  const Tile value = full ? t.argument(call, 1, "value") : Tile();
  Type type = t.type_of(t.argument(call, full ? 2 : 1, "dtype"));
  if (type == Type::unknown) type = Type::float32;
  if (full && value.is(Tile::Kind::index) && t.graph.is_constant(value.node) == false &&
      !is_float(type)) {
    return t.broadcast_to(value, shape);
  }
  return filled(t, shape, type, value);
}

Tile zeros_like(TileInterpreter& t, TileCall& call) {
  const Tile like = t.argument(call, 0, "input");
  return filled(t, like.shape, like.type, Tile());
}

Tile cast(TileInterpreter& t, TileCall& call) {
  const Tile value = t.argument(call, 0, "input");
  const Tile target = t.argument(call, 1, "dtype");
  if (value.pointer) {  // to another pointer type
    Tile made = value;
    if (t.type_of(target) != Type::unknown) made.type = t.type_of(target);
    return made;
  }
  return t.convert(value, t.type_of(target));
}

Tile expand_dims(TileInterpreter& t, TileCall& call) {
  const Tile value = t.argument(call, 0, "input");
  std::int64_t axis = t.integer(t.argument(call, 1, "axis"), 0);
  if (axis < 0) axis += value.shape.rank + 1;
  std::vector<int> from;
  for (int d = 0; d < value.shape.rank; ++d) from.push_back(d);
  from.insert(from.begin() + std::clamp<std::int64_t>(axis, 0, value.shape.rank), -1);
  return t.rearranged(value, from);
}

bool trailing_shape(TileInterpreter& t, const TileCall& call, TileShape& shape) {
  const Tile first = t.argument(call, 1, "shape");
  if (first.is(Tile::Kind::items)) return t.shape_of(first, shape);
  shape = {};
  for (std::size_t i = 1; i < call.positional.size() && shape.rank < kMaxTileDims; ++i) {
    const std::int64_t size = t.integer(call.positional[i], -1);
    if (size <= 0) return false;
    shape.size[shape.rank++] = size;
  }
  return shape.rank > 0;
}

Tile broadcast_to(TileInterpreter& t, TileCall& call) {
  TileShape shape;
  if (!trailing_shape(t, call, shape)) return t.lost(call.line, "a broadcast");
  return t.broadcast_to(t.argument(call, 0, "input"), shape);
}

Tile reshape(TileInterpreter& t, TileCall& call) {
  TileShape shape;
  const Tile value = t.argument(call, 0, "input");
  if (call.name == "ravel") {
    shape.rank = 1;
    shape.size[0] = static_cast<std::int64_t>(value.shape.elements());
  } else if (!trailing_shape(t, call, shape)) {
    return t.lost(call.line, "a reshape");
  }
  return t.reshaped(value, shape);
}

Tile trans(TileInterpreter& t, TileCall& call) {
  const Tile value = t.argument(call, 0, "input");
  std::vector<int> from;
  const Tile given = t.argument(call, 1, "dims");
  if (given.is(Tile::Kind::items)) {
    for (const Tile& part : *given.items) from.push_back(static_cast<int>(t.integer(part, 0)));
  } else {
    for (std::size_t i = 1; i < call.positional.size(); ++i) {
      from.push_back(static_cast<int>(t.integer(call.positional[i], 0)));
    }
  }
  if (from.empty()) {
    for (int d = 0; d < value.shape.rank; ++d) from.push_back(d);
    if (from.size() >= 2) std::swap(from[from.size() - 1], from[from.size() - 2]);
  }
  Tile made = t.rearranged(value, from);
  made.transposed = !value.transposed;
  return made;
}

Tile where(TileInterpreter& t, TileCall& call) {
  return t.select(t.argument(call, 0, "condition"), t.argument(call, 1, "x"),
                  t.argument(call, 2, "y"));
}

Tile extreme(TileInterpreter& t, TileCall& call) {
  const bool is_max = call.name == "maximum" || call.name == "max" || call.name == "fmax";
  const Tile second = t.argument(call, 1, "y");
  // max(x, axis) reduces, max(a, b) of scalars and maximum(x, y) do not.
  const bool reduces = call.name == "max" || call.name == "min";
  if (reduces && (call.positional[0].shape.rank > 0 || call.positional.size() == 1)) {
    return t.reduce(call, call.name, false);
  }
  if (call.positional.size() > 2) {
    Tile made = call.positional[0];
    for (std::size_t i = 1; i < call.positional.size(); ++i) {
      made = t.minimum(is_max, made, call.positional[i]);
    }
    return made;
  }
  return t.minimum(is_max, call.positional[0], second);
}

Tile clamp(TileInterpreter& t, TileCall& call) {
  const Tile low = t.minimum(true, t.argument(call, 0, "x"), t.argument(call, 1, "min"));
  return t.minimum(false, low, t.argument(call, 2, "max"));
}

Tile reduce(TileInterpreter& t, TileCall& call) { return t.reduce(call, call.name, false); }
Tile scan(TileInterpreter& t, TileCall& call) { return t.reduce(call, call.name, true); }
Tile load(TileInterpreter& t, TileCall& call) { return t.load(call); }
Tile store(TileInterpreter& t, TileCall& call) { return t.store(call); }
Tile atomic(TileInterpreter& t, TileCall& call) {
  return t.atomic(call, call.name.substr(std::string_view("atomic_").size()));
}
Tile dot(TileInterpreter& t, TileCall& call) { return t.dot(call); }
Tile block_ptr(TileInterpreter& t, TileCall& call) { return t.make_block(call, false); }
Tile descriptor(TileInterpreter& t, TileCall& call) { return t.make_block(call, true); }
Tile advance(TileInterpreter& t, TileCall& call) { return t.advance(call); }

Tile cdiv(TileInterpreter& t, TileCall& call) {
  const Tile a = t.argument(call, 0, "x");
  const Tile b = t.argument(call, 1, "div");
  const Tile one = t.index(t.graph.constant(1));
  return t.binary(
      Operator::floor_divide,
      t.binary(Operator::add, a, t.binary(Operator::subtract, b, one, call.line), call.line), b,
      call.line);
}

Tile next_power(TileInterpreter& t, TileCall& call) {
  std::int64_t power = 1;
  const std::int64_t least = t.integer(t.argument(call, 0, "n"), 1);
  while (power < least && power < (std::int64_t{1} << 40)) power *= 2;
  return t.index(t.graph.constant(power));
}

Tile fma(TileInterpreter& t, TileCall& call) {
  const Tile product =
      t.binary(Operator::multiply, t.argument(call, 0, "x"), t.argument(call, 1, "y"), call.line);
  return t.binary(Operator::add, product, t.argument(call, 2, "z"), call.line);
}

Tile divide(TileInterpreter& t, TileCall& call) {
  return t.binary(Operator::divide, t.argument(call, 0, "x"), t.argument(call, 1, "y"), call.line);
}

Tile same(TileInterpreter& t, TileCall& call) { return t.argument(call, 0, "input"); }
Tile nothing(TileInterpreter& t, TileCall&) { return t.host_tile(null_val()); }

Tile num_programs(TileInterpreter& t, TileCall& call) {
  const std::int64_t axis = t.integer(t.argument(call, 0, "axis"), 0);
  return t.index(t.graph.constant(t.grid(static_cast<int>(std::clamp<std::int64_t>(axis, 0, 2)))));
}

/// swizzle2d(i, j, size_i, size_j, size_g): row-major places regrouped by columns of size_g rows.
Tile swizzle(TileInterpreter& t, TileCall& call) {
  if (call.positional.size() < 5) return {};
  const auto op = [&](Operator kind, const Tile& a, const Tile& b) {
    return t.binary(kind, a, b, call.line);
  };
  const Tile& i = call.positional[0];
  const Tile& j = call.positional[1];
  const Tile& size_i = call.positional[2];
  const Tile& size_j = call.positional[3];
  const Tile& size_g = call.positional[4];
  const Tile ij = op(Operator::add, op(Operator::multiply, i, size_j), j);
  const Tile group = op(Operator::multiply, size_g, size_j);
  const Tile first = op(Operator::multiply, op(Operator::floor_divide, ij, group), size_g);
  const Tile rows = t.minimum(false, op(Operator::subtract, size_i, first), size_g);
  const Tile in_group = op(Operator::modulo, ij, group);
  return t.tuple({op(Operator::add, first, op(Operator::modulo, in_group, rows)),
                  op(Operator::floor_divide, in_group, rows)});
}

Tile random(TileInterpreter& t, TileCall& call) {
  const Tile offsets = t.argument(call, 1, "offset");
  t.arithmetic().random += offsets.shape.elements();
  if (call.name == "randint" || call.name == "randint4x") {
    const Tile one = t.index(t.graph.data(0), offsets.shape);
    return call.name == "randint" ? one : t.tuple({one, one, one, one});
  }
  const Tile one = t.real(offsets.shape);
  return call.name.ends_with("4x") ? t.tuple({one, one, one, one}) : one;
}

/// join, interleave, cat: a wider tile of both.
Tile joined(TileInterpreter& t, TileCall& call) {
  const Tile a = t.argument(call, 0, "a");
  TileShape shape = a.shape;
  if (call.name == "join") {
    if (shape.rank >= kMaxTileDims) return {};
    shape.size[shape.rank++] = 2;
  } else if (shape.rank > 0) {
    shape.size[shape.rank - 1] *= 2;
  }
  return t.mixed(a, shape);
}

Tile split(TileInterpreter& t, TileCall& call) {
  Tile half = t.argument(call, 0, "a");
  TileShape shape = half.shape;
  if (shape.rank == 0) return {};
  shape.size[--shape.rank] = 1;
  half = t.mixed(half, shape);
  return t.tuple({half, half});
}

struct Math {
  std::string_view name;
  double Arithmetic::*counter;
  double times = 1;
};

constexpr Math kMath[] = {
    {"exp", &Arithmetic::exp},        {"exp2", &Arithmetic::exp},
    {"expm1", &Arithmetic::exp, 1.5}, {"fast_expf", &Arithmetic::exp},
    {"log", &Arithmetic::log},        {"log2", &Arithmetic::log},
    {"log10", &Arithmetic::log},      {"log1p", &Arithmetic::log, 1.5},
    {"sqrt", &Arithmetic::sqrt},      {"sqrt_rn", &Arithmetic::sqrt, 2},
    {"rsqrt", &Arithmetic::rsqrt},    {"sin", &Arithmetic::sincos},
    {"cos", &Arithmetic::sincos},     {"tan", &Arithmetic::sincos, 2},
    {"tanh", &Arithmetic::tanh},      {"fast_tanhf", &Arithmetic::tanh, 0.3},
    {"erf", &Arithmetic::erf},        {"erfc", &Arithmetic::erf},
    {"pow", &Arithmetic::pow},        {"atan", &Arithmetic::other, 4},
    {"asin", &Arithmetic::other, 4},  {"acos", &Arithmetic::other, 4},
    {"sinh", &Arithmetic::exp, 2},    {"cosh", &Arithmetic::exp, 2},
    {"abs", &Arithmetic::other, 0.5}, {"fabs", &Arithmetic::other, 0.5},
    {"floor", &Arithmetic::other},    {"ceil", &Arithmetic::other},
    {"round", &Arithmetic::other},    {"rint", &Arithmetic::other},
    {"trunc", &Arithmetic::other},    {"nearbyint", &Arithmetic::other},
    {"isnan", &Arithmetic::compare},  {"isinf", &Arithmetic::compare},
    {"atan2", &Arithmetic::other, 6}, {"fmod", &Arithmetic::div, 2},
    {"llrint", &Arithmetic::other},
};

bool call_math_function(TileInterpreter& t, TileCall& call, Tile& result) {
  for (const Math& row : kMath) {
    if (row.name != call.name || call.positional.empty()) continue;
    const Tile& x = call.positional[0];
    if (x.is(Tile::Kind::index)) {
      if (call.name == "abs") {
        const IndexId minus = t.graph.binary(IndexOp::subtract, t.graph.constant(0), x.node);
        result = t.index(t.graph.binary(IndexOp::maximum, x.node, minus), x.shape, x.type);
        return true;
      }
      if (!t.graph.is_constant(x.node)) t.arithmetic().convert += x.shape.elements();
    }
    t.arithmetic().*row.counter += row.times * x.shape.elements();
    const bool condition = call.name == "isnan" || call.name == "isinf";
    if (condition) {
      result = t.index(t.graph.data(x.depends), x.shape, Type::boolean);
      return true;
    }
    Tile made = t.real(x.shape, is_float(x.type) ? x.type : Type::float32);
    made.access = x.access;
    made.axis = x.axis;
    made.depends = x.depends;
    made.cast = x.cast;
    result = made;
    return true;
  }
  if (call.name == "sigmoid" || call.name == "softmax") {
    const Tile& x = call.positional.at(0);
    t.arithmetic().exp += x.shape.elements();
    t.arithmetic().div += x.shape.elements();
    t.arithmetic().add += x.shape.elements();
    result = t.real(x.shape, is_float(x.type) ? x.type : Type::float32);
    return true;
  }
  return false;
}

const std::unordered_map<std::string_view, Handler>& handlers() {
  static const std::unordered_map<std::string_view, Handler> rows = {
      {"program_id", program_id},
      {"num_programs", num_programs},
      {"arange", arange},
      {"zeros", zeros},
      {"full", zeros},
      {"zeros_like", zeros_like},
      {"full_like", zeros_like},
      {"cast", cast},
      {"to", cast},
      {"expand_dims", expand_dims},
      {"broadcast_to", broadcast_to},
      {"reshape", reshape},
      {"view", reshape},
      {"ravel", reshape},
      {"trans", trans},
      {"permute", trans},
      {"where", where},
      {"maximum", extreme},
      {"minimum", extreme},
      {"fmax", extreme},
      {"fmin", extreme},
      {"max", extreme},
      {"min", extreme},
      {"clamp", clamp},
      {"sum", reduce},
      {"argmax", reduce},
      {"argmin", reduce},
      {"xor_sum", reduce},
      {"reduce", reduce},
      {"reduce_or", reduce},
      {"cumsum", scan},
      {"cumprod", scan},
      {"associative_scan", scan},
      {"sort", scan},
      {"flip", scan},
      {"load", load},
      {"store", store},
      {"atomic_add", atomic},
      {"atomic_max", atomic},
      {"atomic_min", atomic},
      {"atomic_xchg", atomic},
      {"atomic_cas", atomic},
      {"atomic_and", atomic},
      {"atomic_or", atomic},
      {"atomic_xor", atomic},
      {"dot", dot},
      {"dot_scaled", dot},
      {"make_block_ptr", block_ptr},
      {"advance", advance},
      {"make_tensor_descriptor", descriptor},
      {"_experimental_make_tensor_descriptor", descriptor},
      {"cdiv", cdiv},
      {"next_power_of_2", next_power},
      {"fma", fma},
      {"fdiv", divide},
      {"div_rn", divide},
      {"swizzle2d", swizzle},
      {"rand", random},
      {"randn", random},
      {"randint", random},
      {"rand4x", random},
      {"randn4x", random},
      {"randint4x", random},
      {"join", joined},
      {"interleave", joined},
      {"cat", joined},
      {"split", split},
      {"multiple_of", same},
      {"max_contiguous", same},
      {"max_constancy", same},
      {"constexpr", same},
      {"assume", nothing},
      {"static_assert", nothing},
      {"static_print", nothing},
      {"device_print", nothing},
      {"device_assert", nothing},
      {"debug_barrier", nothing},
      {"print", nothing},
      {"gather", load},
      {"broadcast", same},
  };
  return rows;
}

/// float("inf"), int(x), len(shape), isinstance at compile time.
bool call_plain(TileInterpreter& t, TileCall& call, Tile& result) {
  std::vector<Val> values;
  for (const Tile& tile : call.positional) {
    if (tile.is(Tile::Kind::host))
      values.push_back(tile.host);
    else if (tile.number)
      values.push_back(real_val(*tile.number));
    else if (tile.is(Tile::Kind::index) && t.graph.is_constant(tile.node)) {
      values.push_back(int_val(t.graph.at(tile.node).value));
    } else if (tile.is(Tile::Kind::items)) {
      std::vector<Val> parts;
      for (const Tile& part : *tile.items) {
        parts.push_back(t.graph.is_constant(part.node) ? int_val(t.graph.at(part.node).value)
                                                       : unknown_val());
      }
      values.push_back(t.host.tuple(std::move(parts)));
    } else {
      if ((call.name == "float" || call.name == "int") && call.positional.size() == 1) {
        result = t.convert(tile, call.name == "float" ? Type::float32 : Type::int32);
        return true;
      }
      return false;
    }
  }
  Call plain{.name = call.name, .positional = std::move(values), .keywords = {}, .line = call.line};
  Val made;
  if (!call_python(t.host, call.name, plain, made) || !made.known()) return false;
  result = t.host_tile(made);
  return true;
}

}  // namespace

Tile TileInterpreter::reduce(const TileCall& call, std::string_view name, bool scan) {
  const Tile value = argument(call, 0, "input");
  if (!value.known()) return {};
  const Tile* axis_tile = find(call, 1, "axis");
  int axis = axis_tile == nullptr || (axis_tile->is(Tile::Kind::host) && axis_tile->host.is_null())
                 ? -1
                 : static_cast<int>(integer(*axis_tile, 0));
  if (name == "reduce" || name == "associative_scan")
    axis = static_cast<int>(integer(argument(call, 1, "axis"), 0));
  if (axis_tile != nullptr && axis < 0 && axis_tile->is(Tile::Kind::index))
    axis += value.shape.rank;
  if (scan && axis < 0) axis = 0;
  const int here = context();
  Reduction made;
  made.line = call.line;
  made.name = name;
  made.axis = axis;
  made.scan = scan;
  made.loop = loop_;
  made.elements = value.shape.elements();
  for (int d = 0; d < value.shape.rank; ++d) made.tile.push_back(value.shape.size[d]);
  kernel.reductions.push_back(std::move(made));
  pending_reductions_.push_back(here);
  const Tile* keep = find(call, SIZE_MAX, "keep_dims");
  TileShape shape;
  for (int d = 0; d < value.shape.rank; ++d) {
    if (!scan && (axis < 0 || d == axis)) {
      if (keep != nullptr && truth(*keep) == 1) shape.size[shape.rank++] = 1;
      continue;
    }
    shape.size[shape.rank++] = value.shape.size[d];
  }
  Tile result;
  const bool indices = name == "argmax" || name == "argmin";
  if (indices || !is_float(value.type)) {
    result = index(graph.data(value.depends), shape, indices ? Type::int32 : value.type);
  } else {
    result = real(shape, value.type);
    result.depends = value.depends;
  }
  const Tile* both = find(call, SIZE_MAX, "return_indices");
  if (both != nullptr && truth(*both) == 1) {
    return tuple({result, index(graph.data(value.depends), shape)});
  }
  if (value.is(Tile::Kind::items)) return tuple(std::vector<Tile>(value.items->size(), result));
  return result;
}

bool call_tile_function(TileInterpreter& tiles, std::string_view name, TileCall& call,
                        Tile& result) {
  call.name = name;
  const auto found = handlers().find(name);
  const bool plain_extreme = (name == "max" || name == "min") && !call.positional.empty() &&
                             call.positional[0].shape.rank == 0;
  if (plain_extreme && call_plain(tiles, call, result)) return true;
  if (found != handlers().end()) {
    result = found->second(tiles, call);
    return true;
  }
  return call_math_function(tiles, call, result) || call_plain(tiles, call, result);
}

}  // namespace quoin::architect
