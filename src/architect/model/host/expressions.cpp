// Expressions of the host interpreter.
#include <charconv>
#include <cmath>

#include "architect/model/host/arithmetic.h"
#include "architect/model/host/interpreter.h"

namespace quoin::architect {

std::string Interpreter::source_of(NodeId expression) const {
  if (expression < 0) return "";
  const Node& node = tree_->at(expression);
  switch (node.kind) {
    case NodeKind::name:
    case NodeKind::integer:
    case NodeKind::floating: return std::string(node.text);
    case NodeKind::attribute:
      return source_of(tree_->child(expression, 0)) + "." + std::string(node.text);
    case NodeKind::call: return source_of(tree_->child(expression, 0)) + "(...)";
    case NodeKind::subscript: return source_of(tree_->child(expression, 0)) + "[...]";
    case NodeKind::binary:
    case NodeKind::compare:
    case NodeKind::logic_and:
    case NodeKind::logic_or:
      return source_of(tree_->child(expression, 0)) + " ... " +
             source_of(tree_->child(expression, 1));
    case NodeKind::unary: return "... " + source_of(tree_->child(expression, 0));
    default: return "...";
  }
}

Val Interpreter::evaluate(NodeId expression) {
  if (expression < 0) return null_val();
  if (depth_ > kMaxEvaluation) {
    return lost(tree_->at(expression).line, "an expression nested too deeply");
  }
  ++depth_;
  ++steps_;
  const Val value = evaluate_kind(expression);
  --depth_;
  return value;
}

Val Interpreter::evaluate_kind(NodeId expression) {
  const Node& node = tree_->at(expression);
  const auto child = [&](std::size_t i) { return tree_->child(expression, i); };
  const auto all = [&] {
    std::vector<Val> items;
    for (const NodeId part : tree_->children_of(expression)) {
      if (part >= 0 && tree_->at(part).kind == NodeKind::star) {
        std::vector<Val> more;
        if (iterate(evaluate(tree_->child(part, 0)), more)) {
          items.insert(items.end(), more.begin(), more.end());
        }
      } else {
        items.push_back(evaluate(part));
      }
    }
    return items;
  };
  switch (node.kind) {
    case NodeKind::name: return evaluate_name(expression);
    case NodeKind::integer: return parse_integer(node.text);
    case NodeKind::floating: return parse_real(node.text);
    case NodeKind::string: return string(node.text);
    case NodeKind::format: return evaluate_format(expression);
    case NodeKind::constant:
      if (node.op == Operator::null) return null_val();
      if (node.op == Operator::ellipsis) return {ValKind::ellipsis};
      return bool_val(node.op == Operator::true_);
    case NodeKind::tuple: return tuple(all());
    case NodeKind::list: return list(all());
    case NodeKind::set: return sequence(ValKind::set, all());
    case NodeKind::dict: return evaluate_dict(expression);
    case NodeKind::attribute: return attribute(evaluate(child(0)), node.symbol);
    case NodeKind::subscript: {
      const Val object = evaluate(child(0));
      return item(object, evaluate(child(1)));
    }
    case NodeKind::slice: return evaluate_slice(expression);
    case NodeKind::call: return evaluate_call(expression);
    case NodeKind::binary: {
      const Val left = evaluate(child(0));
      return binary(node.op, left, evaluate(child(1)));
    }
    case NodeKind::unary: return evaluate_unary(expression);
    case NodeKind::compare: {
      const Val left = evaluate(child(0));
      return compare(node.op, left, evaluate(child(1)));
    }
    case NodeKind::logic_and:
    case NodeKind::logic_or: {
      const Val left = evaluate(child(0));
      const int is_true = truth(left);
      const bool is_and = node.kind == NodeKind::logic_and;
      if (is_true >= 0 && (is_true == 1) != is_and) return left;
      const Val right = evaluate(child(1));
      if (is_true >= 0) return right;
      const int other = truth(right);  // unknown and False is False
      return other >= 0 && (other == 1) != is_and ? right : unknown_val();
    }
    case NodeKind::conditional: {
      const int is_true = truth(evaluate(child(0)));
      if (is_true < 0) {
        misunderstood(node.line,
                      "the condition '" + source_of(child(0)) + "' is not known, taken as true");
      }
      return evaluate(child(is_true == 0 ? 2 : 1));
    }
    case NodeKind::lambda: return lambda(expression);
    case NodeKind::comprehension:
    case NodeKind::dict_comprehension: return evaluate_comprehension(expression);
    case NodeKind::walrus: {
      const Val value = evaluate(child(0));
      if (value.is_tensor()) recorder.name_value(value.tensor(), node.text);
      scope_->set(node.symbol, value);
      return value;
    }
    case NodeKind::star: return evaluate(child(0));
    case NodeKind::assign: run_statement(expression); return null_val();
    default: return lost(node.line, "a syntax error in an expression");
  }
}

Val Interpreter::evaluate_name(NodeId expression) {
  const Node& node = tree_->at(expression);
  for (Environment* scope = scope_; scope != nullptr; scope = scope->parent) {
    if (const Val* held = scope->find(node.symbol)) return *held;
  }
  // Python's own names; what is neither is unknown, and said when it is called.
  return builtin(std::string(node.text));
}

Val Interpreter::evaluate_slice(NodeId expression) {
  auto* made = make<SliceObject>();
  made->begin = evaluate(tree_->child(expression, 0));
  made->end = evaluate(tree_->child(expression, 1));
  made->step = evaluate(tree_->child(expression, 2));
  Val value{ValKind::slice};
  value.object = made;
  return value;
}

Val Interpreter::evaluate_dict(NodeId expression) {
  const Val made = dict();
  auto& items = as<DictObject>(made).items;
  for (std::size_t i = 0; i + 1 < tree_->at(expression).count; i += 2) {
    const NodeId key = tree_->child(expression, i);
    const Val value = evaluate(tree_->child(expression, i + 1));
    if (key >= 0) {
      items.emplace_back(evaluate(key), value);
    } else if (value.is(ValKind::dict)) {
      const auto more = as<DictObject>(value).items;
      items.insert(items.end(), more.begin(), more.end());
    }
  }
  return made;
}

Val Interpreter::evaluate_unary(NodeId expression) {
  const Node& node = tree_->at(expression);
  const Val value = evaluate(tree_->child(expression, 0));
  if (node.op == Operator::not_) {
    const int is_true = truth(value);
    return is_true < 0 ? unknown_val() : bool_val(is_true == 0);
  }
  if (value.is_tensor()) {
    Call call{.name = {}, .positional = {}, .keywords = {}, .line = node.line};
    const char* name = node.op == Operator::negate   ? "neg"
                       : node.op == Operator::invert ? "bitwise_not"
                                                     : "positive";
    call.name = name;
    return call_method(value, name, call);
  }
  return unary_number(node.op, value);
}

Val Interpreter::evaluate_format(NodeId expression) {
  std::string text;
  for (const NodeId part : tree_->children_of(expression)) {
    const Val value = evaluate(part);
    if (value.is(ValKind::string))
      text += text_of(value);
    else if (value.is_integer())
      text += std::to_string(value.number);
    else if (value.is(ValKind::real))
      text += std::to_string(value.real);
    else
      text += "?";
  }
  return string(text);
}

Val Interpreter::lambda(NodeId expression) {
  auto* function = make<FunctionObject>();
  function->tree = tree_;
  function->node = expression;
  function->closure = scope_;
  function->name = "lambda";
  const NodeId parameters = tree_->child(expression, 0);
  if (parameters >= 0) {
    for (const NodeId parameter : tree_->children_of(parameters)) {
      const NodeId value = tree_->child(parameter, 0);
      function->defaults.push_back(value < 0 ? unknown_val() : evaluate(value));
    }
  }
  Val value{ValKind::function};
  value.object = function;
  return value;
}

Val Interpreter::evaluate_comprehension(NodeId expression) {
  const Node& node = tree_->at(expression);
  std::vector<Val> items;
  std::vector<std::pair<Val, Val>> pairs;
  // A scope of its own, so that its variable does not leak.
  auto* inner = make<Environment>();
  inner->parent = scope_;
  Environment* outer = scope_;
  scope_ = inner;
  comprehend(expression, node.kind == NodeKind::comprehension ? 1 : 2, items, pairs);
  scope_ = outer;
  if (node.kind == NodeKind::dict_comprehension) {
    const Val made = dict();
    as<DictObject>(made).items = std::move(pairs);
    return made;
  }
  return sequence(node.op == Operator::set ? ValKind::set : ValKind::list, std::move(items));
}

void Interpreter::comprehend(NodeId expression, std::size_t clause, std::vector<Val>& items,
                             std::vector<std::pair<Val, Val>>& pairs) {
  const Node& node = tree_->at(expression);
  ++steps_;
  if (out_of_steps()) return;
  if (clause >= node.count) {
    if (node.kind == NodeKind::comprehension) {
      items.push_back(evaluate(tree_->child(expression, 0)));
    } else {
      const Val key = evaluate(tree_->child(expression, 0));
      pairs.emplace_back(key, evaluate(tree_->child(expression, 1)));
    }
    return;
  }
  const NodeId part = tree_->child(expression, clause);
  if (tree_->at(part).kind == NodeKind::if_clause) {
    if (truth(evaluate(tree_->child(part, 0))) == 1)
      comprehend(expression, clause + 1, items, pairs);
    return;
  }
  std::vector<Val> over;
  if (!iterate(evaluate(tree_->child(part, 1)), over)) {
    misunderstood(node.line, "a comprehension over '" + source_of(tree_->child(part, 1)) + "'");
    return;
  }
  for (const Val& value : over) {
    assign(tree_->child(part, 0), value);
    comprehend(expression, clause + 1, items, pairs);
  }
}

Val Interpreter::evaluate_call(NodeId expression) {
  const Node& node = tree_->at(expression);
  const NodeId callee_node = tree_->child(expression, 0);
  // super().__init__(...) and super(Model, self).forward(...) need the class of the method; what
  // documents call so is the empty constructor of nn.Module.
  const Val callee = evaluate(callee_node);
  Call call;
  call.line = node.line;
  for (std::size_t i = 1; i < node.count; ++i) {
    const NodeId argument = tree_->child(expression, i);
    if (argument < 0) continue;
    const Node& part = tree_->at(argument);
    if (part.kind == NodeKind::keyword) {
      call.keywords.emplace_back(part.symbol, evaluate(tree_->child(argument, 0)));
    } else if (part.kind == NodeKind::star) {
      std::vector<Val> items;
      if (iterate(evaluate(tree_->child(argument, 0)), items)) {
        call.positional.insert(call.positional.end(), items.begin(), items.end());
      } else {
        misunderstood(node.line, "arguments of '" + source_of(callee_node) + "'");
      }
    } else if (part.kind == NodeKind::double_star) {
      const Val more = evaluate(tree_->child(argument, 0));
      if (more.is(ValKind::dict)) {
        for (const auto& [key, value] : as<DictObject>(more).items) {
          call.keywords.emplace_back(symbols.intern(text_of(key)), value);
        }
      }
    } else {
      call.positional.push_back(evaluate(argument));
    }
  }
  recorder.line = node.line;
  return this->call(callee, std::move(call));
}

}  // namespace quoin::architect
