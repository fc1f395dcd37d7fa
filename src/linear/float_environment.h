// The floating-point state that the contract is defined in: round to nearest, subnormals kept.
//
// Callers may run with flush-to-zero (audio, game engines, -ffast-math's start-up code) or another
// rounding. Each thread of a call holds one of these while it computes; the caller's state comes
// back with it, exception flags included.
#pragma once

#if defined(__x86_64__)
#include <xmmintrin.h>
#else
#include <cfenv>
#endif

namespace quoin {

class FloatEnvironment {
 public:
#if defined(__x86_64__)
  FloatEnvironment() noexcept : saved_(_mm_getcsr()) { _mm_setcsr(kDefault); }
  ~FloatEnvironment() { _mm_setcsr(saved_); }
#else
  FloatEnvironment() noexcept {
    std::fegetenv(&saved_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~FloatEnvironment() { std::fesetenv(&saved_); }
#endif
  FloatEnvironment(const FloatEnvironment&) = delete;
  FloatEnvironment& operator=(const FloatEnvironment&) = delete;

 private:
#if defined(__x86_64__)
  static constexpr unsigned kDefault = 0x1F80;  // MXCSR at power-up: nearest, all exceptions masked
  unsigned saved_;
#else
  std::fenv_t saved_;
#endif
};

}  // namespace quoin
