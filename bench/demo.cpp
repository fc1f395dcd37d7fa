// What `make demo` runs: the layer that the project comes from, 128 x 2048 x 2048, on real input
// and on every backend of this machine, against the float32 reference and oneDNN.
//
// Steps, all shown: quantise a float weight and float activations; run the layer on each backend;
// compare the bits; time each beside this CPU's limit; time the peers.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "bench/cell.h"
#include "bench/peer_entrants.h"
#include "cli/progress.h"
#include "linear/epilogue.h"
#include "linear/select.h"
#include "quoin/device.h"

namespace quoin::bench {
namespace {

constexpr std::int64_t kM = 128, kN = 2048, kK = 2048;

/// Rows as a language model's layers have them: normal, with a few channels far larger.
std::vector<float> realistic_rows(std::int64_t rows, float spread, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0F, spread);
  std::vector<float> values(static_cast<std::size_t>(rows * kK));
  for (std::int64_t i = 0; i < rows * kK; ++i) {
    const float outlier = i % kK % 512 == 7 ? 12.0F : 1.0F;
    values[static_cast<std::size_t>(i)] = normal(random) * outlier;
  }
  return values;
}

/// The float operands, quantised by the library, as a problem.
Problem quantised_problem(const std::vector<float>& x, const std::vector<float>& weight) {
  Problem p = random_problem(kM, kN, kK, 1);  // for its bias
  const auto quantise = [](const std::vector<float>& from, std::vector<std::int8_t>& codes,
                           std::vector<float>& scales) {
    const auto rows = static_cast<std::int64_t>(scales.size());
    return quantize_rows(matrix(from.data(), rows, kK), matrix(codes.data(), rows, kK),
                         vector(scales.data(), rows));
  };
  if (!quantise(x, p.x, p.scale_x) || !quantise(weight, p.weight, p.scale_w)) std::abort();
  return p;
}

/// Root mean square of the error against the float64 product, over that of the product.
double relative_error(const Problem& p, const std::vector<float>& x,
                      const std::vector<float>& weight, const std::vector<Float16>& y) {
  double error = 0, norm = 0;
  for (std::int64_t m = 0; m < kM; m += 16) {
    for (std::int64_t n = 0; n < kN; ++n) {
      double exact = epilogue::float_from_half(p.bias[static_cast<std::size_t>(n)].bits);
      for (std::int64_t k = 0; k < kK; ++k) {
        exact += double{x[static_cast<std::size_t>(m * kK + k)]} *
                 weight[static_cast<std::size_t>(n * kK + k)];
      }
      const double got = epilogue::float_from_half(y[static_cast<std::size_t>(m * kN + n)].bits);
      error += (got - exact) * (got - exact);
      norm += exact * exact;
    }
  }
  return std::sqrt(error / norm);
}

std::vector<Float16> run_layer(const Problem& p, const std::string& backend) {
  std::vector<Float16> y(static_cast<std::size_t>(kM * kN));
  const Result<LinearLayer> layer = prepare(p.weights(), {.backend = backend});
  if (!layer || !layer->run(p.rows(), matrix(y.data(), kM, kN))) std::abort();
  return y;
}

void print_timing(const Timing& t, double reference) {
  fmt::print("  {:<42} {:>9.0f} us {:>7.1f}% {:>9.1f}x\n", t.name, t.seconds.median * 1e6,
             100 * t.compute_share.median, reference / t.seconds.median);
  std::fflush(stdout);
}

/// The fastest of some entrants, timed; nothing where none takes part.
std::vector<Timing> fastest(const Problem& p, int threads, const std::vector<Entrant>& entrants) {
  if (entrants.empty()) return {};
  CellResult cell = run_cell(p, threads, entrants, {.min_seconds = 0.1});
  std::vector<Timing>& timings = cell.comparison.timings;
  const auto less = [](const Timing& a, const Timing& b) {
    return a.seconds.median < b.seconds.median;
  };
  if (timings.empty()) return {};
  return {*std::min_element(timings.begin(), timings.end(), less)};
}

int run(const std::vector<std::string>& modules) {
  fmt::print("quoin {} on {}\n\n", version(), this_cpu().brand);
  std::vector<const QuoinPeer*> peers;
  for (const std::string& module : modules) {
    const Result<const QuoinPeer*> peer = open_peer(module);
    if (peer) {
      peers.push_back(peer.value());
    } else {
      fmt::print("(without a peer: {})\n", peer.error().message);
    }
  }
  const std::vector<float> x = realistic_rows(kM, 1.0F, 1);
  const std::vector<float> weight = realistic_rows(kN, 0.02F, 2);
  const Problem problem = quantised_problem(x, weight);
  fmt::print("Quantised x {} x {} and w {} x {} from float32 to int8, one scale a row.\n", kM, kK,
             kN, kK);

  std::vector<std::string> available;
  for (const BackendInfo& backend : backends()) {
    if (backend.available && !backend.on_gpu) available.emplace_back(backend.name);
  }
  const std::vector<Float16> y = run_layer(problem, available.front());
  fmt::print("y = x w^T in int8, dequantised with bias: {:.2f}% from the float64 product.\n\n",
             100 * relative_error(problem, x, weight, y));
  bool equal = count_wrong(problem, y) == 0;
  fmt::print("  {:<42} {}\n", available.front(),
             equal ? "equals the plain oracle, bit for bit" : "DIFFERS from the oracle");
  for (std::size_t i = 1; i < available.size(); ++i) {
    const std::vector<Float16> other = run_layer(problem, available[i]);
    const bool same = std::equal(y.begin(), y.end(), other.begin(),
                                 [](Float16 a, Float16 b) { return a.bits == b.bits; });
    equal = equal && same;
    fmt::print("  {:<42} {}\n", available[i], same ? "the same bits" : "OTHER BITS");
  }

  const PeakLoop peak = peak_loop(*select_backend(available.front()).value());
  for (int threads = 1; threads <= std::min(this_cpu().usable_cpus, 2); ++threads) {
    fmt::print(
        "\n{} thread{}: time, share of this CPU's measured peak, times the float32 reference\n",
        threads, threads == 1 ? "" : "s");
    cli::Progress progress("timing", 2 + available.size() + 1);
    progress.step("float32 reference");
    std::vector<Timing> reference =
        fastest(problem, threads, peer_entrants(peers, QuoinPeerKind::kFloat32PerCall));
    const double base = reference.empty() ? NAN : reference.front().seconds.median;
    progress.step("oneDNN");
    const std::vector<Timing> onednn =
        fastest(problem, threads, peer_entrants(peers, QuoinPeerKind::kInt8));
    progress.clear();
    for (Timing& t : reference) {
      t.name += " (reference)";
      print_timing(t, base);
    }
    for (const Timing& t : onednn) print_timing(t, base);
    for (const std::string& backend : available) {
      progress.step(backend);
      std::vector<Entrant> entrants{quoin_entrant(backend)};
      if (backend == available.front()) entrants.push_back(dynamic_entrant(backend));
      const CellResult cell =
          run_cell(problem, threads, entrants, {.min_seconds = 0.2, .peak = peak});
      progress.clear();
      equal = equal && cell.wrong.empty();
      for (const Timing& t : cell.comparison.timings) print_timing(t, base);
    }
  }
  fmt::print("\n{}\n", equal ? "Every backend gives the same bits." : "BACKENDS DIFFER.");
  return equal ? 0 : 1;
}

}  // namespace
}  // namespace quoin::bench

int main(int argc, char** argv) {
  return quoin::bench::run(std::vector<std::string>(argv + 1, argv + argc));
}
