// Weights from [N, K] rows into the blocks that a backend's kernels read (layout: backends.h).
#pragma once

#include <cstdint>

#include "linear/backends.h"

namespace quoin {

/// K rounded up to the backend's group.
[[nodiscard]] std::int64_t padded_k(const Backend& backend, std::int64_t k) noexcept;

/// k of one kernel call: all of K, or even chunks of at most backend.max_k_block (the last one may
/// be shorter), each a multiple of kPrefetchSpan.
[[nodiscard]] std::int64_t chunk_of_k(const Backend& backend, std::int64_t k) noexcept;

/// `cols` channels of one block rounded up to what the block holds.
[[nodiscard]] std::int64_t padded_cols(const Backend& backend, std::int64_t cols) noexcept;

/// Bytes of all n channels, packed; the padding of the last panel included.
[[nodiscard]] std::int64_t packed_bytes(const Backend& backend, std::int64_t n,
                                        std::int64_t k) noexcept;

/// Packs weight[n, k], rows `stride_elems` apart, into `packed` (packed_bytes of it).
void pack_weight(const Backend& backend, const std::int8_t* weight, std::int64_t stride_elems,
                 std::int64_t n, std::int64_t k, std::uint8_t* packed) noexcept;

}  // namespace quoin
