// ieee-product: a float32 product that the library runs without tensor cores
//
// What: linear layers and products of float32 tensors left to PyTorch, which multiplies them in
// IEEE precision unless told otherwise, while the kernels around them are already rewritten.
//
// Why it is slow: cuBLAS reaches about 51 TFLOPS on the float32 lanes; a tl.dot in tf32 along K
// reaches 277 on the same card, and tf32 is what tl.dot and the convolutions of the same
// network use anyway.
//
// Estimate: seconds = total - product + operations / (0.56 of the tf32 peak where both operands
// run along K, 0.17 where one does not), not below the bytes over the streaming rate.
//
// Silent: 16-bit products, programs that allow TF32, products under 3% of the time, cards
// without a faster tf32 path. The result then has tf32's 10-bit mantissa, which the text says.
//
// Source: measured 2026-11-21 on an H200: 1024 x 8192 x 8192 in float32 2.71 ms by cuBLAS, 0.64
// ms by a Triton kernel in tf32; 2048 x 4096 x 4096 tf32 83 TFLOPS across K, 277 along K.
#include <fmt/format.h>

#include <algorithm>

#include "architect/rules/rules.h"
#include "architect/rules/support.h"

namespace quoin::architect::rule {

Finding ieee_product(const Case& about) {
  const Program& program = about.program();
  if (program.matmul_tf32) return Finding::refused("products of float32 may use TF32 already");
  Changed changed(about);
  std::vector<std::string> products;
  double before = 0, after = 0;
  for (std::size_t i = 0; i < program.ops.size(); ++i) {
    const Op& op = program.ops[i];
    const auto id = static_cast<OpId>(i);
    if (!op.matmul || op.weight_only || device_share(about, id) < 0.03) continue;
    const cost::GemmCall call = gemm_call(program, op, false);
    if (call.type != cost::DotType::float32 || call.m < 64 || call.n < 32 || call.k < 32) continue;
    const bool along_k = op.matmul->a_k_contiguous && op.matmul->b_k_contiguous;
    const double rate = cost::peak(about.gpu, cost::DotType::tf32).value * (along_k ? 0.56 : 0.17);
    const double tiles = call.batch * (call.m / 64) * (call.n / 64);
    const double busy = std::min(1.0, tiles / about.gpu.sms);
    const double bytes = call.batch * 4 * (call.m * call.k + call.k * call.n + call.m * call.n);
    const double best = std::max(2 * call.batch * call.m * call.n * call.k / (rate * busy),
                                 bytes / cost::stream_rate(about.gpu).value) +
                        3e-6;
    const double was = changed.price(id).device.value;
    if (best > 0.9 * was) continue;
    changed.hand_to_library(id, cost::Seconds{best}, changed.price(id).host);
    products.push_back(op_name(op));
    before += was * op.count;
    after += best * op.count;
  }
  if (products.empty()) return Finding::refused("no float32 product runs without tensor cores");
  Finding out = Finding::applied(changed.total(), Effort::rework);
  const std::string who = list_text(products);
  out.text.bottleneck = fmt::format(
      "PyTorch multiplies float32 matrices in IEEE precision, without tensor cores: {} takes {} of "
      "{}, where tf32 needs about {}.",
      who, milliseconds({before}), milliseconds(about.current.total), milliseconds({after}));
  out.text.method = fmt::format(
      "Compute {} in a Triton kernel whose `tl.dot` uses tf32 (10 bits of mantissa, float32 "
      "accumulation), with the bias and what follows it in its epilogue.",
      who);
  out.text.plan = fmt::format(
      "Replace {} by a tiled kernel of 128 x 128 with a K step of 32, 8 warps and 3 stages that "
      "reads the stored [N, K] weight along K, and compare with a tolerance of about 1e-3. Setting "
      "`torch.backends.cuda.matmul.allow_tf32 = True` gives most of it without a kernel.",
      who);
  return out;
}

}  // namespace quoin::architect::rule
