// ieee-dot: a float32 dot without tensor cores
//
// What: a tl.dot on float32 operands with allow_tf32=False or input_precision="ieee".
//
// Why it is slow: there is no tensor-core path for IEEE float32. The lanes reach 41 TFLOPS where
// tf32 reaches up to 277.
//
// Estimate: seconds = total - dot(float32) + dot(tf32), formulas of src/cost/gpu_kernel.h.
//
// Silent: no such dot. The result then has tf32's 10-bit mantissa, which the text says.
//
// Source: measured 2026-11-21 on an H200: 2048 x 2048 x 2048, 41 TFLOPS (14 to 22 with an
// operand along K).
#include <fmt/format.h>

#include "architect/rules/rules.h"
#include "architect/rules/support.h"

namespace quoin::architect::rule {

Finding ieee_dot(const Case& about) {
  const Program& program = about.program();
  Changed changed(about);
  std::vector<std::string> kernels;
  for (OpId id : launches(program)) {
    cost::TiledKernel better = tiled_kernel(program, op_at(program, id));
    bool found = false;
    for (cost::TileDot& dot : better.dots) {
      if (dot.type != cost::DotType::float32) continue;
      dot.type = cost::DotType::tf32;
      found = true;
    }
    if (!found) continue;
    changed.kernel(id, better);
    kernels.push_back("`" + op_at(program, id).name + "`");
  }
  if (kernels.empty()) return Finding::refused("no dot runs without tensor cores");
  Finding out = Finding::applied(changed.total(), Effort::edit);
  const std::string who = list_text(kernels);
  out.text.bottleneck = fmt::format(
      "{} multiplies float32 tiles in IEEE precision, which has no tensor-core path: {} where tf32 "
      "needs {}.",
      who, milliseconds(about.current.total), milliseconds(out.after));
  out.text.method =
      "Let the dot use tf32, whose products carry 10 bits of mantissa and still accumulate in "
      "float32.";
  out.text.plan = fmt::format(
      "Set `allow_tf32=True` (or drop `input_precision=\"ieee\"`) on the `tl.dot` in {} and "
      "compare the result with a tolerance of "
      "about 1e-3.",
      who);
  return out;
}

}  // namespace quoin::architect::rule
