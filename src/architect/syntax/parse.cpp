// The only file that knows tree-sitter: runs its parser and flattens the tree.
#include <tree_sitter/api.h>

#include <array>
#include <memory>
#include <string>
#include <utility>

#include "architect/syntax/concrete.h"
#include "architect/syntax/tree.h"

extern "C" const TSLanguage* tree_sitter_python(void);

namespace quoin::architect {
namespace {

// A megabyte of plain code parses in about 0.3 s; this only stops pathological input.
constexpr std::uint64_t kParserMicroseconds = 1'000'000;
constexpr std::size_t kMaxConcreteNodes = 4'000'000;

struct RuleName {
  std::string_view name;
  Rule rule;
};

constexpr RuleName kRuleNames[] = {{"true", Rule::true_},  {"false", Rule::false_},
                                   {"none", Rule::none_},  {"float", Rule::float_},
                                   {"ERROR", Rule::error},
#define X(name) {#name, Rule::name},
                                   QUOIN_PYTHON_RULES(X)
#undef X
};

struct FieldName {
  std::string_view name;
  Field field;
};

constexpr FieldName kFieldNames[] = {
    {"left", Field::left},
    {"right", Field::right},
    {"operator", Field::operator_},
    {"operators", Field::operators},
    {"argument", Field::argument},
    {"condition", Field::condition},
    {"consequence", Field::consequence},
    {"alternative", Field::alternative},
    {"body", Field::body},
    {"name", Field::name},
    {"parameters", Field::parameters},
    {"return_type", Field::return_type},
    {"superclasses", Field::superclasses},
    {"definition", Field::definition},
    {"object", Field::object},
    {"attribute", Field::attribute},
    {"value", Field::value},
    {"subscript", Field::subscript},
    {"function", Field::function},
    {"arguments", Field::arguments},
    {"key", Field::key},
    {"type", Field::type},
    {"alias", Field::alias},
    {"module_name", Field::module_name},
};

/// The grammar's numbers of rules and fields, as ours.
struct Numbering {
  std::vector<Rule> rules;
  std::vector<Field> fields;

  explicit Numbering(const TSLanguage* language)
      : rules(ts_language_symbol_count(language), Rule::other),
        fields(ts_language_field_count(language) + 1, Field::none) {
    for (std::uint32_t i = 0; i < rules.size(); ++i) {
      const std::string_view name = ts_language_symbol_name(language, static_cast<TSSymbol>(i));
      if (ts_language_symbol_type(language, static_cast<TSSymbol>(i)) != TSSymbolTypeRegular) {
        continue;
      }
      for (const RuleName& row : kRuleNames) {
        if (row.name == name) rules[i] = row.rule;
      }
    }
    for (std::uint32_t i = 1; i < fields.size(); ++i) {
      const char* name = ts_language_field_name_for_id(language, static_cast<TSFieldId>(i));
      for (const FieldName& row : kFieldNames) {
        if (name != nullptr && row.name == name) fields[i] = row.field;
      }
    }
  }

  [[nodiscard]] Rule rule(TSSymbol symbol) const {
    if (symbol == static_cast<TSSymbol>(-1)) return Rule::error;
    return symbol < rules.size() ? rules[symbol] : Rule::other;
  }
};

struct ParserDelete {
  void operator()(TSParser* parser) const { ts_parser_delete(parser); }
};
struct TreeDelete {
  void operator()(TSTree* tree) const { ts_tree_delete(tree); }
};

ConcreteNode concrete_node(const TSTreeCursor& cursor, const Numbering& numbering, int first_line) {
  const TSNode node = ts_tree_cursor_current_node(&cursor);
  const TSFieldId field = ts_tree_cursor_current_field_id(&cursor);
  ConcreteNode made;
  made.rule = numbering.rule(ts_node_symbol(node));
  made.field = field < numbering.fields.size() ? numbering.fields[field] : Field::none;
  made.named = ts_node_is_named(node);
  made.line = static_cast<std::int32_t>(ts_node_start_point(node).row) + first_line;
  made.begin = ts_node_start_byte(node);
  made.end = ts_node_end_byte(node);
  return made;
}

/// Walks without recursion: brackets may nest as deep as the text is long.
ConcreteTree flatten(TSNode root, const Numbering& numbering, int first_line) {
  ConcreteTree flat;
  TSTreeCursor cursor = ts_tree_cursor_new(root);
  flat.push_back(concrete_node(cursor, numbering, first_line));
  std::vector<std::int32_t> path = {0};
  while (flat.size() < kMaxConcreteNodes) {
    if (ts_tree_cursor_goto_first_child(&cursor)) {
      flat[path.back()].first_child = static_cast<std::int32_t>(flat.size());
      path.push_back(static_cast<std::int32_t>(flat.size()));
      flat.push_back(concrete_node(cursor, numbering, first_line));
      continue;
    }
    bool moved = ts_tree_cursor_goto_next_sibling(&cursor);
    while (!moved && path.size() > 1) {
      path.pop_back();
      ts_tree_cursor_goto_parent(&cursor);
      moved = path.size() > 1 && ts_tree_cursor_goto_next_sibling(&cursor);
    }
    if (!moved) break;
    flat[path.back()].next = static_cast<std::int32_t>(flat.size());
    path.back() = static_cast<std::int32_t>(flat.size());
    flat.push_back(concrete_node(cursor, numbering, first_line));
  }
  ts_tree_cursor_delete(&cursor);
  return flat;
}

}  // namespace

Symbol Symbols::intern(std::string_view text) {
  const auto found = ids_.find(text);
  if (found != ids_.end()) return found->second;
  storage_.emplace_back(text.begin(), text.end());
  const std::string_view kept(storage_.back().data(), text.size());
  const auto symbol = static_cast<Symbol>(texts_.size());
  texts_.push_back(kept);
  ids_.emplace(kept, symbol);
  return symbol;
}

Result<Tree> parse_python(std::string_view source, int first_line, Symbols& symbols) {
  const TSLanguage* language = tree_sitter_python();
  static const Numbering numbering(language);
  const std::unique_ptr<TSParser, ParserDelete> parser(ts_parser_new());
  if (!ts_parser_set_language(parser.get(), language)) {
    return Error{ErrorCode::unavailable,
                 "The tree-sitter runtime does not accept the Python grammar's ABI " +
                     std::to_string(ts_language_version(language)) + "."};
  }
  ts_parser_set_timeout_micros(parser.get(), kParserMicroseconds);
  Tree tree;
  tree.source.assign(source.begin(), source.end());
  const std::unique_ptr<TSTree, TreeDelete> parsed(ts_parser_parse_string(
      parser.get(), nullptr, tree.source.data(), static_cast<std::uint32_t>(tree.source.size())));
  if (!parsed) {
    return Error{ErrorCode::unsupported,
                 "The Python text that begins at line " + std::to_string(first_line) + " (" +
                     std::to_string(source.size()) + " bytes) took over a second to parse."};
  }
  const ConcreteTree flat = flatten(ts_tree_root_node(parsed.get()), numbering, first_line);
  convert(flat, symbols, tree);
  return tree;
}

}  // namespace quoin::architect
