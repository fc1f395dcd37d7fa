// Compile-time loops for register tiles.
//
// g++ 12 keeps an array of vectors in memory when a run-time loop indexes it, even one that is
// unrolled later (2x slower, measured 2026-11-20). With the index a constant from the start, arrays
// live in registers on g++ 12 and clang 14 alike.
#pragma once

#include <type_traits>
#include <utility>

#define QUOIN_INLINE __attribute__((always_inline))

namespace quoin {

template <class F, int... I>
QUOIN_INLINE static inline void unroll_indices(F& body, std::integer_sequence<int, I...> /*seq*/) {
  (body(std::integral_constant<int, I>{}), ...);
}

/// body(0), body(1), ... body(kCount - 1), each index a compile-time constant.
template <int kCount, class F>
QUOIN_INLINE static inline void unroll(F body) {
  unroll_indices(body, std::make_integer_sequence<int, kCount>{});
}

}  // namespace quoin
