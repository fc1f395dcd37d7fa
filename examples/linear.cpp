// A whole INT8 linear layer with nothing but the public header: quantise the weights once, prepare
// the layer, run it on float activations, and see how far from float it is.
#include <quoin/quoin.h>

#include <cmath>
#include <cstddef>
#include <cstdio>
#include <random>
#include <vector>

namespace {

constexpr std::int64_t kRows = 16, kIn = 1024, kOut = 512;

std::vector<float> normal(std::int64_t count, float spread) {
  static std::mt19937 random(1);
  std::normal_distribution<float> distribution(0.0F, spread);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = distribution(random);
  return values;
}

int fail(const quoin::Error& error) {
  std::fprintf(stderr, "%s: %s\n", quoin::name(error.code).data(), error.message.c_str());
  return 1;
}

}  // namespace

int main() {
  const std::vector<float> weight = normal(kOut * kIn, 0.02F);
  const std::vector<float> bias = normal(kOut, 0.1F);
  const std::vector<float> x = normal(kRows * kIn, 1.0F);

  // Once per layer: one scale for each output channel, then packed for this machine.
  std::vector<std::int8_t> codes(weight.size());
  std::vector<float> scales(kOut);
  if (auto done = quoin::quantize_rows(quoin::matrix(weight.data(), kOut, kIn),
                                       quoin::matrix(codes.data(), kOut, kIn),
                                       quoin::vector(scales.data(), kOut));
      !done) {
    return fail(done.error());
  }
  auto layer = quoin::prepare({.weight = quoin::matrix(codes.data(), kOut, kIn),
                               .scale_w = quoin::vector(scales.data(), kOut),
                               .bias = quoin::vector(bias.data(), kOut)},
                              {.out_type = quoin::DataType::float32});
  if (!layer) return fail(layer.error());

  // Once per batch: activations are quantised on the way.
  std::vector<float> y(kRows * kOut);
  std::vector<std::byte> workspace(layer->workspace_bytes(kRows));
  if (auto done =
          layer->run_dynamic(quoin::matrix(x.data(), kRows, kIn),
                             quoin::matrix(y.data(), kRows, kOut), workspace, {.threads = 2});
      !done) {
    return fail(done.error());
  }

  double error = 0, norm = 0;
  for (std::int64_t m = 0; m < kRows; ++m) {
    for (std::int64_t n = 0; n < kOut; ++n) {
      double exact = bias[static_cast<std::size_t>(n)];
      for (std::int64_t k = 0; k < kIn; ++k) {
        exact += double{x[static_cast<std::size_t>(m * kIn + k)]} *
                 weight[static_cast<std::size_t>(n * kIn + k)];
      }
      const double difference = y[static_cast<std::size_t>(m * kOut + n)] - exact;
      error += difference * difference;
      norm += exact * exact;
    }
  }
  if (const auto plan = layer->plan(kRows, {.threads = 2})) {
    std::fputs(quoin::to_string(plan.value()).c_str(), stdout);
  }
  std::printf("relative error of the int8 layer: %.2f%%\n", 100 * std::sqrt(error / norm));
  return 0;
}
