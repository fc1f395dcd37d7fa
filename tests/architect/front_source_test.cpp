// Documents: parts found, performance forms, and errors that name what is missing.
#include <gtest/gtest.h>

#include "architect/source/document.h"

namespace quoin::architect {
namespace {

const std::string kDocument =
    "You are somebody.\n\n# PyTorch Reference\n```python\nclass Model(nn.Module):\n    "
    "pass\n```\n\n"
    "# Current Triton Kernel\n```python\n# a comment, no heading\nclass ModelNew(nn.Module):\n"
    "    pass\n```\n\n";

TEST(Document, FindsItsParts) {
  const auto read = read_document(kDocument + "# Performance\nNo performance data available.\n");
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_EQ(read->reference.first_line, 5);
  EXPECT_EQ(read->kernel.first_line, 11);
  EXPECT_TRUE(read->kernel.text.starts_with("# a comment"));
  EXPECT_TRUE(read->reference.text.starts_with("class Model("));
  EXPECT_EQ(read->performance.form, PerformanceForm::none);
}

TEST(Document, TellsBlocksApartWithoutHeadings) {
  const auto read = read_document(
      "```py\nclass ModelNew(nn.Module):\n  pass\n```\ntext\n~~~\ndef get_inputs():\n  return "
      "[]\n~~~\n");
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_TRUE(read->kernel.text.starts_with("class ModelNew"));
  EXPECT_TRUE(read->reference.text.starts_with("def get_inputs"));
}

TEST(Document, TakesAnUnclosedFenceToTheEnd) {
  const auto read = read_document("# Current Triton Kernel\n```python\nclass ModelNew:\n  pass\n");
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_FALSE(read->reference.present);
}

TEST(Document, TakesWindowsLines) {
  std::string text = kDocument;
  for (std::size_t at = 0; (at = text.find('\n', at)) != text.npos; at += 2) text.insert(at, "\r");
  const auto read = read_document(text);
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_TRUE(read->reference.present);
}

TEST(Document, ErrorsNameWhatIsMissing) {
  const auto message = [](std::string_view text) {
    const auto read = read_document(text);
    return read.ok() ? std::string() : read.error().message;
  };
  EXPECT_NE(message("").find("empty"), std::string::npos);
  EXPECT_NE(message("hello").find("no kernel"), std::string::npos);
  EXPECT_NE(message("# PyTorch Reference\n```python\nclass Model():\n  pass\n```").find("ModelNew"),
            std::string::npos);
  EXPECT_NE(message(std::string_view("\x7f"
                                     "ELF\0\1",
                                     6))
                .find("byte 4"),
            std::string::npos);
  EXPECT_NE(message("# Current Triton Kernel\n```python\nx = 1\n```\n").find("line 3"),
            std::string::npos);
  const std::string huge(kMaxPartBytes + 1, '#');
  EXPECT_NE(message("```python\nclass ModelNew:\n " + huge + "\n```").find("at most"),
            std::string::npos);
}

TEST(Performance, Latencies) {
  const auto read = read_document(kDocument +
                                  "# Performance\n- **PyTorch baseline**: 2.77 ms\n"
                                  "- **Current Triton**: 810 us\n"
                                  "- **Current speedup**: 1.15x (+12.6% vs baseline)\n");
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->performance.form, PerformanceForm::latencies);
  EXPECT_DOUBLE_EQ(read->performance.reference_ms.value_or(0), 2.77);
  EXPECT_DOUBLE_EQ(read->performance.current_ms.value_or(0), 0.81);
}

TEST(Performance, Metrics) {
  const auto read = read_document(
      kDocument +
      "# NCU Metrics\n```json\n{\"gemm\": {\"sm__throughput\": 38.5, \"launch__grid_size\": "
      "\"1,512\", \"note\": \"none\"}, \"other\": {\"x\": {\"value\": 3}}}\n```\n");
  ASSERT_TRUE(read.ok());
  ASSERT_EQ(read->performance.form, PerformanceForm::ncu);
  ASSERT_EQ(read->performance.metrics.size(), 2U);
  EXPECT_EQ(read->performance.metrics[0].kernel, "gemm");
  EXPECT_DOUBLE_EQ(read->performance.metrics[0].find("launch__grid_size").value_or(0), 1512);
  EXPECT_FALSE(read->performance.metrics[0].find("note").has_value());
  EXPECT_DOUBLE_EQ(read->performance.metrics[1].find("x").value_or(0), 3);
}

TEST(Performance, BrokenMetricsAreSaid) {
  const Performance read = read_performance("{\"gemm\": {\"a\": ");
  EXPECT_EQ(read.form, PerformanceForm::none);
  EXPECT_FALSE(read.remark.empty());
  const Performance deep = read_performance(std::string(100'000, '{'));
  EXPECT_EQ(deep.form, PerformanceForm::none);
}

}  // namespace
}  // namespace quoin::architect
