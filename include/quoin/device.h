// What this machine offers: its CUDA devices, which backends run here, and why the others do not.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace quoin {

struct BackendInfo {
  std::string_view name;     // the name that options and flags take
  std::string_view summary;  // one line: instructions and requirements
  bool available = false;
  std::string reason;   // why not, where it is not available
  bool on_gpu = false;  // for layers on a CUDA device (LinearOptions::device), not on the CPU
};

/// Every backend that quoin knows, those of GPUs first, then fastest first, whether or not this
/// machine has it.
[[nodiscard]] std::vector<BackendInfo> backends();

struct GpuInfo {
  int index = 0;  // what LinearOptions::device takes
  std::string name;
  int major = 0, minor = 0;  // compute capability
  int sms = 0;
  std::int64_t memory_bytes = 0;
  std::string table_row;  // of the device table, which plans are priced with
};

/// The CUDA devices that this process sees; none in a build without CUDA.
[[nodiscard]] std::vector<GpuInfo> gpus();

/// quoin's version, "major.minor.patch".
[[nodiscard]] std::string_view version() noexcept;

}  // namespace quoin
