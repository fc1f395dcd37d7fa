// The sm90a kernels that are built, by the range they are for. docs/sm90a.md has their times and
// what was tried beside them.
#pragma once

#include <iterator>

#include "linear/kernels/cuda/sm90a_config.h"

namespace quoin::cuda {

// clang-format off

// Decode: the weights stream through A, all tokens fit one B tile. Two CTAs on an SM, because one's
// start and end then hide behind the other's stream; K in two, so that 64 rows of weights an SM do.
// The persistent ones stream best where launches overlap.
inline constexpr Config kDecodeConfigs[] = {
    {.swap = true, .tile_a = 64, .tile_b = 8, .warpgroups = 1, .split_k = 2, .stages = 10,
     .chains = 4, .ctas = 2, .issuers = 3, .permille = 937},
    {.swap = true, .tile_a = 64, .tile_b = 16, .warpgroups = 1, .split_k = 2, .stages = 10,
     .chains = 4, .ctas = 2, .issuers = 3, .permille = 953},
    {.swap = true, .tile_a = 64, .tile_b = 16, .warpgroups = 1, .split_k = 2, .stages = 20,
     .chains = 4, .persistent = true, .permille = 990},
    {.swap = true, .tile_a = 64, .tile_b = 32, .warpgroups = 1, .split_k = 2, .stages = 8,
     .chains = 2, .ctas = 2, .issuers = 3, .permille = 974},
    {.swap = true, .tile_a = 64, .tile_b = 32, .warpgroups = 1, .split_k = 2, .stages = 17,
     .chains = 2, .persistent = true, .permille = 990},
    {.swap = true, .tile_a = 64, .tile_b = 64, .warpgroups = 1, .split_k = 2, .stages = 12,
     .permille = 1003},
    {.swap = true, .tile_a = 64, .tile_b = 80, .warpgroups = 1, .split_k = 2, .stages = 10,
     .permille = 1060},
    {.swap = true, .tile_a = 64, .tile_b = 96, .warpgroups = 1, .split_k = 2, .stages = 9,
     .permille = 1070},
};

// Few tiles: what counts is how soon all loads are in flight and how little follows the last one.
// Odd widths make the number of tiles come close to the number of SMs. Two CTAs on an SM want all
// five warps to start loads: 30.3 us for 31.9 at 32x28672x4096 with 64x112.
inline constexpr Config kMiddleConfigs[] = {
    {.swap = false, .tile_a = 64, .tile_b = 64, .warpgroups = 1, .split_k = 1, .stages = 12,
     .permille = 985},
    {.swap = false, .tile_a = 64, .tile_b = 64, .warpgroups = 1, .split_k = 1, .stages = 6,
     .ctas = 2, .issuers = 5, .permille = 989},
    {.swap = false, .tile_a = 64, .tile_b = 64, .warpgroups = 1, .split_k = 2, .stages = 8,
     .permille = 1071},
    {.swap = true, .tile_a = 64, .tile_b = 80, .warpgroups = 1, .split_k = 1, .stages = 12,
     .permille = 1003},
    {.swap = true, .tile_a = 64, .tile_b = 96, .warpgroups = 1, .split_k = 1, .stages = 10,
     .permille = 963},
    {.swap = false, .tile_a = 64, .tile_b = 96, .warpgroups = 1, .split_k = 1, .stages = 10,
     .permille = 1047},
    {.swap = false, .tile_a = 64, .tile_b = 112, .warpgroups = 1, .split_k = 1, .stages = 4,
     .ctas = 2, .issuers = 5, .permille = 939},
    {.swap = false, .tile_a = 64, .tile_b = 128, .warpgroups = 1, .split_k = 1, .stages = 8,
     .permille = 944},
    {.swap = false, .tile_a = 128, .tile_b = 64, .warpgroups = 2, .split_k = 1, .stages = 8,
     .permille = 988},
    {.swap = false, .tile_a = 128, .tile_b = 64, .warpgroups = 2, .split_k = 2, .stages = 8,
     .permille = 1089},
    {.swap = false, .tile_a = 128, .tile_b = 96, .warpgroups = 2, .split_k = 1, .stages = 7,
     .permille = 1056},
    {.swap = false, .tile_a = 128, .tile_b = 128, .warpgroups = 2, .split_k = 1, .stages = 6,
     .permille = 1040},
    {.swap = false, .tile_a = 128, .tile_b = 128, .warpgroups = 1, .split_k = 1, .stages = 3,
     .ctas = 2, .issuers = 5, .permille = 987},
};

// Many tiles: the tensor cores are the limit, and how fast L2 feeds an SM (about 60 bytes a cycle;
// 128x128 wants 64, 128x192 53, 128x256 48), and the card's power.
inline constexpr Config kLargeConfigs[] = {
    {.swap = false, .tile_a = 64, .tile_b = 128, .warpgroups = 2, .split_k = 1, .stages = 8,
     .ping_pong = true, .persistent = true, .permille = 980},
    {.swap = false, .tile_a = 64, .tile_b = 256, .warpgroups = 2, .split_k = 1, .stages = 5,
     .ping_pong = true, .persistent = true, .permille = 849},
    {.swap = false, .tile_a = 128, .tile_b = 128, .warpgroups = 2, .split_k = 1, .stages = 6,
     .ping_pong = true, .persistent = true, .permille = 1035},
    {.swap = false, .tile_a = 128, .tile_b = 128, .warpgroups = 2, .split_k = 1, .cluster_a = 2,
     .stages = 6, .ping_pong = true, .persistent = true, .permille = 1061},
    {.swap = false, .tile_a = 128, .tile_b = 192, .warpgroups = 2, .split_k = 1, .stages = 5,
     .ping_pong = true, .persistent = true, .permille = 983},
    {.swap = false, .tile_a = 128, .tile_b = 192, .warpgroups = 2, .split_k = 1, .cluster_a = 2,
     .stages = 5, .ping_pong = true, .persistent = true, .permille = 1027},
    {.swap = false, .tile_a = 128, .tile_b = 256, .warpgroups = 2, .split_k = 1, .stages = 4,
     .persistent = true, .permille = 958},
    {.swap = false, .tile_a = 128, .tile_b = 256, .warpgroups = 2, .split_k = 1, .cluster_a = 2,
     .stages = 4, .persistent = true, .permille = 1043},
    {.swap = false, .tile_a = 256, .tile_b = 128, .warpgroups = 2, .split_k = 1, .cluster_b = 2,
     .stages = 4, .persistent = true, .permille = 1019},
};

// clang-format on

/// All of them in one row: the number of a kernel is its place here.
inline constexpr int kDecodeCount = static_cast<int>(std::size(kDecodeConfigs));
inline constexpr int kMiddleCount = static_cast<int>(std::size(kMiddleConfigs));
inline constexpr int kKernelCount =
    kDecodeCount + kMiddleCount + static_cast<int>(std::size(kLargeConfigs));

[[nodiscard]] constexpr const Config& config_at(int kernel) {
  if (kernel < kDecodeCount) return kDecodeConfigs[kernel];
  if (kernel < kDecodeCount + kMiddleCount) return kMiddleConfigs[kernel - kDecodeCount];
  return kLargeConfigs[kernel - kDecodeCount - kMiddleCount];
}

}  // namespace quoin::cuda
