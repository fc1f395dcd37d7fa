// What a persistent kernel reads from memory, by the rows of tokens in a band of its tiles: the
// kernel's walk over its tiles through an L2 of which `megabytes` count, least recently used first
// out, all clusters in step. Without any GPU. ncu's dram__bytes_read on an H200 is between what 34
// and 44 megabytes give (docs/sm90a.md, "Order of tiles").
//
//   g++ -std=c++20 -O2 -Isrc bench/cuda/rasters.cpp -o rasters
//   ./rasters [MEGABYTES] MxNxK ...
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <list>
#include <string>
#include <unordered_map>
#include <vector>

#include "linear/kernels/cuda/sm90a_config.h"

namespace {

constexpr int kUnitRows = 32, kBlock = 128;  // what is looked up at once: 4 KiB
constexpr int kClusters = 66;                // in flight on 132 SMs
constexpr int kTokens = 256;                 // rows of a cluster's tile

class Cache {
 public:
  explicit Cache(std::size_t units) : units_(units) {}
  /// Whether it was there.
  bool touch(std::int64_t unit) {
    const auto found = at_.find(unit);
    if (found != at_.end()) {
      order_.splice(order_.begin(), order_, found->second);
      return true;
    }
    order_.push_front(unit);
    at_[unit] = order_.begin();
    if (order_.size() > units_) {
      at_.erase(order_.back());
      order_.pop_back();
    }
    return false;
  }

 private:
  std::size_t units_;
  std::list<std::int64_t> order_;
  std::unordered_map<std::int64_t, std::list<std::int64_t>::iterator> at_;
};

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// Bytes of x and w read for tiles `width` columns wide.
double bytes_read(std::int64_t m, std::int64_t n, std::int64_t k, int width, int band_rows,
                  double megabytes) {
  Cache cache(static_cast<std::size_t>(megabytes * 1e6 / (kUnitRows * kBlock)));
  const std::int64_t blocks = ceil_div(k, kBlock), groups_m = ceil_div(m, kTokens);
  const std::int64_t groups_n = ceil_div(n, width), tiles = groups_m * groups_n;
  const std::int64_t raster = std::clamp<std::int64_t>(band_rows / kTokens, 1, groups_m);
  const std::int64_t units_x = ceil_div(m, kUnitRows), units_w = ceil_div(n, kUnitRows);
  const std::int64_t units_y = std::int64_t{kTokens} * width * 2 / (kUnitRows * kBlock);
  std::int64_t missed = 0;
  for (std::int64_t first = 0, turn = 0; first < tiles; first += kClusters, ++turn) {
    struct Place {
      std::int64_t m, n;
    };
    std::vector<Place> places;
    for (std::int64_t tile = first; tile < std::min(tiles, first + kClusters); ++tile) {
      const std::int64_t band = tile / (raster * groups_n), in_band = tile % (raster * groups_n);
      const std::int64_t height = std::min(raster, groups_m - band * raster);
      const std::int64_t along = in_band / height;
      places.push_back(
          {band * raster + in_band % height, band % 2 == 1 ? groups_n - 1 - along : along});
    }
    const auto touch = [&](std::int64_t from, std::int64_t to, std::int64_t block,
                           std::int64_t base) {
      for (std::int64_t row = from; row < to; ++row) {
        missed += cache.touch((base + row) * blocks + block) ? 0 : 1;
      }
    };
    for (std::int64_t step = 0; step < blocks; ++step) {
      const std::int64_t block = turn % 2 == 1 ? blocks - 1 - step : step;
      for (const Place& p : places) {
        touch(p.m * kTokens / kUnitRows, std::min((p.m + 1) * kTokens / kUnitRows, units_x), block,
              0);
        touch(p.n * width / kUnitRows, std::min(ceil_div((p.n + 1) * width, kUnitRows), units_w),
              block, units_x);
      }
    }
    for (const Place& p : places) {  // y goes through L2 too
      for (std::int64_t i = 0; i < units_y; ++i) {
        cache.touch(-1 - ((p.m * groups_n + p.n) * units_y + i));
      }
    }
  }
  return static_cast<double>(missed) * kUnitRows * kBlock;
}

}  // namespace

int main(int argc, char** argv) {
  double megabytes = 36;
  for (int i = 1; i < argc; ++i) {
    long long m = 0, n = 0, k = 0;
    if (std::sscanf(argv[i], "%lldx%lldx%lld", &m, &n, &k) != 3) {
      megabytes = std::atof(argv[i]);
      continue;
    }
    const int chosen = quoin::cuda::raster_rows(n, k);
    std::printf("%lldx%lldx%lld, each byte once %.0f MB, bands of %d rows\n", m, n, k,
                static_cast<double>((m + n) * k) / 1e6, chosen);
    for (const int width : {128, 192, 256}) {
      std::printf("  %d columns:", width);
      for (int rows = 256; rows <= 8192 && (rows == 256 || rows < 2 * m); rows *= 2) {
        std::printf("  %d: %.0f%s", rows, bytes_read(m, n, k, width, rows, megabytes) / 1e6,
                    rows == std::min<long long>(chosen, 8192) ? "*" : "");
      }
      std::printf("\n");
    }
  }
}
