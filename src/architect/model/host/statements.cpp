// Statements of the host interpreter, without loops (loops.cpp).
#include <algorithm>

#include "architect/model/host/interpreter.h"

namespace quoin::architect {

void Interpreter::run_module(const Tree& tree) {
  tree_ = &tree;
  scope_ = globals_;
  for (const SyntaxError& error : tree.errors) misunderstood(error.line, error.what);
  run_block(tree.root);
}

Interpreter::Flow Interpreter::run_block(NodeId block) {
  if (block < 0) return Flow::normal;
  if (depth_ > kMaxEvaluation) {
    misunderstood(tree_->at(block).line, "code nested too deeply");
    return Flow::normal;
  }
  ++depth_;
  Flow flow = Flow::normal;
  for (const NodeId statement : tree_->children_of(block)) {
    ++steps_;
    if (out_of_steps()) {
      misunderstood(tree_->at(statement).line, "the code runs too long and was cut short here");
      flow = Flow::returned;
      break;
    }
    flow = run_statement(statement);
    if (flow != Flow::normal) break;
  }
  --depth_;
  return flow;
}

Interpreter::Flow Interpreter::run_statement(NodeId statement) {
  const Node& node = tree_->at(statement);
  recorder.line = node.line;
  switch (node.kind) {
    case NodeKind::expression: evaluate(tree_->child(statement, 0)); break;
    case NodeKind::assign: {
      const Val value = evaluate(tree_->child(statement, 0));
      for (std::size_t i = 1; i < node.count; ++i) assign(tree_->child(statement, i), value);
      break;
    }
    case NodeKind::augmented: run_augmented(statement); break;
    case NodeKind::if_: return run_if(statement);
    case NodeKind::for_: return run_for(statement);
    case NodeKind::while_: return run_while(statement);
    case NodeKind::function: run_definition(statement); break;
    case NodeKind::class_: run_class(statement); break;
    case NodeKind::return_: {
      const NodeId value = tree_->child(statement, 0);
      returned_ = value < 0 ? null_val() : evaluate(value);
      return Flow::returned;
    }
    case NodeKind::break_: return Flow::broke;
    case NodeKind::continue_: return Flow::continued;
    case NodeKind::raise_: return Flow::raised;
    case NodeKind::import_:
    case NodeKind::import_from: run_import(statement); break;
    case NodeKind::with_: return run_with(statement);
    case NodeKind::try_: return run_try(statement);
    case NodeKind::block: return run_block(statement);
    default: break;  // pass, assert, global, del: nothing that a model needs
  }
  return Flow::normal;
}

Interpreter::Flow Interpreter::run_if(NodeId statement) {
  const NodeId condition = tree_->child(statement, 0);
  const int truth = this->truth(evaluate(condition));
  if (truth < 0) {
    misunderstood(tree_->at(statement).line,
                  "the condition '" + source_of(condition) + "' is not known, taken as false");
  }
  return run_block(tree_->child(statement, truth == 1 ? 1 : 2));
}

Interpreter::Flow Interpreter::run_with(NodeId statement) {
  const auto children = tree_->children_of(statement);
  for (std::size_t i = 0; i + 1 < children.size(); ++i) {
    if (children[i] < 0) continue;
    if (tree_->at(children[i]).kind == NodeKind::assign) {
      run_statement(children[i]);
    } else {
      evaluate(children[i]);
    }
  }
  return run_block(children.back());
}

Interpreter::Flow Interpreter::run_try(NodeId statement) {
  Flow flow = run_block(tree_->child(statement, 0));
  if (flow == Flow::raised) {
    misunderstood(tree_->at(statement).line, "an exception handler was skipped");
    flow = Flow::normal;
  } else if (flow == Flow::normal) {
    flow = run_block(tree_->child(statement, 1));
  }
  const Flow last = run_block(tree_->child(statement, 2));
  return last == Flow::normal ? flow : last;
}

// ------------------------------------------------------------------------------- definitions

void Interpreter::run_definition(NodeId statement) {
  const Node& node = tree_->at(statement);
  auto* function = make<FunctionObject>();
  function->tree = tree_;
  function->node = statement;
  function->closure = scope_;
  function->name = node.text;
  for (const NodeId parameter : tree_->child(statement, 0) < 0
                                    ? std::span<const NodeId>()
                                    : tree_->children_of(tree_->child(statement, 0))) {
    const NodeId value = tree_->child(parameter, 0);
    function->defaults.push_back(value < 0 ? unknown_val() : evaluate(value));
  }
  std::vector<NodeId> decorators;
  for (std::size_t i = 2; i < node.count; ++i) decorators.push_back(tree_->child(statement, i));
  read_decorators(*function, decorators);
  Val value{ValKind::function};
  value.object = function;
  scope_->set(node.symbol, value);
}

namespace {

/// The dotted name of a decorator, "triton.autotune" of "triton.autotune(...)".
std::string decorator_name(const Tree& tree, NodeId node) {
  if (node >= 0 && tree.at(node).kind == NodeKind::call) node = tree.child(node, 0);
  std::string name;
  for (int i = 0; i < 8 && node >= 0; ++i) {
    const Node& part = tree.at(node);
    name = std::string(part.text) + (name.empty() ? "" : "." + name);
    if (part.kind != NodeKind::attribute) break;
    node = tree.child(node, 0);
  }
  return name;
}

}  // namespace

void Interpreter::read_decorators(FunctionObject& function, const std::vector<NodeId>& decorators) {
  for (const NodeId decorator : decorators) {
    const std::string name = decorator_name(*tree_, decorator);
    const auto ends = [&](std::string_view word) {
      return name == word || name.ends_with("." + std::string(word));
    };
    if (ends("jit")) {
      function.jit = name != "torch.jit" && !name.starts_with("numba");
    } else if (ends("staticmethod")) {
      function.is_static = true;
    } else if (ends("classmethod")) {
      function.is_class = true;
    } else if (ends("property") || ends("cached_property")) {
      function.is_property = true;
    } else if (ends("autotune") || ends("heuristics")) {
      const Val read = evaluate(decorator);  // {"configs": [...]} or {"values": {...}}
      std::vector<Val> configs;
      if (ends("autotune") && iterate(dict_get(read, "configs"), configs)) {
        for (const Val& config : configs) {
          TunedConfig made;
          const Val values = dict_get(config, "kwargs");
          if (values.is(ValKind::dict)) {
            for (const auto& [key, value] : as<DictObject>(values).items) {
              made.values.emplace_back(symbols.intern(text_of(key)), value);
            }
          }
          made.num_warps = static_cast<int>(dict_get(config, "num_warps").number);
          made.num_stages = static_cast<int>(dict_get(config, "num_stages").number);
          function.configs.push_back(std::move(made));
        }
      }
      const Val heuristics = dict_get(read, "values");
      if (ends("heuristics") && heuristics.is(ValKind::dict)) {
        for (const auto& [key, value] : as<DictObject>(heuristics).items) {
          function.heuristics.emplace_back(symbols.intern(text_of(key)), value);
        }
      }
    }
  }
}

void Interpreter::run_class(NodeId statement) {
  const Node& node = tree_->at(statement);
  auto* made = make<ClassObject>();
  made->name = node.text;
  made->body = make<Environment>();
  for (std::size_t i = 1; i < node.count; ++i) {
    const NodeId base = tree_->child(statement, i);
    if (base >= 0 && tree_->at(base).kind != NodeKind::keyword) {
      made->bases.push_back(evaluate(base));
    }
  }
  Environment* outer = scope_;
  // Methods close over the scope around the class, not over its body; the body sees both.
  made->body->parent = outer;
  scope_ = made->body;
  run_block(tree_->child(statement, 0));
  scope_ = outer;
  for (auto& [symbol, value] : made->body->variables) {
    if (!value.is(ValKind::function)) continue;
    as<FunctionObject>(value).closure = outer;
    as<FunctionObject>(value).owner = made;
  }
  Val value{ValKind::class_};
  value.object = made;
  scope_->set(node.symbol, value);
}

void Interpreter::run_import(NodeId statement) {
  const Node& node = tree_->at(statement);
  for (const NodeId child : tree_->children_of(statement)) {
    const Node& alias = tree_->at(child);
    std::string path(alias.text);
    if (node.kind == NodeKind::import_from) {
      if (path == "*") continue;
      path = std::string(node.text) + "." + path;
    }
    if (path == "numpy" || path.starts_with("numpy.")) path = "np" + path.substr(5);
    scope_->set(alias.symbol, builtin(path));
  }
}

// ------------------------------------------------------------------------------- assignments

void Interpreter::assign(NodeId target, const Val& value) {
  if (target < 0) return;
  const Node& node = tree_->at(target);
  switch (node.kind) {
    case NodeKind::name:
      if (value.is_tensor()) recorder.name_value(value.tensor(), node.text);
      scope_->set(node.symbol, value);
      break;
    case NodeKind::attribute:
      set_attribute(evaluate(tree_->child(target, 0)), node.symbol, value);
      break;
    case NodeKind::subscript: {
      const Val object = evaluate(tree_->child(target, 0));
      set_item(object, evaluate(tree_->child(target, 1)), value);
      break;
    }
    case NodeKind::tuple:
    case NodeKind::list: unpack(target, value); break;
    case NodeKind::star: assign(tree_->child(target, 0), value); break;
    default: misunderstood(node.line, "an assignment to '" + source_of(target) + "'");
  }
}

void Interpreter::unpack(NodeId target, const Val& value) {
  const auto targets = tree_->children_of(target);
  std::vector<Val> items;
  if (!iterate(value, items)) {
    if (value.known())
      misunderstood(tree_->at(target).line, "unpacking '" + source_of(target) + "'");
    for (const NodeId part : targets) assign(part, unknown_val());
    return;
  }
  std::size_t star = targets.size();
  for (std::size_t i = 0; i < targets.size(); ++i) {
    if (targets[i] >= 0 && tree_->at(targets[i]).kind == NodeKind::star) star = i;
  }
  if (star == targets.size()) {
    if (items.size() != targets.size()) {
      misunderstood(tree_->at(target).line,
                    std::to_string(items.size()) + " values for '" + source_of(target) + "'");
    }
    for (std::size_t i = 0; i < targets.size(); ++i) {
      assign(targets[i], i < items.size() ? items[i] : unknown_val());
    }
    return;
  }
  const std::size_t fixed = targets.size() - 1;
  const std::size_t taken = items.size() > fixed ? items.size() - fixed : 0;
  for (std::size_t i = 0, next = 0; i < targets.size(); ++i) {
    if (i == star) {
      assign(targets[i],
             list({items.begin() + static_cast<std::ptrdiff_t>(std::min(next, items.size())),
                   items.begin() +
                       static_cast<std::ptrdiff_t>(std::min(next + taken, items.size()))}));
      next += taken;
    } else {
      assign(targets[i], next < items.size() ? items[next] : unknown_val());
      ++next;
    }
  }
}

void Interpreter::run_augmented(NodeId statement) {
  const Node& node = tree_->at(statement);
  const NodeId target = tree_->child(statement, 0);
  const Val old = evaluate(target);
  const Val right = evaluate(tree_->child(statement, 1));
  if (old.is_tensor()) {  // in place: the name keeps its tensor
    Call call{.name = "", .positional = {right}, .keywords = {}, .line = node.line};
    const char* name = node.op == Operator::add        ? "add_"
                       : node.op == Operator::subtract ? "sub_"
                       : node.op == Operator::multiply ? "mul_"
                       : node.op == Operator::divide   ? "div_"
                                                       : nullptr;
    if (name != nullptr) {
      call.name = name;
      call_method(old, name, call);
      return;
    }
  }
  if (old.is(ValKind::list) && node.op == Operator::add && right.is_sequence()) {
    const std::vector<Val> added = items_of(right);
    for (const Val& value : added) {
      items_of(old).push_back(value);
      note_append(&as<SequenceObject>(old), value);
    }
    return;
  }
  assign(target, binary(node.op, old, right));
}

}  // namespace quoin::architect
