// tile-misfit: a tile that does not fit the shape or the card
//
// What: a kernel that is one product with a block shape, a number of warps or of stages for
// which the model finds a better one: 64-wide tiles on large products, 256-wide ones that leave
// four programs, a tile wider than the matrix.
//
// Why it is slow: small tiles read their operands from L2 more often than the tensor cores
// multiply; large ones leave SMs empty.
//
// Estimate: the lowest price over tiles of {16, 32, 64, 128, 256}^2, K steps of 32 and 64, 4 or
// 8 warps, 3 stages; seconds as in src/cost/gpu_kernel.h, with an allowance of 10% for what a
// first version loses.
//
// Silent: kernels that are more than one product, gathered operands (convolutions), gains under
// 10%.
//
// Source: measured 2026-11-21 on an H200, 2048 x 4096 x 4096: f16 315 TFLOPS with 64 x 64 x 32,
// 577 with 128 x 128 x 64 and 8 warps.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "architect/rules/dots.h"
#include "architect/rules/rules.h"
#include "architect/rules/support.h"

namespace quoin::architect::rule {
namespace {

struct Tile {
  double m, n, k;
  int warps;
};

cost::TiledKernel with_tile(const cost::TiledKernel& now, const Product& product,
                            const Tile& tile) {
  cost::TiledKernel out = now;
  const cost::TileDot was = now.dots.front();
  const double rows = std::ceil(product.m / tile.m), columns = std::ceil(product.n / tile.n);
  const double programs = now.grid[0] * now.grid[1] * now.grid[2];
  out.grid = {rows * columns, 1, 1};
  out.warps = tile.warps;
  out.buffers = 3;
  const double steps = std::ceil(product.k / tile.k);
  const double area = tile.m * tile.n / (was.m * was.n);
  cost::TileDot& dot = out.dots.front();
  dot.m = tile.m;
  dot.n = tile.n;
  dot.k = tile.k;
  dot.executions = steps;
  out.stages[static_cast<std::size_t>(dot.stage)].executions = steps;
  out.stages[static_cast<std::size_t>(dot.stage)].pipelined = true;
  out.largest_tile = out.carried = tile.m * tile.n;
  out.instructions *= area * (tile.k * steps) / (was.k * was.executions);
  for (cost::TileAccess& access : out.accesses) {
    if (access.feeds_dot) {
      const double side = access.lanes / was.k;  // rows or columns of this operand's tile
      const bool first =
          std::fabs(side - was.m) < 0.5 && (was.m != was.n || &access == &out.accesses.front());
      access.lanes = (first ? tile.m : tile.n) * tile.k;
      access.executions = steps;
    } else {
      access.lanes *= area;
    }
    const double scale = programs / (rows * columns);
    access.program = access.program * scale;
    access.program_distinct = access.program_distinct * scale;
    access.depends = {true, false, false};
  }
  return out;
}

}  // namespace

Finding tile_misfit(const Case& about) {
  const Program& program = about.program();
  Changed changed(about);
  std::vector<std::string> kernels;
  Tile chosen{};
  Product largest;
  double before_all = 0;
  for (OpId id : launches(program)) {
    const Op& op = op_at(program, id);
    const Product product = product_of(program, op);
    if (!product.is || device_share(about, id) < 0.05) continue;
    const cost::TiledKernel now = tiled_kernel(program, op);
    bool gathers = false;
    for (const cost::TileAccess& access : now.accesses) {
      gathers = gathers || (access.feeds_dot && access.run.value < 64);
    }
    if (gathers) continue;
    const double before = changed.price(id).device.value;
    double best = before;
    cost::TiledKernel better;
    for (double m : {16.0, 32.0, 64.0, 128.0}) {
      for (double n : {32.0, 64.0, 128.0, 256.0}) {
        for (double k : {32.0, 64.0}) {
          const int warps = m * n >= 128 * 128 ? 8 : 4;
          if (m > 2 * product.m || n > 2 * product.n) continue;
          const cost::TiledKernel candidate = with_tile(now, product, {m, n, k, warps});
          const double time = cost::price(candidate, about.gpu).time.value * 1.1;
          if (time < best) {
            best = time;
            better = candidate;
            chosen = {m, n, k, warps};
          }
        }
      }
    }
    if (best > 0.9 * before) continue;
    changed.kernel(id, better);
    changed.device(id, cost::Seconds{best});
    kernels.push_back(op_name(op));
    before_all += before;
    largest = product;
  }
  if (kernels.empty()) return Finding::refused("no product gains 10% from another tile");
  Finding out = Finding::applied(changed.total(), Effort::edit);
  out.text.bottleneck = fmt::format(
      "The tile of {} does not fit a product of {:.0f} x {:.0f} x {:.0f} on {} SMs: {} by the "
      "model.",
      list_text(kernels), largest.m, largest.n, largest.k, about.gpu.sms,
      milliseconds({before_all}));
  out.text.method =
      fmt::format("Use tiles of {:.0f} x {:.0f} with a K step of {:.0f} and {} warps.", chosen.m,
                  chosen.n, chosen.k, chosen.warps);
  out.text.plan = fmt::format(
      "Set BLOCK_M={:.0f}, BLOCK_N={:.0f}, BLOCK_K={:.0f}, num_warps={} and num_stages=3 at the "
      "launch of {}, or put this "
      "configuration into `triton.autotune` beside its neighbours.",
      chosen.m, chosen.n, chosen.k, chosen.warps, list_text(kernels));
  return out;
}

}  // namespace quoin::architect::rule
