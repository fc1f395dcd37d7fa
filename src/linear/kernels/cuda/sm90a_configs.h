// The sm90a kernels that are built, by the range they are for.
#pragma once

#include "linear/kernels/cuda/kernels.h"

namespace quoin::cuda {

// Decode: the weights stream through A, all tokens fit one B tile.
inline constexpr Config kDecodeConfigs[] = {
    {.swap = true, .tile_a = 64, .tile_b = 8, .warpgroups = 1, .split_k = 2, .stages = 20},
    {.swap = true, .tile_a = 64, .tile_b = 8, .warpgroups = 1, .split_k = 2, .stages = 20, .chains = 4},
    {.swap = true, .tile_a = 64, .tile_b = 8, .warpgroups = 1, .split_k = 1, .stages = 10, .chains = 4, .ctas = 2},
    {.swap = true, .tile_a = 64, .tile_b = 8, .warpgroups = 1, .split_k = 2, .stages = 10, .chains = 4, .ctas = 2},
    {.swap = true, .tile_a = 64, .tile_b = 16, .warpgroups = 1, .split_k = 2, .stages = 20, .chains = 4},
    {.swap = true, .tile_a = 64, .tile_b = 16, .warpgroups = 1, .split_k = 2, .stages = 20, .chains = 2},
    {.swap = true, .tile_a = 64, .tile_b = 16, .warpgroups = 1, .split_k = 2, .stages = 10, .chains = 4, .ctas = 2},
    {.swap = true, .tile_a = 64, .tile_b = 16, .warpgroups = 1, .split_k = 1, .stages = 10, .chains = 4, .ctas = 2},
    {.swap = true, .tile_a = 128, .tile_b = 16, .warpgroups = 2, .split_k = 2, .stages = 5, .chains = 4, .ctas = 2},
    {.swap = true, .tile_a = 128, .tile_b = 16, .warpgroups = 2, .split_k = 4, .stages = 5, .chains = 4, .ctas = 2},
    {.swap = true, .tile_a = 64, .tile_b = 16, .warpgroups = 1, .split_k = 2, .stages = 20, .chains = 4, .persistent = true},
    {.swap = true, .tile_a = 64, .tile_b = 64, .warpgroups = 1, .split_k = 2, .stages = 12, .chains = 2},
    {.swap = true, .tile_a = 64, .tile_b = 32, .warpgroups = 1, .split_k = 2, .stages = 8, .chains = 2, .ctas = 2},
    {.swap = true, .tile_a = 64, .tile_b = 32, .warpgroups = 1, .split_k = 2, .stages = 16, .chains = 4},
};

// Few tiles: K is split or the loads shared, so that every SM has work and all of it in flight.
inline constexpr Config kMiddleConfigs[] = {
    {.swap = false, .tile_a = 64, .tile_b = 32, .warpgroups = 1, .split_k = 1, .stages = 16, .chains = 4},
    {.swap = false, .tile_a = 64, .tile_b = 64, .warpgroups = 1, .split_k = 2, .stages = 8, .chains = 1},
    {.swap = false, .tile_a = 64, .tile_b = 64, .warpgroups = 1, .split_k = 2, .stages = 8, .chains = 2},
    {.swap = false, .tile_a = 64, .tile_b = 64, .warpgroups = 1, .split_k = 2, .stages = 8, .chains = 4},
    {.swap = false, .tile_a = 64, .tile_b = 64, .warpgroups = 1, .split_k = 2, .stages = 6, .chains = 2, .ctas = 2},
    {.swap = false, .tile_a = 64, .tile_b = 64, .warpgroups = 1, .split_k = 2, .cluster_a = 2, .cluster_b = 2, .stages = 6, .chains = 2, .ctas = 2},
    {.swap = false, .tile_a = 64, .tile_b = 64, .warpgroups = 1, .split_k = 2, .cluster_a = 2, .stages = 8, .chains = 2},
    {.swap = false, .tile_a = 64, .tile_b = 64, .warpgroups = 1, .split_k = 1, .stages = 12, .chains = 2},
    {.swap = false, .tile_a = 64, .tile_b = 64, .warpgroups = 1, .split_k = 1, .cluster_a = 2, .stages = 12, .chains = 2},
    {.swap = false, .tile_a = 128, .tile_b = 64, .warpgroups = 2, .split_k = 4, .stages = 3, .chains = 2, .ctas = 2},
    {.swap = false, .tile_a = 128, .tile_b = 32, .warpgroups = 2, .split_k = 2, .stages = 8, .chains = 2},
    {.swap = false, .tile_a = 128, .tile_b = 64, .warpgroups = 2, .split_k = 2, .stages = 8, .chains = 2},
    {.swap = false, .tile_a = 128, .tile_b = 64, .warpgroups = 2, .split_k = 1, .stages = 8, .chains = 2},
    {.swap = false, .tile_a = 128, .tile_b = 64, .warpgroups = 2, .split_k = 1, .cluster_b = 2, .stages = 8, .chains = 2},
    {.swap = false, .tile_a = 128, .tile_b = 128, .warpgroups = 2, .split_k = 2, .stages = 5},
    {.swap = false, .tile_a = 128, .tile_b = 128, .warpgroups = 2, .split_k = 1, .stages = 6},
    {.swap = false, .tile_a = 128, .tile_b = 128, .warpgroups = 2, .split_k = 1, .cluster_a = 2, .stages = 6},
    {.swap = false, .tile_a = 128, .tile_b = 128, .warpgroups = 2, .split_k = 1, .cluster_a = 2, .cluster_b = 2, .stages = 6},
    {.swap = false, .tile_a = 128, .tile_b = 128, .warpgroups = 2, .split_k = 1, .cluster_a = 4, .stages = 6},
};

// Many tiles: the tensor cores are the limit.
inline constexpr Config kLargeConfigs[] = {
    {.swap = false, .tile_a = 128, .tile_b = 256, .warpgroups = 2, .split_k = 1, .stages = 4, .persistent = true},
    {.swap = false, .tile_a = 128, .tile_b = 256, .warpgroups = 2, .split_k = 1, .cluster_a = 2, .stages = 4, .persistent = true},
    {.swap = false, .tile_a = 256, .tile_b = 128, .warpgroups = 2, .split_k = 1, .cluster_b = 2, .stages = 4, .persistent = true},
    {.swap = false, .tile_a = 256, .tile_b = 128, .warpgroups = 2, .split_k = 1, .cluster_a = 2, .stages = 4, .persistent = true},
    {.swap = false, .tile_a = 256, .tile_b = 192, .warpgroups = 2, .split_k = 1, .stages = 3, .persistent = true},
    {.swap = false, .tile_a = 256, .tile_b = 192, .warpgroups = 2, .split_k = 1, .cluster_a = 2, .stages = 3, .persistent = true},
    {.swap = false, .tile_a = 128, .tile_b = 192, .warpgroups = 2, .split_k = 1, .cluster_a = 2, .stages = 5, .persistent = true},
};

}  // namespace quoin::cuda
