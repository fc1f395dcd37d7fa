#include "linear/pack.h"

#include <algorithm>
#include <cstring>

#include "linear/kernels/cpu/kernels.h"

namespace quoin {
namespace {

constexpr std::int64_t round_up(std::int64_t value, std::int64_t to) {
  return (value + to - 1) / to * to;
}

/// One channel of one panel: its groups of k lie `step` bytes apart in `packed`.
void pack_channel(const std::int8_t* weight, std::int64_t k, int k_group, bool shift,
                  std::int64_t step, std::uint8_t* packed) {
  const std::uint8_t flip = shift ? 0x80 : 0;  // w + 128 modulo 256
  for (std::int64_t at = 0; at < k; at += k_group, packed += step) {
    const std::int64_t count = std::min<std::int64_t>(k_group, k - at);
    for (std::int64_t i = 0; i < count; ++i) {
      packed[i] = static_cast<std::uint8_t>(weight[at + i]) ^ flip;
    }
  }
}

/// `cols` channels of one block, `k` deep: panel after panel.
void pack_chunk(const Backend& backend, const std::int8_t* weight, std::int64_t stride_elems,
                std::int64_t cols, std::int64_t k, std::uint8_t* packed) {
  for (std::int64_t first = 0; first < cols; first += backend.panel_cols) {
    const std::int64_t panel_cols = std::min<std::int64_t>(backend.panel_cols, cols - first);
    const std::int64_t step = padded_cols(backend, panel_cols) * backend.k_group;
    std::uint8_t* panel = packed + first * padded_k(backend, k);
    for (std::int64_t c = 0; c < panel_cols; ++c) {
      pack_channel(weight + (first + c) * stride_elems, k, backend.k_group, backend.shift_weight,
                   step, panel + c * backend.k_group);
    }
  }
}

}  // namespace

std::int64_t padded_k(const Backend& backend, std::int64_t k) noexcept {
  return round_up(k, backend.k_group);
}

std::int64_t padded_cols(const Backend& backend, std::int64_t cols) noexcept {
  return round_up(cols, backend.round_cols);
}

std::int64_t chunk_of_k(const Backend& backend, std::int64_t k) noexcept {
  if (backend.max_k_block == 0 || k <= backend.max_k_block) return k;
  const std::int64_t chunks = (k + backend.max_k_block - 1) / backend.max_k_block;
  return round_up((k + chunks - 1) / chunks, kPrefetchSpan);
}

std::int64_t packed_bytes(const Backend& backend, std::int64_t n, std::int64_t k) noexcept {
  return padded_cols(backend, n) * padded_k(backend, k);
}

void pack_weight(const Backend& backend, const std::int8_t* weight, std::int64_t stride_elems,
                 std::int64_t n, std::int64_t k, std::uint8_t* packed) noexcept {
  if (k == 0) return;  // however many channels of nothing
  std::memset(packed, 0, static_cast<std::size_t>(packed_bytes(backend, n, k)));
  const std::int64_t chunk = chunk_of_k(backend, k);
  for (std::int64_t block = 0; block < n; block += backend.tile_cols) {
    const std::int64_t block_cols = std::min<std::int64_t>(backend.tile_cols, n - block);
    for (std::int64_t from = 0; from < k; from += chunk) {
      const std::int64_t count = std::min(chunk, k - from);
      const std::int8_t* source = weight + block * stride_elems + from;
      std::uint8_t* target =
          packed + block * padded_k(backend, k) + from * padded_cols(backend, block_cols);
      pack_chunk(backend, source, stride_elems, block_cols, count, target);
    }
  }
}

}  // namespace quoin
