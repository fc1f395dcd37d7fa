// The sm90a kernels that are built, by the range they are for. docs/sm90a.md has their times and
// what was tried beside them.
#pragma once

#include <iterator>

#include "linear/kernels/cuda/sm90a_config.h"

namespace quoin::cuda {

// clang-format off

// Decode: the weights stream through A, all tokens fit one B tile. Two CTAs on an SM, because one's
// start and end then hide behind the other's stream; K in two, so that 64 rows of weights an SM do,
// or not, where their number then comes closer to that of the SMs (6144x4096: 8.15 us for 8.6).
// The persistent ones stream best where launches overlap.
inline constexpr Config kDecodeConfigs[] = {
    {.swap = true, .tile_a = 64, .tile_b = 8, .warpgroups = 1, .split_k = 2, .stages = 10,
     .chains = 4, .ctas = 2, .issuers = 3, .permille = 909},
    {.swap = true, .tile_a = 64, .tile_b = 16, .warpgroups = 1, .split_k = 2, .stages = 10,
     .chains = 4, .ctas = 2, .issuers = 3, .permille = 932},
    {.swap = true, .tile_a = 64, .tile_b = 16, .warpgroups = 1, .split_k = 2, .stages = 20,
     .chains = 4, .persistent = true, .permille = 955},
    {.swap = true, .tile_a = 64, .tile_b = 16, .warpgroups = 1, .split_k = 1, .stages = 10,
     .chains = 4, .ctas = 2, .issuers = 3, .permille = 1007},
    {.swap = true, .tile_a = 64, .tile_b = 32, .warpgroups = 1, .split_k = 1, .stages = 9,
     .chains = 2, .ctas = 2, .issuers = 3, .permille = 1112},
    {.swap = true, .tile_a = 64, .tile_b = 32, .warpgroups = 1, .split_k = 2, .stages = 8,
     .chains = 2, .ctas = 2, .issuers = 3, .permille = 970},
    {.swap = true, .tile_a = 64, .tile_b = 32, .warpgroups = 1, .split_k = 2, .stages = 17,
     .chains = 2, .persistent = true, .permille = 966},
    {.swap = true, .tile_a = 64, .tile_b = 64, .warpgroups = 1, .split_k = 2, .stages = 12,
     .permille = 1019},
    {.swap = true, .tile_a = 64, .tile_b = 80, .warpgroups = 1, .split_k = 2, .stages = 10,
     .permille = 1028},
    {.swap = true, .tile_a = 64, .tile_b = 96, .warpgroups = 1, .split_k = 2, .stages = 9,
     .permille = 1089},
};

// Few tiles: what counts is how soon all loads are in flight and how little follows the last one.
// Odd widths make the number of tiles come close to the number of SMs. Two CTAs on an SM want all
// five warps to start loads: 30.3 us for 31.9 at 32x28672x4096 with 64x112.
inline constexpr Config kMiddleConfigs[] = {
    {.swap = false, .tile_a = 64, .tile_b = 64, .warpgroups = 1, .split_k = 1, .stages = 12,
     .permille = 990},
    {.swap = false, .tile_a = 64, .tile_b = 64, .warpgroups = 1, .split_k = 1, .stages = 6,
     .ctas = 2, .issuers = 5, .permille = 953},
    {.swap = false, .tile_a = 64, .tile_b = 64, .warpgroups = 1, .split_k = 2, .stages = 8,
     .permille = 1068},
    {.swap = true, .tile_a = 64, .tile_b = 80, .warpgroups = 1, .split_k = 1, .stages = 12,
     .permille = 948},
    {.swap = true, .tile_a = 64, .tile_b = 96, .warpgroups = 1, .split_k = 1, .stages = 10,
     .permille = 917},
    {.swap = true, .tile_a = 64, .tile_b = 112, .warpgroups = 1, .split_k = 1, .stages = 9,
     .permille = 903},
    {.swap = false, .tile_a = 64, .tile_b = 96, .warpgroups = 1, .split_k = 1, .stages = 10,
     .permille = 1090},
    {.swap = false, .tile_a = 64, .tile_b = 112, .warpgroups = 1, .split_k = 1, .stages = 4,
     .ctas = 2, .issuers = 5, .permille = 1105},
    {.swap = false, .tile_a = 64, .tile_b = 128, .warpgroups = 1, .split_k = 1, .stages = 8,
     .permille = 949},
    {.swap = false, .tile_a = 128, .tile_b = 64, .warpgroups = 2, .split_k = 1, .stages = 8,
     .permille = 1029},
    {.swap = false, .tile_a = 128, .tile_b = 96, .warpgroups = 2, .split_k = 1, .stages = 7,
     .permille = 1051},
    {.swap = false, .tile_a = 128, .tile_b = 128, .warpgroups = 2, .split_k = 1, .stages = 6,
     .permille = 1094},
    {.swap = false, .tile_a = 128, .tile_b = 128, .warpgroups = 1, .split_k = 1, .stages = 3,
     .ctas = 2, .issuers = 5, .permille = 1175},
};

// Many tiles: the tensor cores are the limit, and how fast L2 feeds an SM (about 60 bytes a cycle;
// 128x128 wants 64, 128x192 53, 128x256 48), and the card's power.
inline constexpr Config kLargeConfigs[] = {
    {.swap = false, .tile_a = 64, .tile_b = 128, .warpgroups = 2, .split_k = 1, .stages = 8,
     .ping_pong = true, .persistent = true, .permille = 969},
    {.swap = false, .tile_a = 64, .tile_b = 256, .warpgroups = 2, .split_k = 1, .stages = 5,
     .ping_pong = true, .persistent = true, .permille = 863},
    {.swap = false, .tile_a = 128, .tile_b = 128, .warpgroups = 2, .split_k = 1, .stages = 6,
     .ping_pong = true, .persistent = true, .permille = 1010},
    {.swap = false, .tile_a = 128, .tile_b = 128, .warpgroups = 2, .split_k = 1, .cluster_a = 2,
     .stages = 6, .ping_pong = true, .persistent = true, .permille = 1085},
    {.swap = false, .tile_a = 128, .tile_b = 176, .warpgroups = 2, .split_k = 1, .cluster_a = 2,
     .stages = 5, .ping_pong = true, .persistent = true, .permille = 1055},
    {.swap = false, .tile_a = 128, .tile_b = 192, .warpgroups = 2, .split_k = 1, .cluster_a = 2,
     .stages = 5, .ping_pong = true, .persistent = true, .permille = 1036},
    {.swap = false, .tile_a = 128, .tile_b = 192, .tail_b = 64, .warpgroups = 2, .split_k = 1,
     .cluster_a = 2, .stages = 5, .ping_pong = true, .persistent = true, .permille = 1015},
    {.swap = false, .tile_a = 128, .tile_b = 192, .tail_b = 64, .warpgroups = 2, .split_k = 1,
     .stages = 5, .ping_pong = true, .persistent = true, .permille = 1037},
    {.swap = false, .tile_a = 128, .tile_b = 224, .warpgroups = 2, .split_k = 1, .stages = 4,
     .persistent = true, .permille = 1014},
    {.swap = false, .tile_a = 128, .tile_b = 256, .warpgroups = 2, .split_k = 1, .stages = 4,
     .persistent = true, .permille = 1052},
    {.swap = false, .tile_a = 128, .tile_b = 256, .warpgroups = 2, .split_k = 1, .cluster_a = 2,
     .stages = 4, .persistent = true, .permille = 1001},
    {.swap = false, .tile_a = 256, .tile_b = 128, .warpgroups = 2, .split_k = 1, .cluster_b = 2,
     .stages = 4, .persistent = true, .permille = 1081},
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
