// Refusals that are not one wrong argument (refusals_test.cpp): moved-from layers, backends by name
// and by environment, absurd sizes, and thousands of random bad calls.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "tests/arguments.h"

namespace quoin::test {
namespace {

// A view filled in by hand: `shape[1] is 1` for a vector, but nobody enforces it.
TEST(Errors, VectorsWithALooseSecondSize) {
  Arguments a;
  a.weights = {matrix(a.w_data.data(), 1, 8), vector(a.scale_w_data.data(), 1), {}};
  a.weights.scale_w->shape[1] = 0;
  a.weights.scale_w->data = nullptr;
  const Result<LinearLayer> layer = prepare(a.weights);
  ASSERT_FALSE(layer.ok()) << "a null pointer behind one value";
  EXPECT_NE(layer.error().message.find("null pointer"), std::string::npos);
}

TEST(Errors, Int32OutputTakesNoScales) {
  Arguments a;
  const Result<LinearLayer> layer =
      prepare({.weight = a.weights.weight}, {.out_type = DataType::int32});
  ASSERT_TRUE(layer.ok());
  std::vector<std::int32_t> y(24, 77);
  const Status done = layer->run(a.x, matrix(y.data(), 4, 6));
  ASSERT_FALSE(done.ok());
  EXPECT_NE(done.error().message.find("scale_x"), std::string::npos);
  EXPECT_EQ(y, std::vector<std::int32_t>(24, 77));
}

TEST(Errors, MovedFromLayer) {
  Arguments a;
  Result<LinearLayer> made = prepare(a.weights);
  ASSERT_TRUE(made.ok());
  LinearLayer layer = std::move(made).value();
  const LinearLayer other = std::move(layer);
  for (const Status& status : {layer.run(a.x, a.y), layer.run_dynamic(a.x_float, a.y, a.room)}) {
    ASSERT_FALSE(status.ok());
    EXPECT_NE(status.error().message.find("moved from"), std::string::npos);
  }
  ASSERT_FALSE(layer.plan(3).ok());
  EXPECT_EQ(layer.workspace_bytes(5), 0U);
  EXPECT_EQ(layer.n(), 0);
  EXPECT_EQ(layer.k(), 0);
  EXPECT_EQ(layer.held_bytes(), 0U);
  EXPECT_EQ(layer.backend(), "");
  a.expect_untouched();
  EXPECT_TRUE(other.run(a.x, a.y).ok());
}

/// QUOIN_BACKEND as it should be in a scope, and as it was after it.
class BackendVariable {
 public:
  explicit BackendVariable(const char* value) {
    const char* old = std::getenv("QUOIN_BACKEND");
    was_set_ = old != nullptr;
    if (was_set_) old_ = old;
    setenv("QUOIN_BACKEND", value, 1);
  }
  ~BackendVariable() {
    if (was_set_) {
      setenv("QUOIN_BACKEND", old_.c_str(), 1);
    } else {
      unsetenv("QUOIN_BACKEND");
    }
  }
  BackendVariable(const BackendVariable&) = delete;
  BackendVariable& operator=(const BackendVariable&) = delete;

 private:
  bool was_set_ = false;
  std::string old_;
};

TEST(Errors, BackendFromTheEnvironment) {
  Arguments a;
  {
    const BackendVariable variable("portable");
    const Result<LinearLayer> layer = prepare(a.weights);
    ASSERT_TRUE(layer.ok());
    EXPECT_EQ(layer->backend(), "portable");
    const Result<Plan> plan = make_plan(4, 6, 8);
    ASSERT_TRUE(plan.ok());
    EXPECT_EQ(plan->backend, "portable");
    for (const BackendInfo& info : backends()) {  // the option has the last word
      if (!info.available || info.on_gpu) continue;
      const Result<LinearLayer> forced = prepare(a.weights, {.backend = info.name});
      ASSERT_TRUE(forced.ok());
      EXPECT_EQ(forced->backend(), info.name);
    }
  }
  {
    const BackendVariable variable("fastest");
    const auto expect_refused = [](const Status& status) {
      ASSERT_FALSE(status.ok());
      EXPECT_EQ(status.error().code, ErrorCode::invalid_argument);
      EXPECT_EQ(status.error().message,
                "backend \"fastest\" (from the environment variable QUOIN_BACKEND) is not one of "
                "avx512_vnni, avx_vnni, avx2, portable");
    };
    expect_refused(make_call(Call::prepare, a));
    expect_refused(make_call(Call::quantize, a));
    const Result<Plan> plan = make_plan(4, 6, 8);
    ASSERT_FALSE(plan.ok());
    expect_refused(plan.error());
    a.expect_untouched();
  }
  {
    const BackendVariable variable("");
    EXPECT_TRUE(make_call(Call::prepare, a).ok());
  }
}

TEST(Errors, BackendThatTheMachineLacks) {
  Cpu cpu;
  cpu.features = kAvx2;
  EXPECT_EQ(refusal(kBackends[0], cpu),
            "this CPU or its operating system lacks AVX-512 F/BW/VL/DQ, AVX512-VNNI");
  EXPECT_EQ(refusal(kBackends[1], cpu), "this CPU or its operating system lacks AVX-VNNI");
  EXPECT_EQ(refusal(kBackends[2], cpu), "");
  cpu.features = 0;
  EXPECT_EQ(refusal(kBackends.back(), cpu), "");
  Backend elsewhere = kBackends[0];
  elsewhere.kernels = nullptr;
  EXPECT_EQ(refusal(elsewhere, cpu), "not built for this processor architecture");

  for (const BackendInfo& info : backends()) {
    EXPECT_EQ(info.available, info.reason.empty());
    if (info.available) continue;
    Arguments a;
    a.options.backend = info.name;
    const Status status = make_call(Call::prepare, a);
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(status.error().code, ErrorCode::unavailable);
    EXPECT_NE(status.error().message.find(info.reason), std::string::npos);
  }
}

// Shapes that no memory holds: an error, at once, never a crash or a loop over nothing.
TEST(Errors, AbsurdSizes) {
  Arguments a;
  const Result<LinearLayer> wide =
      prepare({.weight = matrix(a.w_data.data(), kHuge, 1)}, {.out_type = DataType::int32});
  EXPECT_FALSE(wide.ok());
  const Result<LinearLayer> big =
      prepare({.weight = matrix(a.w_data.data(), std::int64_t{1} << 40, 1000)},
              {.out_type = DataType::int32});
  ASSERT_FALSE(big.ok());
  EXPECT_EQ(big.error().code, ErrorCode::out_of_memory) << big.error().message;
  for (const std::int64_t n : {std::int64_t{1} << 40, kHuge, INT64_MAX - 5, INT64_MAX}) {
    const Result<LinearLayer> flat =  // no bytes at all, and more channels than there are bytes
        prepare({.weight = matrix(static_cast<const std::int8_t*>(nullptr), n, 0)},
                {.out_type = DataType::int32});
    if (flat.ok()) {
      EXPECT_EQ(flat->n(), n);
    }
  }
}

// A few thousand calls with anything in any argument: an answer, never a crash, and no output
// touched by a call that failed.
TEST(Errors, RandomBadCalls) {
  Rng rng(20261123);
  int refused = 0, done = 0;
  for (int i = 0; i < 6000; ++i) {
    SCOPED_TRACE("call " + std::to_string(i));
    Arguments a;
    const auto spoil = [&](auto& tensor) {
      // Sizes that fit the memory behind the arguments, and sizes that fit no other argument. Row
      // strides that no check can refuse stay inside as well.
      constexpr std::int64_t kSizes[] = {
          0, 1, 2, 3, 4, 5, 6, 7, 8, -1, INT64_MIN, INT64_MAX, kHuge, std::int64_t{1} << 32};
      constexpr std::int64_t kStrides[] = {0, 1, 2, 5, 6, 7, 8, -1, INT64_MIN, INT64_MAX, kHuge};
      const auto size = [&] { return kSizes[rng() % std::size(kSizes)]; };
      const auto stride = [&] { return kStrides[rng() % std::size(kStrides)]; };
      switch (rng() % 8) {
        case 0: tensor.data = nullptr; break;
        case 1: tensor.type = static_cast<DataType>(rng() % 7); break;
        case 2: tensor.rank = static_cast<int>(rng() % 5) - 1; break;
        case 3: tensor.shape[0] = size(); break;
        case 4: tensor.shape[1] = size(); break;
        case 5: tensor.strides[0] = stride(); break;
        case 6: tensor.strides[1] = stride(); break;
        default: tensor.shape = {size(), size()}; break;
      }
    };
    for (int wrong = 0; wrong < 1 + static_cast<int>(rng() % 2); ++wrong) {
      switch (rng() % 8) {
        case 0: spoil(a.x.codes); break;
        case 1: spoil(*a.x.scales); break;
        case 2: spoil(a.x_float); break;
        case 3: spoil(a.y); break;
        case 4: spoil(a.codes); break;
        case 5: spoil(a.scales); break;
        case 6: a.run.threads = static_cast<int>(rng() % 6) - 2; break;
        default: a.room = a.room.subspan(rng() % a.room.size()); break;
      }
    }
    const auto call = static_cast<Call>(1 + rng() % 3);
    const Status status = make_call(call, a);
    if (status.ok()) {
      ++done;
      continue;
    }
    ++refused;
    ASSERT_FALSE(status.error().message.empty());
    a.expect_untouched();
    if (HasFailure()) return;
  }
  EXPECT_GT(refused, 1000);
  EXPECT_GT(done, 100);
}

TEST(Errors, RandomBadWeights) {
  Rng rng(20261124);
  constexpr std::int64_t kSizes[] = {0, 1, 5, 6, 7, 8, -1, INT64_MIN, INT64_MAX};
  for (int i = 0; i < 3000; ++i) {
    Arguments a;
    const auto any = [&] { return kSizes[rng() % std::size(kSizes)]; };
    ConstTensor& tensor = rng() % 3 == 0   ? *a.weights.bias
                          : rng() % 2 == 0 ? *a.weights.scale_w
                                           : a.weights.weight;
    switch (rng() % 6) {
      case 0: tensor.data = nullptr; break;
      case 1: tensor.type = static_cast<DataType>(rng() % 7); break;
      case 2: tensor.rank = static_cast<int>(rng() % 5) - 1; break;
      case 3: tensor.shape[0] = any(); break;
      case 4: tensor.shape[1] = any(); break;
      default: tensor.strides[rng() % 2] = any(); break;
    }
    const Result<LinearLayer> layer = prepare(a.weights, a.options);
    if (!layer) {
      ASSERT_FALSE(layer.error().message.empty());
    }
  }
}

TEST(Names, RoundTrip) {
  for (const DataType type : {DataType::int8, DataType::int32, DataType::float16,
                              DataType::bfloat16, DataType::float32}) {
    EXPECT_EQ(parse_data_type(name(type)), type);
  }
  EXPECT_FALSE(parse_data_type("float64").has_value());
  EXPECT_FALSE(parse_data_type("").has_value());
  EXPECT_EQ(name(ErrorCode::invalid_argument), "invalid_argument");
  EXPECT_EQ(name(ErrorCode::unsupported), "unsupported");
  EXPECT_EQ(name(ErrorCode::unavailable), "unavailable");
  EXPECT_EQ(name(ErrorCode::out_of_memory), "out_of_memory");
  EXPECT_EQ(version(), QUOIN_VERSION);
}

}  // namespace
}  // namespace quoin::test
