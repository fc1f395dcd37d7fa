// The loops are inline assembly, so that no file needs instruction-set flags and no compiler
// improves them. They touch xmm/ymm/zmm0-15 only, which the clobbers name.
#include "device/limits.h"

#include <omp.h>

#include <algorithm>
#include <chrono>

#include "device/cpu.h"

namespace quoin {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

#if defined(__x86_64__)
#define QUOIN_CLOBBERS                                                                     \
  "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", \
      "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "cc"

// 14 sums in registers 0-13, operands in 14 and 15: more than the 8 (latency 4, two a cycle)
// needed.
constexpr int kSums = 14;
#define QUOIN_ALL_SUMS(op) \
  op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7) op(8) op(9) op(10) op(11) op(12) op(13)

void loop_vpdpbusd_zmm(std::int64_t rounds) {
#define QUOIN_OP(r) "vpdpbusd %%zmm14, %%zmm15, %%zmm" #r "\n\t"
  __asm__ volatile(
      "vpxord %%zmm14, %%zmm14, %%zmm14\n\tvpxord %%zmm15, %%zmm15, %%zmm15\n"
      "1:\n\t" QUOIN_ALL_SUMS(QUOIN_OP) "dec %0\n\tjnz 1b\n\tvzeroupper"
      : "+r"(rounds)::QUOIN_CLOBBERS);
#undef QUOIN_OP
}

// %{ and %} are literal braces: plain ones choose between assembler dialects.
void loop_vpdpbusd_ymm(std::int64_t rounds) {
#define QUOIN_OP(r) "%{vex%} vpdpbusd %%ymm14, %%ymm15, %%ymm" #r "\n\t"
  __asm__ volatile(
      "vpxor %%ymm14, %%ymm14, %%ymm14\n\tvpxor %%ymm15, %%ymm15, %%ymm15\n"
      "1:\n\t" QUOIN_ALL_SUMS(QUOIN_OP) "dec %0\n\tjnz 1b\n\tvzeroupper"
      : "+r"(rounds)::QUOIN_CLOBBERS);
#undef QUOIN_OP
}

constexpr int kMaddPairs = 12;

// Two products, then their two sums: 5% faster on Zen 5 than product and sum in turn.
void loop_vpmaddwd_ymm(std::int64_t rounds) {
#define QUOIN_OP(sum0, sum1)                    \
  "vpmaddwd %%ymm14, %%ymm15, %%ymm12\n\t"      \
  "vpmaddwd %%ymm14, %%ymm15, %%ymm13\n\t"      \
  "vpaddd %%ymm12, %%ymm" #sum0 ", %%ymm" #sum0 \
  "\n\t"                                        \
  "vpaddd %%ymm13, %%ymm" #sum1 ", %%ymm" #sum1 "\n\t"
  __asm__ volatile(
      "vpxor %%ymm14, %%ymm14, %%ymm14\n\tvpxor %%ymm15, %%ymm15, %%ymm15\n"
      "1:\n\t" QUOIN_OP(0, 1) QUOIN_OP(2, 3) QUOIN_OP(4, 5) QUOIN_OP(6, 7) QUOIN_OP(8, 9)
          QUOIN_OP(10, 11) "dec %0\n\tjnz 1b\n\tvzeroupper"
      : "+r"(rounds)::QUOIN_CLOBBERS);
#undef QUOIN_OP
}

/// Reads `bytes` (a multiple of 512) with 64-byte loads.
void read_zmm(const std::uint8_t* data, std::size_t bytes) {
  const std::uint8_t* end = data + bytes;
  __asm__ volatile(
      "1:\n\t"
      "vmovdqu64 (%0), %%zmm0\n\tvmovdqu64 64(%0), %%zmm1\n\t"
      "vmovdqu64 128(%0), %%zmm2\n\tvmovdqu64 192(%0), %%zmm3\n\t"
      "vmovdqu64 256(%0), %%zmm4\n\tvmovdqu64 320(%0), %%zmm5\n\t"
      "vmovdqu64 384(%0), %%zmm6\n\tvmovdqu64 448(%0), %%zmm7\n\t"
      "add $512, %0\n\tcmp %1, %0\n\tjb 1b\n\tvzeroupper"
      : "+r"(data)
      : "r"(end)
      : QUOIN_CLOBBERS, "memory");
}
#endif

struct Loop {
  void (*run)(std::int64_t rounds) = nullptr;
  std::uint32_t needs = 0;
  double ops_per_round = 0;
};

Loop find_loop([[maybe_unused]] PeakLoop loop) {
#if defined(__x86_64__)
  switch (loop) {
    case PeakLoop::vpdpbusd_zmm: return {loop_vpdpbusd_zmm, kAvx512Vnni, 128.0 * kSums};
    case PeakLoop::vpdpbusd_ymm: return {loop_vpdpbusd_ymm, kAvxVnni, 64.0 * kSums};
    case PeakLoop::vpmaddwd_ymm: return {loop_vpmaddwd_ymm, kAvx2, 32.0 * kMaddPairs};
  }
#endif
  return {};
}

void read_plain(const std::uint8_t* data, std::size_t bytes) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i + 8 <= bytes; i += 8) {
    sum += *reinterpret_cast<const volatile std::uint64_t*>(data + i);
  }
  __asm__ volatile("" : : "r"(sum));
}

void read_all(const std::uint8_t* data, std::size_t bytes) {
#if defined(__x86_64__)
  if ((this_cpu().features & kAvx512) != 0) {
    if (bytes >= 512) read_zmm(data, bytes / 512 * 512);
    return;
  }
#endif
  read_plain(data, bytes);
}

/// Seconds that `threads` threads take for body(thread) each, started together.
template <class Body>
double time_together(int threads, const Body& body) {
  double slowest = 0;
#pragma omp parallel num_threads(threads) reduction(max : slowest)
  {
#pragma omp barrier
    const Clock::time_point start = Clock::now();
    body(omp_get_thread_num());
    slowest = seconds_since(start);
  }
  return slowest;
}

}  // namespace

std::optional<cost::OpsPerSecond> measure_peak(PeakLoop which, int threads, double seconds) {
  const Loop loop = find_loop(which);
  if (loop.run == nullptr || (this_cpu().features & loop.needs) != loop.needs) return {};
  constexpr double kRoundsPerSecond = 2e8;  // of a fast core; a slow one takes a little longer
  const auto rounds =
      std::max<std::int64_t>(1000, static_cast<std::int64_t>(seconds * kRoundsPerSecond));
  const double time = time_together(threads, [&](int) { loop.run(rounds); });
  return cost::Ops{loop.ops_per_round * static_cast<double>(rounds) * threads} /
         cost::Seconds{time};
}

cost::BytesPerSecond measure_read(const std::uint8_t* data, std::size_t bytes, int threads,
                                  double seconds) {
  const std::size_t part = bytes / static_cast<std::size_t>(threads) / 512 * 512;
  double time = 0, total = 0;
  while (time < seconds || total == 0) {
    time += time_together(threads, [&](int thread) {
      read_all(data + part * static_cast<std::size_t>(thread), part);
    });
    total += static_cast<double>(part) * threads;
    if (part == 0) break;
  }
  return cost::Bytes{total} / cost::Seconds{std::max(time, 1e-9)};
}

}  // namespace quoin
