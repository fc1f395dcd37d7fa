// Python as a tree of our own: tree-sitter's concrete tree boiled down to the expressions and
// statements that the interpreters know, with lines of the document and interned names.
//
// Broken or half Python is parsed as far as it goes; what could not be becomes a node of kind
// `error`. Nesting beyond kMaxDepth becomes an error node as well, so walking a tree recursively is
// safe. Tested by tests/architect/front_syntax_test.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "quoin/result.h"

namespace quoin::architect {

inline constexpr int kMaxDepth = 160;  // of nested expressions and blocks

using Symbol = std::int32_t;  // an interned name
using NodeId = std::int32_t;  // index into Tree::nodes, -1: absent

/// Names to small numbers and back, shared by all trees of one analysis.
class Symbols {
 public:
  Symbol intern(std::string_view text);
  [[nodiscard]] std::string_view text(Symbol symbol) const { return texts_[symbol]; }

 private:
  std::unordered_map<std::string_view, Symbol> ids_;
  std::vector<std::string_view> texts_;
  std::vector<std::vector<char>> storage_;
};

// What the children of each kind are is said beside it; [x] may be absent (-1).
enum class NodeKind : std::uint8_t {
  error,
  // Expressions
  name,      // symbol
  integer,   // text
  floating,  // text
  string,    // text: its value, escapes resolved
  format,    // an f-string: strings and expressions in turn
  constant,  // True, False, None, ...: op tells
  tuple,
  list,
  set,
  dict,         // key, value, key, value, ...; key -1: **value
  attribute,    // object; symbol
  subscript,    // object, index (a tuple where there are several)
  slice,        // [begin], [end], [step]
  call,         // callee, arguments: expressions, keyword, star, double_star
  keyword,      // value; symbol
  star,         // *value
  double_star,  // **value
  binary,       // left, right; op
  unary,        // operand; op
  compare,      // left, right; op. Chains become `and` of pairs
  logic_and,
  logic_or,            // left, right
  conditional,         // condition, then, otherwise
  lambda,              // parameters, body
  comprehension,       // element, clauses; op: list, set, generator
  dict_comprehension,  // key, value, clauses
  for_clause,          // target, iterable
  if_clause,           // condition
  walrus,              // value; symbol
  // Statements
  block,
  expression,  // value
  assign,      // value, target, [target, ...]
  augmented,   // target, value; op
  if_,         // condition, block, [block]
  for_,        // target, iterable, block
  while_,      // condition, block
  function,    // parameters, block, decorators; symbol
  parameters,  // parameter, ...
  parameter,   // [default], [annotation]; symbol; op: plain, star, double_star, bare_star
  class_,      // block, bases (and keywords); symbol
  return_,     // [value]
  pass_,
  break_,
  continue_,
  raise_,
  assert_,      // [value]
  import_,      // alias, ...
  import_from,  // alias, ...; text: the module
  alias,        // symbol: the name bound; text: what it names; "*" for all
  with_,        // item value, ..., block; items bound to names are `assign`
  try_,         // block, [else block], [finally block]; handlers are left out
  global_,      // name, ...
  delete_,      // targets
};

enum class Operator : std::uint8_t {
  none,
  add,
  subtract,
  multiply,
  divide,
  floor_divide,
  modulo,
  power,
  matmul,
  bit_and,
  bit_or,
  bit_xor,
  shift_left,
  shift_right,
  negate,
  plus,
  invert,
  not_,
  less,
  less_equal,
  greater,
  greater_equal,
  equal,
  not_equal,
  is,
  is_not,
  in,
  not_in,
  true_,
  false_,
  null,
  ellipsis,
  list,
  set,
  generator,
  plain,
  star,
  double_star,
  bare_star,
};

struct Node {
  NodeKind kind = NodeKind::error;
  Operator op = Operator::none;
  std::int32_t line = 0;  // in the document
  Symbol symbol = -1;
  std::uint32_t first = 0, count = 0;  // children
  std::string_view text;               // in Tree::source or Tree::strings
};

struct SyntaxError {
  int line = 0;
  std::string what;
};

struct Tree {
  std::vector<char> source;  // a vector: moving the tree leaves every string_view valid
  std::vector<Node> nodes;
  std::vector<NodeId> children;
  std::vector<std::vector<char>> strings;  // of literals with escapes
  std::vector<SyntaxError> errors;         // the first few
  NodeId root = -1;                        // a block

  [[nodiscard]] const Node& at(NodeId node) const { return nodes[node]; }
  [[nodiscard]] std::span<const NodeId> children_of(NodeId node) const {
    return {children.data() + nodes[node].first, nodes[node].count};
  }
  [[nodiscard]] NodeId child(NodeId node, std::size_t i) const {
    return i < nodes[node].count ? children[nodes[node].first + i] : -1;
  }
};

/// Parses Python. Lines are counted from `first_line`. An error only where the parser gives up
/// altogether (over a second of parsing).
[[nodiscard]] Result<Tree> parse_python(std::string_view source, int first_line, Symbols& symbols);

}  // namespace quoin::architect
