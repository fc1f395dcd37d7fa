// The three forms of performance data: latencies in words, Nsight Compute's metrics as JSON, none.
#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "architect/source/document.h"

namespace quoin::architect {
namespace {

using Json = nlohmann::ordered_json;

std::string lower(std::string_view text) {
  std::string made(text);
  for (char& c : made) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return made;
}

/// "2.77 ms", "810 us", "1.2s" in milliseconds; the first number after `from`.
std::optional<double> milliseconds_after(std::string_view line, std::size_t from) {
  const std::size_t begin = line.find_first_of("0123456789", from);
  if (begin == std::string_view::npos) return std::nullopt;
  double number = 0;
  const auto [end, code] = std::from_chars(line.data() + begin, line.data() + line.size(), number);
  if (code != std::errc() || !std::isfinite(number) || number <= 0) return std::nullopt;
  std::string_view unit(end, static_cast<std::size_t>(line.data() + line.size() - end));
  unit.remove_prefix(std::min(unit.find_first_not_of(" \t"), unit.size()));
  if (unit.starts_with("ms") || unit.starts_with("milli")) return number;
  if (unit.starts_with("us") || unit.starts_with("\xc2\xb5s") || unit.starts_with("\xce\xbcs") ||
      unit.starts_with("micro")) {
    return number * 1e-3;
  }
  if (unit.starts_with("ns")) return number * 1e-6;
  if (unit.starts_with("s")) return number * 1e3;
  return std::nullopt;
}

/// Latency lines: what stands before the colon says whose time it is.
void read_latencies(std::string_view text, Performance& read) {
  std::size_t begin = 0;
  while (begin < text.size()) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = lower(text.substr(begin, end - begin));
    begin = end + 1;
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::string_view label = std::string_view(line).substr(0, colon);
    const auto has = [&](std::string_view word) { return label.find(word) != label.npos; };
    if (has("speedup") || has("speed-up")) continue;
    const auto time = milliseconds_after(line, colon);
    if (!time) continue;
    if (has("pytorch") || has("baseline") || has("reference") || has("eager")) {
      read.reference_ms = time;
    } else if (has("triton") || has("current") || has("kernel")) {
      read.current_ms = time;
    }
  }
}

/// From the first brace to the one that closes it.
std::string_view json_text(std::string_view text) {
  const std::size_t begin = text.find('{');
  if (begin == std::string_view::npos) return {};
  int depth = 0;
  bool quoted = false;
  for (std::size_t i = begin; i < text.size(); ++i) {
    if (quoted) {
      if (text[i] == '\\')
        ++i;
      else if (text[i] == '"')
        quoted = false;
      continue;
    }
    if (text[i] == '"') quoted = true;
    if (text[i] == '{') ++depth;
    if (text[i] == '}' && --depth == 0) return text.substr(begin, i - begin + 1);
  }
  return text.substr(begin);
}

std::optional<double> number_of(const Json& value) {
  if (value.is_number()) return value.get<double>();
  if (value.is_object() && value.contains("value")) {
    const Json& inner = value.at("value");
    if (inner.is_number()) return inner.get<double>();
  }
  if (!value.is_string()) return std::nullopt;
  std::string text = value.get<std::string>();
  std::erase(text, ',');
  double number = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), number);
  if (result.ec != std::errc()) return std::nullopt;
  return number;
}

KernelMetrics metrics_of(const std::string& kernel, const Json& values) {
  KernelMetrics made{kernel, {}};
  for (const auto& [metric, value] : values.items()) {
    if (const auto number = number_of(value)) made.values.emplace_back(metric, *number);
  }
  return made;
}

void read_metrics(std::string_view text, Performance& read) {
  const std::string_view block = json_text(text);
  if (block.empty()) return;
  const Json json = Json::parse(block, nullptr, false);
  if (!json.is_object()) {
    read.remark = "the metrics are not valid JSON";
    return;
  }
  Json loose = Json::object();  // metrics that stand at the top, without a kernel's name
  for (const auto& [key, value] : json.items()) {
    if (value.is_object() && !value.contains("value")) {
      KernelMetrics made = metrics_of(key, value);
      if (!made.values.empty()) read.metrics.push_back(std::move(made));
    } else {
      loose[key] = value;
    }
  }
  KernelMetrics rest = metrics_of("", loose);
  if (!rest.values.empty()) read.metrics.push_back(std::move(rest));
  if (read.metrics.empty()) read.remark = "the metrics hold no numbers";
}

}  // namespace

std::optional<double> KernelMetrics::find(std::string_view metric) const noexcept {
  for (const auto& [name, value] : values) {
    if (name == metric) return value;
  }
  return std::nullopt;
}

Performance read_performance(std::string_view text) {
  Performance read;
  read_latencies(text, read);
  if (!read.reference_ms && !read.current_ms) read_metrics(text, read);
  if (read.reference_ms || read.current_ms) {
    read.form = PerformanceForm::latencies;
  } else if (!read.metrics.empty()) {
    read.form = PerformanceForm::ncu;
  }
  return read;
}

}  // namespace quoin::architect
