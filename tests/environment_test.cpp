// Callers in any floating-point state (flush-to-zero, other roundings, exceptions unmasked) get the
// contract's bits, and their state back; so do the threads that helped.
#include <omp.h>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "tests/support.h"

#if defined(__x86_64__)
#include <xmmintrin.h>

namespace quoin::test {
namespace {

constexpr unsigned kDefault = 0x1F80;
constexpr unsigned kFlushToZero = 0x8000;
constexpr unsigned kDenormalsAreZero = 0x0040;
constexpr unsigned kDown = 0x2000, kUp = 0x4000, kTowardsZero = 0x6000;

struct State {
  const char* name;
  unsigned mxcsr;
};

constexpr State kStates[] = {
    {"default", kDefault},
    {"FTZ and DAZ", kDefault | kFlushToZero | kDenormalsAreZero},
    {"rounding down", kDefault | kDown},
    {"rounding up", kDefault | kUp},
    {"rounding towards zero", kDefault | kTowardsZero},
    {"rounding towards zero, FTZ, DAZ", kDefault | kTowardsZero | kFlushToZero | kDenormalsAreZero},
    {"exceptions unmasked", 0},
    {"exceptions unmasked, rounding up", kUp},
    {"flags raised", kDefault | 0x003F},
};

/// Calls in the given state; returns the state that the call left.
unsigned call_in_state(unsigned mxcsr, const std::function<void()>& call) {
  const unsigned saved = _mm_getcsr();
  _mm_setcsr(mxcsr);
  call();
  const unsigned left = _mm_getcsr();
  _mm_setcsr(saved);
  return left;
}

class Environment : public BackendTest {};

TEST_P(Environment, RunGivesTheSameBitsAndTheStateBack) {
  for (const DataType type : kFloatTypes) {
    for (const int threads : {1, 2, 3}) {
      Rng rng(11);
      LinearProblem problem({.m = 20,
                             .n = 5 * backend().tile_cols,
                             .k = 40,
                             .out_type = type,
                             .bias_type = DataType::float16,
                             .wild_scales = true,
                             .threads = threads},
                            rng);
      for (float& scale : problem.scale_x) {  // many subnormal results in every type
        if (rng() % 2 == 0) scale = float_of_bits(static_cast<std::uint32_t>(rng() % 0x2000000));
      }
      for (std::uint32_t& bits : problem.bias) bits = rng() % 2 == 0 ? 0 : bits;
      for (const State& state : kStates) {
        SCOPED_TRACE(testing::Message() << state.name << ", " << threads << " threads");
        std::optional<Result<LinearLayer>> layer;
        const unsigned after_prepare =
            call_in_state(state.mxcsr, [&] { layer = problem.prepare(backend().name); });
        ASSERT_TRUE(layer->ok());
        Status done;
        const unsigned after_run =
            call_in_state(state.mxcsr, [&] { done = problem.run(layer->value()); });
        ASSERT_TRUE(done.ok());
        EXPECT_EQ(after_prepare, state.mxcsr);
        EXPECT_EQ(after_run, state.mxcsr);
        problem.check();
        if (HasFailure()) return;
      }
    }
  }
}

TEST_P(Environment, RunDynamicGivesTheSameBitsAndTheStateBack) {
  constexpr std::int64_t kM = 12, kK = 75;
  Rng rng(12);
  std::vector<float> x(kM * kK);
  for (float& value : x) value = random_scale(rng, false) * (rng() % 2 == 0 ? 1.0F : -1.0F);
  for (std::int64_t k = 0; k < kK; ++k) {  // a subnormal row, which DAZ would take for zeros
    x[static_cast<std::size_t>(k)] = float_of_bits(static_cast<std::uint32_t>(rng() % 0x800000));
  }
  LinearProblem problem({.m = kM, .n = 50, .k = kK, .out_type = DataType::float32}, rng);
  const Result<LinearLayer> layer = problem.prepare(backend().name);
  ASSERT_TRUE(layer.ok());
  std::vector<std::byte> room(layer->workspace_bytes(kM));
  std::vector<float> first;
  for (const State& state : kStates) {
    for (const int threads : {1, 3}) {
      SCOPED_TRACE(testing::Message() << state.name << ", " << threads << " threads");
      std::vector<float> y(kM * 50);
      Status done;
      EXPECT_EQ(state.mxcsr, call_in_state(state.mxcsr, [&] {
                  done = layer->run_dynamic(matrix(x.data(), kM, kK), matrix(y.data(), kM, 50),
                                            room, {.threads = threads});
                }));
      ASSERT_TRUE(done.ok()) << done.error().message;
      if (first.empty()) first = y;
      EXPECT_EQ(std::memcmp(first.data(), y.data(), y.size() * 4), 0);
    }
  }
  EXPECT_NE(bits_of_float(first[0]), 0U) << "the subnormal row must not vanish";
}

INSTANTIATE_TEST_SUITE_P(Backends, Environment, every_backend(), backend_name);

TEST(EnvironmentOfQuantizeRows, SameBitsAndTheStateBack) {
  constexpr std::int64_t kM = 9, kK = 101;
  Rng rng(13);
  std::vector<float> x(kM * kK);
  for (float& value : x) value = float_of_bits(static_cast<std::uint32_t>(rng() % 0x2000000));
  std::vector<std::int8_t> want(kM * kK);
  std::vector<std::uint32_t> want_scales(kM);
  for (std::int64_t row = 0; row < kM; ++row) {
    oracle_quantize(x.data() + row * kK, kK, want.data() + row * kK, &want_scales[row]);
  }
  for (const State& state : kStates) {
    for (const int threads : {1, 2, 5}) {
      SCOPED_TRACE(testing::Message() << state.name << ", " << threads << " threads");
      std::vector<std::int8_t> codes(kM * kK);
      std::vector<float> scales(kM);
      Status done;
      EXPECT_EQ(state.mxcsr, call_in_state(state.mxcsr, [&] {
                  done = quantize_rows(matrix(x.data(), kM, kK), matrix(codes.data(), kM, kK),
                                       vector(scales.data(), kM), {.threads = threads});
                }));
      ASSERT_TRUE(done.ok());
      EXPECT_EQ(codes, want);
      EXPECT_EQ(std::memcmp(scales.data(), want_scales.data(), 4 * kM), 0);
    }
  }
}

// The runtime's threads are the application's too: they get back the state that they had.
TEST(EnvironmentOfHelpers, ThreadsKeepTheirState) {
  constexpr int kThreads = 3;
  constexpr unsigned kTheirs = kDefault | kFlushToZero | kDenormalsAreZero | kUp;
  Rng rng(14);
  LinearProblem problem({.m = 40, .n = 300, .k = 40, .threads = kThreads}, rng);
  const Result<LinearLayer> layer = problem.prepare({});
  ASSERT_TRUE(layer.ok());
  std::vector<unsigned> saved(kThreads), left(kThreads);
  const auto set_all = [&] {
#pragma omp parallel num_threads(kThreads)
    {
      saved[static_cast<std::size_t>(omp_get_thread_num())] = _mm_getcsr();
      _mm_setcsr(kTheirs);
    }
  };
  const auto read_and_restore_all = [&] {
#pragma omp parallel num_threads(kThreads)
    {
      const auto thread = static_cast<std::size_t>(omp_get_thread_num());
      left[thread] = _mm_getcsr();
      _mm_setcsr(saved[thread]);
    }
  };
  set_all();
  read_and_restore_all();
  if (left != std::vector<unsigned>(kThreads, kTheirs)) {
    GTEST_SKIP() << "this OpenMP runtime gives its threads the caller's state in every region";
  }
  set_all();
  const Status done = problem.run(layer.value());
  read_and_restore_all();
  ASSERT_TRUE(done.ok());
  for (const unsigned mxcsr : left) EXPECT_EQ(mxcsr, kTheirs);
  problem.check();
}

}  // namespace
}  // namespace quoin::test
#endif
