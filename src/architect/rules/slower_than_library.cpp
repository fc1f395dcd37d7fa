// slower-than-library: a product or convolution that the library does faster
//
// What: a launch that computes a product or a convolution of the reference more slowly than
// cuBLAS or cuDNN would. The other kernels stay.
//
// Why it is slow: gathered operands, tiles across K, small grids; the library chooses among
// hundreds of kernels per shape.
//
// Estimate: seconds = total - launch + library + one pass over the result for what the launch
// did after the product (bias, activation), which is left out where a streaming launch follows
// that can do it.
//
// Silent: no such launch, or no gain of 5%.
//
// Source: cuDNN 3.x against Triton implicit GEMMs on an H200, 2026-11-21: 190 to 390 TFLOPS
// (tf32, 64 channels and more) against 20 to 45.
#include <fmt/format.h>

#include <algorithm>

#include "architect/rules/dots.h"
#include "architect/rules/rules.h"
#include "architect/rules/support.h"

namespace quoin::architect::rule {
namespace {

/// Whether elementwise work of the reference follows this operation before anything else.
bool has_tail(const Program& reference, OpId id) {
  for (OpId next : consumers_of(reference, id)) {
    const OpKind kind = op_at(reference, next).kind;
    if (kind == OpKind::elementwise || kind == OpKind::norm) return true;
  }
  return false;
}

bool tail_finds_room(const Program& program, OpId launch) {
  for (OpId next : consumers_of(program, launch)) {
    if (kernel_of(program, op_at(program, next)) != nullptr) return true;
  }
  return false;
}

}  // namespace

Finding slower_than_library(const Case& about) {
  const Program& program = about.program();
  const Program& reference = about.model.reference;
  Changed changed(about);
  std::vector<std::string> kernels, calls;
  double before = 0, after = 0;
  std::vector<PerCallCopy> copies = per_call_copies(program);
  for (OpId id : launches(program)) {
    const OpId twin = reference_of(about, id);
    if (twin < 0) continue;
    const Op& op = op_at(program, id);
    OpPrice library = price_op(reference, op_at(reference, twin), about.gpu);
    if (has_tail(reference, twin) && !tail_finds_room(program, id)) {
      const double bytes = output_bytes(program, op);
      library.device = library.device +
                       cost::elementwise_time(cost::Bytes{2 * bytes}, bytes / 4, true, about.gpu);
      library.host = library.host + cost::host_time(cost::HostCall::triton_launch);
    }
    const double now = changed.price(id).device.value;
    if (library.device.value > 0.95 * now) continue;
    before += now;
    after += library.device.value;
    changed.hand_to_library(id, library.device, library.host);
    for (const PerCallCopy& copy : copies) {
      if (copy.readers.size() == 1 && copy.readers.front() == id) changed.drop(copy.op);
    }
    kernels.push_back(op_name(op));
    calls.push_back("`" + op_at(reference, twin).name + "`");
  }
  if (kernels.empty())
    return Finding::refused("no launch is slower than the library call it stands for");
  Finding out = Finding::applied(changed.total(), Effort::edit);
  const std::string who = list_text(kernels), call = list_text(calls);
  out.text.bottleneck = fmt::format("{} takes {} of {}, where the library's {} needs {}.", who,
                                    milliseconds({before}), milliseconds(about.current.total), call,
                                    milliseconds({after}));
  out.text.method =
      fmt::format("Compute this part with {} and keep the fused Triton kernels around it.", call);
  out.text.plan = fmt::format(
      "Replace the launch of {} by {} on the same weight, and move what it did after the "
      "accumulation (bias, activation, scale) into the kernel that reads its "
      "result. The other launches stay as they are.",
      who, call);
  return out;
}

}  // namespace quoin::architect::rule
