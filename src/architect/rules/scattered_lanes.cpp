// scattered-lanes: neighbouring lanes far apart in memory
//
// What: a kernel whose tile runs along a dimension with a large stride (a column, the channels
// of an NCHW tensor) while another dimension is contiguous.
//
// Why it is slow: each 4-byte lane pulls a 32-byte sector: 8 times the traffic in L2, one line
// per lane in the load unit.
//
// Estimate: the same kernel with lanes along the contiguous dimension: sector efficiency 1, runs
// of 128 bytes, and 8 elements a thread; priced again. Where one program had one position, a
// block of 128 positions shares the loop.
//
// Silent: where sectors are at least half used, where the tensor is small enough for L2 and the
// kernel short.
//
// Source: measured 2026-11-21 on an H200: a copy with lanes down a column of floats: 1.15 TB/s
// of useful bytes, with runs of 32 elements 3.85.
#include <fmt/format.h>

#include <algorithm>

#include "architect/rules/rules.h"
#include "architect/rules/support.h"

namespace quoin::architect::rule {

Finding scattered_lanes(const Case& about) {
  const Program& program = about.program();
  Changed changed(about);
  std::vector<std::string> kernels;
  double before = 0, after = 0, stride = 0, used = 1;
  std::string tensor;
  for (OpId id : launches(program)) {
    const Op& op = op_at(program, id);
    const Kernel& kernel = *kernel_of(program, op);
    const cost::TiledKernel now = tiled_kernel(program, op);
    if (!now.dots.empty() || device_share(about, id) < 0.04) continue;
    double scattered = 0, all = 0;
    cost::TiledKernel better = now;
    double widest = 1;
    for (cost::TileAccess& access : better.accesses) {
      widest = std::max(widest, access.lanes);
      all += access.total.value;
      if (access.sector_efficiency < 0.5 && access.lanes > 8) {
        scattered += access.total.value;
        access.sector_efficiency = 1;
        access.run = cost::Bytes{128};
      }
    }
    if (scattered < 0.3 * all) continue;
    const double was = changed.price(id).device.value;
    // A program per position becomes a program per block of positions.
    const double count = now.grid[0] * now.grid[1] * now.grid[2];
    const double f =
        std::clamp(std::min(1024 / widest, count / (16.0 * about.gpu.sms)), 1.0, 128.0);
    better.grid = {count / f, 1, 1};
    better.instructions *= f;
    better.special *= f;
    better.largest_tile *= f;
    for (cost::TileAccess& access : better.accesses) {
      access.lanes *= f;
      access.program = access.program * f;
      access.program_distinct = access.program_distinct * f;
    }
    for (cost::TileStage& stage : better.stages) stage.barriers = 0;
    const double best = cost::price(better, about.gpu).time.value * 1.1;
    if (best > 0.85 * was) continue;
    changed.device(id, cost::Seconds{best});
    kernels.push_back(op_name(op));
    if (was < before) continue;
    before = was;
    after = best;
    for (const Access& access : kernel.accesses) {
      if (access.sector_efficiency >= 0.5 || access.elements <= 8) continue;
      used = access.sector_efficiency;
      tensor = access.pointer.empty() ? "its tensor" : "`" + access.pointer + "`";
      const auto fast = static_cast<std::size_t>(std::max(0, access.fast_dim));
      if (fast < access.strides.size() && access.strides[fast] != kUnknownStride) {
        stride = static_cast<double>(access.strides[fast]);
      }
      break;
    }
  }
  if (kernels.empty()) return Finding::refused("lanes run along contiguous memory");
  Finding out = Finding::applied(changed.total(), Effort::rework);
  const std::string who = list_text(kernels);
  const std::string apart =
      stride > 1 ? fmt::format("{} elements apart", count_text(stride)) : "apart";
  out.text.bottleneck = fmt::format(
      "Neighbouring lanes of {} read {} {}, so only {} of each 32-byte sector is used: {} where "
      "contiguous lanes need about {}.",
      who, tensor, apart, percent(used), milliseconds({before}), milliseconds({after}));
  out.text.method =
      "Let the lanes run along the contiguous dimension and the loop along the strided one.";
  out.text.plan = fmt::format(
      "In {} make the block a range of neighbouring positions (128 or more along the contiguous "
      "dimension), loop over the strided dimension inside, and keep the running "
      "result per lane. The grid becomes outer index by `triton.cdiv(positions, BLOCK)`.",
      who);
  return out;
}

}  // namespace quoin::architect::rule
