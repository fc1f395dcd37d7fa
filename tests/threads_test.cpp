// One prepared layer under many callers at once. For ThreadSanitizer above all; its calls of more
// than one thread need Archer (CMakeLists.txt).
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "tests/support.h"

namespace quoin::test {
namespace {

constexpr std::int64_t kM = 19, kN = 200, kK = 300;

class Threads : public BackendTest {
 protected:
  void SetUp() override {
    BackendTest::SetUp();
    if (IsSkipped()) return;
    Rng rng(21);
    LinearProblem problem({.m = kM, .n = kN, .k = kK, .bias_type = DataType::float16}, rng);
    layer_.emplace(problem.prepare(backend().name));
    ASSERT_TRUE(layer_->ok());
    ASSERT_TRUE(problem.run(layer()).ok());
    problem.check();
    codes_.assign(problem.x(), problem.x() + kM * kK);
    scales_ = problem.scale_x;
    for (std::int64_t i = 0; i < kM * kK; ++i) floats_.push_back(random_scale(rng, false));
    want_ = run(1);
    want_dynamic_ = run_dynamic(2);
  }

  [[nodiscard]] const LinearLayer& layer() const { return layer_->value(); }
  [[nodiscard]] QuantizedRows rows() const {
    return {matrix(codes_.data(), kM, kK), vector(scales_.data(), kM)};
  }

  [[nodiscard]] std::vector<std::uint16_t> run(int threads) const {
    std::vector<std::uint16_t> y(kM * kN, 0xAAAA);
    const Tensor out = matrix(static_cast<void*>(y.data()), DataType::float16, kM, kN);
    const Status done = layer().run(rows(), out, {.threads = threads});
    return done.ok() ? y : std::vector<std::uint16_t>{};
  }

  [[nodiscard]] std::vector<std::uint16_t> run_dynamic(int threads) const {
    std::vector<std::uint16_t> y(kM * kN, 0xAAAA);
    std::vector<std::byte> room(layer().workspace_bytes(kM));
    const Tensor out = matrix(static_cast<void*>(y.data()), DataType::float16, kM, kN);
    const Status done =
        layer().run_dynamic(matrix(floats_.data(), kM, kK), out, room, {.threads = threads});
    return done.ok() ? y : std::vector<std::uint16_t>{};
  }

  /// Callers at once, each with calls of `threads` threads.
  void expect_same_from_all(int callers, int threads) const {
    std::atomic<int> wrong{0};
    std::vector<std::thread> team;
    for (int caller = 0; caller < callers; ++caller) {
      team.emplace_back([&, caller] {
        const LinearLayer copy = layer();  // copies come and go while others run
        for (int i = 0; i < 10; ++i) {
          const bool same =
              (caller + i) % 2 == 0 ? run(threads) == want_ : run_dynamic(threads) == want_dynamic_;
          if (!same) ++wrong;
        }
      });
    }
    for (std::thread& thread : team) thread.join();
    EXPECT_EQ(wrong, 0);
  }

  std::optional<Result<LinearLayer>> layer_;
  std::vector<std::int8_t> codes_;
  std::vector<float> scales_, floats_;
  std::vector<std::uint16_t> want_, want_dynamic_;
};

TEST_P(Threads, CallersShareOneLayer) { expect_same_from_all(8, 1); }

TEST_P(Threads, CallersWithTeamsShareOneLayer) { expect_same_from_all(4, 2); }

// Copies keep the packed weights alive; the last one to go frees them, on whatever thread.
TEST_P(Threads, TheLastCopyFreesTheWeights) {
  std::atomic<int> wrong{0};
  std::vector<std::thread> team;
  {
    const LinearLayer original = layer();
    layer_.reset();
    for (int i = 0; i < 4; ++i) {
      team.emplace_back([this, copy = original, &wrong] {
        std::vector<std::uint16_t> y(kM * kN);
        const Tensor out = matrix(static_cast<void*>(y.data()), DataType::float16, kM, kN);
        if (!copy.run(rows(), out).ok() || y != want_) ++wrong;
      });
    }
  }
  for (std::thread& thread : team) thread.join();
  EXPECT_EQ(wrong, 0);
}

INSTANTIATE_TEST_SUITE_P(Backends, Threads, every_backend(), backend_name);

TEST(ThreadsOfPrepare, ManyAtOnce) {
  std::atomic<int> wrong{0};
  std::vector<std::thread> team;
  for (int caller = 0; caller < 6; ++caller) {
    team.emplace_back([&, caller] {
      Rng rng(static_cast<std::uint64_t>(caller));
      LinearProblem problem({.m = 3, .n = 20, .k = 30}, rng);
      for (int i = 0; i < 5; ++i) {
        const Result<LinearLayer> layer = problem.prepare({});
        if (!layer.ok() || !problem.run(layer.value()).ok() || !layer->plan(3).ok()) ++wrong;
      }
      problem.check();
    });
  }
  for (std::thread& thread : team) thread.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace quoin::test
