// From tree-sitter's flat tree to ours. Recursion is bounded by kMaxDepth.
#include <array>
#include <string>
#include <utility>

#include "architect/syntax/concrete.h"

namespace quoin::architect {
namespace {

constexpr std::size_t kMaxErrors = 20;

struct OperatorText {
  std::string_view text;
  Operator op;
};

constexpr OperatorText kOperators[] = {
    {"+", Operator::add},
    {"-", Operator::subtract},
    {"*", Operator::multiply},
    {"/", Operator::divide},
    {"//", Operator::floor_divide},
    {"%", Operator::modulo},
    {"**", Operator::power},
    {"@", Operator::matmul},
    {"&", Operator::bit_and},
    {"|", Operator::bit_or},
    {"^", Operator::bit_xor},
    {"<<", Operator::shift_left},
    {">>", Operator::shift_right},
    {"<", Operator::less},
    {"<=", Operator::less_equal},
    {">", Operator::greater},
    {">=", Operator::greater_equal},
    {"==", Operator::equal},
    {"!=", Operator::not_equal},
    {"<>", Operator::not_equal},
    {"is", Operator::is},
    {"is not", Operator::is_not},
    {"in", Operator::in},
    {"not in", Operator::not_in},
};

Operator operator_of(std::string_view text) {
  for (const OperatorText& row : kOperators) {
    if (row.text == text) return row.op;
  }
  return Operator::none;
}

using Ids = std::vector<NodeId>;

class Converter {
 public:
  Converter(const ConcreteTree& concrete, Symbols& symbols, Tree& tree)
      : concrete_(concrete), symbols_(symbols), tree_(tree) {}

  void run() {
    tree_.nodes.reserve(concrete_.size());
    tree_.children.reserve(concrete_.size());
    for (std::size_t i = 0; i < concrete_.size(); ++i) {
      // Errors sit anywhere, also between the parts of what is otherwise whole.
      const auto node = static_cast<Index>(i);
      if (rule(node) == Rule::error && tree_.errors.size() < kMaxErrors) {
        tree_.errors.push_back({at(node).line, near(node)});
      }
    }
    tree_.root = concrete_.empty() ? -1 : block(0);
  }

 private:
  using Index = std::int32_t;  // into concrete_

  const ConcreteTree& concrete_;
  Symbols& symbols_;
  Tree& tree_;
  int depth_ = 0;

  const ConcreteNode& at(Index node) const { return concrete_[node]; }
  Rule rule(Index node) const { return node < 0 ? Rule::other : at(node).rule; }
  Index next(Index node) const { return at(node).next; }
  std::string_view text(Index node) const {
    return {tree_.source.data() + at(node).begin, at(node).end - at(node).begin};
  }

  static bool skipped(const ConcreteNode& node) {
    return !node.named || node.rule == Rule::comment || node.rule == Rule::line_continuation;
  }
  Index field(Index node, Field wanted) const {
    for (Index c = at(node).first_child; c >= 0; c = next(c)) {
      if (at(c).field == wanted && !skipped(at(c))) return c;
    }
    return -1;
  }
  std::vector<Index> named(Index node) const {
    std::vector<Index> found;
    for (Index c = at(node).first_child; c >= 0; c = next(c)) {
      if (!skipped(at(c))) found.push_back(c);
    }
    return found;
  }
  std::string_view operator_text(Index node) const {
    for (Index c = at(node).first_child; c >= 0; c = next(c)) {
      if (at(c).field == Field::operator_) return text(c);
    }
    return {};
  }

  NodeId make(NodeKind kind, Index from, const Ids& children = {}) {
    Node node;
    node.kind = kind;
    node.line = at(from).line;
    node.first = static_cast<std::uint32_t>(tree_.children.size());
    node.count = static_cast<std::uint32_t>(children.size());
    tree_.children.insert(tree_.children.end(), children.begin(), children.end());
    tree_.nodes.push_back(node);
    return static_cast<NodeId>(tree_.nodes.size()) - 1;
  }
  NodeId make_op(NodeKind kind, Index from, Operator op, const Ids& children = {}) {
    const NodeId made = make(kind, from, children);
    tree_.nodes[made].op = op;
    return made;
  }
  NodeId make_named(NodeKind kind, Index from, std::string_view symbol, const Ids& children = {}) {
    const NodeId made = make(kind, from, children);
    tree_.nodes[made].symbol = symbols_.intern(symbol);
    tree_.nodes[made].text = symbols_.text(tree_.nodes[made].symbol);
    return made;
  }
  NodeId make_text(NodeKind kind, Index from, std::string_view value) {
    const NodeId made = make(kind, from);
    tree_.nodes[made].text = value;
    return made;
  }
  std::string near(Index node) const {
    const std::string_view piece = text(node);
    return "a syntax error near '" + std::string(piece.substr(0, piece.find('\n')).substr(0, 40)) +
           "'";
  }
  NodeId error(Index from, std::string what) {
    if (tree_.errors.size() < kMaxErrors) tree_.errors.push_back({at(from).line, std::move(what)});
    return make(NodeKind::error, from);
  }
  std::string_view keep(std::string_view value) {
    tree_.strings.emplace_back(value.begin(), value.end());
    return {tree_.strings.back().data(), value.size()};
  }

  // ------------------------------------------------------------------------- statements

  NodeId block(Index node) {
    if (node < 0) return -1;
    if (++depth_ > kMaxDepth) {
      --depth_;
      return error(node, "nested too deeply");
    }
    Ids statements;
    for (const Index c : named(node)) {
      const NodeId made = statement(c);
      if (made >= 0) statements.push_back(made);
    }
    --depth_;
    return make(NodeKind::block, node, statements);
  }

  NodeId statement(Index node) {
    if (++depth_ > kMaxDepth) {
      --depth_;
      return error(node, "nested too deeply");
    }
    const NodeId made = statement_at_depth(node);
    --depth_;
    return made;
  }

  NodeId statement_at_depth(Index node) {
    switch (rule(node)) {
      case Rule::expression_statement: return expression_statement(node);
      case Rule::if_statement: return if_statement(node);
      case Rule::for_statement:
        return make(NodeKind::for_, node,
                    {expression(field(node, Field::left)), expression(field(node, Field::right)),
                     block(field(node, Field::body))});
      case Rule::while_statement:
        return make(NodeKind::while_, node,
                    {expression(field(node, Field::condition)), block(field(node, Field::body))});
      case Rule::function_definition: return function(node, {});
      case Rule::class_definition: return class_definition(node);
      case Rule::decorated_definition: return decorated(node);
      case Rule::return_statement: return make(NodeKind::return_, node, {joined(node)});
      case Rule::pass_statement: return make(NodeKind::pass_, node);
      case Rule::break_statement: return make(NodeKind::break_, node);
      case Rule::continue_statement: return make(NodeKind::continue_, node);
      case Rule::raise_statement: return make(NodeKind::raise_, node);
      case Rule::assert_statement: {
        const auto parts = named(node);
        return make(NodeKind::assert_, node, {parts.empty() ? -1 : expression(parts[0])});
      }
      case Rule::import_statement: return import(node);
      case Rule::import_from_statement: return import_from(node);
      case Rule::future_import_statement: return make(NodeKind::pass_, node);
      case Rule::with_statement: return with_statement(node);
      case Rule::try_statement: return try_statement(node);
      case Rule::global_statement:
      case Rule::nonlocal_statement: return make(NodeKind::global_, node, all(node));
      case Rule::delete_statement: return make(NodeKind::delete_, node, all(node));
      case Rule::block: return block(node);
      case Rule::error: return broken(node);
      default: return make(NodeKind::expression, node, {expression(node)});
    }
  }

  /// Half a statement: what of it is whole is kept, so that definitions inside survive.
  NodeId broken(Index node) {
    Ids statements;
    for (const Index c : named(node)) {
      switch (rule(c)) {
        case Rule::function_definition:
        case Rule::class_definition:
        case Rule::decorated_definition:
        case Rule::expression_statement:
        case Rule::if_statement:
        case Rule::for_statement:
        case Rule::return_statement:
        case Rule::import_statement:
        case Rule::import_from_statement:
        case Rule::block: statements.push_back(statement(c)); break;
        default: break;
      }
    }
    return make(NodeKind::block, node, statements);
  }

  NodeId expression_statement(Index node) {
    const auto parts = named(node);
    if (parts.size() == 1 && rule(parts[0]) == Rule::assignment) return assignment(parts[0]);
    if (parts.size() == 1 && rule(parts[0]) == Rule::augmented_assignment) {
      const NodeId made = make(
          NodeKind::augmented, node,
          {expression(field(parts[0], Field::left)), expression(field(parts[0], Field::right))});
      std::string_view op = operator_text(parts[0]);
      if (!op.empty()) op.remove_suffix(1);
      tree_.nodes[made].op = operator_of(op);
      return made;
    }
    return make(NodeKind::expression, node, {joined(node)});
  }

  NodeId assignment(Index node) {
    Ids targets;
    Index value = node;
    while (rule(value) == Rule::assignment && targets.size() < 64) {
      targets.push_back(expression(field(value, Field::left)));
      value = field(value, Field::right);
    }
    if (value < 0) return make(NodeKind::pass_, node);  // an annotation alone
    Ids children = {expression(value)};
    children.insert(children.end(), targets.begin(), targets.end());
    return make(NodeKind::assign, node, children);
  }

  NodeId if_statement(Index node) {
    std::vector<Index> alternatives;
    for (Index c = at(node).first_child; c >= 0; c = next(c)) {
      if (at(c).field == Field::alternative && at(c).named) alternatives.push_back(c);
    }
    NodeId otherwise = -1;  // built from the last branch to the first: no recursion
    while (!alternatives.empty()) {
      const Index last = alternatives.back();
      alternatives.pop_back();
      if (rule(last) == Rule::else_clause) {
        otherwise = block(field(last, Field::body));
      } else {
        const NodeId nested = make(NodeKind::if_, last,
                                   {expression(field(last, Field::condition)),
                                    block(field(last, Field::consequence)), otherwise});
        otherwise = make(NodeKind::block, last, {nested});
      }
    }
    return make(NodeKind::if_, node,
                {expression(field(node, Field::condition)), block(field(node, Field::consequence)),
                 otherwise});
  }

  NodeId decorated(Index node) {
    Ids decorators;
    Index definition = -1;
    for (const Index c : named(node)) {
      if (rule(c) == Rule::decorator) {
        const auto inner = named(c);
        if (!inner.empty()) decorators.push_back(expression(inner[0]));
      } else {
        definition = c;
      }
    }
    if (rule(definition) == Rule::class_definition) return class_definition(definition);
    if (rule(definition) == Rule::function_definition) return function(definition, decorators);
    return error(node, "a decorator without a definition");
  }

  NodeId function(Index node, const Ids& decorators) {
    Ids children = {parameters(field(node, Field::parameters)), block(field(node, Field::body))};
    children.insert(children.end(), decorators.begin(), decorators.end());
    const Index name = field(node, Field::name);
    return make_named(NodeKind::function, node, name < 0 ? "" : text(name), children);
  }

  NodeId parameters(Index node) {
    if (node < 0) return -1;
    Ids made;
    for (const Index c : named(node)) made.push_back(parameter(c));
    return make(NodeKind::parameters, node, made);
  }

  NodeId parameter(Index node) {
    Index name = node;
    Index value = -1;
    Index type = field(node, Field::type);
    if (rule(node) == Rule::default_parameter || rule(node) == Rule::typed_default_parameter) {
      name = field(node, Field::name);
      value = field(node, Field::value);
    } else if (rule(node) == Rule::typed_parameter) {
      const auto parts = named(node);
      name = parts.empty() ? node : parts[0];
    }
    Operator op = Operator::plain;
    if (rule(name) == Rule::list_splat_pattern) op = Operator::star;
    if (rule(name) == Rule::dictionary_splat_pattern) op = Operator::double_star;
    if (rule(name) == Rule::keyword_separator) op = Operator::bare_star;
    if (op == Operator::star || op == Operator::double_star) {
      const auto parts = named(name);
      if (!parts.empty()) name = parts[0];
    }
    const NodeId made = make_named(NodeKind::parameter, node, name < 0 ? "" : text(name),
                                   {expression(value), annotation(type)});
    tree_.nodes[made].op = op;
    return made;
  }

  /// A plain annotation, `tl.constexpr` say; of generic ones nothing is needed.
  NodeId annotation(Index node) {
    if (node < 0) return -1;
    const auto parts = named(node);
    if (parts.size() != 1) return -1;
    const Rule kind = rule(parts[0]);
    const bool plain = kind == Rule::identifier || kind == Rule::attribute || kind == Rule::string;
    return plain ? expression(parts[0]) : -1;
  }

  NodeId class_definition(Index node) {
    Ids children = {block(field(node, Field::body))};
    const Index bases = field(node, Field::superclasses);
    if (bases >= 0) {
      for (const Index c : named(bases)) children.push_back(expression(c));
    }
    const Index name = field(node, Field::name);
    return make_named(NodeKind::class_, node, name < 0 ? "" : text(name), children);
  }

  NodeId alias(Index node, bool whole_path) {
    Index name = node;
    std::string_view bound;
    if (rule(node) == Rule::aliased_import) {
      name = field(node, Field::name);
      const Index as = field(node, Field::alias);
      if (as >= 0) bound = text(as);
    }
    const std::string_view path = name < 0 ? std::string_view() : text(name);
    std::string_view target = path;
    if (bound.empty()) {  // "import a.b" binds a
      bound = path.substr(0, whole_path ? path.find('.') : path.size());
      target = bound;
    }
    const NodeId made = make_named(NodeKind::alias, node, bound);
    tree_.nodes[made].text = target;
    return made;
  }

  NodeId import(Index node) {
    Ids made;
    for (const Index c : named(node)) made.push_back(alias(c, true));
    return make(NodeKind::import_, node, made);
  }

  NodeId import_from(Index node) {
    const Index module = field(node, Field::module_name);
    Ids made;
    for (const Index c : named(node)) {
      if (c == module) continue;
      if (rule(c) == Rule::wildcard_import) {
        made.push_back(make_text(NodeKind::alias, c, "*"));
      } else {
        made.push_back(alias(c, false));
      }
    }
    const NodeId statement = make(NodeKind::import_from, node, made);
    if (module >= 0) tree_.nodes[statement].text = text(module);
    return statement;
  }

  NodeId with_statement(Index node) {
    Ids children;
    for (const Index clause : named(node)) {
      if (rule(clause) != Rule::with_clause) continue;
      for (const Index item : named(clause)) {
        const auto parts = named(item);
        children.push_back(parts.empty() ? -1 : with_value(parts[0]));
      }
    }
    children.push_back(block(field(node, Field::body)));
    return make(NodeKind::with_, node, children);
  }

  NodeId with_value(Index node) {
    if (rule(node) != Rule::as_pattern) return expression(node);
    const auto parts = named(node);
    if (parts.size() < 2) return -1;
    const auto names = named(parts[1]);
    const NodeId value = expression(parts[0]);
    return names.empty() ? value : make(NodeKind::assign, node, {value, expression(names[0])});
  }

  NodeId try_statement(Index node) {
    NodeId otherwise = -1;
    NodeId finally = -1;
    for (const Index c : named(node)) {
      if (rule(c) == Rule::else_clause) otherwise = block(field(c, Field::body));
      if (rule(c) == Rule::finally_clause) {
        const auto parts = named(c);
        if (!parts.empty()) finally = block(parts.back());
      }
    }
    return make(NodeKind::try_, node, {block(field(node, Field::body)), otherwise, finally});
  }

  // ------------------------------------------------------------------------ expressions

  Ids all(Index node) {
    Ids made;
    for (const Index c : named(node)) made.push_back(expression(c));
    return made;
  }

  /// The expressions below a node: none, one, or a tuple of them.
  NodeId joined(Index node) {
    const auto parts = named(node);
    if (parts.empty()) return -1;
    if (parts.size() == 1) return expression(parts[0]);
    return make(NodeKind::tuple, node, all(node));
  }

  NodeId expression(Index node) {
    if (node < 0) return -1;
    if (++depth_ > kMaxDepth) {
      --depth_;
      return error(node, "nested too deeply");
    }
    const NodeId made = expression_at_depth(node);
    --depth_;
    return made;
  }

  NodeId expression_at_depth(Index node) {
    switch (rule(node)) {
      case Rule::identifier: return make_named(NodeKind::name, node, text(node));
      case Rule::integer: return make_text(NodeKind::integer, node, text(node));
      case Rule::float_: return make_text(NodeKind::floating, node, text(node));
      case Rule::true_: return make_op(NodeKind::constant, node, Operator::true_);
      case Rule::false_: return make_op(NodeKind::constant, node, Operator::false_);
      case Rule::none_: return make_op(NodeKind::constant, node, Operator::null);
      case Rule::ellipsis: return make_op(NodeKind::constant, node, Operator::ellipsis);
      case Rule::string:
      case Rule::concatenated_string: return string(node);
      case Rule::tuple:
      case Rule::expression_list:
      case Rule::pattern_list:
      case Rule::tuple_pattern: return make(NodeKind::tuple, node, all(node));
      case Rule::list:
      case Rule::list_pattern: return make(NodeKind::list, node, all(node));
      case Rule::set: return make(NodeKind::set, node, all(node));
      case Rule::parenthesized_expression:
      case Rule::type: return joined(node);
      case Rule::list_splat:
      case Rule::list_splat_pattern:
      case Rule::parenthesized_list_splat: return make(NodeKind::star, node, {joined(node)});
      case Rule::dictionary_splat: return make(NodeKind::double_star, node, {joined(node)});
      case Rule::assignment: return assignment(node);
      case Rule::error: return make(NodeKind::error, node);  // said by run()
      default: return compound(node);
    }
  }

  NodeId compound(Index node) {
    switch (rule(node)) {
      case Rule::attribute: {
        const Index name = field(node, Field::attribute);
        return make_named(NodeKind::attribute, node, name < 0 ? "" : text(name),
                          {expression(field(node, Field::object))});
      }
      case Rule::subscript: return subscript(node);
      case Rule::slice: return slice(node);
      case Rule::call: return call(node);
      case Rule::keyword_argument: {
        const Index name = field(node, Field::name);
        return make_named(NodeKind::keyword, node, name < 0 ? "" : text(name),
                          {expression(field(node, Field::value))});
      }
      case Rule::binary_operator:
        return make_op(
            NodeKind::binary, node, operator_of(operator_text(node)),
            {expression(field(node, Field::left)), expression(field(node, Field::right))});
      case Rule::unary_operator: return unary(node);
      case Rule::not_operator:
        return make_op(NodeKind::unary, node, Operator::not_,
                       {expression(field(node, Field::argument))});
      case Rule::boolean_operator:
        return make(operator_text(node) == "and" ? NodeKind::logic_and : NodeKind::logic_or, node,
                    {expression(field(node, Field::left)), expression(field(node, Field::right))});
      case Rule::comparison_operator: return comparison(node);
      case Rule::conditional_expression: {
        const auto parts = named(node);
        if (parts.size() != 3) return error(node, "half a conditional expression");
        return make(NodeKind::conditional, node,
                    {expression(parts[1]), expression(parts[0]), expression(parts[2])});
      }
      case Rule::named_expression: {
        const Index name = field(node, Field::name);
        return make_named(NodeKind::walrus, node, name < 0 ? "" : text(name),
                          {expression(field(node, Field::value))});
      }
      case Rule::lambda:
        return make(
            NodeKind::lambda, node,
            {parameters(field(node, Field::parameters)), expression(field(node, Field::body))});
      case Rule::dictionary: return dictionary(node);
      case Rule::list_comprehension: return comprehension(node, Operator::list);
      case Rule::set_comprehension: return comprehension(node, Operator::set);
      case Rule::generator_expression: return comprehension(node, Operator::generator);
      case Rule::dictionary_comprehension: return comprehension(node, Operator::none);
      default: return error(node, "unknown syntax '" + std::string(text(node).substr(0, 40)) + "'");
    }
  }

  NodeId subscript(Index node) {
    Ids indices;
    bool comma = false;
    for (Index c = at(node).first_child; c >= 0; c = next(c)) {
      if (at(c).field == Field::subscript && !skipped(at(c))) indices.push_back(expression(c));
      comma = comma || (!at(c).named && text(c) == ",");
    }
    const NodeId index =
        indices.size() == 1 && !comma ? indices[0] : make(NodeKind::tuple, node, indices);
    return make(NodeKind::subscript, node, {expression(field(node, Field::value)), index});
  }

  NodeId slice(Index node) {
    Ids bounds = {-1, -1, -1};
    std::size_t place = 0;
    for (Index c = at(node).first_child; c >= 0; c = next(c)) {
      if (!at(c).named && text(c) == ":") {
        ++place;
      } else if (!skipped(at(c)) && place < 3) {
        bounds[place] = expression(c);
      }
    }
    return make(NodeKind::slice, node, bounds);
  }

  NodeId call(Index node) {
    Ids children = {expression(field(node, Field::function))};
    const Index arguments = field(node, Field::arguments);
    if (rule(arguments) == Rule::generator_expression) {
      children.push_back(expression(arguments));
    } else if (arguments >= 0) {
      for (const Index c : named(arguments)) children.push_back(expression(c));
    }
    return make(NodeKind::call, node, children);
  }

  NodeId unary(Index node) {
    const std::string_view op = operator_text(node);
    const Operator kind = op == "-"   ? Operator::negate
                          : op == "~" ? Operator::invert
                                      : Operator::plus;
    return make_op(NodeKind::unary, node, kind, {expression(field(node, Field::argument))});
  }

  /// a < b < c becomes (a < b) and (b < c).
  NodeId comparison(Index node) {
    std::vector<Index> operands;
    std::vector<Operator> operators;
    for (Index c = at(node).first_child; c >= 0; c = next(c)) {
      if (at(c).field == Field::operators && !at(c).named) {
        operators.push_back(operator_of(text(c)));
      } else if (!skipped(at(c))) {
        operands.push_back(c);
      }
    }
    if (operators.empty() || operands.size() != operators.size() + 1) {
      return error(node, "half a comparison");
    }
    NodeId result = -1;
    for (std::size_t i = 0; i < operators.size() && i < 8; ++i) {
      const NodeId pair = make_op(NodeKind::compare, node, operators[i],
                                  {expression(operands[i]), expression(operands[i + 1])});
      result = result < 0 ? pair : make(NodeKind::logic_and, node, {result, pair});
    }
    return result;
  }

  NodeId dictionary(Index node) {
    Ids children;
    for (const Index c : named(node)) {
      if (rule(c) == Rule::pair) {
        children.push_back(expression(field(c, Field::key)));
        children.push_back(expression(field(c, Field::value)));
      } else if (rule(c) == Rule::dictionary_splat) {
        children.push_back(-1);
        children.push_back(joined(c));
      }
    }
    return make(NodeKind::dict, node, children);
  }

  NodeId comprehension(Index node, Operator kind) {
    Ids children;
    for (const Index c : named(node)) {
      if (at(c).field == Field::body && rule(c) == Rule::pair) {
        children.push_back(expression(field(c, Field::key)));
        children.push_back(expression(field(c, Field::value)));
      } else if (at(c).field == Field::body) {
        children.push_back(expression(c));
      } else if (rule(c) == Rule::for_in_clause) {
        children.push_back(
            make(NodeKind::for_clause, c,
                 {expression(field(c, Field::left)), expression(field(c, Field::right))}));
      } else if (rule(c) == Rule::if_clause) {
        children.push_back(make(NodeKind::if_clause, c, {joined(c)}));
      }
    }
    if (kind == Operator::none) return make(NodeKind::dict_comprehension, node, children);
    return make_op(NodeKind::comprehension, node, kind, children);
  }

  // ---------------------------------------------------------------------------- strings

  static char escaped(char c) {
    switch (c) {
      case 'n': return '\n';
      case 't': return '\t';
      case 'r': return '\r';
      case '0': return '\0';
      default: return c;
    }
  }

  /// Literal text of a piece: the value of escapes matters to nobody beyond the plain ones.
  static void append_literal(std::string& value, std::string_view piece, bool raw) {
    for (std::size_t i = 0; i < piece.size(); ++i) {
      if (!raw && piece[i] == '\\' && i + 1 < piece.size()) {
        ++i;
        if (piece[i] != '\n') value.push_back(escaped(piece[i]));
      } else {
        value.push_back(piece[i]);
      }
    }
  }

  void append_string(Index node, std::string& value, Ids& parts) {
    bool raw = false;
    for (Index c = at(node).first_child; c >= 0; c = next(c)) {
      if (rule(c) == Rule::string_start) {
        raw = text(c).find_first_of("rR") != std::string_view::npos;
      } else if (rule(c) == Rule::string_content) {
        append_literal(value, text(c), raw);
      } else if (rule(c) == Rule::interpolation) {
        parts.push_back(make_text(NodeKind::string, c, keep(value)));
        value.clear();
        const auto inside = named(c);
        parts.push_back(inside.empty() ? make(NodeKind::error, c) : expression(inside[0]));
      }
    }
  }

  NodeId string(Index node) {
    std::string value;
    Ids parts;
    if (rule(node) == Rule::string) {
      append_string(node, value, parts);
    } else {
      for (const Index c : named(node)) append_string(c, value, parts);
    }
    const NodeId rest = make_text(NodeKind::string, node, keep(value));
    if (parts.empty()) return rest;
    parts.push_back(rest);
    return make(NodeKind::format, node, parts);
  }
};

}  // namespace

void convert(const ConcreteTree& concrete, Symbols& symbols, Tree& tree) {
  Converter(concrete, symbols, tree).run();
}

}  // namespace quoin::architect
