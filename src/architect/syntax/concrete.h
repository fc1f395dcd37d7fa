// tree-sitter's tree as a flat array: what convert.cpp needs of it. Only parse.cpp sees the parser.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "architect/syntax/tree.h"

namespace quoin::architect {

// Names of tree-sitter-python's rules, fields and tokens; unlisted ones become `other`.
#define QUOIN_PYTHON_RULES(X)                                                                      \
  X(module)                                                                                        \
  X(block)                                                                                         \
  X(expression_statement)                                                                          \
  X(assignment) X(augmented_assignment) X(named_expression) X(if_statement) X(elif_clause) X(      \
      else_clause) X(for_statement) X(while_statement) X(function_definition)                      \
      X(decorated_definition) X(decorator) X(parameters) X(lambda_parameters) X(                   \
          default_parameter) X(typed_parameter) X(typed_default_parameter) X(list_splat_pattern)   \
          X(dictionary_splat_pattern) X(keyword_separator) X(positional_separator) X(              \
              class_definition) X(return_statement) X(pass_statement) X(break_statement)           \
              X(continue_statement) X(raise_statement) X(assert_statement) X(import_statement) X(  \
                  import_from_statement) X(future_import_statement) X(aliased_import)              \
                  X(dotted_name) X(relative_import) X(wildcard_import) X(with_statement) X(        \
                      with_clause) X(with_item) X(as_pattern) X(as_pattern_target)                 \
                      X(try_statement) X(except_clause) X(finally_clause) X(global_statement) X(   \
                          nonlocal_statement) X(delete_statement) X(identifier) X(integer)         \
                          X(string) X(string_start) X(string_content) X(string_end) X(             \
                              escape_sequence) X(interpolation) X(concatenated_string) X(tuple)    \
                              X(list) X(set) X(dictionary) X(pair) X(attribute) X(subscript)       \
                                  X(slice) X(call) X(argument_list) X(keyword_argument) X(         \
                                      list_splat) X(dictionary_splat) X(binary_operator)           \
                                      X(unary_operator) X(not_operator) X(comparison_operator) X(  \
                                          boolean_operator) X(conditional_expression) X(lambda)    \
                                          X(list_comprehension) X(set_comprehension)               \
                                              X(generator_expression) X(dictionary_comprehension)  \
                                                  X(for_in_clause) X(if_clause) X(                 \
                                                      parenthesized_expression) X(expression_list) \
                                                      X(pattern_list) X(tuple_pattern)             \
                                                          X(list_pattern) X(ellipsis) X(comment)   \
                                                              X(type) X(print_statement) X(await)  \
                                                                  X(yield)                         \
                                                                      X(parenthesized_list_splat)  \
                                                                          X(line_continuation)

enum class Rule : std::uint8_t {
  other,
  error,
  true_,
  false_,
  none_,
  float_,  // words that C++ keeps for itself
#define X(name) name,
  QUOIN_PYTHON_RULES(X)
#undef X
};

enum class Field : std::uint8_t {
  none,
  left,
  right,
  operator_,
  operators,
  argument,
  condition,
  consequence,
  alternative,
  body,
  name,
  parameters,
  return_type,
  superclasses,
  definition,
  object,
  attribute,
  value,
  subscript,
  function,
  arguments,
  key,
  type,
  alias,
  module_name,
  superclass,
};

struct ConcreteNode {
  Rule rule = Rule::other;
  Field field = Field::none;
  bool named = false;
  std::int32_t line = 0;
  std::uint32_t begin = 0, end = 0;  // bytes
  std::int32_t first_child = -1, next = -1;
};

using ConcreteTree = std::vector<ConcreteNode>;  // [0] is the root

/// Fills `tree` from the concrete tree; iterative where depth matters up to kMaxDepth.
void convert(const ConcreteTree& concrete, Symbols& symbols, Tree& tree);

}  // namespace quoin::architect
