// The quantiser: each backend's row, quantize_rows and run_dynamic against the oracle, bit for bit.
#include "linear/quantize/quantize.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "tests/support.h"

namespace quoin::test {
namespace {

/// k values of a type: their bits, and the floats that these are.
struct Values {
  DataType type = DataType::float32;
  std::vector<std::uint32_t> bits;

  [[nodiscard]] std::vector<float> floats() const {
    std::vector<float> values;
    for (const std::uint32_t b : bits) values.push_back(static_cast<float>(value_of(b, type)));
    return values;
  }
  void store(void* to) const {
    for (std::size_t i = 0; i < bits.size(); ++i) {
      const auto size = static_cast<std::size_t>(size_of(type));
      std::memcpy(static_cast<char*>(to) + i * size, &bits[i], size);
    }
  }
};

Values rounded(const std::vector<double>& values, DataType type) {
  Values v{type, {}};
  for (const double value : values) v.bits.push_back(oracle_round(value, type));
  return v;
}

/// Any bits of the type that are finite; `exponents` bounds how far the values spread, 0: not.
Values random_values(std::int64_t k, DataType type, Rng& rng, int exponents = 0) {
  Values v{type, {}};
  while (static_cast<std::int64_t>(v.bits.size()) < k) {
    auto bits = static_cast<std::uint32_t>(rng());
    if (type != DataType::float32) bits &= 0xFFFF;
    if (exponents > 0) {
      const double magnitude = std::ldexp(1.0 + static_cast<double>(rng() >> 12) * 0x1p-52,
                                          -static_cast<int>(rng() % exponents));
      bits = oracle_round((bits & 1U) != 0 ? -magnitude : magnitude, type);
    }
    if (std::isfinite(value_of(bits, type))) v.bits.push_back(bits);
  }
  return v;
}

struct Expected {
  std::vector<std::int8_t> codes;
  std::uint32_t scale = 0;
};

Expected expected(const Values& values) {
  const std::vector<float> floats = values.floats();
  Expected want{std::vector<std::int8_t>(floats.size()), 0};
  oracle_quantize(floats.data(), static_cast<std::int64_t>(floats.size()), want.codes.data(),
                  &want.scale);
  return want;
}

class QuantizeRow : public BackendTest {
 protected:
  void expect_exact(const Values& values, Place place = Place::at_end) {
    const auto k = static_cast<std::int64_t>(values.bits.size());
    GuardedBlock x(k * size_of(values.type), place);
    GuardedBlock codes(k, place);
    values.store(x.data());
    x.read_only();
    float scale = -1;
    backend().kernels->quantize_row(x.data(), values.type, k, codes.as<std::int8_t>(), &scale);
    const Expected want = expected(values);
    ASSERT_EQ(bits_of_float(scale), want.scale) << name(values.type) << " k " << k;
    for (std::int64_t i = 0; i < k; ++i) {
      ASSERT_EQ(static_cast<std::int8_t>(codes.data()[i]), want.codes[i])
          << "code " << i << " of " << k << " " << name(values.type) << " 0x" << std::hex
          << values.bits[i] << " scale 0x" << want.scale;
    }
    ASSERT_TRUE(codes.canaries_intact()) << "written beside the codes, k " << k;
  }

  Rng rng_{20261122};
};

TEST_P(QuantizeRow, EveryLengthAndPlace) {
  for (const DataType type : kFloatTypes) {
    for (std::int64_t k = 0; k <= 140; ++k) {
      for (const Place place : kPlaces) expect_exact(random_values(k, type, rng_, 6), place);
      if (HasFailure()) return;
    }
  }
}

TEST_P(QuantizeRow, TheMaximumMayBeAnywhere) {
  for (const DataType type : kFloatTypes) {
    for (const std::int64_t k : {1, 7, 8, 31, 33, 70, 130}) {
      for (std::int64_t at = 0; at < k; ++at) {
        Values values = random_values(k, type, rng_, 3);
        values.bits[at] = oracle_round(at % 2 == 0 ? 50.0 : -50.0, type);
        expect_exact(values);
        if (HasFailure()) return;
      }
    }
  }
}

TEST_P(QuantizeRow, NansAndInfinitiesAnywhere) {
  for (const DataType type : kFloatTypes) {
    const std::vector<std::uint32_t> odd =
        type == DataType::float16 ? std::vector<std::uint32_t>{0x7C00, 0xFC00, 0x7C01, 0xFFFF}
        : type == DataType::bfloat16
            ? std::vector<std::uint32_t>{0x7F80, 0xFF80, 0x7F81, 0xFFFF}
            : std::vector<std::uint32_t>{0x7F800000, 0xFF800000, 0x7F800001, 0xFFC00000};
    for (const std::int64_t k : {1, 9, 64, 70}) {
      for (std::int64_t at = 0; at < k; ++at) {
        for (const std::uint32_t bits : odd) {
          Values values = random_values(k, type, rng_, 3);
          values.bits[at] = bits;
          ASSERT_EQ(expected(values).scale, 0x7FFFFFFFU);
          expect_exact(values);
          if (HasFailure()) return;
        }
      }
    }
  }
}

TEST_P(QuantizeRow, ZerosSubnormalsAndTheLargest) {
  for (const DataType type : kFloatTypes) {
    const std::uint32_t sign = type == DataType::float32 ? 0x80000000U : 0x8000U;
    const std::uint32_t infinity = type == DataType::float32    ? 0x7F800000U
                                   : type == DataType::bfloat16 ? 0x7F80U
                                                                : 0x7C00U;
    for (const std::int64_t k : {1, 5, 16, 40, 67}) {
      const auto count = static_cast<std::size_t>(k);
      expect_exact({type, std::vector<std::uint32_t>(count, 0U)});
      expect_exact({type, std::vector<std::uint32_t>(count, sign)});          // -0: scale +0
      expect_exact({type, std::vector<std::uint32_t>(count, 1U)});            // the smallest
      expect_exact({type, std::vector<std::uint32_t>(count, infinity - 1)});  // the largest
      expect_exact({type, std::vector<std::uint32_t>(count, sign | (infinity - 1))});
      Values subnormal{type, {}};
      Values spread{type, {}};
      for (std::size_t i = 0; i < count; ++i) {
        const auto magnitude = static_cast<std::uint32_t>(rng_() % 128);
        subnormal.bits.push_back(magnitude | (i % 3 == 0 ? sign : 0));
        spread.bits.push_back(i % 2 == 0 ? 1 + static_cast<std::uint32_t>(i) : infinity - 1);
      }
      expect_exact(subnormal);
      expect_exact(spread);
      if (HasFailure()) return;
    }
  }
}

// Values whose 127 * (x / s) falls on, just below and just above the middle between two codes.
TEST_P(QuantizeRow, Ties) {
  for (const DataType type : kFloatTypes) {
    for (const double scale : {1.0, 127.0, 254.0, 3.0, 0.7, 1e-3, 12700.0}) {
      const double s = value_of(oracle_round(scale, type), type);
      std::vector<double> values{s};
      for (int code = -127; code < 127; ++code) {
        const double middle = (code + 0.5) / 127 * s;
        const std::uint32_t bits = oracle_round(middle, type);
        for (std::uint32_t near = bits - 2; near != bits + 3; ++near) {
          if (std::fabs(value_of(near, type)) <= s) values.push_back(value_of(near, type));
        }
      }
      expect_exact(rounded(values, type));
      if (HasFailure()) return;
    }
  }
  // Exact ties, pinned: 127 * (x / 254) = x / 2.
  const std::vector<float> x{254, 1, 3, 5, -1, -3, -5, 253, -253, 2, 0, -0.0F};
  const std::vector<std::int8_t> want{127, 0, 2, 2, 0, -2, -2, 126, -126, 1, 0, 0};
  std::vector<std::int8_t> codes(x.size());
  float scale = 0;
  backend().kernels->quantize_row(x.data(), DataType::float32, 12, codes.data(), &scale);
  EXPECT_EQ(scale, 254.0F);
  EXPECT_EQ(codes, want);
}

TEST_P(QuantizeRow, AMillionValues) {
  constexpr std::int64_t kRows = kSanitized ? 64 : 1024;
  for (const DataType type : kFloatTypes) {
    for (std::int64_t row = 0; row < kRows; ++row) {
      expect_exact(random_values(1027, type, rng_, row % 3 == 0 ? 0 : 8));
      if (HasFailure()) return;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, QuantizeRow, every_backend(), backend_name);

struct RowsCase {
  std::int64_t m, k, x_gap, codes_gap;
  bool column;
  int threads;
};

TEST(QuantizeRows, StridesPlacesAndThreads) {
  Rng rng(5);
  for (const RowsCase& c : {RowsCase{1, 1, 0, 0, false, 1}, RowsCase{7, 33, 0, 0, true, 1},
                            RowsCase{7, 70, 5, 0, false, 2}, RowsCase{5, 16, 0, 3, false, 3},
                            RowsCase{300, 65, 1, 1, true, 7}, RowsCase{2, 40, 9, 2, false, 5},
                            RowsCase{4, 0, 3, 2, false, 2}, RowsCase{0, 9, 0, 0, false, 2}}) {
    for (const DataType type : kFloatTypes) {
      for (const Place place : kPlaces) {
        SCOPED_TRACE(testing::Message() << c.m << " x " << c.k << " " << name(type));
        const std::int64_t x_stride = c.k + c.x_gap, codes_stride = c.k + c.codes_gap;
        GuardedBlock x(c.m == 0 ? 0 : ((c.m - 1) * x_stride + c.k) * size_of(type), place);
        GuardedBlock codes(c.m == 0 ? 0 : (c.m - 1) * codes_stride + c.k, place);
        GuardedBlock scales(c.m * 4, place);
        std::vector<Values> rows;
        for (std::int64_t row = 0; row < c.m; ++row) {
          rows.push_back(random_values(c.k, type, rng, 4));
          if (row % 5 == 3 && c.k > 0) rows[row].bits[c.k / 2] = 0x7F81;  // a NaN in 16 bits
          rows[row].store(x.data() + row * x_stride * size_of(type));
        }
        x.read_only();
        void* to_scales = scales.data();
        const Status done = quantize_rows(matrix(std::as_const(x).data(), type, c.m, c.k, x_stride),
                                          matrix(codes.as<std::int8_t>(), c.m, c.k, codes_stride),
                                          c.column ? matrix(to_scales, DataType::float32, c.m, 1)
                                                   : vector(to_scales, DataType::float32, c.m),
                                          {.threads = c.threads});
        ASSERT_TRUE(done.ok()) << done.error().message;
        for (std::int64_t row = 0; row < c.m; ++row) {
          const Expected want = expected(rows[row]);
          ASSERT_EQ(element_bits(scales.data(), DataType::float32, row), want.scale);
          const unsigned char* at = codes.data() + row * codes_stride;
          ASSERT_TRUE(std::equal(
              want.codes.begin(), want.codes.end(), at,
              [](std::int8_t a, unsigned char b) { return static_cast<unsigned char>(a) == b; }))
              << "row " << row;
          for (std::int64_t i = 0; row + 1 < c.m && i < c.codes_gap; ++i) {
            ASSERT_EQ(at[c.k + i], GuardedBlock::kCanary);
          }
        }
        ASSERT_TRUE(codes.canaries_intact());
        ASSERT_TRUE(scales.canaries_intact());
      }
    }
  }
}

TEST(QuantizeRows, EmptyOperandsMayBeNull) {
  const float* none = nullptr;
  std::vector<float> scales(3, 7.0F);
  EXPECT_TRUE(quantize_rows(matrix(none, 3, 0), matrix(static_cast<std::int8_t*>(nullptr), 3, 0),
                            vector(scales.data(), 3))
                  .ok());
  EXPECT_EQ(scales, std::vector<float>(3, 0.0F));
  EXPECT_TRUE(quantize_rows(matrix(none, 0, 5), matrix(static_cast<std::int8_t*>(nullptr), 0, 5),
                            vector(static_cast<float*>(nullptr), 0))
                  .ok());
}

// Longer rows than a layer may have are fine: they may be cut afterwards.
TEST(QuantizeRows, RowsLongerThanTheLargestK) {
  constexpr std::int64_t kLong = kMaxK + 100;
  Rng rng(6);
  const Values values = random_values(kLong, DataType::float16, rng, 5);
  std::vector<std::uint16_t> x(kLong);
  values.store(x.data());
  std::vector<std::int8_t> codes(kLong);
  float scale = 0;
  ASSERT_TRUE(quantize_rows(matrix(static_cast<const void*>(x.data()), DataType::float16, 1, kLong),
                            matrix(codes.data(), 1, kLong), vector(&scale, 1))
                  .ok());
  EXPECT_EQ(codes, expected(values).codes);
}

class Dynamic : public BackendTest {};

TEST_P(Dynamic, EqualsTheTwoSteps) {
  Rng rng(8);
  for (const DataType in_type : kFloatTypes) {
    for (const DataType out_type : kFloatTypes) {
      for (const std::int64_t m : {0, 1, 9, 40}) {
        for (const std::int64_t k : {0, 1, 31, 130}) {
          const int threads = static_cast<int>(1 + (m + k) % 3);
          const std::int64_t n = backend().tile_cols + 2, x_stride = k + 3, y_stride = n + 1;
          LinearProblem weights(
              {.m = 0, .n = n, .k = k, .out_type = out_type, .bias_type = DataType::float16}, rng);
          const Result<LinearLayer> layer = weights.prepare(backend().name);
          ASSERT_TRUE(layer.ok()) << layer.error().message;
          GuardedBlock x(m == 0 ? 0 : ((m - 1) * x_stride + k) * size_of(in_type), Place::odd);
          for (std::int64_t row = 0; row < m; ++row) {
            Values values = random_values(k, in_type, rng, 5);
            if (row == 2 && k > 0) values.bits[0] = 0x7F81;  // in 16 bits a NaN: one row of NaN
            values.store(x.data() + row * x_stride * size_of(in_type));
          }
          x.read_only();
          const ConstTensor view = matrix(std::as_const(x).data(), in_type, m, k, x_stride);

          std::vector<std::int8_t> codes(static_cast<std::size_t>(m * k) + 1);
          std::vector<float> scales(static_cast<std::size_t>(m) + 1);
          const std::int64_t y_bytes = m == 0 ? 0 : ((m - 1) * y_stride + n) * size_of(out_type);
          GuardedBlock want(y_bytes), got(y_bytes, Place::odd);
          const auto y = [&](GuardedBlock& block) {
            return matrix(static_cast<void*>(block.data()), out_type, m, n, y_stride);
          };
          const Tensor codes_view = matrix(codes.data(), m, k);
          const Tensor scales_view = vector(scales.data(), m);
          ASSERT_TRUE(quantize_rows(view, codes_view, scales_view).ok());
          ASSERT_TRUE(layer->run({codes_view, scales_view}, y(want)).ok());

          for (const Place place : kPlaces) {  // the workspace too may lie anywhere
            GuardedBlock room(static_cast<std::int64_t>(layer->workspace_bytes(m)), place);
            got.reset();
            const Status done = layer->run_dynamic(
                view, y(got), {reinterpret_cast<std::byte*>(room.data()), room.size()},
                {.threads = threads});
            ASSERT_TRUE(done.ok()) << done.error().message;
            ASSERT_TRUE(want.size() == got.size() &&
                        std::memcmp(want.data(), got.data(), got.size()) == 0)
                << m << " x " << k << " " << name(in_type) << " to " << name(out_type);
            ASSERT_TRUE(room.canaries_intact());
            ASSERT_TRUE(got.canaries_intact());
          }
        }
      }
    }
  }
}

TEST_P(Dynamic, WorkspaceTooSmallIsRefused) {
  Rng rng(9);
  LinearProblem weights({.m = 0, .n = 5, .k = 40}, rng);
  const Result<LinearLayer> layer = weights.prepare(backend().name);
  ASSERT_TRUE(layer.ok());
  const std::vector<float> x(120, 1.0F);
  std::vector<Float16> y(15, Float16{0x1234});
  const std::size_t needed = layer->workspace_bytes(3);
  EXPECT_GE(needed, 3U * (40U + 4U));
  std::vector<std::byte> room(needed - 1);
  const Status done = layer->run_dynamic(matrix(x.data(), 3, 40), matrix(y.data(), 3, 5), room);
  ASSERT_FALSE(done.ok());
  EXPECT_EQ(done.error().message,
            "workspace has " + std::to_string(needed - 1) +
                " bytes; 3 rows need workspace_bytes(3) = " + std::to_string(needed));
  for (const Float16 value : y) EXPECT_EQ(value.bits, 0x1234);
  EXPECT_EQ(layer->workspace_bytes(-1), 0U);
  EXPECT_EQ(layer->workspace_bytes(INT64_MAX), SIZE_MAX);
}

INSTANTIATE_TEST_SUITE_P(Backends, Dynamic, every_backend(), backend_name);

}  // namespace
}  // namespace quoin::test
