// Documents: the Markdown text with a PyTorch reference, a current kernel and perhaps measurements,
// or the same parts as separate texts. The first stage of the architect.
//
//   # PyTorch Reference      ```python ... ```     Model, get_inputs, get_init_inputs
//   # Current Triton Kernel  ```python ... ```     ModelNew
//   # Performance            latencies, or a sentence that there are none
//   # NCU Metrics            JSON: {kernel: {metric: value}}
//
// Headings are looked for first; blocks without the expected headings are told apart by what they
// define. Tested by tests/architect/front_source_test.cpp.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "quoin/result.h"

namespace quoin::architect {

/// One Python text of a document.
struct Part {
  std::string text;
  int first_line = 1;  // of `text` in the document; 1 for a file of its own
  bool present = false;
};

/// Nsight Compute's metrics of one kernel, as they stand in the document.
struct KernelMetrics {
  std::string kernel;
  std::vector<std::pair<std::string, double>> values;

  [[nodiscard]] std::optional<double> find(std::string_view metric) const noexcept;
};

enum class PerformanceForm : std::uint8_t { none, latencies, ncu };

struct Performance {
  PerformanceForm form = PerformanceForm::none;
  std::optional<double> reference_ms;
  std::optional<double> current_ms;
  std::vector<KernelMetrics> metrics;
  std::string remark;  // what of the section was not readable, empty otherwise
};

struct Document {
  Part reference;
  Part kernel;
  Performance performance;
};

/// Longest Python part that is read. The longest known document holds 50 KB.
inline constexpr std::size_t kMaxPartBytes = 1U << 18;

/// The parts of a Markdown document. An error names what is missing: no kernel, no fenced block,
/// binary data. A missing reference or performance section is no error.
[[nodiscard]] Result<Document> read_document(std::string_view text);

/// The same from separate texts; `performance` in any of its forms, or empty.
[[nodiscard]] Result<Document> document_of(std::string_view reference, std::string_view kernel,
                                           std::string_view performance);

/// A performance section: latencies, metrics, or none.
[[nodiscard]] Performance read_performance(std::string_view text);

}  // namespace quoin::architect
