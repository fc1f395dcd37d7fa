// Finds the parts of a Markdown document: headings and fenced blocks in one pass over the lines.
#include "architect/source/document.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

namespace quoin::architect {
namespace {

struct Block {
  std::string heading;  // lower case, of the section it stands in
  std::string info;     // "python"
  std::string_view text;
  int first_line = 1;
};

struct Section {
  std::string heading;
  std::string_view text;  // with the fences
  int first_line = 1;
};

struct Outline {
  std::vector<Block> blocks;
  std::vector<Section> sections;
};

std::string lower(std::string_view text) {
  std::string made(text);
  std::transform(made.begin(), made.end(), made.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return made;
}

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

bool holds(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

/// The number of backticks or tildes that open or close a fence, 0 for any other line.
std::size_t fence_length(std::string_view line) {
  line = trimmed(line);
  if (line.size() < 3 || (line[0] != '`' && line[0] != '~')) return 0;
  const std::size_t length = std::min(line.find_first_not_of(line[0]), line.size());
  return length >= 3 ? length : 0;
}

/// The text of a Markdown heading, empty for any other line.
std::string_view heading_of(std::string_view line) {
  if (line.empty() || line[0] != '#') return {};
  const std::size_t level = line.find_first_not_of('#');
  if (level == std::string_view::npos || level > 6 || line[level] != ' ') return {};
  return trimmed(line.substr(level));
}

/// One pass; a fence that is never closed reaches to the end.
Outline outline_of(std::string_view text) {
  Outline outline;
  Section section;
  Block block;
  std::size_t fence = 0;  // length of the one that is open
  std::size_t section_begin = 0, block_begin = 0;
  int line_number = 1;
  std::size_t begin = 0;
  const auto close_section = [&](std::size_t end) {
    section.text = text.substr(section_begin, end - section_begin);
    outline.sections.push_back(section);
  };
  while (begin <= text.size()) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = text.substr(begin, end - begin);
    const std::size_t ticks = fence_length(line);
    if (fence != 0) {
      if (ticks >= fence && trimmed(line).size() == ticks) {
        block.text = text.substr(block_begin, begin - block_begin);
        outline.blocks.push_back(block);
        fence = 0;
      }
    } else if (ticks != 0) {
      fence = ticks;
      block = {section.heading, lower(trimmed(trimmed(line).substr(ticks))), {}, line_number + 1};
      block_begin = std::min(end + 1, text.size());
    } else if (const std::string_view heading = heading_of(line); !heading.empty()) {
      close_section(begin);
      section = {lower(heading), {}, line_number + 1};
      section_begin = std::min(end + 1, text.size());
    }
    begin = end + 1;
    ++line_number;
  }
  if (fence != 0) {
    block.text = text.substr(block_begin);
    outline.blocks.push_back(block);
  }
  close_section(text.size());
  return outline;
}

bool is_python(const Block& block) {
  return block.info.empty() || block.info.starts_with("py") || block.info.starts_with("triton");
}

bool defines_kernel(std::string_view code) {
  return holds(code, "class ModelNew") || holds(code, "triton.jit");
}

bool defines_reference(std::string_view code) {
  return holds(code, "class Model(") || holds(code, "class Model:") ||
         holds(code, "def get_inputs");
}

Part part_of(const Block& block) { return {std::string(block.text), block.first_line, true}; }

/// The block under a heading that holds one of `words`, else the first that `fits`.
template <class Fits>
Part find_part(const Outline& outline, std::initializer_list<std::string_view> words, Fits fits) {
  for (const Block& block : outline.blocks) {
    const bool titled = std::any_of(words.begin(), words.end(), [&](std::string_view word) {
      return holds(block.heading, word);
    });
    if (titled && is_python(block) && !trimmed(block.text).empty()) return part_of(block);
  }
  for (const Block& block : outline.blocks) {
    if (is_python(block) && fits(block.text)) return part_of(block);
  }
  return {};
}

Result<Document> checked(Document document) {
  const auto too_long = [](const Part& part, std::string_view what) {
    return Error{ErrorCode::unsupported,
                 fmt::format("The {} is {} bytes of Python; at most {} are read.", what,
                             part.text.size(), kMaxPartBytes)};
  };
  if (!document.kernel.present || trimmed(document.kernel.text).empty()) {
    return Error{ErrorCode::invalid_argument,
                 "The document has no kernel: expected a fenced Python block under the heading "
                 "'# Current Triton Kernel' that defines ModelNew."};
  }
  if (!defines_kernel(document.kernel.text)) {
    return Error{ErrorCode::invalid_argument,
                 fmt::format("The kernel part at line {} defines neither 'class ModelNew' nor a "
                             "@triton.jit function.",
                             document.kernel.first_line)};
  }
  if (document.kernel.text.size() > kMaxPartBytes) return too_long(document.kernel, "kernel part");
  if (document.reference.text.size() > kMaxPartBytes) {
    return too_long(document.reference, "reference part");
  }
  return document;
}

std::optional<Error> binary(std::string_view text, std::string_view what) {
  const std::size_t zero = text.find('\0');
  if (zero == std::string_view::npos) return std::nullopt;
  return Error{ErrorCode::invalid_argument,
               fmt::format("The {} is binary data, not text: byte {} is zero.", what, zero)};
}

}  // namespace

Result<Document> read_document(std::string_view text) {
  if (trimmed(text).empty()) {
    return Error{ErrorCode::invalid_argument, "The document is empty."};
  }
  if (const auto error = binary(text, "document")) return *error;
  const Outline outline = outline_of(text);
  Document document;
  if (outline.blocks.empty() && defines_kernel(text)) {  // plain Python
    document.kernel = {std::string(text), 1, true};
    return checked(std::move(document));
  }
  document.kernel = find_part(outline, {"current triton", "current kernel", "triton kernel"},
                              [](std::string_view code) { return defines_kernel(code); });
  document.reference = find_part(outline, {"reference"}, [](std::string_view code) {
    return defines_reference(code) && !defines_kernel(code);
  });
  for (const Section& section : outline.sections) {
    if (section.heading == "performance" || section.heading.starts_with("performance data") ||
        section.heading.starts_with("ncu") || section.heading.starts_with("nsight")) {
      Performance read = read_performance(section.text);
      if (read.form == PerformanceForm::none && read.remark.empty()) continue;
      if (document.performance.form == PerformanceForm::none) {
        document.performance = std::move(read);
      } else if (read.form == PerformanceForm::ncu) {
        document.performance.metrics = std::move(read.metrics);
      } else if (read.form == PerformanceForm::latencies) {
        document.performance.reference_ms = read.reference_ms;
        document.performance.current_ms = read.current_ms;
      }
    }
  }
  return checked(std::move(document));
}

Result<Document> document_of(std::string_view reference, std::string_view kernel,
                             std::string_view performance) {
  if (const auto error = binary(reference, "reference")) return *error;
  if (const auto error = binary(kernel, "kernel file")) return *error;
  if (const auto error = binary(performance, "performance file")) return *error;
  Document document;
  document.reference = {std::string(reference), 1, !trimmed(reference).empty()};
  document.kernel = {std::string(kernel), 1, true};
  document.performance = read_performance(performance);
  return checked(std::move(document));
}

}  // namespace quoin::architect
