// The epilogue: linear/epilogue.h against plain double arithmetic and against pinned bits, then the
// epilogue of every backend, SIMD and all, against linear/epilogue.h.
#include "linear/epilogue.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <functional>
#include <vector>

#include "tests/support.h"

namespace quoin::test {
namespace {

std::uint32_t round_scalar(float value, DataType type) {
  switch (type) {
    case DataType::float16: return epilogue::half_from_float(value);
    case DataType::bfloat16: return epilogue::bfloat16_from_float(value);
    default: return epilogue::bits_of(epilogue::canonical_float(value));
  }
}

struct Pinned {
  std::uint32_t value;  // bits of a float32
  std::uint32_t half, bfloat16, float32;
};

// By hand, from IEEE 754: literals, so that no shared mistake can move them.
constexpr Pinned kPinned[] = {
    {0x00000000, 0x0000, 0x0000, 0x00000000},  // +0
    {0x80000000, 0x8000, 0x8000, 0x80000000},  // -0
    {0x3F800000, 0x3C00, 0x3F80, 0x3F800000},  // 1
    {0xC0000000, 0xC000, 0xC000, 0xC0000000},  // -2
    {0x40490FDB, 0x4248, 0x4049, 0x40490FDB},  // pi
    {0x3F801000, 0x3C00, 0x3F80, 0x3F801000},  // 1 + 2^-11: a tie of float16, to even
    {0x3F803000, 0x3C02, 0x3F80, 0x3F803000},  // 1 + 3 * 2^-11: a tie of float16, to even
    {0x3F801001, 0x3C01, 0x3F80, 0x3F801001},  // just above the tie
    {0x3F808000, 0x3C04, 0x3F80, 0x3F808000},  // 1 + 2^-8: a tie of bfloat16, to even
    {0x3F818000, 0x3C0C, 0x3F82, 0x3F818000},  // 1 + 3 * 2^-8: a tie of bfloat16, to even
    {0x477FE000, 0x7BFF, 0x4780, 0x477FE000},  // 65504, the largest float16
    {0x477FEFFF, 0x7BFF, 0x4780, 0x477FEFFF},  // just below 65520
    {0x477FF000, 0x7C00, 0x4780, 0x477FF000},  // 65520: overflow, a tie that goes to infinity
    {0xC77FF000, 0xFC00, 0xC780, 0xC77FF000},  // -65520
    {0x38800000, 0x0400, 0x3880, 0x38800000},  // 2^-14, the smallest normal float16
    {0x387FFFFF, 0x0400, 0x3880, 0x387FFFFF},  // rounds up into it
    {0x387FC000, 0x03FF, 0x3880, 0x387FC000},  // the largest subnormal float16
    {0x33800000, 0x0001, 0x3380, 0x33800000},  // 2^-24, the smallest float16
    {0x33000000, 0x0000, 0x3300, 0x33000000},  // 2^-25: a tie, to zero
    {0x33000001, 0x0001, 0x3300, 0x33000001},  // just above it
    {0xB3C00000, 0x8002, 0xB3C0, 0xB3C00000},  // -1.5 * 2^-24: a tie, to even
    {0x00000001, 0x0000, 0x0000, 0x00000001},  // the smallest float32
    {0x00008000, 0x0000, 0x0000, 0x00008000},  // a tie of the smallest bfloat16, to zero
    {0x00008001, 0x0000, 0x0001, 0x00008001},  // just above it
    {0x807FFFFF, 0x8000, 0x8080, 0x807FFFFF},  // the largest subnormal float32, negative
    {0x7F7F7FFF, 0x7C00, 0x7F7F, 0x7F7F7FFF},  // the last float32 that a bfloat16 rounds down
    {0x7F7F8000, 0x7C00, 0x7F80, 0x7F7F8000},  // overflow of bfloat16, a tie to infinity
    {0x7F7FFFFF, 0x7C00, 0x7F80, 0x7F7FFFFF},  // the largest float32
    {0x7F800000, 0x7C00, 0x7F80, 0x7F800000},  // infinity
    {0xFF800000, 0xFC00, 0xFF80, 0xFF800000},  // -infinity
    {0x7FC00000, 0x7FFF, 0x7FFF, 0x7FFFFFFF},  // NaN
    {0xFFC00000, 0x7FFF, 0x7FFF, 0x7FFFFFFF},  // NaN with a sign
    {0x7F800001, 0x7FFF, 0x7FFF, 0x7FFFFFFF},  // a signalling NaN
    {0xFFFFFFFF, 0x7FFF, 0x7FFF, 0x7FFFFFFF},
};

std::uint32_t pinned(const Pinned& p, DataType type) {
  switch (type) {
    case DataType::float16: return p.half;
    case DataType::bfloat16: return p.bfloat16;
    default: return p.float32;
  }
}

/// Values just below, at and just above the middle between each two neighbours of a 16-bit type,
/// and the neighbours themselves, of both signs.
std::vector<float> neighbourhoods(DataType type) {
  const std::uint32_t infinity = type == DataType::float16 ? 0x7C00 : 0x7F80;
  const double beyond = type == DataType::float16 ? 65536.0 : std::ldexp(1.0, 128);
  std::vector<float> values;
  for (std::uint32_t bits = 0; bits < infinity; ++bits) {
    const double low = value_of(bits, type);
    const double high = bits + 1 == infinity ? beyond : value_of(bits + 1, type);
    const auto middle = static_cast<float>((low + high) / 2);  // exact
    for (const float value : {static_cast<float>(low), std::nextafter(middle, 0.0F), middle,
                              std::nextafter(middle, INFINITY)}) {
      values.push_back(value);
      values.push_back(-value);
    }
  }
  return values;
}

TEST(Epilogue, PinnedBits) {
  for (const Pinned& p : kPinned) {
    for (const DataType type : kFloatTypes) {
      const float value = float_of_bits(p.value);
      EXPECT_EQ(round_scalar(value, type), pinned(p, type)) << std::hex << p.value << name(type);
      EXPECT_EQ(oracle_round(double{value}, type), pinned(p, type))
          << std::hex << p.value << name(type) << " (oracle)";
    }
  }
}

TEST(Epilogue, EveryHalfSurvivesTheRoundTrip) {
  for (std::uint32_t bits = 0; bits <= 0xFFFF; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float from_half = epilogue::float_from_half(half);
    const float from_bfloat16 = epilogue::float_from_bfloat16(half);
    if ((bits & 0x7FFFU) > 0x7C00U) {
      ASSERT_TRUE(std::isnan(from_half));
      ASSERT_EQ(epilogue::half_from_float(from_half), 0x7FFF);
    } else {
      ASSERT_EQ(bits_of_float(from_half),
                bits_of_float(static_cast<float>(value_of(bits, DataType::float16))));
      ASSERT_EQ(epilogue::half_from_float(from_half), half);
    }
    const bool nan = (bits & 0x7FFFU) > 0x7F80U;
    ASSERT_EQ(bits_of_float(from_bfloat16), bits << 16);
    ASSERT_EQ(epilogue::bfloat16_from_float(from_bfloat16), nan ? 0x7FFF : half);
  }
}

// By the definition of rounding: below the middle down, above it up, in it to the even one.
TEST(Epilogue, MiddlesBetweenNeighbours) {
  for (const DataType type : {DataType::float16, DataType::bfloat16}) {
    const std::vector<float> values = neighbourhoods(type);
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto low = static_cast<std::uint32_t>(i / 8);
      const std::uint32_t want[] = {low, low, low + (low & 1U), low + 1};
      const std::uint32_t sign = i % 2 == 0 ? 0 : 0x8000;
      ASSERT_EQ(round_scalar(values[i], type), sign | want[i / 2 % 4])
          << name(type) << " of 0x" << std::hex << bits_of_float(values[i]);
      ASSERT_EQ(oracle_round(double{values[i]}, type), sign | want[i / 2 % 4]);
    }
  }
}

TEST(Epilogue, SweepOverAllFloats) {
  constexpr std::uint64_t kStep = kSanitized ? 16411 : 521;
  for (std::uint64_t bits = 0; bits <= UINT32_MAX; bits += kStep) {
    const float value = float_of_bits(static_cast<std::uint32_t>(bits));
    for (const DataType type : kFloatTypes) {
      ASSERT_EQ(round_scalar(value, type), oracle_round(double{value}, type))
          << name(type) << " of 0x" << std::hex << bits;
    }
  }
}

TEST(Epilogue, EachStepRoundsOnItsOwn) {
  // A fused multiply-add would keep the low bits of the product: (1 + 2^-23)^2 - 1 - 2^-22 = 2^-46.
  const float a = float_of_bits(0x3F800001);
  EXPECT_EQ(epilogue::dequantise(1, 1.0F, a, a, -float_of_bits(0x3F800002)), 0.0F);
  // In another order the product would not overflow on its way.
  EXPECT_EQ(epilogue::dequantise(2, 1.0F, 3e38F, 0.5F, 0.0F), INFINITY);
  EXPECT_EQ(epilogue::dequantise(2, 0.25F, 3e38F, 0.5F, 0.0F), 1.5e38F / 2);
  // float(acc) rounds to even before anything else: 2^24 + 1 becomes 2^24.
  EXPECT_EQ(epilogue::dequantise(16777217, 1.0F, 1.0F, 1.0F, 0.0F), 16777216.0F);
  EXPECT_EQ(epilogue::dequantise(16777219, 1.0F, 1.0F, 1.0F, 0.0F), 16777220.0F);
}

class BackendEpilogue : public BackendTest {
 protected:
  /// Sends `values` through the backend: acc, f and scale_x are 1, scale_w is the value, and the
  /// bias is -0, which leaves every value, -0 among them, as it is.
  void expect_rounded(const std::vector<float>& values, DataType type) {
    const auto n = static_cast<std::int64_t>(values.size());
    const std::vector<std::int8_t> ones(values.size(), 1);
    const std::vector<float> minus_zero(values.size(), -0.0F);
    const Result<LinearLayer> layer =
        prepare({.weight = matrix(ones.data(), n, 1),
                 .scale_w = vector(values.data(), n),
                 .bias = vector(minus_zero.data(), n)},
                {.out_type = type, .dequant_factor = 1.0F, .backend = backend().name});
    ASSERT_TRUE(layer.ok()) << layer.error().message;
    std::vector<std::byte> y(values.size() * static_cast<std::size_t>(size_of(type)));
    const float one = 1.0F;
    ASSERT_TRUE(layer
                    ->run({matrix(ones.data(), 1, 1), vector(&one, 1)},
                          matrix(static_cast<void*>(y.data()), type, 1, n))
                    .ok());
    for (std::int64_t i = 0; i < n; ++i) {
      ASSERT_EQ(element_bits(y.data(), type, i), round_scalar(values[i], type))
          << name(type) << " of 0x" << std::hex << bits_of_float(values[i]);
    }
  }
};

TEST_P(BackendEpilogue, PinnedBits) {
  // At every position of a vector: its lanes must not differ.
  for (std::size_t shift = 0; shift < std::size(kPinned); ++shift) {
    std::array<Pinned, std::size(kPinned)> cases;
    std::rotate_copy(std::begin(kPinned), std::begin(kPinned) + shift, std::end(kPinned),
                     cases.begin());
    std::vector<float> values;
    for (const Pinned& p : cases) values.push_back(float_of_bits(p.value));
    for (const DataType type : kFloatTypes) expect_rounded(values, type);
    if (HasFailure()) return;
  }
}

TEST_P(BackendEpilogue, MiddlesBetweenNeighbours) {
  for (const DataType source : {DataType::float16, DataType::bfloat16}) {
    const std::vector<float> values = neighbourhoods(source);
    for (const DataType type : kFloatTypes) expect_rounded(values, type);
  }
}

TEST_P(BackendEpilogue, SweepOverAllFloats) {
  constexpr std::uint64_t kStep = kSanitized ? 16411 : 1031;
  std::vector<float> values;
  for (std::uint64_t bits = 0; bits <= UINT32_MAX; bits += kStep) {
    values.push_back(float_of_bits(static_cast<std::uint32_t>(bits)));
    if (values.size() < 65536 && bits + kStep <= UINT32_MAX) continue;
    for (const DataType type : kFloatTypes) expect_rounded(values, type);
    if (HasFailure()) return;
    values.clear();
  }
}

struct Row {
  float scale;
  std::uint32_t half, bfloat16, float32;
};

// Rows that differ in their scale alone, acc = -6, f = 0.5, scale_w = 2, no bias; pinned.
constexpr std::uint32_t kTiny = 0x00000001;
const Row kRows[] = {
    {1.0F, 0xC600, 0xC0C0, 0xC0C00000},                       // -6
    {float_of_bits(0x7FC00000), 0x7FFF, 0x7FFF, 0x7FFFFFFF},  // NaN, this row only
    {INFINITY, 0xFC00, 0xFF80, 0xFF800000},                   //
    {-INFINITY, 0x7C00, 0x7F80, 0x7F800000},                  //
    {0.0F, 0x0000, 0x0000, 0x00000000},                       // -0 + (+0) is +0
    {-0.0F, 0x0000, 0x0000, 0x00000000},                      //
    {float_of_bits(kTiny), 0x8000, 0x8000, 0x80000006},       // subnormal: kept in float32
    {float_of_bits(0x00004000), 0x8000, 0x8002, 0x80018000},  // 1.5 bfloat16 units: to even
    {float_of_bits(0x33000000), 0x8003, 0xB440, 0xB4400000},  // -3 * 2^-24, subnormal float16
    {float_of_bits(0x7F7FFFFF), 0xFC00, 0xFF80, 0xFF800000},  // overflow of float32
    {20000.0F, 0xFC00, 0xC7EA, 0xC7EA6000},                   // overflow of float16 only
    {-1.0F, 0x4600, 0x40C0, 0x40C00000},                      // 6
};

TEST_P(BackendEpilogue, RowsDoNotTouchOneAnother) {
  const auto m = static_cast<std::int64_t>(std::size(kRows));
  for (const std::int64_t n : {1, 3, 20, backend().tile_cols + 1}) {
    const std::vector<std::int8_t> x(static_cast<std::size_t>(m), 3);
    const std::vector<std::int8_t> w(static_cast<std::size_t>(n), -2);
    const std::vector<float> scale_w(static_cast<std::size_t>(n), 2.0F);
    std::vector<float> scale_x;
    for (const Row& row : kRows) scale_x.push_back(row.scale);
    for (const DataType type : kFloatTypes) {
      const Result<LinearLayer> layer =
          prepare({.weight = matrix(w.data(), n, 1), .scale_w = vector(scale_w.data(), n)},
                  {.out_type = type, .dequant_factor = 0.5F, .backend = backend().name});
      ASSERT_TRUE(layer.ok()) << layer.error().message;
      std::vector<std::byte> y(static_cast<std::size_t>(m * n * size_of(type)));
      ASSERT_TRUE(layer
                      ->run({matrix(x.data(), m, 1), vector(scale_x.data(), m)},
                            matrix(static_cast<void*>(y.data()), type, m, n))
                      .ok());
      for (std::int64_t i = 0; i < m * n; ++i) {
        const Row& row = kRows[i / n];
        const std::uint32_t want = type == DataType::float16    ? row.half
                                   : type == DataType::bfloat16 ? row.bfloat16
                                                                : row.float32;
        ASSERT_EQ(element_bits(y.data(), type, i), want)
            << std::hex << "scale 0x" << bits_of_float(row.scale) << " as " << name(type);
      }
    }
  }
}

TEST_P(BackendEpilogue, NoFusedMultiplyAdd) {
  const float a = float_of_bits(0x3F800001);  // 1 + 2^-23: its square needs 46 bits
  const std::vector<std::int8_t> ones(40, 1);
  const std::vector<float> scales(40, a);
  const std::vector<float> bias(40, -float_of_bits(0x3F800002));
  std::vector<float> y(40, 7.0F);
  const Result<LinearLayer> layer =
      prepare({.weight = matrix(ones.data(), 40, 1),
               .scale_w = vector(scales.data(), 40),
               .bias = vector(bias.data(), 40)},
              {.out_type = DataType::float32, .dequant_factor = 1.0F, .backend = backend().name});
  ASSERT_TRUE(layer.ok());
  ASSERT_TRUE(layer->run({matrix(ones.data(), 1, 1), vector(&a, 1)}, matrix(y.data(), 1, 40)).ok());
  for (const float value : y) EXPECT_EQ(bits_of_float(value), 0U);
}

// Random sums, scales of every kind and rows of every kind, against the oracle.
TEST_P(BackendEpilogue, WildScalesAgainstTheOracle) {
  Rng rng(20261121);
  for (int i = 0; i < (kSanitized ? 30 : 150); ++i) {
    LinearProblem problem({.m = 13,
                           .n = 53,
                           .k = 1 + i % 9,
                           .out_type = kFloatTypes[i % 3],
                           .bias_type = kFloatTypes[i / 3 % 3],
                           .factor = random_scale(rng, true),
                           .wild_scales = true},
                          rng);
    problem.prepare_run_check(backend().name);
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, BackendEpilogue, every_backend(), backend_name);

}  // namespace
}  // namespace quoin::test
