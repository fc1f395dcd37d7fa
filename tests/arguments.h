// A correct set of arguments for every public call, for tests to spoil.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tests/support.h"

namespace quoin::test {

inline constexpr std::int64_t kHuge = std::int64_t{1} << 62;

/// A correct set of arguments for every call, for tests to spoil: 4 x 6 x 8, output float16, with
/// memory to spare behind each.
struct Arguments {
  std::vector<std::int8_t> x_data = std::vector<std::int8_t>(256, 1);
  std::vector<std::int8_t> w_data = std::vector<std::int8_t>(256, 1);
  std::vector<float> scale_x_data = std::vector<float>(64, 1.0F);
  std::vector<float> scale_w_data = std::vector<float>(64, 1.0F);
  std::vector<Float16> bias_data = std::vector<Float16>(64, Float16{0x3C00});
  std::vector<float> x_float_data = std::vector<float>(256, 1.0F);
  std::vector<std::int8_t> codes_data = std::vector<std::int8_t>(256, 0x5A);
  std::vector<float> scales_data = std::vector<float>(64, 90.0F);
  std::vector<Float16> y_data = std::vector<Float16>(256, Float16{0x1234});
  std::vector<std::byte> room_data = std::vector<std::byte>(2000);

  LinearWeights weights{matrix(w_data.data(), 6, 8), vector(scale_w_data.data(), 6),
                        vector(bias_data.data(), 6)};
  LinearOptions options;
  QuantizedRows x{matrix(x_data.data(), 4, 8), vector(scale_x_data.data(), 4)};
  ConstTensor x_float = matrix(x_float_data.data(), 4, 8);
  Tensor y = matrix(y_data.data(), 4, 6);
  Tensor codes = matrix(codes_data.data(), 4, 8);
  Tensor scales = vector(scales_data.data(), 4);
  std::span<std::byte> room = room_data;
  RunOptions run;

  void expect_untouched() const {
    for (const Float16 value : y_data) ASSERT_EQ(value.bits, 0x1234);
    for (const std::int8_t code : codes_data) ASSERT_EQ(code, 0x5A);
    for (const float scale : scales_data) ASSERT_EQ(scale, 90.0F);
  }
};

enum class Call : std::uint8_t { prepare, run, run_dynamic, quantize };

inline Status make_call(Call call, Arguments& a) {
  if (call == Call::quantize) return quantize_rows(a.x_float, a.codes, a.scales, a.run);
  const Result<LinearLayer> layer = prepare(a.weights, a.options);
  if (!layer) return layer.error();
  if (call == Call::run) return layer->run(a.x, a.y, a.run);
  if (call == Call::run_dynamic) return layer->run_dynamic(a.x_float, a.y, a.room, a.run);
  return {};
}

}  // namespace quoin::test
