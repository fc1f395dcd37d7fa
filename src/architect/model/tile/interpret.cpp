// Statements and expressions of kernels.
#include <algorithm>

#include "architect/model/host/arithmetic.h"
#include "architect/model/tile/tile.h"

namespace quoin::architect {

TileInterpreter::TileInterpreter(Interpreter& host_in, Kernel& kernel_in,
                                 const std::array<std::int64_t, 3>& grid)
    : host(host_in), kernel(kernel_in), grid_(grid) {}

Tile TileInterpreter::lost(int line, std::string what) {
  kernel.understood = false;
  host.misunderstood(line, std::move(what) + " in kernel '" + kernel.name + "'");
  return {};
}

Tile TileInterpreter::index(IndexId node, const TileShape& shape, Type type) {
  Tile made;
  made.kind = Tile::Kind::index;
  made.node = node;
  made.shape = shape;
  made.type = type;
  return made;
}

Tile TileInterpreter::real(const TileShape& shape, Type type) {
  Tile made;
  made.kind = Tile::Kind::real;
  made.shape = shape;
  made.type = type;
  made.computed = true;
  note_tile(made);
  return made;
}

Tile TileInterpreter::tuple(std::vector<Tile> items) {
  Tile made;
  made.kind = Tile::Kind::items;
  made.items = std::make_shared<std::vector<Tile>>(std::move(items));
  return made;
}

/// A value of the host as the kernel sees it: numbers become constants.
Tile TileInterpreter::host_tile(const Val& value) {
  Tile made;
  if (value.is_integer()) {
    made = index(graph.constant(value.number));
    made.weak = true;
    if (value.is(ValKind::boolean)) made.type = Type::boolean;
  } else if (value.is(ValKind::real)) {
    made = real({});
    made.number = value.real;
    made.weak = true;
  } else if (value.is_sequence()) {
    std::vector<Tile> items;
    for (const Val& part : items_of(value)) items.push_back(host_tile(part));
    made = tuple(std::move(items));
  } else if (value.known()) {
    made.kind = Tile::Kind::host;
    made.host = value;
  }
  return made;
}

int TileInterpreter::context() {
  for (std::size_t i = contexts_.size(); i-- > 0;) {
    if (contexts_[i].loop == loop_ && contexts_[i].path == path_) return static_cast<int>(i);
  }
  contexts_.push_back({loop_, path_, {}});
  return static_cast<int>(contexts_.size()) - 1;
}

Arithmetic& TileInterpreter::arithmetic() { return contexts_[context()].arithmetic; }

void TileInterpreter::note_tile(const Tile& tile) {
  kernel.largest_tile =
      std::max(kernel.largest_tile, static_cast<std::int64_t>(tile.shape.elements()));
}

void TileInterpreter::run(const FunctionObject& function,
                          const std::vector<std::pair<Symbol, Val>>& bound) {
  function_ = &function;
  tree_ = function.tree;
  int place = 0;
  for (const auto& [symbol, value] : bound) {
    Argument argument;
    argument.name = host.symbols.text(symbol);
    const NodeId parameters = tree_->child(function.node, 0);
    for (const NodeId id : tree_->children_of(parameters)) {
      if (tree_->at(id).symbol != symbol) continue;
      const NodeId annotation = tree_->child(id, 1);
      argument.constexpr_ =
          annotation >= 0 && tree_->at(annotation).text.find("constexpr") != std::string_view::npos;
    }
    Tile tile;
    if (value.is_tensor()) {
      argument.value = value.tensor();
      tile = index(graph.constant(0, true), {}, host.recorder.value(value.tensor()).type);
      tile.pointer = true;
      tile.parameter = place;
    } else {
      tile = host_tile(value);
      if (value.is_number()) argument.number = value.as_real();
      argument.is_float = value.is(ValKind::real);
      if (value.is_integer() && !argument.constexpr_) {
        // Triton specialises an argument that is 1 as a constant.
        tile.node = graph.constant(value.number, value.number != 1);
      }
      tile.weak = argument.constexpr_;
    }
    kernel.arguments.push_back(std::move(argument));
    set_local(symbol, tile);
    ++place;
  }
  run_block(tree_->child(function.node, 1));
  if (host.spend(steps_ + static_cast<std::int64_t>(graph.size()))) {
    measure();
  } else {
    lost(kernel.line, "more kernels than are followed");
  }
}

// ---------------------------------------------------------------------------------- statements

Tile* TileInterpreter::local(Symbol symbol) {
  for (auto& [held, tile] : scope_) {
    if (held == symbol) return &tile;
  }
  return nullptr;
}

void TileInterpreter::set_local(Symbol symbol, const Tile& value) {
  if (Tile* held = local(symbol))
    *held = value;
  else
    scope_.emplace_back(symbol, value);
}

TileInterpreter::Flow TileInterpreter::run_block(NodeId block) {
  if (block < 0 || depth_ > kMaxDepth) return Flow::normal;
  ++depth_;
  Flow flow = Flow::normal;
  const int outer_path = path_;
  for (const NodeId statement : tree_->children_of(block)) {
    if (++steps_ > kMaxSteps || graph.full()) {
      lost(tree_->at(statement).line, "too much code");
      flow = Flow::returned;
      break;
    }
    flow = run_statement(statement);
    if (flow != Flow::normal) break;
    // A branch that left: the rest of the block runs where it was not taken.
    if (exit_path_ >= 0) path_ = std::exchange(exit_path_, -1);
  }
  if (flow == Flow::normal && path_ != outer_path) exit_path_ = path_;
  path_ = outer_path;
  --depth_;
  return flow;
}

TileInterpreter::Flow TileInterpreter::run_statement(NodeId statement) {
  const Node& node = tree_->at(statement);
  switch (node.kind) {
    case NodeKind::expression: evaluate(tree_->child(statement, 0)); break;
    case NodeKind::assign: {
      const Tile value = evaluate(tree_->child(statement, 0));
      for (std::size_t i = 1; i < node.count; ++i) assign(tree_->child(statement, i), value);
      break;
    }
    case NodeKind::augmented: {
      const NodeId target = tree_->child(statement, 0);
      const Tile right = evaluate(tree_->child(statement, 1));
      const Tile left = evaluate(target);
      assign(target, binary(node.op, left, right, node.line));
      break;
    }
    case NodeKind::if_: return run_if(statement);
    case NodeKind::for_: return run_for(statement);
    case NodeKind::while_: return run_while(statement);
    case NodeKind::return_: {
      const NodeId value = tree_->child(statement, 0);
      if (value >= 0) returned_ = evaluate(value);
      return Flow::returned;
    }
    case NodeKind::break_: return Flow::broke;
    case NodeKind::continue_: return Flow::continued;
    case NodeKind::block: return run_block(statement);
    case NodeKind::error: lost(node.line, "a syntax error"); break;
    default: break;  // pass, assert, docstrings
  }
  return Flow::normal;
}

void TileInterpreter::assign(NodeId target, const Tile& value) {
  if (target < 0) return;
  const Node& node = tree_->at(target);
  if (node.kind == NodeKind::name) {
    set_local(node.symbol, value);
  } else if (node.kind == NodeKind::tuple || node.kind == NodeKind::list) {
    const auto targets = tree_->children_of(target);
    for (std::size_t i = 0; i < targets.size(); ++i) {
      assign(targets[i], value.items && i < value.items->size() ? (*value.items)[i] : Tile());
    }
  } else {
    lost(node.line, "an assignment");
  }
}

int TileInterpreter::truth(const Tile& tile) const {
  if (tile.is(Tile::Kind::host)) return host.truth(tile.host);
  if (tile.is(Tile::Kind::index) && graph.is_constant(tile.node)) {
    return graph.at(tile.node).value != 0 ? 1 : 0;
  }
  if (tile.number) return *tile.number != 0 ? 1 : 0;
  if (tile.pointer) return 1;
  return -1;
}

IndexId TileInterpreter::condition_of(const Tile& tile) {
  if (tile.is(Tile::Kind::index) && tile.node >= 0) return tile.node;
  return graph.data(0);
}

TileInterpreter::Flow TileInterpreter::run_if(NodeId statement) {
  const Tile condition = evaluate(tree_->child(statement, 0));
  const int known = truth(condition);
  if (!condition.known()) lost(tree_->at(statement).line, "a branch on a value that is not known");
  const NodeId then_block = tree_->child(statement, 1);
  const NodeId else_block = tree_->child(statement, 2);
  if (known >= 0) return run_block(known == 1 ? then_block : else_block);
  const IndexId node = condition_of(condition);
  const IndexId opposite = graph.negated(node);
  const int outer_path = path_;
  const Scope before = scope_;
  paths_.push_back({node, outer_path});
  path_ = static_cast<int>(paths_.size()) - 1;
  const Flow then_flow = run_block(then_block);
  exit_path_ = -1;
  const Scope then_scope = std::exchange(scope_, before);
  paths_.push_back({opposite, outer_path});
  const int else_path = static_cast<int>(paths_.size()) - 1;
  path_ = else_path;
  const Flow else_flow = run_block(else_block);
  exit_path_ = -1;
  path_ = outer_path;
  if (then_flow != Flow::normal && else_flow != Flow::normal) return then_flow;
  if (then_flow != Flow::normal) {  // the rest runs where the branch was not taken
    exit_path_ = else_path;
  } else if (else_flow != Flow::normal) {
    scope_ = then_scope;
    paths_.push_back({node, outer_path});
    exit_path_ = static_cast<int>(paths_.size()) - 1;
  } else {
    merge(then_scope, node);
  }
  return Flow::normal;
}

/// The scope now is that of the else branch; `other` that of the then branch.
void TileInterpreter::merge(const Scope& other, IndexId condition) {
  for (const auto& [symbol, yes] : other) {
    Tile* no = local(symbol);
    if (no == nullptr || !no->known()) {
      set_local(symbol, yes);
      continue;
    }
    if (yes.is(Tile::Kind::index) && no->is(Tile::Kind::index)) {
      if (yes.node == no->node && yes.shape == no->shape) continue;
      no->node = graph.select(condition, yes.node, no->node);
      if (yes.shape.rank > no->shape.rank) no->shape = yes.shape;
    } else if (yes.shape.rank > no->shape.rank || (!no->is(Tile::Kind::real) && yes.known())) {
      *no = yes;
    } else if (yes.number != no->number) {
      no->number.reset();
    }
  }
}

// --------------------------------------------------------------------------------------- loops

void TileInterpreter::collect_assigned(NodeId id, std::vector<Symbol>& names, int depth) const {
  if (id < 0 || depth > kMaxDepth) return;
  const Node& node = tree_->at(id);
  const auto target = [&](NodeId one) {
    if (one < 0) return;
    if (tree_->at(one).kind == NodeKind::name) names.push_back(tree_->at(one).symbol);
    if (tree_->at(one).kind == NodeKind::tuple || tree_->at(one).kind == NodeKind::list) {
      for (const NodeId part : tree_->children_of(one)) {
        if (part >= 0 && tree_->at(part).kind == NodeKind::name) {
          names.push_back(tree_->at(part).symbol);
        }
      }
    }
  };
  switch (node.kind) {
    case NodeKind::assign:
      for (std::size_t i = 1; i < node.count; ++i) target(tree_->child(id, i));
      break;
    case NodeKind::augmented: target(tree_->child(id, 0)); break;
    case NodeKind::for_:
      target(tree_->child(id, 0));
      collect_assigned(tree_->child(id, 2), names, depth + 1);
      break;
    case NodeKind::while_: collect_assigned(tree_->child(id, 1), names, depth + 1); break;
    case NodeKind::if_:
      collect_assigned(tree_->child(id, 1), names, depth + 1);
      collect_assigned(tree_->child(id, 2), names, depth + 1);
      break;
    case NodeKind::block:
      for (const NodeId part : tree_->children_of(id)) collect_assigned(part, names, depth + 1);
      break;
    default: break;
  }
}

/// A variable as it is at the top of some iteration.
Tile TileInterpreter::carried(int loop, const Tile& tile) {
  Tile made = tile;
  made.access = -1;
  made.computed = true;
  made.product = -1;
  made.number.reset();
  if (made.is(Tile::Kind::index) && made.node >= 0) made.node = graph.phi(loop, made.node);
  if (made.is(Tile::Kind::block) && made.items) {
    made.items = std::make_shared<std::vector<Tile>>(*tile.items);
    for (Tile& part : *made.items) part = carried(loop, part);
  }
  return made;
}

std::vector<std::pair<Symbol, Tile>> TileInterpreter::enter_loop(int loop, NodeId body) {
  std::vector<Symbol> names;
  collect_assigned(body, names, 0);
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  std::vector<std::pair<Symbol, Tile>> phis;
  for (const Symbol symbol : names) {
    Tile* held = local(symbol);
    if (held == nullptr || held->is(Tile::Kind::host) || !held->known()) continue;
    *held = carried(loop, *held);
    phis.emplace_back(symbol, *held);
  }
  return phis;
}

void TileInterpreter::close(const Tile& phi, const Tile& last) {
  if (phi.is(Tile::Kind::index) && last.is(Tile::Kind::index) && phi.node >= 0) {
    graph.close_phi(phi.node, last.node);
  }
  if (phi.is(Tile::Kind::block) && last.is(Tile::Kind::block)) {
    for (std::size_t i = 0; i < phi.items->size() && i < last.items->size(); ++i) {
      close((*phi.items)[i], (*last.items)[i]);
    }
  }
}

/// The variable after the loop: a step taken as often as the loop ran, or its last value.
Tile TileInterpreter::after(int loop, const Tile& phi, const Tile& last) {
  Tile made = last;
  if (phi.is(Tile::Kind::index) && phi.node >= 0 && graph.at(phi.node).op == IndexOp::phi &&
      graph.at(phi.node).c >= 0) {
    const IndexId init = graph.at(phi.node).b;
    const IndexId step = graph.at(phi.node).c;
    made.node =
        graph.binary(IndexOp::add, init, graph.binary(IndexOp::multiply, graph.trips(loop), step));
  }
  return made;
}

void TileInterpreter::leave_loop(int loop, const std::vector<std::pair<Symbol, Tile>>& phis) {
  for (const auto& [symbol, phi] : phis) {
    if (Tile* last = local(symbol)) close(phi, *last);
  }
  double carried_bytes = 0;
  for (const auto& [symbol, phi] : phis) {
    Tile* last = local(symbol);
    if (last == nullptr) continue;
    const bool accumulator = last->is(Tile::Kind::real) ||
                             (last->is(Tile::Kind::index) && !last->pointer && last->node >= 0 &&
                              (graph.at(last->node).depends & kDataBit) != 0);
    if (accumulator) carried_bytes += last->shape.elements() * 4;
    *last = after(loop, phi, *last);
  }
  kernel.loops[loop].carried_bytes = carried_bytes;
}

int TileInterpreter::open_loop(int line, const IndexLoop& bounds, std::string variable,
                               bool unrolled) {
  if (kernel.loops.size() >= kMaxLoops) {
    lost(line, "more than " + std::to_string(kMaxLoops) + " loops");
    return -1;
  }
  const int loop = graph.add_loop(bounds);
  Loop made;
  made.line = line;
  made.parent = loop_;
  made.variable = std::move(variable);
  made.static_range = unrolled;
  kernel.loops.push_back(std::move(made));
  return loop;
}

TileInterpreter::Flow TileInterpreter::run_unrolled(NodeId statement,
                                                    const std::vector<Tile>& items) {
  for (const Tile& item : items) {
    assign(tree_->child(statement, 0), item);
    const Flow flow = run_block(tree_->child(statement, 2));
    if (flow == Flow::broke) break;
    if (flow == Flow::returned) return flow;
  }
  return Flow::normal;
}

TileInterpreter::Flow TileInterpreter::run_for(NodeId statement) {
  const Node& node = tree_->at(statement);
  const NodeId target = tree_->child(statement, 0);
  const NodeId over = tree_->child(statement, 1);
  const NodeId body = tree_->child(statement, 2);
  std::string_view kind;
  if (over >= 0 && tree_->at(over).kind == NodeKind::call) {
    const NodeId callee = tree_->child(over, 0);
    if (callee >= 0) kind = tree_->at(callee).text;
  }
  if (kind != "range" && kind != "static_range") {
    const Tile items = evaluate(over);
    if (items.is(Tile::Kind::items)) return run_unrolled(statement, *items.items);
    lost(node.line, "a loop that is no range");
    return Flow::normal;
  }
  std::vector<IndexId> bounds;
  for (std::size_t i = 1; i < tree_->at(over).count; ++i) {
    const NodeId argument = tree_->child(over, i);
    if (argument < 0 || tree_->at(argument).kind == NodeKind::keyword) continue;
    const Tile bound = evaluate(argument);
    bounds.push_back(bound.is(Tile::Kind::index) ? bound.node : -1);
  }
  IndexLoop loop_bounds;
  loop_bounds.parent = loop_;
  loop_bounds.begin = bounds.size() > 1 ? bounds[0] : graph.constant(0);
  loop_bounds.end = bounds.empty() ? -1 : bounds.size() > 1 ? bounds[1] : bounds[0];
  loop_bounds.step = bounds.size() > 2 ? bounds[2] : graph.constant(1);
  if (loop_bounds.step < 0 || loop_bounds.begin < 0) loop_bounds.end = -1;
  const bool data =
      loop_bounds.end >= 0 &&
      ((graph.at(loop_bounds.end).depends | graph.at(loop_bounds.begin).depends) & kDataBit) != 0;
  if (data || loop_bounds.end < 0) loop_bounds.end = -1;
  const std::string name(target >= 0 ? tree_->at(target).text : "");
  const int loop = open_loop(node.line, loop_bounds, name, kind == "static_range");
  if (loop < 0) return Flow::normal;
  if (loop_bounds.end < 0) {
    kernel.loops[loop].trips_known = false;
    lost(node.line, "a loop whose trip count depends on data or is not known");
  }
  const int outer = std::exchange(loop_, loop);
  const auto phis = enter_loop(loop, body);
  const IndexId begin = loop_bounds.begin >= 0 ? loop_bounds.begin : graph.constant(0);
  const IndexId step = loop_bounds.step >= 0 ? loop_bounds.step : graph.constant(1);
  const IndexId variable = graph.binary(
      IndexOp::add, begin, graph.binary(IndexOp::multiply, graph.iteration(loop), step));
  assign(target, index(variable));
  const Flow flow = run_block(body);
  exit_path_ = -1;
  leave_loop(loop, phis);
  loop_ = outer;
  return flow == Flow::returned && path_ < 0 && outer < 0 ? flow : Flow::normal;
}

/// while i < n: the trips follow from the step of i.
TileInterpreter::Flow TileInterpreter::run_while(NodeId statement) {
  const Node& node = tree_->at(statement);
  const NodeId body = tree_->child(statement, 1);
  const int loop = open_loop(node.line, {-1, -1, -1, loop_}, "", false);
  if (loop < 0) return Flow::normal;
  const int outer = std::exchange(loop_, loop);
  const auto phis = enter_loop(loop, body);
  kernel.loops[loop].while_loop = true;
  const Tile condition = evaluate(tree_->child(statement, 0));
  run_block(body);  // it may not run at all: what follows does, whatever the body returns
  exit_path_ = -1;
  for (const auto& [symbol, phi] : phis) {
    if (const Tile* last = local(symbol)) close(phi, *last);
  }
  bool known = false;
  if (condition.is(Tile::Kind::index) && condition.node >= 0) {
    const IndexNode test = graph.at(condition.node);
    const auto stepping = [&](IndexId id) {
      return id >= 0 && graph.at(id).op == IndexOp::phi && graph.at(id).a == loop &&
             graph.at(id).c >= 0;
    };
    const bool or_equal = test.op == IndexOp::less_equal;
    const bool ordered = test.op == IndexOp::less || or_equal;
    if (ordered && (stepping(test.a) || stepping(test.b))) {
      const bool rising = stepping(test.a);
      const IndexId phi = rising ? test.a : test.b;
      IndexId bound = rising ? test.b : test.a;
      if (or_equal) bound = graph.binary(IndexOp::add, bound, graph.constant(rising ? 1 : -1));
      known = ((graph.at(bound).depends | graph.at(graph.at(phi).b).depends) & kDataBit) == 0;
      if (known) graph.loops()[loop] = {graph.at(phi).b, bound, graph.at(phi).c, outer};
    }
  }
  kernel.loops[loop].trips_known = known;
  if (!known) lost(node.line, "a while loop whose trip count is not known");
  leave_loop(loop, phis);
  loop_ = outer;
  return Flow::normal;
}

// --------------------------------------------------------------------------------- expressions

Tile TileInterpreter::evaluate(NodeId expression) {
  if (expression < 0) return host_tile(null_val());
  if (depth_ > kMaxDepth || ++steps_ > kMaxSteps) {
    return lost(tree_->at(expression).line, "an expression nested too deeply");
  }
  ++depth_;
  Tile value = evaluate_kind(expression);
  --depth_;
  return value;
}

Tile TileInterpreter::evaluate_kind(NodeId expression) {
  const Node& node = tree_->at(expression);
  const auto child = [&](std::size_t i) { return tree_->child(expression, i); };
  switch (node.kind) {
    case NodeKind::name: return evaluate_name(node);
    case NodeKind::integer: return host_tile(parse_integer(node.text));
    case NodeKind::floating: return host_tile(parse_real(node.text));
    case NodeKind::string: return host_tile(host.string(node.text));
    case NodeKind::constant:
      return host_tile(node.op == Operator::null ? null_val()
                                                 : bool_val(node.op == Operator::true_));
    case NodeKind::tuple:
    case NodeKind::list: {
      std::vector<Tile> items;
      for (const NodeId part : tree_->children_of(expression)) items.push_back(evaluate(part));
      return tuple(std::move(items));
    }
    case NodeKind::attribute: return evaluate_attribute(expression);
    case NodeKind::subscript: return evaluate_subscript(expression);
    case NodeKind::call: return evaluate_call(expression);
    case NodeKind::binary: {
      const Tile left = evaluate(child(0));
      return binary(node.op, left, evaluate(child(1)), node.line);
    }
    case NodeKind::unary: return evaluate_unary(expression);
    case NodeKind::compare: {
      const Tile left = evaluate(child(0));
      return compare(node.op, left, evaluate(child(1)));
    }
    case NodeKind::logic_and:
    case NodeKind::logic_or: return evaluate_logic(expression);
    case NodeKind::conditional: return evaluate_conditional(expression);
    case NodeKind::slice: return host_tile(host.string(":"));
    case NodeKind::format: return host_tile(host.string(""));
    default: return lost(node.line, "an expression that is not known");
  }
}

Tile TileInterpreter::evaluate_name(const Node& node) {
  if (const Tile* held = local(node.symbol)) return *held;
  for (Environment* scope = function_->closure; scope != nullptr; scope = scope->parent) {
    if (const Val* held = scope->find(node.symbol)) return host_tile(*held);
  }
  return host_tile(host.builtin(std::string(node.text)));
}

Tile TileInterpreter::evaluate_attribute(NodeId expression) {
  const Node& node = tree_->at(expression);
  return attribute_of(evaluate(tree_->child(expression, 0)), node.symbol, node.line);
}

Tile TileInterpreter::attribute_of(const Tile& object, Symbol name, int line) {
  const std::string_view text = host.symbols.text(name);
  if (object.is(Tile::Kind::host)) {
    if (object.host.is(ValKind::dtype)) {
      if (text == "element_ty" || text == "scalar" || text == "dtype") return object;
      if (text == "primitive_bitwidth") {
        return host_tile(int_val(8 * bytes_of(object.host.type())));
      }
    }
    return host_tile(host.attribute(object.host, name));
  }
  if (text == "dtype" || text == "type" || text == "element_ty") {
    return host_tile(dtype_val(object.type));
  }
  if (text == "shape") {
    std::vector<Tile> sizes;
    for (int d = 0; d < object.shape.rank; ++d)
      sizes.push_back(host_tile(int_val(object.shape.size[d])));
    return tuple(std::move(sizes));
  }
  if (text == "T") {
    TileCall call{.name = "trans", .positional = {object}, .keywords = {}, .line = line};
    Tile result;
    call_tile_function(*this, "trans", call, result);
    return result;
  }
  if (text == "value") return object;  // of a constexpr
  return object.known() ? lost(line, "the attribute '" + std::string(text) + "'") : Tile();
}

Tile TileInterpreter::evaluate_subscript(NodeId expression) {
  const Tile object = evaluate(tree_->child(expression, 0));
  const NodeId index_node = tree_->child(expression, 1);
  if (object.is(Tile::Kind::items)) {
    const Tile at = evaluate(index_node);
    std::int64_t place = integer(at, -1);
    const auto size = static_cast<std::int64_t>(object.items->size());
    if (place < 0) place += size;
    return place >= 0 && place < size ? (*object.items)[place] : Tile();
  }
  if (!object.is(Tile::Kind::index) && !object.is(Tile::Kind::real)) return {};
  std::vector<NodeId> parts = {index_node};
  if (index_node >= 0 && tree_->at(index_node).kind == NodeKind::tuple) {
    const auto all = tree_->children_of(index_node);
    parts.assign(all.begin(), all.end());
  }
  std::vector<int> from;
  int next = 0;
  for (const NodeId part : parts) {
    const Node& node = tree_->at(part);
    if (node.kind == NodeKind::slice)
      from.push_back(next++);
    else if (node.kind == NodeKind::constant && node.op == Operator::null)
      from.push_back(-1);
    else if (node.kind == NodeKind::constant && node.op == Operator::ellipsis) {
      while (next < object.shape.rank) from.push_back(next++);
    } else {
      return lost(node.line, "an index of a tile");
    }
  }
  while (next < object.shape.rank) from.push_back(next++);
  return rearranged(object, from);
}

Tile TileInterpreter::evaluate_unary(NodeId expression) {
  const Node& node = tree_->at(expression);
  const Tile value = evaluate(tree_->child(expression, 0));
  if (node.op == Operator::not_) {
    const int known = truth(value);
    if (known >= 0) return host_tile(bool_val(known == 0));
    return index(graph.negated(condition_of(value)), value.shape, Type::boolean);
  }
  if (value.is(Tile::Kind::index)) {
    if (node.op == Operator::invert && value.type == Type::boolean) {
      return index(value.node < 0 ? -1 : graph.negated(value.node), value.shape, Type::boolean);
    }
    if (node.op == Operator::plus) return value;
    Tile made = value;
    made.node = value.node < 0 ? -1
                : node.op == Operator::invert
                    ? graph.binary(IndexOp::bit_xor, value.node, graph.constant(-1))
                    : graph.binary(IndexOp::subtract, graph.constant(0), value.node);
    return made;
  }
  if (value.is(Tile::Kind::real)) {
    Tile made = value;
    if (made.number)
      made.number = -*made.number;
    else
      arithmetic().mul += value.shape.elements();
    made.computed = true;
    return made;
  }
  return value.known() ? lost(node.line, "an operator") : Tile();
}

Tile TileInterpreter::evaluate_logic(NodeId expression) {
  const bool is_and = tree_->at(expression).kind == NodeKind::logic_and;
  const Tile left = evaluate(tree_->child(expression, 0));
  const int known = truth(left);
  if (known >= 0 && (known == 1) != is_and) return left;
  const Tile right = evaluate(tree_->child(expression, 1));
  if (known >= 0) return right;
  return binary(is_and ? Operator::bit_and : Operator::bit_or, left, right,
                tree_->at(expression).line);
}

Tile TileInterpreter::evaluate_conditional(NodeId expression) {
  const Tile condition = evaluate(tree_->child(expression, 0));
  const int known = truth(condition);
  if (known >= 0) return evaluate(tree_->child(expression, known == 1 ? 1 : 2));
  const Tile yes = evaluate(tree_->child(expression, 1));
  const Tile no = evaluate(tree_->child(expression, 2));
  return select(condition, yes, no);
}

Tile TileInterpreter::evaluate_call(NodeId expression) {
  const Node& node = tree_->at(expression);
  const NodeId callee_node = tree_->child(expression, 0);
  TileCall call;
  call.line = node.line;
  Tile callee;
  bool method = false;
  if (callee_node >= 0 && tree_->at(callee_node).kind == NodeKind::attribute) {
    const Tile object = evaluate(tree_->child(callee_node, 0));
    if (object.is(Tile::Kind::host) && !object.host.is(ValKind::dtype)) {
      callee = attribute_of(object, tree_->at(callee_node).symbol, node.line);
    } else {
      method = true;
      call.positional.push_back(object);
      call.name = tree_->at(callee_node).text;
    }
  } else {
    callee = evaluate(callee_node);
  }
  for (std::size_t i = 1; i < node.count; ++i) {
    const NodeId argument = tree_->child(expression, i);
    if (argument < 0) continue;
    const Node& part = tree_->at(argument);
    if (part.kind == NodeKind::keyword) {
      call.keywords.emplace_back(part.symbol, evaluate(tree_->child(argument, 0)));
    } else if (part.kind == NodeKind::star) {
      const Tile more = evaluate(tree_->child(argument, 0));
      if (more.items) {
        call.positional.insert(call.positional.end(), more.items->begin(), more.items->end());
      }
    } else {
      call.positional.push_back(evaluate(argument));
    }
  }
  Tile result;
  if (method) {
    if (!call.positional[0].known()) return {};
    if (call_tile_function(*this, call.name, call, result)) return result;
    return lost(node.line, "the method '" + std::string(call.name) + "'");
  }
  if (callee.is(Tile::Kind::host) && callee.host.is(ValKind::function)) {
    return call_function(as<FunctionObject>(callee.host), call);
  }
  if (!callee.is(Tile::Kind::host) || !callee.host.is(ValKind::builtin)) {
    return lost(node.line, "a call that is not known");
  }
  const std::string& path = as<BuiltinObject>(callee.host).path;
  call.name = std::string_view(path).substr(path.rfind('.') == path.npos ? 0 : path.rfind('.') + 1);
  if (call_tile_function(*this, call.name, call, result)) return result;
  return lost(node.line, "'" + path + "'");
}

Tile TileInterpreter::call_function(const FunctionObject& function, const TileCall& call) {
  if (calls_ >= kMaxCallDepth) return lost(call.line, "functions that call one another too deeply");
  Scope inner;
  const Tree* outer_tree = std::exchange(tree_, function.tree);
  const NodeId parameters = tree_->child(function.node, 0);
  std::size_t place = 0;
  std::vector<std::pair<Symbol, Tile>> bound;
  for (const NodeId id :
       parameters < 0 ? std::span<const NodeId>() : tree_->children_of(parameters)) {
    const Node& parameter = tree_->at(id);
    Tile value;
    if (place < call.positional.size())
      value = call.positional[place];
    else if (place < function.defaults.size())
      value = host_tile(function.defaults[place]);
    for (const auto& [symbol, given] : call.keywords) {
      if (symbol == parameter.symbol) value = given;
    }
    inner.emplace_back(parameter.symbol, value);
    ++place;
  }
  ++calls_;
  const int outer_path = path_;
  const int outer_exit = std::exchange(exit_path_, -1);
  Scope outer_scope = std::exchange(scope_, std::move(inner));
  const FunctionObject* outer_function = std::exchange(function_, &function);
  const Tile outer_returned = std::exchange(returned_, Tile());
  if (tree_->at(function.node).kind == NodeKind::lambda) {
    returned_ = evaluate(tree_->child(function.node, 1));
  } else {
    run_block(tree_->child(function.node, 1));
  }
  Tile result = std::exchange(returned_, outer_returned);
  if (result.kind == Tile::Kind::unknown) result = host_tile(null_val());
  scope_ = std::move(outer_scope);
  function_ = outer_function;
  tree_ = outer_tree;
  path_ = outer_path;
  exit_path_ = outer_exit;
  --calls_;
  return result;
}

}  // namespace quoin::architect
