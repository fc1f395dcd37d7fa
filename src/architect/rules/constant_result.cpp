// constant-result: an output that does not depend on the input
//
// What: a reference whose last steps make every element the same number whatever came before: a
// minimum with a bound and a clamp from that bound on, a value minus its mean over one element,
// a softmax over one.
//
// Why it is slow: everything before those steps is computed and thrown away.
//
// Estimate: seconds = one fill of the outputs (their bytes over the read rate) + its call.
//
// Silent: where one output is not a constant. Inputs that hold a NaN would pass it on; the text
// says so.
//
// Source: a convolution with group norm, minimum, clamp and dropout of the collection: the
// published answer fills the result after the convolution and gains 1.24 times.
#include <fmt/format.h>

#include <cmath>

#include "architect/rules/rules.h"
#include "architect/rules/support.h"

namespace quoin::architect::rule {

Finding constant_result(const Case& about) {
  const Program& reference = about.model.reference;
  if (!reference.complete || reference.outputs.empty() || !about.model.outputs_match) {
    return Finding::refused("the reference's result is not known to its end");
  }
  double bytes = 0, constant = 0;
  std::string what;
  for (const ValueId id : reference.outputs) {
    const Value* value = value_at(reference, id);
    if (value == nullptr || !value->constant || elements_of(*value) < 2) {
      return Finding::refused("the result depends on the input");
    }
    constant = value->bounds.low;
    bytes += bytes_of(*value);
    what += (what.empty() ? "" : ", ") + shape_text(*value);
  }
  Finding out = Finding::applied(cost::fill_time(cost::Bytes{bytes}, about.gpu), Effort::edit);
  out.text.bottleneck = fmt::format(
      "The last steps of the reference make every element of the result {:g} whatever the input, "
      "so all of the {} before them is thrown away.",
      constant, milliseconds(about.current.total));
  out.text.method = fmt::format(
      "Replace the whole computation by a fill of {} with {:g}; only a NaN in the input would have "
      "made a difference.",
      what, constant);
  out.text.plan = fmt::format(
      "In `ModelNew.forward` return `torch.full` of {} with the value {:g} on the input's device "
      "and drop the launches and library calls before it.",
      what, constant);
  return out;
}

}  // namespace quoin::architect::rule
