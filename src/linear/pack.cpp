#include "linear/pack.h"

#include <algorithm>
#include <cstring>

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

}  // namespace

std::int64_t padded_k(const Backend& backend, std::int64_t k) noexcept {
  return round_up(k, backend.k_group);
}

std::int64_t padded_cols(const Backend& backend, std::int64_t cols) noexcept {
  return round_up(cols, backend.round_cols);
}

std::int64_t packed_bytes(const Backend& backend, std::int64_t n, std::int64_t k) noexcept {
  return padded_cols(backend, n) * padded_k(backend, k);
}

void pack_weight(const Backend& backend, const std::int8_t* weight, std::int64_t stride_elems,
                 std::int64_t n, std::int64_t k, std::uint8_t* packed) noexcept {
  if (k == 0) return;  // however many channels of nothing
  std::memset(packed, 0, static_cast<std::size_t>(packed_bytes(backend, n, k)));
  for (std::int64_t first = 0; first < n; first += backend.panel_cols) {
    const std::int64_t cols = std::min<std::int64_t>(backend.panel_cols, n - first);
    const std::int64_t step = padded_cols(backend, cols) * backend.k_group;
    std::uint8_t* panel = packed + first * padded_k(backend, k);
    for (std::int64_t c = 0; c < cols; ++c) {
      pack_channel(weight + (first + c) * stride_elems, k, backend.k_group, backend.shift_weight,
                   step, panel + c * backend.k_group);
    }
  }
}

}  // namespace quoin
