// slower-than-reference: launches that the reference's own library kernels beat
//
// What: the reference, run as it is by eager PyTorch, takes less time than the kernel under
// judgement.
//
// Why it is slow: cuBLAS, cuDNN and ATen are tuned per shape; a first Triton version of the same
// operation often is not.
//
// Estimate: seconds = the reference's time: its library calls by src/cost/gpu_library.h and the
// host's share, or the measured time where the document gives it.
//
// Silent: where the reference was not understood to its end, or where it is slower.
//
// Source: collected kernels: going back to the library gains 1.4 times (median).
#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "architect/rules/rules.h"
#include "architect/rules/support.h"

namespace quoin::architect::rule {
namespace {

OpId costliest(const Program& program, const ProgramPrice& price,
               const std::function<bool(const Op&)>& fits) {
  OpId best = -1;
  double most = -1;
  for (std::size_t i = 0; i < program.ops.size(); ++i) {
    const double time = price.ops[i].device.value * program.ops[i].count;
    if (time > most && fits(program.ops[i])) {
      most = time;
      best = static_cast<OpId>(i);
    }
  }
  return best;
}

/// What the reference calls for the work of this launch: by weight and result, else the costliest
/// call with a result of this size.
OpId call_for(const Case& about, OpId launch) {
  const Program& reference = about.model.reference;
  const OpId twin = reference_of(about, launch);
  if (twin >= 0) return twin;
  const Value* out = first_output(about.program(), op_at(about.program(), launch));
  const OpId same = costliest(reference, about.reference, [&](const Op& op) {
    const Value* result = first_output(reference, op);
    return op.kind != OpKind::conv && op.kind != OpKind::matmul && out != nullptr &&
           result != nullptr && elements_of(*result) == elements_of(*out);
  });
  return same >= 0 ? same : costliest(reference, about.reference, [](const Op&) { return true; });
}

}  // namespace

Finding slower_than_reference(const Case& about) {
  const Program& reference = about.model.reference;
  if (!reference.present || reference.ops.empty())
    return Finding::refused("the document has no reference that was understood");
  if (!reference.complete) return Finding::refused("the reference was not understood to its end");
  if (about.reference.total.value > 0.97 * about.current.total.value) {
    return Finding::refused(fmt::format("the reference takes {} and the kernel {}",
                                        milliseconds(about.reference.total),
                                        milliseconds(about.current.total)));
  }
  Finding out = Finding::applied(about.reference.total, Effort::edit);
  const OpId slow = costliest(about.program(), about.current, [](const Op&) { return true; });
  const OpId fast = slow < 0 ? -1 : call_for(about, slow);
  if (fast < 0) return Finding::refused("nothing could be priced");
  const Op& op = op_at(about.program(), slow);
  const double mine = device_time(about, slow);
  const double theirs = about.reference.ops[static_cast<std::size_t>(fast)].device.value *
                        op_at(reference, fast).count;
  const std::string library = "`" + op_at(reference, fast).name + "`";
  out.text.bottleneck = fmt::format(
      "{} alone takes {} of {}, more than the whole reference ({}).", op_name(op),
      milliseconds({mine}), milliseconds(about.current.total), milliseconds(about.reference.total));
  if (mine < about.reference.total.value) {
    out.text.bottleneck =
        fmt::format("{} takes {} of {}, while eager PyTorch runs the whole reference in {}.",
                    op_name(op), milliseconds({mine}), milliseconds(about.current.total),
                    milliseconds(about.reference.total));
  }
  const cost::KernelTime& detail = about.current.ops[static_cast<std::size_t>(slow)].kernel;
  if (kernel_of(about.program(), op) != nullptr) {
    out.text.bottleneck += fmt::format(" It is held back by {}.", cost::name(detail.limiter));
  }
  out.text.method = fmt::format(
      "Give the operation back to PyTorch's own library kernels: {} and its neighbours run the "
      "same work in about {}.",
      library, milliseconds(about.reference.total));
  out.text.plan = fmt::format(
      "In `ModelNew.forward` replace the launch of {} by {} (about {}) on the same parameters, and "
      "the other launches by the reference's calls where those are "
      "not slower.",
      op_name(op), library, milliseconds({theirs}));
  return out;
}

}  // namespace quoin::architect::rule
