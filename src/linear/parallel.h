// Work shared over threads: OpenMP, with one thread meaning no runtime at all.
#pragma once

#include <omp.h>

#include <cstdint>
#include <utility>

#include "linear/float_environment.h"

namespace quoin {

/// Calls body(thread, threads) once on each of `threads` threads, the caller's included, in the
/// contract's floating-point state. The runtime may give fewer threads than asked for; `threads`
/// is what it gave. body must not throw.
template <class Body>
void parallel(int threads, const Body& body) noexcept {
  if (threads <= 1) {
    const FloatEnvironment environment;
    body(0, 1);
    return;
  }
#pragma omp parallel num_threads(threads) default(none) shared(body)
  {
    const FloatEnvironment environment;
    body(omp_get_thread_num(), omp_get_num_threads());
  }
}

/// The range [first, second) of `count` items that falls to one of `threads` threads.
inline std::pair<std::int64_t, std::int64_t> share(std::int64_t count, int thread,
                                                   int threads) noexcept {
  const std::int64_t each = count / threads;
  const std::int64_t extra = count % threads;
  const std::int64_t begin = each * thread + (thread < extra ? thread : extra);
  return {begin, begin + each + (thread < extra ? 1 : 0)};
}

}  // namespace quoin
