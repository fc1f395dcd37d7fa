#include "cost/devices.h"

#include <array>

namespace quoin::cost {
namespace {

constexpr BytesPerSecond gb(double value) { return gigabytes_per_second(value); }
constexpr OpsPerSecond tf(double value) { return tops(value); }

constexpr std::array<CpuDevice, 3> kCpus{{
    {
        .name = "zen5-server",
        .title = "AMD EPYC 9005 (Zen 5), two cores of a shared machine",
        .vendor = "AuthenticAMD",
        .family = 26,
        .first_model = 0,
        .last_model = 0x2F,
        .cores = 2,
        .vector_bits = 512,
        .clock = gigahertz(3.9),
        .l2 = mebibytes(1),
        .l3 = mebibytes(32),
        .from_l2 = {gb(220), gb(400)},
        .from_l3 = {gb(110), gb(205)},
        .from_memory = {gb(41), gb(45.5)},
        .stream_ahead = {kibibytes(12), kibibytes(12)},
        .source = "measured 2026-11-20: a vpdpbusd register loop reaches 915-1090 GOPS a core, "
                  "reads 185-260 GB/s from L2, 95-127 from L3, 39-43 from memory (one core); "
                  "340-470, 190-220, 44-47 (two). The middle of each range",
    },
    {
        .name = "zen4-server",
        .title = "AMD EPYC 9004 (Zen 4), two cores of a shared machine",
        .vendor = "AuthenticAMD",
        .family = 25,
        .first_model = 0x10,
        .last_model = 0x1F,
        .cores = 2,
        .vector_bits = 256,
        .clock = gigahertz(3.69),
        .l2 = mebibytes(1),
        .l3 = mebibytes(32),
        .from_l2 = {gb(112), gb(224)},
        .from_l3 = {gb(90), gb(150)},
        .from_memory = {gb(31), gb(35)},
        .stream_ahead = {kibibytes(0.5), kibibytes(12)},
        .source = "measured 2026-11-21: a vpdpbusd register loop reaches 473 GOPS a core; one core "
                  "reads 112 GB/s from L2, 96 from L3 (8 MiB; less the more neighbours share it), "
                  "29-33 from memory, two 33-62",
    },
    {
        .name = "cpu-generic",
        .title = "a CPU that the table does not know",
        .vendor = "",
        .family = 0,
        .cores = 4,
        .clock = gigahertz(3.0),
        .l2 = mebibytes(1),
        .l3 = mebibytes(16),
        .from_l2 = {gb(100), gb(400)},
        .from_l3 = {gb(40), gb(120)},
        .from_memory = {gb(12), gb(40)},
        .stream_ahead = {kibibytes(2), kibibytes(12)},
        .source = "assumed, not measured: only the order of candidates is meant by its prices",
    },
}};

constexpr std::string_view kNvidia = "NVIDIA's datasheets: dense rates, SXM or PCIe card as named";
constexpr std::string_view kAmd = "AMD's datasheet: dense rates";

constexpr std::array<GpuDevice, 8> kGpus{{
    {"a100-sxm-80", "NVIDIA A100 SXM 80 GB", 108, tf(19.5), tf(156), tf(312), tf(0), tf(624),
     gb(2000), mebibytes(40), kibibytes(164), kNvidia},
    {"h100-sxm", "NVIDIA H100 SXM", 132, tf(67), tf(494.5), tf(989), tf(1979), tf(1979), gb(3350),
     mebibytes(50), kibibytes(228), kNvidia},
    {"h200", "NVIDIA H200", 132, tf(67), tf(494.5), tf(989), tf(1979), tf(1979), gb(4800),
     mebibytes(50), kibibytes(228), kNvidia},
    {"l40s", "NVIDIA L40S", 142, tf(91.6), tf(183), tf(362), tf(733), tf(733), gb(864),
     mebibytes(96), kibibytes(100), kNvidia},
    {"l4", "NVIDIA L4", 58, tf(30.3), tf(60), tf(121), tf(242), tf(242), gb(300), mebibytes(48),
     kibibytes(100), kNvidia},
    {"rtx-4090", "NVIDIA GeForce RTX 4090", 128, tf(82.6), tf(82.6), tf(165.2), tf(330), tf(660),
     gb(1008), mebibytes(72), kibibytes(100), kNvidia},
    {"b200", "NVIDIA B200", 148, tf(80), tf(1125), tf(2250), tf(4500), tf(4500), gb(8000),
     mebibytes(126), kibibytes(228), kNvidia},
    {"mi300x", "AMD Instinct MI300X", 304, tf(163.4), tf(653.7), tf(1307), tf(2615), tf(2615),
     gb(5300), mebibytes(256), kibibytes(64), kAmd},
}};

template <class Row>
const Row* find(std::span<const Row> rows, std::string_view name) {
  for (const Row& row : rows) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

}  // namespace

std::span<const CpuDevice> cpu_devices() { return kCpus; }
std::span<const GpuDevice> gpu_devices() { return kGpus; }

const CpuDevice* find_cpu(std::string_view name) { return find(cpu_devices(), name); }
const GpuDevice* find_gpu(std::string_view name) { return find(gpu_devices(), name); }

const CpuDevice& match_cpu(std::string_view vendor, int family, int model) {
  for (const CpuDevice& cpu : kCpus) {
    const bool this_model = cpu.first_model <= model && model <= cpu.last_model;
    if (cpu.vendor == vendor && cpu.family == family && this_model) return cpu;
  }
  return kCpus.back();
}

}  // namespace quoin::cost
