// run() on every backend against the oracle, bit for bit: shapes from each backend's own tile,
// every type, every layout that the contract allows, extremes, threads, batches. All operands lie
// between unreadable pages and all outputs between canaries (support.h).
#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/support.h"

namespace quoin::test {
namespace {

class Linear : public BackendTest {
 protected:
  /// 1, t-1, t, t+1, 2t+3.
  static std::vector<std::int64_t> around(std::int64_t tile) {
    std::vector<std::int64_t> sizes;
    for (const std::int64_t size : {std::int64_t{1}, tile - 1, tile, tile + 1, 2 * tile + 3}) {
      if (size >= 1 && std::find(sizes.begin(), sizes.end(), size) == sizes.end()) {
        sizes.push_back(size);
      }
    }
    return sizes;
  }

  void expect_exact(const LinearCase& c) {
    LinearProblem problem(c, rng_);
    problem.prepare_run_check(backend().name);
  }

  Rng rng_{20261120};
};

TEST_P(Linear, ShapesAroundTheTile) {
  std::size_t turn = 0;
  for (const std::int64_t m : around(backend().tile_rows)) {
    for (const std::int64_t n : around(backend().tile_cols)) {
      for (const std::int64_t k : {0, 1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65}) {
        for (const DataType out_type : kOutTypes) {
          // Sanitized, one type and one place per shape; every one meets every size all the same.
          if (kSanitized && out_type != kOutTypes[turn / 3 % 4]) continue;
          expect_exact({.m = m,
                        .n = n,
                        .k = k,
                        .out_type = out_type,
                        .place = kPlaces[turn % std::size(kPlaces)]});
          if (HasFailure()) return;
        }
        ++turn;
      }
    }
  }
}

TEST_P(Linear, EveryWidthOfTheLastBlock) {
  for (std::int64_t n = 1; n <= 2 * backend().tile_cols + 1; n += kSanitized ? 3 : 1) {
    expect_exact({.m = 2, .n = n, .k = 9, .out_type = kOutTypes[n % 4]});
    if (HasFailure()) return;
  }
}

TEST_P(Linear, EveryHeightAndDepth) {
  for (std::int64_t m = 1; m <= 20; ++m) {
    for (std::int64_t k = 1; k <= 70; k += kSanitized ? 5 : 1) {
      expect_exact({.m = m,
                    .n = backend().round_cols + 1,
                    .k = k,
                    .out_type = kOutTypes[k % 4],
                    .place = kPlaces[m % 3]});
      if (HasFailure()) return;
    }
  }
}

TEST_P(Linear, ChunksOfK) {
  const std::int64_t chunk = backend().max_k_block > 0 ? backend().max_k_block : 2048;
  for (const std::int64_t k : {chunk - 1, chunk, chunk + 1, chunk + 17, 2 * chunk + 3}) {
    for (const std::int64_t m : {1, 2, backend().tile_rows + 1, 2 * backend().tile_rows + 3}) {
      for (const std::int64_t n : {1, backend().tile_cols + 1}) {
        expect_exact({.m = m,
                      .n = n,
                      .k = k,
                      .out_type = kOutTypes[(m + n + k) % 4],
                      .bias_type = DataType::bfloat16});
        if (HasFailure()) return;
      }
    }
  }
}

TEST_P(Linear, SeveralPassesOverTheWeights) {
  for (const std::int64_t m : {255, 256, 257, 300, 513}) {
    expect_exact({.m = m, .n = backend().tile_cols + 1, .k = 67, .threads = 2});
    expect_exact({.m = m, .n = 2, .k = 19, .out_type = DataType::int32});
    if (HasFailure()) return;
  }
  if (backend().max_k_block > 0) {  // every sum of a full block of rows parked between chunks
    expect_exact({.m = 256, .n = 2, .k = backend().max_k_block + 16, .out_type = DataType::int32});
  }
}

TEST_P(Linear, EveryTypeAndFactor) {
  for (const DataType out_type : kFloatTypes) {
    for (const auto bias : {std::optional<DataType>{}, std::optional{DataType::float16},
                            std::optional{DataType::bfloat16}, std::optional{DataType::float32}}) {
      for (const float factor : {kBothAbsmax, kOneAbsmax, kTrueScales, -0.3F, 0.0F}) {
        for (const Place place : kPlaces) {
          expect_exact({.m = 5,
                        .n = backend().tile_cols + 3,
                        .k = 31,
                        .out_type = out_type,
                        .bias_type = bias,
                        .factor = factor,
                        .place = place});
          if (HasFailure()) return;
        }
      }
    }
  }
}

TEST_P(Linear, StridesWiderThanRows) {
  for (const std::int64_t gap : {1, 7, 64}) {
    for (const DataType out_type : kOutTypes) {
      for (const Place place : kPlaces) {
        const LinearCase c{.m = backend().tile_rows + 3,
                           .n = backend().tile_cols + 5,
                           .k = 37,
                           .out_type = out_type,
                           .x_gap = gap,
                           .w_gap = gap + 2,
                           .y_gap = gap + 1,
                           .place = place};
        expect_exact(c);
        LinearCase only_y = c;
        only_y.x_gap = only_y.w_gap = 0;
        expect_exact(only_y);
        if (HasFailure()) return;
      }
    }
  }
}

TEST_P(Linear, ColumnVectors) {
  for (const DataType out_type : kFloatTypes) {
    expect_exact({.m = 7,
                  .n = 21,
                  .k = 20,
                  .out_type = out_type,
                  .bias_type = DataType::float16,
                  .columns = true});
    expect_exact({.m = 1,
                  .n = 1,
                  .k = 20,
                  .out_type = out_type,
                  .bias_type = DataType::float32,
                  .columns = true});
  }
}

TEST_P(Linear, Threads) {
  for (const int threads : {1, 2, 3, 7}) {
    for (const std::int64_t m : {1, 9, 40}) {
      expect_exact({.m = m,
                    .n = 5 * backend().tile_cols + 1,
                    .k = 50,
                    .bias_type = DataType::float32,
                    .y_gap = 3,
                    .threads = threads});
      expect_exact({.m = m, .n = 1, .k = 1, .threads = threads});
    }
    expect_exact({.m = 300, .n = 20, .k = 33, .threads = threads});
    if (backend().max_k_block > 0) {
      expect_exact({.m = 20,
                    .n = backend().tile_cols + 1,
                    .k = backend().max_k_block + 20,
                    .threads = threads});
    }
  }
}

TEST_P(Linear, NothingToDoAndNoK) {
  for (const DataType out_type : kOutTypes) {
    for (const int threads : {1, 3}) {
      expect_exact({.m = 0, .n = 5, .k = 5, .out_type = out_type, .threads = threads});
      expect_exact({.m = 5, .n = 0, .k = 5, .out_type = out_type, .threads = threads});
      expect_exact({.m = 0, .n = 0, .k = 0, .out_type = out_type, .threads = threads});
      expect_exact({.m = 9,
                    .n = 50,
                    .k = 0,
                    .out_type = out_type,
                    .bias_type = DataType::float32,
                    .threads = threads});
      expect_exact({.m = 9,
                    .n = 50,
                    .k = 0,
                    .out_type = out_type,
                    .x_gap = 5,
                    .w_gap = 2,
                    .threads = threads});
    }
  }
}

// An empty operand may be a null pointer, whatever its strides say.
TEST_P(Linear, EmptyOperandsMayBeNull) {
  const std::vector<float> scales(3, 1.0F);
  std::array<std::int32_t, 9> sums;
  sums.fill(77);
  const std::int8_t* none = nullptr;
  const Result<LinearLayer> no_k = prepare(
      {.weight = matrix(none, 3, 0, 16)}, {.out_type = DataType::int32, .backend = backend().name});
  ASSERT_TRUE(no_k.ok()) << no_k.error().message;
  ASSERT_TRUE(no_k->run({.codes = matrix(none, 3, 0, 16)}, matrix(sums.data(), 3, 3)).ok());
  EXPECT_EQ(sums, (std::array<std::int32_t, 9>{}));

  const Result<LinearLayer> no_n = prepare(
      {.weight = matrix(none, 0, 4), .scale_w = vector(static_cast<const float*>(nullptr), 0)},
      {.backend = backend().name});
  ASSERT_TRUE(no_n.ok()) << no_n.error().message;
  const std::vector<std::int8_t> x(12);
  EXPECT_TRUE(no_n->run({matrix(x.data(), 3, 4), vector(scales.data(), 3)},
                        matrix(static_cast<Float16*>(nullptr), 3, 0))
                  .ok());
}

// NumPy and PyTorch put anything into the strides of dimensions of one element.
TEST_P(Linear, StridesOfASingleRowAreIgnored) {
  std::vector<std::int8_t> x(40, 3), w(40, -2);
  for (const std::int64_t stride :
       {std::int64_t{0}, std::int64_t{-7}, std::int64_t{1} << 40, INT64_MAX, INT64_MIN}) {
    std::int32_t y = 77;
    Tensor weight = matrix(w.data(), 1, 40, stride);
    const Result<LinearLayer> layer =
        prepare({.weight = weight}, {.out_type = DataType::int32, .backend = backend().name});
    ASSERT_TRUE(layer.ok()) << stride << ": " << layer.error().message;
    Tensor out = matrix(&y, 1, 1, stride);
    out.strides[1] = stride;
    const Status done = layer->run({.codes = matrix(x.data(), 1, 40, stride)}, out);
    ASSERT_TRUE(done.ok()) << stride << ": " << done.error().message;
    EXPECT_EQ(y, -240) << stride;
  }
}

TEST_P(Linear, Extremes) {
  const std::int8_t kLowest = -128;
  const std::int8_t kHighest = 127;
  for (const std::int8_t a : {kLowest, kHighest}) {
    for (const std::int8_t b : {kLowest, kHighest}) {
      for (const std::int64_t k : {std::int64_t{1}, std::int64_t{67}, std::int64_t{5000}, kMaxK}) {
        LinearProblem problem({.m = k == kMaxK ? 3 : 11,
                               .n = k == kMaxK ? 2 : 50,
                               .k = k,
                               .out_type = DataType::int32},
                              rng_);
        std::fill_n(problem.x(), problem.x_bytes(), a);
        std::fill_n(problem.w(), problem.w_bytes(), b);
        problem.prepare_run_check(backend().name);
        EXPECT_EQ(static_cast<std::int32_t>(problem.at(2, 1)), a * b * k);
        if (HasFailure()) return;
      }
    }
  }
}

TEST_P(Linear, LargestKIsExactAndOneMoreIsRefused) {
  LinearProblem problem({.m = 1, .n = 1, .k = 131071, .out_type = DataType::int32}, rng_);
  std::fill_n(problem.x(), problem.x_bytes(), std::int8_t{-128});
  std::fill_n(problem.w(), problem.w_bytes(), std::int8_t{-128});
  problem.prepare_run_check(backend().name);
  EXPECT_EQ(problem.at(0, 0), 2147467264U);

  LinearProblem too_deep({.m = 1, .n = 2, .k = 131072, .out_type = DataType::int32}, rng_);
  const Result<LinearLayer> refused = too_deep.prepare(backend().name);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::unsupported);
  EXPECT_EQ(refused.error().message,
            "weight is int8 [2, 131072] strides [131072, 1]: K may be at most 131071, or a sum of "
            "products no longer fits int32 (128 * 128 * K < 2^31)");
}

// float(acc) rounds where the sum needs more than 24 bits.
TEST_P(Linear, SumsBeyondTwentyFourBits) {
  for (const DataType out_type : kFloatTypes) {
    LinearProblem problem({.m = 5, .n = 20, .k = 4099, .out_type = out_type, .factor = kTrueScales},
                          rng_);
    for (std::size_t i = 0; i < problem.x_bytes(); ++i) problem.x()[i] |= 0x60;
    for (std::size_t i = 0; i < problem.w_bytes(); ++i) problem.w()[i] &= 0x7F;
    std::fill(problem.scale_x.begin(), problem.scale_x.end(), 0.001F);
    std::fill(problem.scale_w.begin(), problem.scale_w.end(), 1.0F);
    problem.prepare_run_check(backend().name);
  }
}

TEST_P(Linear, SameBitsTwice) {
  LinearProblem problem({.m = 33, .n = 131, .k = 200, .threads = 3}, rng_);
  const Result<LinearLayer> layer = problem.prepare(backend().name);
  ASSERT_TRUE(layer.ok());
  ASSERT_TRUE(problem.run(layer.value()).ok());
  const std::string first = problem.bytes();
  const LinearLayer copy = layer.value();
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(problem.run(copy).ok());
    ASSERT_EQ(problem.bytes(), first);
  }
}

// A row has the same bits alone and in any batch.
TEST_P(Linear, BatchInvariance) {
  for (const std::int64_t k :
       {std::int64_t{100}, backend().max_k_block > 0 ? backend().max_k_block + 21 : 2100}) {
    const std::int64_t most = k == 100 ? 300 : 40;
    LinearProblem problem({.m = most, .n = 49, .k = k, .bias_type = DataType::float16}, rng_);
    const Result<LinearLayer> layer = problem.prepare(backend().name);
    ASSERT_TRUE(layer.ok());
    ASSERT_TRUE(problem.run(layer.value()).ok());
    const std::string all = problem.bytes();
    const auto expect_rows = [&](std::int64_t first, std::int64_t count) {
      std::vector<Float16> y(static_cast<std::size_t>(count * 49));
      ASSERT_TRUE(layer
                      ->run({matrix(problem.x() + first * k, count, k),
                             vector(problem.scale_x.data() + first, count)},
                            matrix(y.data(), count, 49))
                      .ok());
      ASSERT_EQ(std::memcmp(y.data(), all.data() + first * 98, y.size() * 2), 0)
          << count << " rows from " << first;
    };
    for (std::int64_t row = 0; row < most; ++row) expect_rows(row, 1);
    for (std::int64_t count = 1; count <= 40; ++count) {
      expect_rows(0, count);
      expect_rows(most - count, count);
    }
  }
}

TEST_P(Linear, HeldBytesCoverTheCopy) {
  LinearProblem problem({.m = 1, .n = 100, .k = 1000}, rng_);
  const Result<LinearLayer> layer = problem.prepare(backend().name);
  ASSERT_TRUE(layer.ok());
  EXPECT_TRUE(layer->weight_copied());
  EXPECT_GE(layer->held_bytes(), 100U * 1000U + 2U * 4U * 100U);
  EXPECT_LT(layer->held_bytes(), 300'000U);
  EXPECT_EQ(layer->n(), 100);
  EXPECT_EQ(layer->k(), 1000);
  EXPECT_EQ(layer->out_type(), DataType::float16);
  EXPECT_EQ(layer->backend(), backend().name);
}

TEST_P(Linear, RandomProblems) {
  std::random_device device;
  const std::uint64_t seed = std::uint64_t{device()} << 32 | device();
  for (const std::uint64_t start : {std::uint64_t{1}, seed}) {  // a fixed seed, and a fresh one
    SCOPED_TRACE("seed " + std::to_string(start));
    Rng rng(start);
    const auto below = [&](std::uint64_t limit) {
      return static_cast<std::int64_t>(rng() % limit);
    };
    for (int i = 0; i < (kSanitized ? 60 : 300); ++i) {
      LinearCase c{.m = below(40), .n = below(below(4) == 0 ? 300 : 60), .k = below(200)};
      c.out_type = kOutTypes[below(4)];
      if (below(2) == 0) c.bias_type = kFloatTypes[below(3)];
      c.factor = below(2) == 0 ? kBothAbsmax : random_scale(rng, true);
      c.x_gap = below(3) * below(20);
      c.w_gap = below(3) * below(20);
      c.y_gap = below(3) * below(20);
      c.place = kPlaces[below(3)];
      c.columns = below(2) == 0;
      c.wild_scales = below(2) == 0;
      c.threads = 1 + static_cast<int>(below(4));
      LinearProblem problem(c, rng);
      problem.prepare_run_check(backend().name);
      ASSERT_FALSE(HasFailure()) << "problem " << i << ": " << c;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, Linear, every_backend(), backend_name);

// Two backends can only differ where one differs from the oracle; this says it directly, at a size
// that the oracle would be too slow for.
TEST(AcrossBackends, SameBitsOnALargeProduct) {
  Rng rng(7);
  LinearProblem problem(
      {.m = 130, .n = 600, .k = 5003, .bias_type = DataType::float16, .threads = 2}, rng);
  std::string first;
  for (const BackendInfo& info : backends()) {
    if (!info.available || info.on_gpu) continue;
    const Result<LinearLayer> layer = problem.prepare(info.name);
    ASSERT_TRUE(layer.ok()) << layer.error().message;
    ASSERT_TRUE(problem.run(layer.value()).ok());
    problem.check_canaries();
    if (first.empty()) first = problem.bytes();
    EXPECT_TRUE(problem.bytes() == first) << info.name << " differs from the first backend";
  }
}

}  // namespace
}  // namespace quoin::test
