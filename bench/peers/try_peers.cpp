// Checks and times every way of every peer, alone: no part of quoin is linked.
//
//     try_peers [--threads 1,2] [--m 1,16] [--nk 2048x2048,96x130] [--float] [--slow] MODULE.so ...
//
// Prints one line per way, shape and thread count: the median of the best of three blocks of runs
// ("hot": the same weight again), how far the output is from the contract's formula, and the
// library's name for its kernel.
#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "peer.h"

namespace {

constexpr int kBlocks = 3;
constexpr int kRuns = 15;

struct Case {
  int64_t m, n, k;
  std::vector<int8_t> x, w;
  std::vector<float> scale_x, scale_w;
  std::vector<uint16_t> bias;
  float factor = static_cast<float>(1.0 / (127.0 * 127.0));
};

uint16_t to_half(float value) { return __builtin_bit_cast(uint16_t, static_cast<_Float16>(value)); }
float from_half(uint16_t bits) { return static_cast<float>(__builtin_bit_cast(_Float16, bits)); }

Case make_case(int64_t m, int64_t n, int64_t k) {
  Case c{m, n, k, {}, {}, {}, {}, {}};
  std::mt19937 random(static_cast<uint32_t>(m * 7 + n * 3 + k));
  c.x.resize(m * k);
  c.w.resize(n * k);
  for (auto& v : c.x) v = static_cast<int8_t>(random());
  for (auto& v : c.w) v = static_cast<int8_t>(random());
  std::uniform_real_distribution<float> scale(0.01f, 0.5f), small(-1.0f, 1.0f);
  for (int64_t i = 0; i < m; ++i) c.scale_x.push_back(scale(random));
  for (int64_t i = 0; i < n; ++i) c.scale_w.push_back(scale(random));
  for (int64_t i = 0; i < n; ++i) c.bias.push_back(to_half(small(random)));
  return c;
}

// Steps from one float16 to the next, signs included.
int64_t ordered(uint16_t bits) { return bits & 0x8000 ? -int64_t{bits & 0x7FFF} : int64_t{bits}; }

// The worst distance from the contract in float16 steps over a few rows. A way that folds its
// scales differently may be further off where the product and the bias cancel, so a difference at
// float32's own precision counts as none.
int64_t worst_distance(const Case& c, const std::vector<uint16_t>& y) {
  int64_t worst = 0;
  for (const int64_t row : {int64_t{0}, c.m / 3, c.m / 2, c.m - 1}) {
    for (int64_t col = 0; col < c.n; ++col) {
      int32_t sum = 0;
      for (int64_t i = 0; i < c.k; ++i) sum += c.x[row * c.k + i] * c.w[col * c.k + i];
      const float scaled = ((static_cast<float>(sum) * c.factor) * c.scale_x[row]) * c.scale_w[col];
      const uint16_t expected = to_half(scaled + from_half(c.bias[col]));
      const uint16_t actual = y[row * c.n + col];
      const float gap = std::fabs(from_half(actual) - from_half(expected));
      if (gap <= 4e-7f * std::fabs(scaled)) continue;
      const int64_t distance =
          std::isfinite(from_half(actual)) ? std::abs(ordered(actual) - ordered(expected)) : 99999;
      worst = std::max(worst, distance);
    }
  }
  return worst;
}

struct Times {
  double median, minimum;
};

Times time_hot(const QuoinPeer& peer, QuoinPeerLayer* layer, const Case& c,
               std::vector<uint16_t>& y) {
  Times best = {1e30, 1e30};
  for (int block = 0; block < kBlocks; ++block) {
    std::vector<double> times;
    for (int i = 0; i < 2 + kRuns; ++i) {
      const auto start = std::chrono::steady_clock::now();
      if (!peer.run(layer, c.x.data(), c.scale_x.data(), y.data())) return {-1.0, -1.0};
      const std::chrono::duration<double, std::milli> took =
          std::chrono::steady_clock::now() - start;
      if (i >= 2) times.push_back(took.count());
    }
    std::nth_element(times.begin(), times.begin() + kRuns / 2, times.end());
    best.median = std::min(best.median, times[kRuns / 2]);
    best.minimum = std::min(best.minimum, *std::min_element(times.begin(), times.end()));
  }
  return best;
}

struct Options {
  std::vector<int64_t> m = {1, 4, 8, 16, 64, 128, 512};
  std::vector<std::pair<int64_t, int64_t>> nk = {
      {2048, 2048}, {4096, 4096}, {14336, 4096}, {4096, 14336}};
  std::vector<int64_t> threads = {1, 2};
  bool with_float = false, with_slow = false;
  std::vector<const QuoinPeer*> peers;
};

void try_case(const Options& options, const Case& c, int threads) {
  std::vector<uint16_t> y(c.m * c.n);
  const double operations = 2.0 * c.m * c.n * c.k;
  for (const QuoinPeer* peer : options.peers) {
    for (size_t way = 0; way < peer->way_count; ++way) {
      if (peer->ways[way].kind != QuoinPeerKind::kInt8 && !options.with_float) continue;
      const QuoinPeerProblem problem = {
          c.m, c.n, c.k, c.w.data(), c.scale_w.data(), c.bias.data(), c.factor, threads};
      char reason[128] = "";
      QuoinPeerLayer* layer = peer->create(way, &problem, reason, sizeof reason);
      printf("%4ld %5ld %5ld t%d %s-%s %-19s ", c.m, c.n, c.k, threads, peer->library,
             peer->version, peer->ways[way].name);
      if (layer == nullptr) {
        printf("refused: %s\n", reason);
        continue;
      }
      if (peer->is_slow(layer) && !options.with_slow) {
        printf("       -         %s\n", peer->implementation(layer));
      } else {
        std::fill(y.begin(), y.end(), 0x7E00);
        const bool ran = peer->run(layer, c.x.data(), c.scale_x.data(), y.data());
        const int64_t distance = ran ? worst_distance(c, y) : -1;
        const Times ms = time_hot(*peer, layer, c, y);
        printf("%9.4f ms (least %9.4f) %7.0f GOPS  ulp %ld  %s\n", ms.median, ms.minimum,
               operations / ms.minimum * 1e-6, distance, peer->implementation(layer));
      }
      fflush(stdout);
      peer->destroy(layer);
    }
  }
}

std::vector<int64_t> numbers(std::string text) {
  std::vector<int64_t> list;
  for (char* part = strtok(text.data(), ","); part != nullptr; part = strtok(nullptr, ","))
    list.push_back(atoll(part));
  return list;
}

const QuoinPeer* load(const char* path) {
  void* module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  const auto entry =
      module ? reinterpret_cast<QuoinPeerEntry>(dlsym(module, "quoin_peer")) : nullptr;
  if (entry == nullptr || entry()->abi != kQuoinPeerAbi) {
    fprintf(stderr, "try_peers: %s\n", entry ? "another ABI" : dlerror());
    exit(1);
  }
  return entry();
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    if (arg == "--float")
      options.with_float = true;
    else if (arg == "--slow")
      options.with_slow = true;
    else if (arg == "--m")
      options.m = numbers(argv[++i]);
    else if (arg == "--threads")
      options.threads = numbers(argv[++i]);
    else if (arg == "--nk") {
      options.nk.clear();
      std::string text = argv[++i];
      for (auto& c : text) c = c == 'x' ? ',' : c;
      const auto flat = numbers(text);
      for (size_t j = 0; j + 1 < flat.size(); j += 2) options.nk.push_back({flat[j], flat[j + 1]});
    } else
      options.peers.push_back(load(arg.c_str()));
  }
  for (const QuoinPeer* peer : options.peers) printf("# %s %s\n", peer->library, peer->version);
  for (const auto& [n, k] : options.nk) {
    for (const int64_t m : options.m) {
      const Case c = make_case(m, n, k);
      for (const int64_t threads : options.threads) try_case(options, c, static_cast<int>(threads));
    }
  }
}
