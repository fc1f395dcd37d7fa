#include "linear/plan/cuda_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "cost/roofline.h"
#include "linear/kernels/cuda/sm90a_configs.h"

namespace quoin::cuda {
namespace {

constexpr double kBlockBytes = 128;  // of K in a stage, for each row
constexpr double kSmsOfRates = 132;  // of the card that CudaRates was fitted to

double ceil_div(double a, double b) { return std::ceil(a / b); }
std::int64_t tiles_along(std::int64_t rows, int tile) { return (rows + tile - 1) / tile; }

/// The shape as a kernel sees it.
struct Grid {
  double tiles_a, tiles_b, ctas, blocks;
  double in_turn;  // CTAs that the busiest SM does one after the other
};

double clusters_of(const Config& c, const cost::GpuDevice& device) {
  return std::max(1.0, std::floor(device.sms / static_cast<double>(c.cluster())));
}

/// Of a kernel with narrow tiles.
Columns columns_of(const Config& c, const CudaShape& s, const cost::GpuDevice& device) {
  return columns_of(c, static_cast<int>(s.n),
                    static_cast<int>(tiles_along(s.m, c.tile_a * c.cluster_a)),
                    static_cast<int>(clusters_of(c, device)));
}

Grid grid_of(const Config& c, const CudaShape& s, const cost::GpuDevice& device) {
  Grid g{};
  const auto rows_a = static_cast<double>(c.swap ? s.n : s.m);
  const auto rows_b = static_cast<double>(c.swap ? s.m : s.n);
  g.tiles_a = ceil_div(rows_a, c.tile_a * c.cluster_a) * c.cluster_a;
  g.tiles_b = ceil_div(rows_b, c.tile_b * c.cluster_b) * c.cluster_b;
  if (c.tail_b > 0) {  // a narrow tile counts for the bytes that it needs
    const Columns columns = columns_of(c, s, device);
    g.tiles_b = columns.wide +
                columns.narrow * static_cast<double>(c.tile_a + c.tail_b) / (c.tile_a + c.tile_b);
    g.in_turn = static_cast<double>(columns.busiest) / c.tile_b;
  } else {
    g.in_turn = ceil_div(g.tiles_a * g.tiles_b * c.split_k, clusters_of(c, device) * c.cluster());
  }
  g.ctas = g.tiles_a * g.tiles_b * c.split_k;
  g.blocks = ceil_div(ceil_div(static_cast<double>(s.k), kBlockBytes), c.split_k);
  return g;
}

/// Cycles in which an SM's tensor cores do one block of a tile. Below 16 columns an instruction
/// takes as long as for 16: it waits for the 64 rows of A.
double multiply_cycles(const Config& c, const CudaRates& rates) {
  return static_cast<double>(c.tile_a) * std::max(c.tile_b, 16) * kBlockBytes / rates.macs;
}

constexpr std::int64_t kMostRows = 0x7FFFFFFF;  // tiles are found by 32-bit coordinates
constexpr std::int64_t kMostTiles = std::int64_t{1} << 30;
constexpr std::int64_t kMostGridY = 65'535;
constexpr std::int64_t kTinyWeight = 8 << 20, kSmallWeight = 16 << 20;  // bytes

/// Decode: one tile holds all tokens, two where the weights are tiny.
bool holds_all(const Config& c) { return c.swap && (c.split_k > 1 || c.tile_b <= 32); }
std::int64_t most_tokens(const Config& c) { return std::int64_t{2} * c.tile_b; }

struct Tiles {
  std::int64_t weights, all;
};

Tiles tiles_of(const Config& c, const CudaShape& s) {
  const std::int64_t a = tiles_along(c.swap ? s.n : s.m, c.tile_a * c.cluster_a);
  const std::int64_t b = tiles_along(c.swap ? s.m : s.n, c.tile_b * c.cluster_b);
  return {c.swap ? a : b, a * b};
}

/// So many channels that even few rows are enough tiles for a persistent kernel.
bool is_wide(const CudaShape& s) { return s.n >= 16'384; }

}  // namespace

bool cuda_applies(const Config& c, const CudaShape& s) {
  if (s.m < 1 || s.n < 1 || s.k < 1 || s.m > kMostRows || s.n > kMostRows) return false;
  if ((s.k + 127) / 128 < c.split_k) return false;
  if (c.sums() > 128 && s.out_bytes != 2) return false;
  if (holds_all(c) && s.m > most_tokens(c)) return false;
  const Tiles tiles = tiles_of(c, s);
  return tiles.all <= kMostTiles && (c.persistent || tiles.weights <= kMostGridY);
}

std::string cuda_refusal(const Config& c, const CudaShape& s) {
  if (cuda_applies(c, s)) return {};
  if (s.m < 1 || s.n < 1 || s.k < 1) {
    return fmt::format("M x N x K is {} x {} x {}: nothing to multiply", s.m, s.n, s.k);
  }
  const std::int64_t blocks = (s.k + 127) / 128;
  if (blocks < c.split_k) {
    return fmt::format("K = {} has {} blocks of 128 for {} CTAs", s.k, blocks, c.split_k);
  }
  if (c.sums() > 128 && s.out_bytes != 2) {
    return fmt::format("{}-byte output: too few registers", s.out_bytes);
  }
  if (holds_all(c) && s.m > most_tokens(c)) {
    return fmt::format("{} tokens, made for {}", s.m, most_tokens(c));
  }
  if (s.m > kMostRows || s.n > kMostRows) {
    return fmt::format("M x N is {} x {}: each may be at most 2^31 - 1", s.m, s.n);
  }
  const Tiles tiles = tiles_of(c, s);
  return tiles.all > kMostTiles
             ? fmt::format("{} tiles, more than 2^30", tiles.all)
             : fmt::format("{} tiles of weights, more than {}", tiles.weights, kMostGridY);
}

bool cuda_in_range(const Config& c, const CudaShape& s) {
  if (s.m > 64 && s.m <= 128 && is_wide(s)) {  // one row of many tiles: 0 to 14% before the others
    return c.persistent && !c.swap && c.tile_a == 128 && c.cluster() == 1;
  }
  if (c.swap && !holds_all(c)) return s.m > 128 && s.m <= std::int64_t{2} * c.tile_b;
  if (c.swap) {
    const std::int64_t least = c.tile_b <= 16 ? 1 : c.tile_b <= 64 ? c.tile_b / 4 : 65;
    // Persistent ones take longer to start.
    if (c.persistent && s.n * s.k <= (std::int64_t{16} << 20)) return false;
    if (s.m > c.tile_b && s.n * s.k > kTinyWeight) return false;
    return s.m >= least;
  }
  if (s.m >= 1024 && c.tile_a * c.tile_b < 128 * 128) return false;
  if (s.m >= 1024 && s.m * s.n >= 2048 * 2048) return c.persistent && c.tile_a >= 128;
  // Rows of tiles are what counts: 129 rows take as long as 192 by tiles of 64.
  if (c.persistent) return s.m >= (is_wide(s) ? 129 : 192) && c.tail_b == 0;
  if (s.m > 128 && is_wide(s)) return false;  // three waves of tiles: up to 23% behind
  if (c.tile_a * c.tile_b >= 128 * 128) return s.m > 64;
  return s.m > 16;
}

std::int64_t cuda_tiles(const Config& c, const CudaShape& s, const cost::GpuDevice& device) {
  const std::int64_t along_a = tiles_along(c.swap ? s.n : s.m, c.tile_a);
  if (c.tail_b == 0) return along_a * tiles_along(c.swap ? s.m : s.n, c.tile_b);
  const Columns columns = columns_of(c, s, device);
  return along_a * (columns.wide + columns.narrow);
}

double cuda_price(const Config& c, const CudaShape& s, const cost::GpuDevice& device,
                  const CudaRates& rates) {
  const Grid g = grid_of(c, s, device);
  const double in_turn = g.in_turn;
  const double at_once = std::min<double>(c.ctas, in_turn);  // CTAs of an SM

  // Tokens that fit one tile are loaded as they are; of more, the last tile repeats some.
  const double tile_x = c.swap ? c.tile_b : c.tile_a, tile_w = c.swap ? c.tile_a : c.tile_b;
  const double tokens = static_cast<double>(s.m);
  const double loaded_x = holds_all(c) ? std::min(tile_x, tokens) : tile_x;
  const double bytes = (loaded_x + tile_w) * kBlockBytes;
  const double pipe = std::max(multiply_cycles(c, rates), bytes / rates.feed);
  const bool lone = c.warpgroups == 1;
  const double issue = lone ? rates.block / at_once : 0;
  const double ring = rates.latency / (c.stages * at_once);
  const double body = in_turn * g.blocks * std::max({pipe, issue, ring});
  const double shared = 1.0 / (c.cluster_a * c.cluster_b > 1 ? 1.33 : 1.0);
  const double from_l2 =
      g.ctas * g.blocks * bytes * shared / (rates.feed_all * device.sms / kSmsOfRates);

  // Outputs of a math thread, for every tile unless the other warpgroup multiplies meanwhile.
  const double outputs = c.sums() / static_cast<double>(c.chains) / c.split_k;
  const double tiles = c.persistent && !c.ping_pong ? in_turn : in_turn / at_once > 1 ? 2 : 1;
  const double finish = rates.finish * outputs * tiles;

  const auto channels = static_cast<double>(s.n), depth = static_cast<double>(s.k);
  const double moved = channels * depth + tokens * depth + tokens * channels * s.out_bytes;
  const cost::Seconds memory =
      cost::Bytes{moved} / cost::BytesPerSecond{device.memory.value * rates.memory_share};
  const double seconds = rates.start + (c.cluster() > 1 ? rates.cluster : 0) +
                         std::max(memory.value, std::max(body, from_l2) / rates.clock) +
                         finish / rates.clock;
  return seconds * c.permille / 1000;
}

namespace {

std::int64_t weight_bytes(const CudaShape& s) { return s.n * s.k; }

/// Whether a product gains from starting at once behind its own quantiser. Time chained over time
/// not, by M: 2048x2048 .70 at 1, .84 at 128, .90 at 384, .96 at 512, 1.0 at 1024; 4096x4096 .84,
/// .99, .99, and 1.04 at 384; 28672x4096 .90 at 1, .93 at 128, and 1.1 at 192; 4096x14336 .81 at 1,
/// .94 at 64, .98 at 128, .95 at 192; but 8192x8192 .87, 1.04 at 128.
bool gains_behind_quantiser(const CudaShape& s) {
  if (weight_bytes(s) <= kTinyWeight) return s.m <= 512;
  return s.m <= 64 || (s.m <= 128 && s.k <= 4096) || (s.m <= 192 && s.n <= 4096) ||
         (s.m <= 256 && weight_bytes(s) <= (std::int64_t{20} << 20));
}

/// ... and behind any kernel, which may let it start when it ends; by some kernel. Product after
/// product: 2048x2048 .60 at 1, .83 at 128, .94 at 256, .92 at 384, .95 at 512; 4096x4096 .87 at 1,
/// .93 at 64, .96 at 96 with K in two (1.04 without); 28672x4096 .96, .99; 8192x8192 .93, .95;
/// 4096x14336 .95 at 1, .96 at 32, .94 at 64, .96 at 96. From 65 rows on it is the kernels of 80
/// and 96 that gain, whose halves of K fit the SMs where N is at most 4,096; and the persistent one
/// of wide layers: 28672x4096 .91 to .95 at 96, .95 to .97 at 128 in three runs. It loses where
/// early CTAs end up on other SMs than L2 serves best.
bool gains_behind_any_kernel(const CudaShape& s) {
  if (weight_bytes(s) <= kTinyWeight) return s.m <= 512;
  return s.m <= 64 || (s.m <= 96 && s.n <= 4096) || (s.m <= 128 && is_wide(s));
}

}  // namespace

double early_gain(const Config& c, const CudaShape& s, const cost::GpuDevice& device) {
  if (!gains_behind_any_kernel(s)) return 0;
  const double load = grid_of(c, s, device).ctas / (device.sms * c.ctas);  // of the device
  if (weight_bytes(s) <= kTinyWeight) {
    if (holds_all(c) && s.m > c.tile_b) return load <= 0.5 ? 0.7e-6 : 0.2e-6;  // two of tokens
    if (load <= 0.5) return c.split_k > 1 ? 1.3e-6 : 0.65e-6;
    if (load <= 0.75) return 0.4e-6;
    return c.split_k > 1 ? 0.3e-6 : 0.15e-6;
  }
  if (weight_bytes(s) <= kSmallWeight) {
    if (c.split_k == 1) return load <= 0.75 ? 0 : -0.3e-6;
    return load <= 0.5 ? 0.7e-6 : 0.45e-6;
  }
  // The kernel ahead lets this one start as soon as its own CTAs have, so that weights stream on
  // across the launch.
  if (c.persistent) return c.swap ? 2.3e-6 : 1e-6;
  if (s.m > 64) return c.split_k > 1 ? 0.7e-6 : -1e-6;
  if (!c.swap) {  // most where the next grid takes the place of this one, CTA by CTA
    if (load > 0.5 && load <= 0.7) return -0.45e-6;
    return load > 0.7 && load <= 1 ? 0.8e-6 : 0.25e-6;
  }
  if (c.ctas > 1 && load > 0.7 && load <= 1) return 1.6e-6;
  return c.ctas > 1 && s.k > 16'384 ? -1.1e-6 : 0.9e-6;
}

// Waiting, launch after launch: 3.1, 3.7, 4.1 us for 3.55, 4.1, 4.4 at 1, 64, 128 x 2048 x
// 2048; 5.8 for 6.1 at 1 x 4096 x 4096; 29.7 for 30.1 at 1 x 28672 x 4096. But 8.9 for 8.3 at 1 x
// 6144 x 4096, where the next kernel's 192 CTAs find room for 72, and land unevenly.
Start product_start(const Config& c, const CudaShape& s, const cost::GpuDevice& device,
                    bool may_be_early) {
  if (early_gain(c, s, device) <= 0) return Start::after;
  if (may_be_early) return Start::early;
  const bool both_fit = grid_of(c, s, device).ctas <= 0.5 * device.sms * c.ctas;
  return both_fit && weight_bytes(s) <= kSmallWeight ? Start::waiting : Start::after;
}

// Quantiser and product, one after the other, with a quantiser that waits, with one that does not:
// 5.08, 3.66, 3.58 us at 1 x 2048 x 2048, 8.4, 7.2, 7.8 at 16 x 4096 x 4096, 9.5, 8.6, 9.3 at 128;
// 32.8, 31.3, 29.6 at 1 x 28672 x 4096, 20.6, 19.4, 18.6 at 16 x 8192 x 8192.
Start quantiser_start(const CudaShape& s, bool may_be_early) {
  if (!gains_behind_quantiser(s)) return Start::after;
  const bool better_waits = s.m >= 16 && weight_bytes(s) <= kSmallWeight;
  return may_be_early && !better_waits ? Start::early : Start::waiting;
}

namespace {

/// In range, and where there are narrow tiles the shape has some: without it is another's kernel.
bool is_worth_it(const Config& c, const CudaShape& s, const cost::GpuDevice& device) {
  return cuda_in_range(c, s) &&
         (c.tail_b == 0 || !cuda_applies(c, s) || columns_of(c, s, device).narrow > 0);
}

/// As the library launches.
double launched_price(const Config& c, const CudaShape& s, const cost::GpuDevice& device,
                      const CudaRates& rates) {
  const double plain = cuda_price(c, s, device, rates);
  return s.early ? std::max(plain / 2, plain - std::max(0.0, early_gain(c, s, device))) : plain;
}

}  // namespace

std::vector<CudaPlanned> plan_cuda(const cost::GpuDevice& device, const CudaShape& shape,
                                   const CudaRates& rates) {
  std::vector<CudaPlanned> plan;
  for (int kernel = 0; kernel < kKernelCount; ++kernel) {
    const Config& c = config_at(kernel);
    CudaPlanned planned{&c, kernel, 0, is_worth_it(c, shape, device), cuda_refusal(c, shape)};
    if (planned.refused_because.empty()) planned.seconds = launched_price(c, shape, device, rates);
    plan.push_back(std::move(planned));
  }
  std::stable_sort(plan.begin(), plan.end(), [](const CudaPlanned& a, const CudaPlanned& b) {
    const auto rank = [](const CudaPlanned& c) {
      return !c.refused_because.empty() ? 2 : c.in_range ? 0 : 1;
    };
    return rank(a) != rank(b) ? rank(a) < rank(b) : a.seconds < b.seconds;
  });
  return plan;
}

int pick_cuda(const cost::GpuDevice& device, const CudaShape& shape,
              const CudaRates& rates) noexcept {
  int best = -1;
  double best_seconds = 0;
  bool best_in_range = false;
  for (int kernel = 0; kernel < kKernelCount; ++kernel) {
    const Config& c = config_at(kernel);
    if (!cuda_applies(c, shape)) continue;
    const bool in_range = is_worth_it(c, shape, device);
    if (best >= 0 && best_in_range && !in_range) continue;
    const double seconds = launched_price(c, shape, device, rates);
    if (best >= 0 && best_in_range == in_range && seconds >= best_seconds) continue;
    best = kernel, best_seconds = seconds, best_in_range = in_range;
  }
  return best;
}

std::string to_string(const std::vector<CudaPlanned>& plan) {
  std::string text;
  for (const CudaPlanned& c : plan) {
    if (c.refused_because.empty()) {
      text += fmt::format("{:<26}{:>10.2f} us\n", name(*c.config), c.seconds * 1e6);
    } else {
      text += fmt::format("{:<26}   refused: {}\n", name(*c.config), c.refused_because);
    }
  }
  return text;
}

}  // namespace quoin::cuda
