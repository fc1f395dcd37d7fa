// run, run_dynamic and quantize_rows do not allocate: operator new counts its calls. Not built with
// sanitizers, which bring an operator new of their own.
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <vector>

#include "tests/support.h"

namespace {

std::atomic<std::int64_t> allocations{0};

void* counted(std::size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return std::malloc(size == 0 ? 1 : size);
}

}  // namespace

// Not inlined, or g++ sees a free() of what operator new returned, and warns.
#define QUOIN_OUT_OF_LINE __attribute__((noinline))

QUOIN_OUT_OF_LINE void* operator new(std::size_t size) {
  if (void* p = counted(size)) return p;
  throw std::bad_alloc();
}
QUOIN_OUT_OF_LINE void* operator new[](std::size_t size) { return operator new(size); }
QUOIN_OUT_OF_LINE void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return counted(size);
}
QUOIN_OUT_OF_LINE void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
  return counted(size);
}
QUOIN_OUT_OF_LINE void operator delete(void* p) noexcept { std::free(p); }
QUOIN_OUT_OF_LINE void operator delete[](void* p) noexcept { std::free(p); }
QUOIN_OUT_OF_LINE void operator delete(void* p, std::size_t) noexcept { std::free(p); }
QUOIN_OUT_OF_LINE void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
QUOIN_OUT_OF_LINE void operator delete(void* p, const std::nothrow_t&) noexcept { std::free(p); }
QUOIN_OUT_OF_LINE void operator delete[](void* p, const std::nothrow_t&) noexcept { std::free(p); }

namespace quoin::test {
namespace {

class Allocation : public BackendTest {};

TEST_P(Allocation, NoneOnTheSuccessPath) {
  constexpr std::int64_t kM = 19, kN = 200, kK = 300;
  Rng rng(31);
  LinearProblem problem({.m = kM, .n = kN, .k = kK, .bias_type = DataType::float16}, rng);
  const Result<LinearLayer> layer = problem.prepare(backend().name);
  ASSERT_TRUE(layer.ok());
  std::vector<float> floats(kM * kK), scales(kM);
  for (float& value : floats) value = random_scale(rng, false);
  std::vector<std::int8_t> codes(kM * kK);
  std::vector<std::byte> room(layer->workspace_bytes(kM));
  const ConstTensor x = matrix(floats.data(), kM, kK);
  for (const int threads : {1, 2}) {
    const auto all_three = [&] {
      return layer->run(problem.rows(), problem.output(), {.threads = threads}).ok() &&
             layer->run_dynamic(x, problem.output(), room, {.threads = threads}).ok() &&
             quantize_rows(x, matrix(codes.data(), kM, kK), vector(scales.data(), kM),
                           {.threads = threads})
                 .ok();
    };
    ASSERT_TRUE(all_three());  // the OpenMP runtime starts its threads once
    const std::int64_t before = allocations.load();
    const bool ok = all_three();
    const std::int64_t after = allocations.load();
    EXPECT_TRUE(ok);
    EXPECT_EQ(after - before, 0) << threads << " threads";
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, Allocation, every_backend(), backend_name);

TEST(AllocationCounter, Counts) {
  const std::int64_t before = allocations.load();
  const std::vector<int> some(1000);
  EXPECT_EQ(allocations.load() - before, 1);
  EXPECT_FALSE(prepare({}).ok());  // a refusal allocates its message
  EXPECT_GT(allocations.load() - before, 1);
}

}  // namespace
}  // namespace quoin::test
