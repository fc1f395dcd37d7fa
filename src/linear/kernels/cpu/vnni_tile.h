// The int8 register tile for machines with vpdpbusd, written once for 256 and 512 bits.
//
// vpdpbusd multiplies unsigned by signed bytes and adds groups of four products to int32 lanes.
// Both of our operands are signed, so the weights are packed with 128 added (pack.h), and
//
//   sum (w + 128) * x  =  sum w * x  +  128 * sum x
//
// the accumulators start at -128 * sum x of their row. The sums wrap modulo 2^32 on the way and are
// exact at the end. Shifting the weights, not x, keeps the inner loop free of anything but loads
// and vpdpbusd: x comes as 4-byte broadcasts straight from the caller's rows, unpacked. (Shifting x
// in the loop instead, XOR 0x80 after every broadcast, is what oneDNN and FBGEMM pay for.)
//
// Layout of a block: for each group of 4 k, kVectors vectors; lane j of vector v holds the 4 bytes
// of channel v * kLanes + j.
//
// `Isa` is a struct in an unnamed namespace of the including file, so everything here is private
// to that file and to its instruction set.
#pragma once

#include <cstdint>
#include <cstring>

#include "linear/kernels/cpu/kernels.h"
#include "linear/kernels/cpu/unroll.h"

namespace quoin {

/// sums[kRows, kVectors * kLanes] (row-major, contiguous) += x * w over the chunk's k.
template <class Isa, int kRows, int kVectors>
static void vnni_accumulate(const CpuTile& t) {
  using Vec = typename Isa::Vec;
  // vpdpbusd: two a cycle, four cycles until the sum can be used again, so at least 8 sums must be
  // under way and 12 are better (8 give 91% of the peak, 4 give 50%, measured on Zen 5 2026-11-20).
  // Tiles with fewer run several sets of sums over alternating k.
  constexpr int kSets = kRows * kVectors >= 8 ? 1 : (kRows * kVectors >= 4 ? 2 : 4);
  constexpr int kVecBytes = Isa::kLanes * 4;
  constexpr int kStepBytes = kVectors * kVecBytes;

  Vec acc[kSets * kRows * kVectors];
  if (t.first_chunk) {
    unroll<kRows>([&](auto r) QUOIN_INLINE {
      const std::uint32_t start = 0U - 128U * static_cast<std::uint32_t>(t.row_sums[r]);
      unroll<kVectors>([&](auto v) QUOIN_INLINE {
        acc[r * kVectors + v] = Isa::broadcast(static_cast<std::int32_t>(start));
      });
    });
  } else {
    unroll<kRows * kVectors>([&](auto i)
                                 QUOIN_INLINE { acc[i] = Isa::load(t.sums + i * Isa::kLanes); });
  }
  unroll<(kSets - 1) * kRows * kVectors>(
      [&](auto i) QUOIN_INLINE { acc[kRows * kVectors + i] = Isa::broadcast(0); });

  const std::int8_t* x = t.x;
  const std::uint8_t* w = t.weight;
  const std::int64_t stride = t.x_stride_elems;

  // One group of 4 k: kVectors weight vectors against kRows broadcasts, into sums of `set`.
  const auto step = [&](auto set, auto&& load_x) QUOIN_INLINE {
    Vec weight[kVectors];
    unroll<kVectors>([&](auto v) QUOIN_INLINE { weight[v] = Isa::load(w + v * kVecBytes); });
    unroll<kRows>([&](auto r) QUOIN_INLINE {
      const Vec xr = Isa::broadcast(load_x(r));
      unroll<kVectors>([&](auto v) QUOIN_INLINE {
        auto& sum = acc[(set * kRows + r) * kVectors + v];
        sum = Isa::dot(sum, weight[v], xr);
      });
    });
    w += kStepBytes;
  };
  const auto load4 = [&](auto r) QUOIN_INLINE {
    std::int32_t four;
    std::memcpy(&four, x + r * stride, 4);
    return four;
  };

  const std::uint8_t* prefetch = t.prefetch;
  const int lines_to_l1 = t.prefetch_to_l1 ? t.prefetch_lines : 0;
  const int lines_to_l2 = t.prefetch_lines - lines_to_l1;
  std::int64_t k = t.k;
  for (; k >= kPrefetchSpan; k -= kPrefetchSpan) {
    unroll<kPrefetchSpan / 4>([&](auto i) QUOIN_INLINE {
      step(std::integral_constant<int, i % kSets>{}, load4);
      x += 4;
    });
    for (int line = 0; line < lines_to_l1; ++line, prefetch += 64) {
      __builtin_prefetch(prefetch, 0, 3);
    }
    for (int line = 0; line < lines_to_l2; ++line, prefetch += 64) {
      __builtin_prefetch(prefetch, 0, 2);
    }
  }
  for (; k >= 4; k -= 4, x += 4) step(std::integral_constant<int, 0>{}, load4);
  if (k > 0) {  // the last 1 to 3 bytes of a row: nothing behind them may be read
    step(std::integral_constant<int, 0>{}, [&](auto r) QUOIN_INLINE {
      std::int32_t rest = 0;
      std::memcpy(&rest, x + r * stride, static_cast<std::size_t>(k));
      return rest;
    });
  }

  unroll<kRows * kVectors>([&](auto i) QUOIN_INLINE {
    Vec sum = acc[i];
    unroll<kSets - 1>(
        [&](auto s) QUOIN_INLINE { sum = Isa::add(sum, acc[(s + 1) * kRows * kVectors + i]); });
    Isa::store(t.sums + i * Isa::kLanes, sum);
  });
}

}  // namespace quoin
