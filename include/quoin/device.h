// What this machine offers: which backends run here, and why the others do not.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace quoin {

struct BackendInfo {
  std::string_view name;     // the name that options and flags take
  std::string_view summary;  // one line: instructions and requirements
  bool available = false;
  std::string reason;  // why not, where it is not available
};

/// Every backend that quoin knows, fastest first, whether or not this machine has it.
[[nodiscard]] std::vector<BackendInfo> backends();

/// quoin's version, "major.minor.patch".
[[nodiscard]] std::string_view version() noexcept;

}  // namespace quoin
