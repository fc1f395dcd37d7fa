// sum-after-product: a product whose result is only summed
//
// What: a linear layer or a product whose output's columns are summed or averaged by the next
// operation of the reference, with nothing but scaling between.
//
// Why it is slow: sum over n of x W[n] is x (sum over n of W[n]): M N K multiplies become M K.
//
// Estimate: seconds = bytes of x over the read rate + 10 us; the summed weight is prepared once.
//
// Silent: any non-linear step between the product and the sum (clamp, activation, maximum), sums
// over K or over the batch.
//
// Source: collected kernels: algebra and precomputation gain 1.9 (median), up to hundreds for
// this pattern.
#include <fmt/format.h>

#include <algorithm>

#include "architect/rules/rules.h"
#include "architect/rules/support.h"

namespace quoin::architect::rule {
namespace {

bool linear_step(const Op& op) {
  return op.name == "mul" || op.name == "div" || op.name == "add" || op.name == "sub" ||
         op.name == "neg" || op.kind == OpKind::cast;
}

bool sums_columns(const Op& op, const Value& in) {
  if (op.kind != OpKind::reduction || (op.name != "sum" && op.name != "mean") ||
      op.dims.size() != 1)
    return false;
  const int rank = static_cast<int>(in.shape.size());
  return op.dims.front() == rank - 1 || op.dims.front() == -1;
}

}  // namespace

Finding sum_after_product(const Case& about) {
  const Program& reference = about.model.reference;
  for (std::size_t i = 0; i < reference.ops.size(); ++i) {
    const Op& product = reference.ops[i];
    if (product.kind != OpKind::matmul || !product.matmul || !product.matmul->b_is_weight) continue;
    OpId at = static_cast<OpId>(i);
    for (int step = 0; step < 6; ++step) {
      const std::vector<OpId> next = consumers_of(reference, at);
      if (next.size() != 1) break;
      const Op& op = op_at(reference, next.front());
      const Value* in = op.inputs.empty() ? nullptr : value_at(reference, op.inputs.front().value);
      if (in != nullptr && sums_columns(op, *in)) {
        const Matmul& m = *product.matmul;
        const double bytes = static_cast<double>(m.m * m.k * m.batch) * bytes_of(m.type);
        Finding out;
        out.after = cost::Seconds{bytes / cost::read_rate(about.gpu).value + 12e-6};
        if (out.after.value > 0.95 * about.current.total.value) {
          return Finding::refused("the kernel already does no more than the summed product");
        }
        out.applies = true;
        out.effort = Effort::rework;
        out.text.bottleneck = fmt::format(
            "The product of {} x {} x {} ({:.0f} GFLOP) is only summed along its {} columns, so "
            "all but {} of the multiplies are spent on values that nobody reads.",
            m.m, m.n, m.k,
            2e-9 * static_cast<double>(m.m) * static_cast<double>(m.n) * static_cast<double>(m.k),
            m.n, bytes_text(bytes));
        out.text.method =
            "Use linearity: sum the weight over its output features once, and multiply the input "
            "by that one vector.";
        out.text.plan = fmt::format(
            "Prepare `w_sum = weight.sum(0)` ([{}]) and the sum of the bias when the weights are "
            "loaded. Replace the product and the sum by one kernel with a program per row that "
            "forms the dot of its "
            "row with `w_sum` and applies the scaling steps.",
            m.k);
        return out;
      }
      if (!linear_step(op)) break;
      at = next.front();
    }
  }
  return Finding::refused("no product of the reference is only summed");
}

}  // namespace quoin::architect::rule
