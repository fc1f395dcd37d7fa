#include "cli/command.h"

#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "cli/describe.h"
#include "quoin/device.h"
#include "quoin/linear.h"

namespace quoin::cli {
namespace {

// More threads than any machine has CPUs, few enough that a typing error starts no million.
constexpr int kMaxThreads = 4096;

struct NamedFactor {
  const char* name;
  float value;
};

constexpr NamedFactor kFactors[] = {
    {"both-absmax", kBothAbsmax}, {"one-absmax", kOneAbsmax}, {"true-scales", kTrueScales}};

template <class Number>
std::optional<Number> parse_whole(std::string_view text) {
  Number value{};
  const auto [stop, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc() || stop != text.data() + text.size()) return {};
  return value;
}

// A check whose message is "'<text>' is not <wanted>".
CLI::Validator check(const std::string& wanted,
                     const std::function<bool(const std::string&)>& fits) {
  return CLI::Validator(
      [wanted, fits](std::string& text) {
        return fits(text) ? std::string() : fmt::format("'{}' is not {}", text, wanted);
      },
      "");
}

}  // namespace

int report(const Error& error) {
  fmt::print(stderr, "quoin: {}\n", error.message);
  switch (error.code) {
    case ErrorCode::invalid_argument:
    case ErrorCode::unsupported: return kBadInput;
    case ErrorCode::unavailable: return kUnavailable;
    case ErrorCode::out_of_memory: return kFailure;
  }
  return kFailure;
}

int report(const Status& outcome) { return outcome ? kSuccess : report(outcome.error()); }

std::optional<Shape> parse_shape(std::string_view text) {
  std::array<std::int64_t, 3> sizes{};
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const std::size_t end = i + 1 < sizes.size() ? text.find('x') : text.size();
    if (end == std::string_view::npos) return {};
    const std::optional<std::int64_t> size = parse_whole<std::int64_t>(text.substr(0, end));
    if (!size || *size < 0) return {};
    sizes[i] = *size;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return Shape{sizes[0], sizes[1], sizes[2]};
}

std::vector<Shape> parse_shapes(const std::vector<std::string>& checked) {
  std::vector<Shape> shapes;
  for (const std::string& text : checked) {
    if (const std::optional<Shape> shape = parse_shape(text)) shapes.push_back(*shape);
  }
  return shapes;
}

std::optional<float> parse_dequant_factor(const std::string& text) {
  for (const NamedFactor& named : kFactors) {
    if (text == named.name) return named.value;
  }
  const std::optional<float> value = parse_whole<float>(text);
  return value && std::isfinite(*value) ? value : std::nullopt;
}

int usable_cpus() {
  // The kernel refuses a set that is smaller than its own, so double it until it fits.
  for (int capacity = 1024; capacity <= 1 << 20; capacity *= 2) {
    cpu_set_t* set = CPU_ALLOC(capacity);
    if (set == nullptr) break;
    const std::size_t bytes = CPU_ALLOC_SIZE(capacity);
    const bool known = sched_getaffinity(0, bytes, set) == 0;
    const bool too_small = !known && errno == EINVAL;
    const int count = known ? CPU_COUNT_S(bytes, set) : 0;
    CPU_FREE(set);
    if (known) return std::clamp(count, 1, kMaxThreads);
    if (!too_small) break;
  }
  return static_cast<int>(std::clamp(sysconf(_SC_NPROCESSORS_ONLN), 1L, long{kMaxThreads}));
}

CLI::Option* add_file(CLI::App& command, const std::string& flag, std::string& path,
                      const std::string& description) {
  return command.add_option(flag, path, description)->type_name("FILE");
}

CLI::Option* add_file(CLI::App& command, const std::string& flag, std::optional<std::string>& path,
                      const std::string& description) {
  return command.add_option(flag, path, description)->type_name("FILE");
}

CLI::Option* add_threads(CLI::App& command, int& threads) {
  threads = usable_cpus();
  return command
      .add_option("--threads", threads,
                  "Threads to use. Default: one for each CPU that this process may use. The result "
                  "is the same to the bit for any number.")
      ->type_name("N")
      ->check(thread_check());
}

CLI::Option* add_backend(CLI::App& command, std::string& backend) {
  return command
      .add_option("--backend", backend,
                  "Implementation to use; `quoin devices` tells which of them run here. Default: "
                  "$QUOIN_BACKEND where set, else the fastest. The result is the same to the bit "
                  "for all of them.")
      ->type_name("NAME")
      ->check(CLI::IsMember(backend_names()));
}

CLI::Option* add_format(CLI::App& command, std::string& format) {
  return command.add_option("--format", format, "Form of the output.")
      ->type_name("FORM")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
}

CLI::Validator shape_check() {
  return check("a shape: write MxNxK, as in 128x2048x2048",
               [](const std::string& text) { return parse_shape(text).has_value(); });
}

CLI::Validator factor_check() {
  std::string names;
  for (const NamedFactor& factor : kFactors) names += fmt::format("{},", factor.name);
  return check("a finite float32 or one of " + names.substr(0, names.size() - 1),
               [](const std::string& text) { return parse_dequant_factor(text).has_value(); })
      .description(fmt::format("{{{}{}}}", names, kOpenSet));
}

CLI::Validator thread_check() {
  return check(fmt::format("a number of threads, 1 to {}", kMaxThreads),
               [](const std::string& text) {
                 const std::optional<int> count = parse_whole<int>(text);
                 return count && *count >= 1 && *count <= kMaxThreads;
               });
}

CLI::Validator size_check() {
  return check("a size, 0 or more", [](const std::string& text) {
    return parse_whole<std::int64_t>(text).value_or(-1) >= 0;
  });
}

CLI::Validator seconds_check() {
  return check("a time in seconds, more than 0", [](const std::string& text) {
    const double seconds = parse_whole<double>(text).value_or(0);
    return seconds > 0 && std::isfinite(seconds);
  });
}

std::vector<std::string> backend_names() {
  std::vector<std::string> names;
  for (const BackendInfo& backend : backends()) names.emplace_back(backend.name);
  return names;
}

}  // namespace quoin::cli
