// The tree: what converts to what, and that broken or monstrous text is survived.
#include <gtest/gtest.h>

#include <string>

#include "architect/syntax/tree.h"

namespace quoin::architect {
namespace {

/// One line of nested brackets: (kind child ...), names and literals by their text.
class Printer {
 public:
  explicit Printer(const Tree& tree) : tree_(tree) {}
  std::string print(NodeId id) const {
    if (id < 0) return "-";
    const Node& node = tree_.at(id);
    std::string text;
    switch (node.kind) {
      case NodeKind::name:
      case NodeKind::integer:
      case NodeKind::floating: return std::string(node.text);
      case NodeKind::string: return "'" + std::string(node.text) + "'";
      case NodeKind::constant: return "c" + std::to_string(static_cast<int>(node.op));
      default: break;
    }
    text = "(" + std::to_string(static_cast<int>(node.kind));
    if (node.op != Operator::none) text += "/" + std::to_string(static_cast<int>(node.op));
    if (!node.text.empty()) text += ":" + std::string(node.text);
    for (const NodeId child : tree_.children_of(id)) text += " " + print(child);
    return text + ")";
  }

 private:
  const Tree& tree_;
};

std::string parsed(const std::string& code) {
  Symbols symbols;
  const auto tree = parse_python(code, 1, symbols);
  return tree.ok() ? Printer(tree.value()).print(tree.value().root) : tree.error().message;
}

std::string kind(NodeKind of, Operator op = Operator::none) {
  std::string text = std::to_string(static_cast<int>(of));
  if (op != Operator::none) text += "/" + std::to_string(static_cast<int>(op));
  return text;
}

TEST(Syntax, Expressions) {
  const std::string statement =
      "(" + kind(NodeKind::block) + " (" + kind(NodeKind::expression) + " ";
  EXPECT_EQ(parsed("a // 2\n"),
            statement + "(" + kind(NodeKind::binary, Operator::floor_divide) + " a 2)))");
  EXPECT_EQ(parsed("x[:, None]\n"), statement + "(" + kind(NodeKind::subscript) + " x (" +
                                        kind(NodeKind::tuple) + " (" + kind(NodeKind::slice) +
                                        " - - -) c" +
                                        std::to_string(static_cast<int>(Operator::null)) + "))))");
  EXPECT_EQ(parsed("k[grid](a, B=2)\n"), statement + "(" + kind(NodeKind::call) + " (" +
                                             kind(NodeKind::subscript) + " k grid) a (" +
                                             kind(NodeKind::keyword) + ":B 2))))");
  EXPECT_EQ(parsed("x[1,]\n"), statement + "(" + kind(NodeKind::subscript) + " x (" +
                                   kind(NodeKind::tuple) + " 1))))");
}

TEST(Syntax, ChainsOfComparisonsArePairs) {
  const std::string less = kind(NodeKind::compare, Operator::less);
  EXPECT_EQ(parsed("0 < a < n\n"), "(" + kind(NodeKind::block) + " (" + kind(NodeKind::expression) +
                                       " (" + kind(NodeKind::logic_and) + " (" + less + " 0 a) (" +
                                       less + " a n))))");
}

TEST(Syntax, ElifNests) {
  const std::string text = parsed("if a:\n  b\nelif c:\n  d\nelse:\n  e\n");
  const std::string branch = "(" + kind(NodeKind::if_);
  const std::size_t first = text.find(branch);
  EXPECT_NE(first, std::string::npos);
  EXPECT_NE(text.find(branch, first + 1), std::string::npos) << text;
}

TEST(Syntax, Strings) {
  EXPECT_NE(parsed("s = 'a\\n' \"b\"\n").find("'a\nb'"), std::string::npos);
  const std::string format = parsed("f'conv{i}_x'\n");
  EXPECT_NE(format.find("'conv' i '_x'"), std::string::npos) << format;
}

TEST(Syntax, LinesAreTheDocuments) {
  Symbols symbols;
  const auto tree = parse_python("a = 1\n\nb = 2\n", 40, symbols);
  ASSERT_TRUE(tree.ok());
  EXPECT_EQ(tree->at(tree->child(tree->root, 1)).line, 42);
}

TEST(Syntax, BrokenCodeKeepsWhatIsWhole) {
  Symbols symbols;
  const auto tree =
      parse_python("x = = 3\nclass A:\n  y = )\ndef g(y):\n    return y\n", 1, symbols);
  ASSERT_TRUE(tree.ok());
  EXPECT_FALSE(tree->errors.empty());
  bool found = false;
  for (const Node& node : tree->nodes) {
    found = found || (node.kind == NodeKind::function && node.text == "g");
  }
  EXPECT_TRUE(found);
}

TEST(Syntax, SurvivesDepth) {
  for (const char* open : {"(", "[", "{", "-", "not ", "f(", "a["}) {
    std::string code = "x = ";
    for (int i = 0; i < 100'000; ++i) code += open;
    Symbols symbols;
    const auto tree = parse_python(code, 1, symbols);
    EXPECT_TRUE(!tree.ok() || tree->root >= 0) << open;
  }
  std::string blocks;
  for (int i = 0; i < 300; ++i) blocks += std::string(i, ' ') + "if a:\n";
  blocks += std::string(300, ' ') + "b\n";
  EXPECT_FALSE(parsed(blocks).empty());
}

}  // namespace
}  // namespace quoin::architect
