// The sm90a kernels that are built, by the range they are for.
#pragma once

#include "linear/kernels/cuda/kernels.h"

namespace quoin::cuda {

// Decode: the weights stream through A, all tokens fit one B tile.
inline constexpr Config kDecodeConfigs[] = {
    {.swap = true, .tile_a = 64, .tile_b = 8, .warpgroups = 1, .split_k = 1, .stages = 20, .persistent = true},
    {.swap = true, .tile_a = 64, .tile_b = 8, .warpgroups = 1, .split_k = 2, .stages = 20, .persistent = true},
    {.swap = true, .tile_a = 64, .tile_b = 8, .warpgroups = 1, .split_k = 2, .stages = 20},
    {.swap = true, .tile_a = 64, .tile_b = 8, .warpgroups = 1, .split_k = 1, .stages = 10, .ctas = 2},
    {.swap = true, .tile_a = 64, .tile_b = 8, .warpgroups = 1, .split_k = 4, .stages = 10, .ctas = 2},
    {.swap = true, .tile_a = 64, .tile_b = 16, .warpgroups = 1, .split_k = 1, .stages = 20, .persistent = true},
    {.swap = true, .tile_a = 64, .tile_b = 16, .warpgroups = 1, .split_k = 2, .stages = 20},
    {.swap = true, .tile_a = 64, .tile_b = 16, .warpgroups = 1, .split_k = 2, .stages = 20, .persistent = true},
    {.swap = true, .tile_a = 64, .tile_b = 16, .warpgroups = 1, .split_k = 2, .stages = 10, .ctas = 2},
    {.swap = true, .tile_a = 64, .tile_b = 16, .warpgroups = 1, .split_k = 1, .stages = 10, .ctas = 2},
    {.swap = true, .tile_a = 64, .tile_b = 16, .warpgroups = 1, .split_k = 4, .stages = 10, .ctas = 2},
    {.swap = true, .tile_a = 128, .tile_b = 16, .warpgroups = 2, .split_k = 1, .stages = 11, .persistent = true},
    {.swap = true, .tile_a = 128, .tile_b = 16, .warpgroups = 2, .split_k = 2, .stages = 5, .ctas = 2},
    {.swap = true, .tile_a = 128, .tile_b = 16, .warpgroups = 2, .split_k = 4, .stages = 5, .ctas = 2},
    {.swap = true, .tile_a = 128, .tile_b = 64, .warpgroups = 2, .split_k = 1, .stages = 8, .persistent = true},
    {.swap = true, .tile_a = 128, .tile_b = 64, .warpgroups = 2, .split_k = 4, .stages = 4, .ctas = 2},
    {.swap = true, .tile_a = 64, .tile_b = 64, .warpgroups = 1, .split_k = 2, .stages = 12},
    {.swap = true, .tile_a = 64, .tile_b = 64, .warpgroups = 1, .split_k = 4, .stages = 6, .ctas = 2},
    {.swap = true, .tile_a = 64, .tile_b = 32, .warpgroups = 1, .split_k = 2, .stages = 8, .ctas = 2},
};

// Few tiles: K is split or the loads shared, so that every SM has work and all of it in flight.
inline constexpr Config kMiddleConfigs[] = {
    {.swap = false, .tile_a = 64, .tile_b = 32, .warpgroups = 1, .split_k = 1, .stages = 16},
    {.swap = false, .tile_a = 64, .tile_b = 32, .warpgroups = 1, .split_k = 1, .cluster_a = 2, .stages = 16},
    {.swap = false, .tile_a = 64, .tile_b = 32, .warpgroups = 1, .split_k = 1, .cluster_a = 2, .cluster_b = 2, .stages = 16},
    {.swap = false, .tile_a = 64, .tile_b = 64, .warpgroups = 1, .split_k = 2, .stages = 6, .ctas = 2},
    {.swap = false, .tile_a = 64, .tile_b = 64, .warpgroups = 1, .split_k = 2, .stages = 8},
    {.swap = false, .tile_a = 128, .tile_b = 64, .warpgroups = 2, .split_k = 1, .stages = 8},
    {.swap = false, .tile_a = 64, .tile_b = 64, .warpgroups = 1, .split_k = 1, .stages = 12},
    {.swap = false, .tile_a = 64, .tile_b = 64, .warpgroups = 1, .split_k = 1, .cluster_a = 2, .stages = 12},
    {.swap = false, .tile_a = 128, .tile_b = 32, .warpgroups = 2, .split_k = 2, .stages = 8},
    {.swap = false, .tile_a = 64, .tile_b = 64, .warpgroups = 1, .split_k = 2, .cluster_a = 2, .cluster_b = 2, .stages = 6, .ctas = 2},
    {.swap = false, .tile_a = 64, .tile_b = 64, .warpgroups = 1, .split_k = 2, .cluster_a = 2, .cluster_b = 1, .stages = 6, .ctas = 2},
    {.swap = false, .tile_a = 128, .tile_b = 64, .warpgroups = 2, .split_k = 4, .stages = 3, .ctas = 2},
    {.swap = false, .tile_a = 128, .tile_b = 64, .warpgroups = 2, .split_k = 4, .cluster_b = 2, .stages = 3, .ctas = 2},
    {.swap = false, .tile_a = 64, .tile_b = 128, .warpgroups = 1, .split_k = 4, .stages = 3, .ctas = 2},
    {.swap = false, .tile_a = 64, .tile_b = 128, .warpgroups = 1, .split_k = 4, .cluster_a = 2, .stages = 3, .ctas = 2},
    {.swap = false, .tile_a = 128, .tile_b = 128, .warpgroups = 2, .split_k = 8, .stages = 2, .ctas = 2},
    {.swap = false, .tile_a = 128, .tile_b = 128, .warpgroups = 2, .split_k = 4, .stages = 5},
    {.swap = false, .tile_a = 128, .tile_b = 128, .warpgroups = 2, .split_k = 2, .stages = 5},
    {.swap = false, .tile_a = 128, .tile_b = 128, .warpgroups = 2, .split_k = 1, .stages = 6},
    {.swap = false, .tile_a = 128, .tile_b = 128, .warpgroups = 2, .split_k = 1, .cluster_a = 2, .stages = 6},
    {.swap = false, .tile_a = 128, .tile_b = 64, .warpgroups = 2, .split_k = 2, .stages = 8},
    {.swap = false, .tile_a = 128, .tile_b = 64, .warpgroups = 2, .split_k = 2, .cluster_b = 2, .stages = 4, .ctas = 2},
    {.swap = false, .tile_a = 128, .tile_b = 64, .warpgroups = 2, .split_k = 1, .cluster_b = 2, .stages = 8},
};

// Many tiles: the tensor cores are the limit.
inline constexpr Config kLargeConfigs[] = {
    {.swap = false, .tile_a = 128, .tile_b = 256, .warpgroups = 2, .split_k = 1, .stages = 4, .persistent = true},
    {.swap = false, .tile_a = 128, .tile_b = 256, .warpgroups = 2, .split_k = 1, .cluster_a = 2, .stages = 4, .persistent = true},
    {.swap = false, .tile_a = 256, .tile_b = 128, .warpgroups = 2, .split_k = 1, .stages = 4, .persistent = true},
    {.swap = false, .tile_a = 256, .tile_b = 128, .warpgroups = 2, .split_k = 1, .cluster_b = 2, .stages = 4, .persistent = true},
    {.swap = false, .tile_a = 256, .tile_b = 128, .warpgroups = 2, .split_k = 1, .cluster_a = 2, .stages = 4, .persistent = true},
    {.swap = false, .tile_a = 128, .tile_b = 256, .warpgroups = 2, .split_k = 1, .cluster_b = 2, .stages = 4, .persistent = true},
    {.swap = false, .tile_a = 128, .tile_b = 256, .warpgroups = 2, .split_k = 1, .cluster_a = 2, .cluster_b = 2, .stages = 4, .persistent = true},
};

}  // namespace quoin::cuda
