// `quoin devices`: what this machine has, and which backends run on it.
#include "cost/devices.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "bench/measure.h"
#include "cli/command.h"
#include "device/cpu.h"
#include "device/limits.h"
#include "linear/aligned_buffer.h"
#include "linear/backends.h"
#include "linear/plan/price.h"
#include "quoin/device.h"

namespace quoin::cli {
namespace {

struct DevicesOptions {
  bool measure = false;
  std::string format = "text";
};

using Json = nlohmann::ordered_json;

Json machine_json(const cost::CpuDevice& row) {
  const Cpu& cpu = this_cpu();
  return {{"cpu", cpu.brand},
          {"vendor", cpu.vendor},
          {"family", cpu.family},
          {"model", cpu.model},
          {"features", describe_features(cpu.features)},
          {"usable_cpus", cpu.usable_cpus},
          {"l1_bytes", cpu.l1_bytes},
          {"l2_bytes", cpu.l2_bytes},
          {"l3_bytes", cpu.l3_bytes},
          {"device_table_row", row.name}};
}

Json backends_json() {
  Json list = Json::array();
  for (const BackendInfo& backend : backends()) {
    list.push_back({{"name", backend.name},
                    {"available", backend.available},
                    {"on_gpu", backend.on_gpu},
                    {"summary", backend.summary},
                    {"reason", backend.reason}});
  }
  return list;
}

Json gpus_json() {
  Json list = Json::array();
  for (const GpuInfo& gpu : gpus()) {
    list.push_back({{"device", gpu.index},
                    {"name", gpu.name},
                    {"compute_capability", fmt::format("{}.{}", gpu.major, gpu.minor)},
                    {"sms", gpu.sms},
                    {"memory_bytes", gpu.memory_bytes},
                    {"device_table_row", gpu.table_row}});
  }
  return list;
}

/// One core's peaks and bandwidths: from the table, or from the loops here and now.
Json limits_json(const cost::CpuDevice& row, bool measure) {
  constexpr double kGiga = 1e-9;
  Json limits = {{"source", measure ? "measured now, one thread" : std::string(row.source)}};
  if (!measure) {
    for (const Backend& backend : kBackends) {
      limits["peak_gops"][std::string(backend.name)] = peak_rate(backend, row).value * kGiga;
    }
    limits["read_gb_per_s"] = {{"l2", row.from_l2.one.value * kGiga},
                               {"l3", row.from_l3.one.value * kGiga},
                               {"memory", row.from_memory.one.value * kGiga}};
    return limits;
  }
  for (const Backend& backend : kBackends) {
    const auto peak = measure_peak(bench::peak_loop(backend), 1, 0.05);
    if (peak) limits["peak_gops"][std::string(backend.name)] = peak->value * kGiga;
  }
  constexpr std::size_t kBytes = std::size_t{256} << 20;
  const AlignedBuffer buffer = allocate_aligned(kBytes);
  if (!buffer) return limits;
  std::memset(buffer.get(), 1, kBytes);
  const auto read = [&](std::int64_t bytes) {
    const std::size_t size = std::min(static_cast<std::size_t>(bytes), kBytes);
    return measure_read(buffer.get(), size, 1, 0.05).value * kGiga;
  };
  const Cpu& cpu = this_cpu();
  limits["read_gb_per_s"] = {{"l2", read(std::max<std::int64_t>(cpu.l2_bytes / 2, 1 << 16))},
                             {"l3", read(std::max<std::int64_t>(cpu.l3_bytes / 4, 1 << 20))},
                             {"memory", read(kBytes)}};
  return limits;
}

Json table_json() {
  Json rows = Json::array();
  for (const cost::CpuDevice& cpu : cost::cpu_devices()) {
    rows.push_back({{"name", cpu.name}, {"title", cpu.title}, {"source", cpu.source}});
  }
  for (const cost::GpuDevice& gpu : cost::gpu_devices()) {
    rows.push_back({{"name", gpu.name},
                    {"title", gpu.title},
                    {"sms", gpu.sms},
                    {"int8_tops", gpu.int8.value * 1e-12},
                    {"fp16_tflops", gpu.fp16.value * 1e-12},
                    {"memory_gb_per_s", gpu.memory.value * 1e-9},
                    {"source", gpu.source}});
  }
  return rows;
}

void print_text(const Json& json) {
  const Json& machine = json["machine"];
  fmt::print("{}, {} usable CPUs, {}\n", machine["cpu"].get<std::string>(),
             machine["usable_cpus"].get<int>(), machine["features"].get<std::string>());
  for (const Json& gpu : json["gpus"]) {
    fmt::print("CUDA device {}: {}, compute capability {}, {} SMs\n", gpu["device"].get<int>(),
               gpu["name"].get<std::string>(), gpu["compute_capability"].get<std::string>(),
               gpu["sms"].get<int>());
  }
  fmt::print("\nBackends\n");
  for (const Json& backend : json["backends"]) {
    const bool available = backend["available"];
    fmt::print("  {:<14}{:<5}{}\n", backend["name"].get<std::string>(), available ? "yes" : "no",
               backend[available ? "summary" : "reason"].get<std::string>());
  }
  const Json& limits = json["limits"];
  fmt::print("\nLimits of one core ({})\n", limits["source"].get<std::string>());
  for (const auto& [name, gops] : limits["peak_gops"].items()) {
    fmt::print("  {:<14}{:>8.0f} int8 GOPS\n", name, gops.get<double>());
  }
  for (const auto& [level, rate] : limits["read_gb_per_s"].items()) {
    fmt::print("  {:<14}{:>8.1f} GB/s read\n", level, rate.get<double>());
  }
  fmt::print("\nDevice table (for `quoin plan --device`)\n");
  for (const Json& row : json["device_table"]) {
    fmt::print("  {:<14}{}\n", row["name"].get<std::string>(), row["title"].get<std::string>());
  }
}

int devices(const DevicesOptions& options) {
  const cost::CpuDevice& row =
      cost::match_cpu(this_cpu().vendor, this_cpu().family, this_cpu().model);
  const Json json = {{"machine", machine_json(row)},
                     {"gpus", gpus_json()},
                     {"backends", backends_json()},
                     {"limits", limits_json(row, options.measure)},
                     {"device_table", table_json()}};
  if (options.format == "json") {
    fmt::print("{}\n", json.dump(2));
  } else {
    print_text(json);
  }
  return kSuccess;
}

}  // namespace

void add_devices(CLI::App& app, Action& action) {
  auto options = std::make_shared<DevicesOptions>();
  CLI::App* command =
      app.add_subcommand("devices",
                         "List what this machine has, and which backends run on it.\n"
                         "For a backend that does not run here it says why.");
  command->add_flag("--measure", options->measure,
                    "Measure the peaks here and now instead of quoting the table, about a second.");
  add_format(*command, options->format);
  command->footer("quoin devices\nquoin devices --measure --format json");
  command->callback([options, &action] { action = [options] { return devices(*options); }; });
}

}  // namespace quoin::cli
