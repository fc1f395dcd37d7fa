// CPUID leaves: Intel SDM volume 2, "CPUID"; AMD64 APM volume 3, appendix E.
#include "device/cpu.h"

#include <unistd.h>

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <array>
#include <cstring>
#include <utility>

namespace quoin {
namespace {

int count_usable_cpus() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
  const long online = sysconf(_SC_NPROCESSORS_ONLN);
  return online > 0 ? static_cast<int>(online) : 1;
}

#if defined(__x86_64__)
struct Leaf {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Leaf leaf(unsigned id, unsigned sub = 0) {
  Leaf l;
  __get_cpuid_count(id, sub, &l.eax, &l.ebx, &l.ecx, &l.edx);
  return l;
}

bool bit(unsigned word, int index) { return ((word >> index) & 1U) != 0; }

std::uint32_t detect_features() {
  const Leaf one = leaf(1);
  if (!bit(one.ecx, 27)) return 0;  // OSXSAVE
  unsigned low = 0, high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  const bool ymm_saved = (low & 0x06U) == 0x06U;
  const bool zmm_saved = (low & 0xE6U) == 0xE6U;

  const Leaf seven = leaf(7);
  const Leaf seven_one = seven.eax >= 1 ? leaf(7, 1) : Leaf{};
  std::uint32_t features = 0;
  if (ymm_saved && bit(seven.ebx, 5) && bit(one.ecx, 29)) features |= kAvx2;
  if ((features & kAvx2) != 0 && bit(seven_one.eax, 4)) features |= kAvxVnni;
  const bool f = bit(seven.ebx, 16), dq = bit(seven.ebx, 17);
  const bool bw = bit(seven.ebx, 30), vl = bit(seven.ebx, 31);
  if (zmm_saved && f && dq && bw && vl && (features & kAvx2) != 0) features |= kAvx512;
  if ((features & kAvx512) != 0 && bit(seven.ecx, 11)) features |= kAvx512Vnni;
  return features;
}

void read_identity(Cpu& cpu) {
  const Leaf zero = leaf(0);
  std::array<char, 13> vendor{};
  std::memcpy(vendor.data(), &zero.ebx, 4);
  std::memcpy(vendor.data() + 4, &zero.edx, 4);
  std::memcpy(vendor.data() + 8, &zero.ecx, 4);
  cpu.vendor = vendor.data();

  const unsigned signature = leaf(1).eax;
  const unsigned family = (signature >> 8) & 0xFU;
  const unsigned extended = family == 0xF || family == 6 ? ((signature >> 16) & 0xFU) << 4 : 0;
  cpu.family = static_cast<int>(family == 0xF ? family + ((signature >> 20) & 0xFFU) : family);
  cpu.model = static_cast<int>(((signature >> 4) & 0xFU) | extended);

  std::array<char, 49> brand{};
  if (leaf(0x80000000U).eax >= 0x80000004U) {
    for (unsigned i = 0; i < 3; ++i) {
      const Leaf l = leaf(0x80000002U + i);
      std::memcpy(brand.data() + 16 * i, &l, 16);
    }
  }
  cpu.brand = brand.data();
}

/// Deterministic cache parameters, one sub-leaf a cache. Not sysconf: glibc gives the third level of
/// a whole AMD socket, ten times what one core can reach.
void read_caches(Cpu& cpu) {
  const unsigned id = cpu.vendor == "AuthenticAMD" ? 0x8000001DU : 4U;
  for (unsigned i = 0; i < 16; ++i) {
    const Leaf l = leaf(id, i);
    const unsigned kind = l.eax & 31U, level = (l.eax >> 5) & 7U;
    if (kind == 0) break;
    if (kind == 2) continue;  // instructions
    const std::int64_t ways = (l.ebx >> 22) + 1, partitions = ((l.ebx >> 12) & 0x3FFU) + 1;
    const std::int64_t line = (l.ebx & 0xFFFU) + 1, sets = std::int64_t{l.ecx} + 1;
    const std::int64_t bytes = ways * partitions * line * sets;
    if (level == 1) cpu.l1_bytes = bytes;
    if (level == 2) cpu.l2_bytes = bytes;
    if (level == 3) cpu.l3_bytes = bytes;
  }
}
#else
std::int64_t cache_bytes(int name) {
  const long bytes = sysconf(name);
  return bytes > 0 ? bytes : 0;
}
#endif

Cpu detect() {
  Cpu cpu;
#if defined(__x86_64__)
  read_identity(cpu);
  cpu.features = detect_features();
  read_caches(cpu);
#elif defined(_SC_LEVEL1_DCACHE_SIZE)
  cpu.l1_bytes = cache_bytes(_SC_LEVEL1_DCACHE_SIZE);
  cpu.l2_bytes = cache_bytes(_SC_LEVEL2_CACHE_SIZE);
  cpu.l3_bytes = cache_bytes(_SC_LEVEL3_CACHE_SIZE);
#endif
  cpu.usable_cpus = count_usable_cpus();
  return cpu;
}

}  // namespace

const Cpu& this_cpu() {
  static const Cpu cpu = detect();
  return cpu;
}

std::string describe_features(std::uint32_t features) {
  constexpr std::array<std::pair<CpuFeature, const char*>, 4> kNames{{
      {kAvx2, "AVX2 with F16C"},
      {kAvxVnni, "AVX-VNNI"},
      {kAvx512, "AVX-512 F/BW/VL/DQ"},
      {kAvx512Vnni, "AVX512-VNNI"},
  }};
  std::string text;
  for (const auto& [feature, label] : kNames) {
    if ((features & feature) == 0) continue;
    if (!text.empty()) text += ", ";
    text += label;
  }
  return text.empty() ? "none" : text;
}

}  // namespace quoin
