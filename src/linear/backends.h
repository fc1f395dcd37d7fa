// The one list of backends: what each needs, its tile, and the layout it wants its weights in.
//
// Dispatch, planning, tests, benchmarks, the command line and the docs iterate over kBackends (the
// CPU's) and kGpuBackends. A new backend is a file with its kernels and one entry here
// (CONTRIBUTING.md, five steps).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "device/cpu.h"
#include "linear/kernels/cpu/kernels.h"

namespace quoin {

struct Backend {
  std::string_view name;
  std::string_view summary;
  std::uint32_t needs = 0;              // of CpuFeature
  const CpuKernels* kernels = nullptr;  // null: not built for this architecture

  int tile_rows = 0;  // most rows of x in one kernel call
  int tile_cols = 0;  // most output channels in one kernel call: one block of packed weights

  // A block is a sequence of panels of `panel_cols` channels. In a panel, for each group of
  // `k_group` k, each channel's `k_group` bytes follow one another. The last panel of a layer is
  // only as wide as its channels, rounded up to `round_cols`; K is padded to a multiple of k_group.
  int panel_cols = 0;
  int round_cols = 0;
  int k_group = 0;
  bool shift_weight = false;  // store w + 128: the unsigned side of vpdpbusd

  // A long K is cut into chunks (chunk_of_k, pack.h) of at most this much, so that two chunks of a
  // block's weights and the rows that use them fit a second-level cache. Each chunk has all of the
  // block's panels, so a call on one chunk reads on without a gap. 0: K is never cut.
  std::int64_t max_k_block = 0;

  bool prefetches = false;        // the kernel honours CpuTile::prefetch,
  bool prefetches_alone = false;  // also where it is alone with its weights
  int vector_bits = 0;            // of the registers it works on
  double ops_per_cycle = 0;  // int8 multiplies and adds, one core whose multipliers are as wide
};

#if defined(__x86_64__)
#define QUOIN_X86_KERNELS(kernels) (&(kernels))
#else
#define QUOIN_X86_KERNELS(kernels) nullptr
#endif

/// Fastest first: the first one that the machine has is the default.
inline constexpr std::array<Backend, 4> kBackends{{
    {
        .name = "avx512_vnni",
        .summary = "vpdpbusd on 512-bit registers (Intel from Ice Lake, AMD from Zen 4)",
        .needs = kAvx2 | kAvx512 | kAvx512Vnni,
        .kernels = QUOIN_X86_KERNELS(kAvx512VnniKernels),
        .tile_rows = 8,
        .tile_cols = 48,
        .panel_cols = 48,
        .round_cols = 16,
        .k_group = 4,
        .shift_weight = true,
        // Zen 5, 1 MiB of L2, 128 x 4096 x 14336: whole K .888 of the limit, 4800 .915, 2048 .908;
        // K = 4096 in halves loses 1-2 points, in eighths 6 (measured 2026-11-20).
        .max_k_block = 4800,
        .prefetches = true,
        .prefetches_alone = true,
        .vector_bits = 512,
        .ops_per_cycle = 256,  // 2 a cycle x 16 lanes x 4 products x 2, measured on Zen 5
    },
    {
        .name = "avx_vnni",
        .summary = "vpdpbusd on 256-bit registers (Intel from Alder Lake, AMD from Zen 5)",
        .needs = kAvx2 | kAvxVnni,
        .kernels = QUOIN_X86_KERNELS(kAvxVnniKernels),
        .tile_rows = 6,
        .tile_cols = 16,
        .panel_cols = 16,
        .round_cols = 16,
        .k_group = 4,
        .shift_weight = true,
        .max_k_block = 9600,
        .prefetches = true,
        .prefetches_alone = true,
        .vector_bits = 256,
        .ops_per_cycle = 128,  // half of avx512_vnni, measured on Zen 5
    },
    {
        .name = "avx2",
        .summary = "vpmaddwd on words (x86-64 from Haswell and Zen)",
        .needs = kAvx2,
        .kernels = QUOIN_X86_KERNELS(kAvx2Kernels),
        .tile_rows = 6,
        .tile_cols = 128,
        .panel_cols = 16,
        .round_cols = 16,
        .k_group = 2,
        .max_k_block = 4096,
        .prefetches = true,
        .vector_bits = 256,
        .ops_per_cycle = 64,  // 2 a cycle x 16 products x 2, with a vpaddd beside each
    },
    {
        .name = "portable",
        .summary = "plain C++ (every architecture)",
        .kernels = &kPortableKernels,
        .tile_rows = 8,
        .tile_cols = 16,
        .panel_cols = 1,
        .round_cols = 1,
        .k_group = 4,
        .vector_bits = 128,
        .ops_per_cycle = 12,  // pmaddwd on 128 bits with its widening, measured on Zen 5
    },
}};

#undef QUOIN_X86_KERNELS

/// A family of CUDA kernels; which of them does a product is planned for each M (plan/cuda_plan.h).
struct GpuBackend {
  std::string_view name;
  std::string_view summary;
  int first_capability = 0, last_capability = 0;  // 10 * major + minor, both included
};

/// Fastest first. sm90a leaves what the copy engine does not take to sm80's kernel.
inline constexpr std::array<GpuBackend, 2> kGpuBackends{{
    {"sm90a", "wgmma, TMA and clusters (NVIDIA Hopper)", 90, 90},
    {"sm80", "mma.sync and cp.async (NVIDIA from Ampere on)", 80, 999},
}};

}  // namespace quoin
