// masked-tiles: products of tiles that a mask makes zero
//
// What: a product of triangular matrices (tril, triu in the reference) or a causal attention
// whose kernel walks all tiles of K.
//
// Why it is slow: half of the tiles (two thirds for a product of two triangular matrices) hold
// zeros or are thrown away.
//
// Estimate: seconds = total - kernel x (1 - useful): useful 1/2 where one side is triangular,
// 1/3 where both are, with 10% for tiles on the diagonal.
//
// Silent: no triangular operation in the reference, loops whose trip count already varies with
// the program, attention without a causal mask.
//
// Source: collected kernels: skipping masked tiles gains 1.5 to 3 times.
#include <fmt/format.h>

#include <algorithm>

#include "architect/rules/rules.h"
#include "architect/rules/support.h"

namespace quoin::architect::rule {

Finding masked_tiles(const Case& about) {
  int triangles = 0;
  bool causal = false, product = false;
  for (const Op& op : about.model.reference.ops) {
    triangles += op.name == "tril" || op.name == "triu" ? 1 : 0;
    causal = causal || (op.attention && op.attention->causal);
    product = product || op.kind == OpKind::matmul;
  }
  if ((triangles == 0 || !product) && !causal)
    return Finding::refused("nothing in the reference is triangular");
  const Program& program = about.program();
  Changed changed(about);
  std::vector<std::string> kernels;
  double before = 0, useful = 1;
  for (OpId id : launches(program)) {
    const Kernel& kernel = *kernel_of(program, op_at(program, id));
    if (kernel.dots.empty() || device_share(about, id) < 0.2) continue;
    bool varies = kernel.active_programs < 0.9;
    for (const Loop& loop : kernel.loops) varies = varies || loop.trips_vary;
    if (varies) continue;
    // The product of two lower triangles needs k between column and row: a third of all.
    useful = causal || triangles <= 1 ? 0.55 : 0.38;
    before = changed.price(id).device.value;
    changed.device(id, cost::Seconds{before * useful});
    kernels.push_back(op_name(op_at(program, id)));
  }
  if (kernels.empty()) return Finding::refused("the kernels already skip the masked tiles");
  Finding out = Finding::applied(changed.total(), Effort::edit);
  const std::string who = list_text(kernels);
  out.text.bottleneck = fmt::format(
      "{} multiplies every tile although about {} of them hold only zeros of the triangle: {} of "
      "{}.",
      who, percent(1 - useful), milliseconds({before * (1 - useful)}),
      milliseconds(about.current.total));
  out.text.method =
      "Skip the tiles outside the triangle: start and end the K loop where both tiles can be "
      "non-zero, and return early where the output tile is zero.";
  out.text.plan = fmt::format(
      "In {} compute the first and last block of K from `pid_m` and `pid_n`, loop over that range "
      "alone, and write zeros at once where the output tile lies outside the triangle. Order the "
      "programs so that long ones start first.",
      who);
  return out;
}

}  // namespace quoin::architect::rule
