// Loads, stores, atomics, block pointers and tl.dot.
#include <algorithm>

#include "architect/model/tile/tile.h"

namespace quoin::architect {

Dependence TileInterpreter::dependence_of(Depends depends) const {
  Dependence made;
  for (int axis = 0; axis < 3; ++axis) made.pid[axis] = (depends & program_bit(axis)) != 0;
  made.loops = depends & kLoopBits;
  made.data = (depends & kDataBit) != 0;
  return made;
}

/// One access in the source; its numbers come from measure.cpp.
int TileInterpreter::record_access(AccessKind kind, const Tile& given, const Tile* given_mask,
                                   int line) {
  Tile pointer = given;
  Tile mask_tile;
  const Tile* mask = nullptr;
  if (given_mask != nullptr && given_mask->is(Tile::Kind::index)) {
    // Both are broadcast to one shape, so that their lanes are the same.
    const TileShape& wide =
        given_mask->shape.rank > given.shape.rank ? given_mask->shape : given.shape;
    TileShape shape = wide;
    const TileShape& other = &wide == &given.shape ? given_mask->shape : given.shape;
    for (int d = 0; d < other.rank; ++d) {
      std::int64_t& size = shape.size[d + shape.rank - other.rank];
      size = std::max(size, other.size[d]);
    }
    pointer = broadcast_to(given, shape);
    mask_tile = broadcast_to(*given_mask, shape);
    mask = &mask_tile;
  }
  Access made;
  made.kind = kind;
  made.line = line;
  made.type = pointer.type;
  if (pointer.parameter >= 0 && pointer.parameter < static_cast<int>(kernel.arguments.size())) {
    made.pointer = kernel.arguments[pointer.parameter].name;
    made.value = kernel.arguments[pointer.parameter].value;
  }
  PendingAccess pending;
  pending.context = context();
  pending.address = pointer.node;
  pending.shape = pointer.shape;
  if (mask != nullptr) {
    const bool always = graph.is_constant(mask->node) && graph.at(mask->node).value != 0;
    made.masked = !always;
    pending.mask = mask->node;
  }
  for (int d = 0; d < pending.shape.rank; ++d) made.tile.push_back(pending.shape.size[d]);
  made.elements = pending.shape.elements();
  made.loop = loop_;
  if (pending.address >= 0) made.address = dependence_of(graph.at(pending.address).depends);
  kernel.accesses.push_back(std::move(made));
  pending_accesses_.push_back(pending);
  return static_cast<int>(kernel.accesses.size()) - 1;
}

/// The tile of pointers that a block pointer stands for, and the mask of its checked dimensions.
Tile TileInterpreter::block_pointer(const Tile& block, const Tile* offsets, IndexId& mask,
                                    bool checked) {
  const auto rank = static_cast<std::size_t>(block.shape.rank);
  const std::vector<Tile>& parts = *block.items;
  Tile pointer = parts.at(0);
  pointer.shape = block.shape;
  IndexId address = pointer.node;
  mask = graph.constant(1);
  for (std::size_t d = 0; d < rank; ++d) {
    const IndexId size = parts.at(1 + d).node;
    const IndexId stride = parts.at(1 + rank + d).node;
    IndexId offset = parts.at(1 + 2 * rank + d).node;
    if (offsets != nullptr && offsets->items && d < offsets->items->size()) {
      offset = (*offsets->items)[d].node;
    }
    const IndexId place =
        graph.binary(IndexOp::add, offset, graph.lane(static_cast<int>(d), block.shape.size[d]));
    address = graph.binary(IndexOp::add, address, graph.binary(IndexOp::multiply, place, stride));
    if (checked) {
      const IndexId inside = graph.binary(IndexOp::less, place, size);
      if (inside >= 0) mask = graph.binary(IndexOp::bit_and, mask, inside);
    }
  }
  pointer.node = address;
  return pointer;
}

Tile TileInterpreter::make_block(const TileCall& call, bool descriptor) {
  const Tile base = argument(call, 0, "base");
  const Tile sizes = argument(call, 1, "shape");
  const Tile strides = argument(call, 2, "strides");
  const Tile offsets = descriptor ? Tile() : argument(call, 3, "offsets");
  const Tile shape = argument(call, descriptor ? 3 : 4, "block_shape");
  Tile made;
  made.kind = Tile::Kind::block;
  if (!shape_of(shape, made.shape) || !sizes.items || !strides.items) {
    return lost(call.line, "a block pointer");
  }
  made.type = base.type;
  made.items = std::make_shared<std::vector<Tile>>();
  made.items->push_back(base);
  for (const Tile* list : {&sizes, &strides, &offsets}) {
    for (int d = 0; d < made.shape.rank; ++d) {
      const bool given = list->items && d < static_cast<int>(list->items->size());
      made.items->push_back(given ? (*list->items)[d] : index(graph.constant(0)));
    }
  }
  return made;
}

Tile TileInterpreter::advance(const TileCall& call) {
  Tile block = argument(call, 0, "base");
  const Tile by = argument(call, 1, "offsets");
  if (!block.is(Tile::Kind::block) || !by.items) return lost(call.line, "a tl.advance");
  block.items = std::make_shared<std::vector<Tile>>(*block.items);
  const auto rank = static_cast<std::size_t>(block.shape.rank);
  for (std::size_t d = 0; d < rank && d < by.items->size(); ++d) {
    Tile& offset = block.items->at(1 + 2 * rank + d);
    offset.node = graph.binary(IndexOp::add, offset.node, (*by.items)[d].node);
  }
  return block;
}

Tile TileInterpreter::load(const TileCall& call) {
  Tile pointer = argument(call, 0, "pointer");
  const Tile* mask = find(call, 1, "mask");
  Tile block_mask;
  if (pointer.is(Tile::Kind::block)) {
    const bool descriptor = mask != nullptr && mask->is(Tile::Kind::items) &&
                            find(call, SIZE_MAX, "boundary_check") == nullptr;
    const Tile offsets = descriptor ? *mask : Tile();
    IndexId inside = -1;
    const bool checked = descriptor || find(call, SIZE_MAX, "boundary_check") != nullptr;
    pointer = block_pointer(pointer, descriptor ? &offsets : nullptr, inside, checked);
    block_mask = index(inside, pointer.shape, Type::boolean);
    mask = checked ? &block_mask : nullptr;
  }
  if (!pointer.is(Tile::Kind::index) || !pointer.pointer) {
    return lost(call.line, "a load from an address that is not known");
  }
  const bool no_mask = mask == nullptr || mask->is(Tile::Kind::host);
  const int access = record_access(AccessKind::load, pointer, no_mask ? nullptr : mask, call.line);
  kernel.accesses[access].eviction_hint = find(call, SIZE_MAX, "eviction_policy") != nullptr;
  const TileShape shape = pending_accesses_[access].shape;
  const Depends depends =
      pointer.node >= 0 ? graph.at(pointer.node).depends & ~(0x1fU << 20) : kDataBit;
  Tile made;
  made.shape = shape;
  made.type = pointer.type == Type::unknown ? Type::float32 : pointer.type;
  made.access = access;
  made.depends = depends;
  if (is_float(made.type)) {
    made.kind = Tile::Kind::real;
  } else {
    made.kind = Tile::Kind::index;
    made.node = graph.data(depends);
  }
  note_tile(made);
  return made;
}

Tile TileInterpreter::store(const TileCall& call) {
  Tile pointer = argument(call, 0, "pointer");
  const Tile* mask = find(call, 2, "mask");
  Tile value = argument(call, 1, "value");
  Tile block_mask;
  if (pointer.is(Tile::Kind::block)) {
    IndexId inside = -1;
    const bool descriptor = value.is(Tile::Kind::items);
    const Tile offsets = value;
    if (descriptor) value = argument(call, 2, "value");
    const bool checked = descriptor || find(call, SIZE_MAX, "boundary_check") != nullptr;
    pointer = block_pointer(pointer, descriptor ? &offsets : nullptr, inside, checked);
    block_mask = index(inside, pointer.shape, Type::boolean);
    mask = checked ? &block_mask : nullptr;
  }
  if (!pointer.is(Tile::Kind::index) || !pointer.pointer) {
    return lost(call.line, "a store to an address that is not known");
  }
  const bool no_mask = mask == nullptr || mask->is(Tile::Kind::host);
  record_access(AccessKind::store, pointer, no_mask ? nullptr : mask, call.line);
  if (value.is(Tile::Kind::real) && value.type != pointer.type) {
    arithmetic().convert += value.shape.elements();
  }
  return host_tile(null_val());
}

Tile TileInterpreter::atomic(const TileCall& call, std::string_view name) {
  const Tile pointer = argument(call, 0, "pointer");
  const bool compare_swap = name == "cas";
  const Tile* mask = compare_swap ? nullptr : find(call, 2, "mask");
  if (!pointer.is(Tile::Kind::index) || !pointer.pointer) {
    return lost(call.line, "an atomic on an address that is not known");
  }
  const bool no_mask = mask == nullptr || mask->is(Tile::Kind::host);
  const int access =
      record_access(AccessKind::atomic, pointer, no_mask ? nullptr : mask, call.line);
  kernel.accesses[access].atomic = name;
  Tile made;
  made.shape = pointer.shape;
  made.type = pointer.type;
  made.kind = is_float(made.type) ? Tile::Kind::real : Tile::Kind::index;
  if (made.is(Tile::Kind::index)) made.node = graph.data(0);
  return made;
}

DotOperand TileInterpreter::operand_of(const Tile& tile) const {
  DotOperand made;
  made.type = tile.type;
  made.stored = tile.type;
  made.access = tile.access;
  made.computed = tile.computed || tile.access < 0;
  made.cast_in_registers = tile.cast;
  made.transposed = tile.transposed;
  made.address = dependence_of(tile.depends);
  if (tile.access >= 0) {
    made.stored = kernel.accesses[tile.access].type;
    made.cast_in_registers = made.stored != made.type;
    made.address = kernel.accesses[tile.access].address;
  }
  return made;
}

Tile TileInterpreter::dot(const TileCall& call) {
  const Tile a = argument(call, 0, "input");
  const Tile b = argument(call, 1, "other");
  if (!a.known() || !b.known()) return {};
  const int rank = a.shape.rank;
  if (rank < 2 || b.shape.rank != rank) return lost(call.line, "a tl.dot of other than matrices");
  Dot made;
  made.line = call.line;
  made.m = a.shape.size[rank - 2];
  made.k = a.shape.size[rank - 1];
  made.n = b.shape.size[rank - 1];
  made.batch = rank == 3 ? a.shape.size[0] : 1;
  made.a = operand_of(a);
  made.b = operand_of(b);
  made.loop = loop_;
  made.accumulates = loop_ >= 0;
  const Tile precision = argument(call, SIZE_MAX, "input_precision");
  const Tile allow = argument(call, 3, "allow_tf32");
  if (precision.is(Tile::Kind::host))
    made.allow_tf32 = text_of(precision.host).starts_with("tf32");
  else if (truth(allow) == 0)
    made.allow_tf32 = false;
  else if (allow.is(Tile::Kind::host))
    made.allow_tf32 = text_of(allow.host) != "ieee";
  const bool integers = !is_float(a.type) && !is_float(b.type);
  const Type wanted = type_of(argument(call, SIZE_MAX, "out_dtype"));
  made.result = wanted != Type::unknown ? wanted : integers ? Type::int32 : Type::float32;
  TileShape shape = a.shape;
  shape.size[rank - 1] = made.n;
  kernel.dots.push_back(made);
  pending_dots_.push_back({context(), a, b});
  if (!is_float(made.result)) return index(graph.data(a.depends | b.depends), shape, made.result);
  Tile result = real(shape, made.result);
  result.depends = a.depends | b.depends;
  result.product = kDotProduct;
  return result;
}

}  // namespace quoin::architect
