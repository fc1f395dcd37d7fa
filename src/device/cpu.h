// What the CPU under us is and can do: read once with CPUID and XGETBV, constant afterwards.
#pragma once

#include <cstdint>
#include <string>

namespace quoin {

/// Sets of instructions that a backend may need, as bits. Each implies that the operating system
/// saves the registers it uses.
enum CpuFeature : std::uint32_t {
  kAvx2 = 1U << 0,        // AVX2 and F16C
  kAvxVnni = 1U << 1,     // VEX-encoded vpdpbusd
  kAvx512 = 1U << 2,      // F, BW, VL and DQ
  kAvx512Vnni = 1U << 3,  // EVEX-encoded vpdpbusd
};

struct Cpu {
  std::string brand;   // as the CPU gives it, e.g. "AMD EPYC"
  std::string vendor;  // e.g. "AuthenticAMD"; empty off x86
  int family = 0;      // with the extended family added, e.g. 26 for Zen 5
  int model = 0;
  std::uint32_t features = 0;  // of CpuFeature
  int usable_cpus = 1;         // logical CPUs that this process may run on
  std::int64_t l1_bytes = 0;   // data, one core; 0 where unknown
  std::int64_t l2_bytes = 0;   // one core
  std::int64_t l3_bytes = 0;   // one instance
};

/// This machine's CPU.
[[nodiscard]] const Cpu& this_cpu();

/// "AVX2 with F16C, AVX-VNNI": the features that are set, for people.
[[nodiscard]] std::string describe_features(std::uint32_t features);

}  // namespace quoin
