// widened-int8: int8 operands multiplied as floats
//
// What: a tl.dot whose operands are int8 in memory but were cast to float32 or float16 in
// registers. The change is to multiply int8 into int32 and to convert the accumulator once;
// where an operand does not run along K it is read in its stored [N,K] layout in the same
// change, because int8 alone is then slower than the float version.
//
// Why it is slow: the cast operands go back to shared memory at the wider type, no asynchronous
// copy can run ahead of it, and tf32 tensor cores do a quarter of the int8 rate.
//
// Estimate: seconds = total - dot(float, cast) + dot(int8, along K) - transposed copies; a dot's
// cycles: 2 m n k / rate + (m+n) k bytes / 65 + 0.018 m n, and 0.15 n/64 per element where not
// along K.
//
// Silent: where the operands are scaled or shifted between the load and the dot, or are not both
// int8.
//
// Source: measured: M = 128, N = K = 2048, tiles of 64 x 64 x 32: int8 on a [K,N] operand 0.88
// of the float version's speed, int8 and [N,K] in place together 2.6 times.
#include <fmt/format.h>

#include <algorithm>

#include "architect/rules/dots.h"
#include "architect/rules/rules.h"
#include "architect/rules/support.h"

namespace quoin::architect::rule {
namespace {

bool widened(const Dot& dot) {
  const auto is = [](const DotOperand& operand) {
    return operand.stored == Type::int8 && is_float(operand.type) && !operand.computed;
  };
  return is(dot.a) && is(dot.b);
}

}  // namespace

Finding widened_int8(const Case& about) {
  const Program& program = about.program();
  Changed both(about), alone(about);
  std::vector<std::string> kernels, weights;
  bool across = false;
  std::string type;
  double copy_seconds = 0;
  for (OpId id : launches(program)) {
    const Kernel& kernel = *kernel_of(program, op_at(program, id));
    cost::TiledKernel int8 = tiled_kernel(program, op_at(program, id));
    bool found = false;
    for (std::size_t i = 0; i < kernel.dots.size(); ++i) {
      if (!widened(kernel.dots[i])) continue;
      found = true;
      type = name(kernel.dots[i].a.type);
      int8.dots[i].type = cost::DotType::int8;
      int8.dots[i].cast = false;
    }
    if (!found) continue;
    int8.instructions = std::max(0.0, int8.instructions - kernel.arithmetic.convert);
    kernels.push_back("`" + op_at(program, id).name + "`");
    alone.kernel(id, int8);
    for (const PerCallCopy& copy : per_call_copies(program)) {
      if (!copy.feeds_dot || !copy.transposes) continue;
      for (OpId reader : copy.readers) {
        if (reader != id) continue;
        both.drop(copy.op);
        copy_seconds += device_time(about, copy.op);
        weights.push_back(copy.source);
      }
    }
    for (cost::TileDot& dot : int8.dots) {
      across = across || !dot.k_major;
      dot.k_major = true;
    }
    both.kernel(id, int8);
  }
  if (kernels.empty()) return Finding::refused("no dot widens int8 operands");
  Finding out = Finding::applied(both.total(), Effort::rework);
  const std::string who = list_text(kernels);
  const std::string weight = weights.empty() ? "the weight" : list_text(weights);
  if (across) {
    const bool helps = alone.total().value < 0.97 * about.current.total.value;
    const std::string alone_text =
        helps ? fmt::format("would reach only {}", milliseconds(alone.total()))
              : fmt::format("would not help, {} by the model", milliseconds(alone.total()));
    out.text.bottleneck = fmt::format(
        "{}{} casts its int8 tiles to {} before the dot, so the call takes {} where int8 tensor "
        "cores on K-major tiles need {}. "
        "Int8 alone {}, because an int8 operand stored as [K, N] is transposed in shared memory.",
        weights.empty() ? ""
                        : fmt::format("Transposing {} takes {} in every call, and ", weight,
                                      milliseconds({copy_seconds})),
        who, type, milliseconds(about.current.total), milliseconds(out.after), alone_text);
    out.note = fmt::format("int8 alone, the operand left as [K, N]: {}, {} of today's speed",
                           milliseconds(alone.total()),
                           times(about.current.total.value / alone.total().value));
    out.text.method = fmt::format(
        "Consume {} in its stored [N, K] layout instead of transposing it per call, and multiply "
        "int8 by int8 into an int32 "
        "accumulator.",
        weight);
    out.text.plan = fmt::format(
        "Delete the transposed copy, pass {} with its row stride for N and 1 for K, drop both "
        "casts in {} and write "
        "`acc += tl.dot(a, b, out_dtype=tl.int32)` on an int32 accumulator. After the loop convert "
        "`acc` to float32 once and apply "
        "the scales and the bias as now.",
        weight, who);
  } else {
    out.text.bottleneck = fmt::format(
        "{} casts its int8 tiles to {} before the dot, so the call takes {} where the int8 tensor "
        "cores need {}.",
        who, type, milliseconds(about.current.total), milliseconds(out.after));
    out.text.method =
        "Multiply int8 by int8 into an int32 accumulator and convert it once after the loop.";
    out.text.plan = fmt::format(
        "Drop the casts in {}, write `acc += tl.dot(a, b, out_dtype=tl.int32)` on an int32 "
        "accumulator, and convert `acc` to float32 "
        "before the scales are applied.",
        who);
  }
  return out;
}

}  // namespace quoin::architect::rule
