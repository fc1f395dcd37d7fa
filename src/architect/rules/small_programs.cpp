// small-programs: programs too small to keep the memory busy
//
// What: a streaming kernel with so few elements per thread that starting programs or waiting for
// one load limits it: 256 elements on 8 warps, 64 on one.
//
// Why it is slow: a GPU starts about 1.66e9 programs a second whatever their size (H100 class),
// and a thread with one 4-byte load has 4 bytes in flight.
//
// Estimate: the kernel with 8 elements a thread on 4 warps: lanes x f, programs / f, priced
// again.
//
// Silent: kernels with loops or dots, kernels within 8% of the larger program's time, so a
// kernel at 85 to 90% of the bandwidth stays.
//
// Source: measured 2026-11-21 on an H200, 2 GB read and written: 256 elements on 8 warps 2.71
// TB/s, 512 on 4 warps 4.27.
#include <fmt/format.h>

#include <algorithm>

#include "architect/rules/rules.h"
#include "architect/rules/support.h"

namespace quoin::architect::rule {

Finding small_programs(const Case& about) {
  const Program& program = about.program();
  Repriced repriced(about);
  double lanes = 0, per_thread = 0;
  int warps = 4;
  for (OpId id : launches(program)) {
    const Op& op = op_at(program, id);
    const cost::TiledKernel now = tiled_kernel(program, op);
    if (!now.dots.empty() || device_share(about, id) < 0.03) continue;
    double widest = 0;
    for (const cost::TileAccess& access : now.accesses) widest = std::max(widest, access.lanes);
    const double each = widest / (32.0 * now.warps);
    if (each >= 4 || widest < 16 || now.stages.size() > 2) continue;
    const double f = std::min(64.0, 8 * 128 / widest);
    const double count = now.grid[0] * now.grid[1] * now.grid[2];
    if (f < 1.5 || count / f < 4.0 * about.gpu.sms) continue;
    cost::TiledKernel larger = now;
    larger.warps = 4;
    larger.grid = {count / f, 1, 1};
    larger.instructions *= f;
    larger.special *= f;
    larger.largest_tile *= f;
    larger.carried *= f;
    for (cost::TileAccess& access : larger.accesses) {
      if (access.lanes > 1) access.lanes *= f;
      access.program = access.program * f;
      access.program_distinct = access.program_distinct * f;
    }
    const double best = cost::price(larger, about.gpu).time.value;
    const double was = repriced.price(id);
    if (best > 0.92 * was) continue;
    if (repriced.take(id, op, best)) {
      lanes = widest;
      per_thread = each;
      warps = now.warps;
    }
  }
  if (repriced.none())
    return Finding::refused("no streaming kernel is limited by the size of its programs");
  Finding out = repriced.finding(Effort::edit);
  const std::string who = repriced.who();
  out.text.bottleneck = fmt::format(
      "Each program of {} handles {:.0f} elements with {} warp{}, {} per thread, so starting "
      "programs and waiting for single loads take {} where the bytes need {}.",
      who, lanes, warps, warps == 1 ? "" : "s",
      per_thread >= 1 ? fmt::format("{:.0f}", per_thread) : "less than one", repriced.before(),
      repriced.after());
  out.text.method =
      "Let each program handle at least 1,024 elements with 4 warps, 8 per thread, so that loads "
      "are 16 bytes wide and several are in flight.";
  out.text.plan = fmt::format(
      "Set the block size of {} to 1024 (or 2048) and num_warps=4 at its launch; the grid follows "
      "from `triton.cdiv`, and offsets and masks stay as they are.",
      who);
  return out;
}

}  // namespace quoin::architect::rule
