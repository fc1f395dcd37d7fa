// Kernels at tile level: trip counts, strides, masks, reuse, dots, arithmetic.
#include "tests/architect/front_support.h"

namespace quoin::architect::testing {
namespace {

/// The model of one kernel k(x_ptr, y_ptr, n, m) over x: float32[1024, 512] and y like it.
Model kernel_of(const std::string& body, const std::string& grid = "(8, 4)",
                const std::string& type = "float32") {
  std::string code = "@triton.jit\ndef k(x_ptr, y_ptr, n, m, B: tl.constexpr):\n";
  std::size_t begin = 0;
  while (begin <= body.size()) {
    const std::size_t end = std::min(body.find('\n', begin), body.size());
    code += "    " + body.substr(begin, end - begin) + "\n";
    begin = end + 1;
  }
  return forward_of("torch.rand(1024, 512).to(torch." + type + ")", "x",
                    "y = torch.empty_like(x)\nk[" + grid + "](x, y, 1024, 512, B=64)\nreturn y",
                    code);
}

TEST(Tile, LoadsAndStrides) {
  const Model model = kernel_of(
      "r = tl.program_id(0) * B + tl.arange(0, B)\n"
      "c = tl.program_id(1) * 32 + tl.arange(0, 32)\n"
      "v = tl.load(x_ptr + r[:, None] * m + c[None, :], mask=(r[:, None] < 500) & (c[None, :] < "
      "m))\n"
      "tl.store(y_ptr + c[None, :] * n + r[:, None], v)");
  EXPECT_EQ(lost_text(model), "");
  const Kernel& kernel = only_kernel(model);
  ASSERT_EQ(kernel.accesses.size(), 2U);
  const Access& load = kernel.accesses[0];
  EXPECT_EQ(load.pointer, "x_ptr");
  EXPECT_EQ(load.tile, (std::vector<std::int64_t>{64, 32}));
  EXPECT_EQ(load.strides, (std::vector<std::int64_t>{512, 1}));
  EXPECT_EQ(load.fast_dim, 1);
  EXPECT_EQ(load.run_bytes, 128);
  EXPECT_EQ(load.sector_efficiency, 1);
  EXPECT_NEAR(load.active, 500.0 / 512, 0.02);
  EXPECT_TRUE(load.masked);
  EXPECT_TRUE(load.address.pid[0]);
  EXPECT_TRUE(load.address.pid[1]);
  EXPECT_FALSE(load.address.pid[2]);
  const Access& store = kernel.accesses[1];
  EXPECT_EQ(store.kind, AccessKind::store);
  EXPECT_EQ(store.strides, (std::vector<std::int64_t>{1, 1024}));
  EXPECT_EQ(store.fast_dim, 0);
  EXPECT_FALSE(store.masked);
  EXPECT_EQ(store.program_bytes, 64 * 32 * 4);
  EXPECT_EQ(store.total_bytes, 32 * 64 * 32 * 4);
}

TEST(Tile, StridedLoadsWasteSectors) {
  const Model model = kernel_of(
      "o = tl.program_id(0) * B + tl.arange(0, B)\n"
      "v = tl.load(x_ptr + o * 4)\nw = tl.load(x_ptr + o * m)\nu = tl.load(x_ptr + o * 0 + 3)\n"
      "tl.store(y_ptr + o, v + w + u)");
  const Kernel& kernel = only_kernel(model);
  EXPECT_EQ(kernel.accesses.at(0).sector_efficiency, 0.25);
  EXPECT_EQ(kernel.accesses.at(1).sector_efficiency, 0.125);
  EXPECT_EQ(kernel.accesses.at(2).strides, std::vector<std::int64_t>{0});
  EXPECT_EQ(kernel.accesses.at(2).unique_elements, 1);
}

TEST(Tile, ReuseBetweenPrograms) {
  const Model model = kernel_of(
      "o = tl.arange(0, B)\n"
      "w = tl.load(x_ptr + o)\n"
      "v = tl.load(x_ptr + tl.program_id(0) * m + o)\n"
      "tl.store(y_ptr + (tl.program_id(0) * 4 + tl.program_id(1)) * B + o, v + w)");
  const Kernel& kernel = only_kernel(model);
  EXPECT_EQ(kernel.accesses.at(0).total_bytes, 32 * 256);
  EXPECT_EQ(kernel.accesses.at(0).distinct_bytes, 256);
  EXPECT_EQ(kernel.accesses.at(1).distinct_bytes, 8 * 256);
  EXPECT_EQ(kernel.accesses.at(2).distinct_bytes, 32 * 256);
}

TEST(Tile, PointersThatStep) {
  const Model model = kernel_of(
      "p = x_ptr + tl.arange(0, B)[:, None] * m + tl.arange(0, 16)[None, :]\n"
      "acc = tl.zeros((B, 16), dtype=tl.float32)\n"
      "for c in range(0, m, 16):\n"
      "    acc += tl.load(p, mask=tl.arange(0, 16)[None, :] < m - c)\n"
      "    p += 16\n"
      "tl.store(p - m, acc)");
  EXPECT_EQ(lost_text(model), "");
  const Kernel& kernel = only_kernel(model);
  ASSERT_EQ(kernel.loops.size(), 1U);
  EXPECT_EQ(kernel.loops[0].trips, 32);
  EXPECT_EQ(kernel.loops[0].variable, "c");
  EXPECT_EQ(kernel.loops[0].carried_bytes, 64 * 16 * 4);
  EXPECT_EQ(kernel.accesses.at(0).executions, 32);
  EXPECT_EQ(kernel.accesses[0].active, 1);
  EXPECT_EQ(kernel.accesses[0].address.loops, 1U);
  EXPECT_EQ(kernel.accesses[0].program_distinct_bytes, 64 * 512 * 4);
  EXPECT_EQ(kernel.accesses.at(1).address.loops, 0U);
}

TEST(Tile, LoopsThatDependOnTheProgram) {
  const Model model = kernel_of(
      "pid = tl.program_id(0)\n"
      "o = tl.arange(0, B)\n"
      "acc = tl.zeros([B], tl.float32)\n"
      "for j in range(pid + 1):\n    acc += tl.load(x_ptr + j * B + o)\n"
      "i = 0\n"
      "while i < n:\n    acc += tl.load(x_ptr + i + o)\n    i += B\n"
      "tl.store(y_ptr + pid * B + o, acc)",
      "(8,)");
  EXPECT_EQ(lost_text(model), "");
  const Kernel& kernel = only_kernel(model);
  ASSERT_EQ(kernel.loops.size(), 2U);
  EXPECT_NEAR(kernel.loops[0].trips, 4.5, 0.01);
  EXPECT_TRUE(kernel.loops[0].trips_vary);
  EXPECT_EQ(kernel.loops[1].trips, 16);
  EXPECT_TRUE(kernel.loops[1].while_loop);
}

TEST(Tile, IndexDecoding) {
  // x as [N, C, H, W] = [4, 8, 128, 128], lanes over W within H.
  const Model model = kernel_of(
      "o = tl.program_id(0) * B + tl.arange(0, B)\n"
      "w = o % 30\nh = (o // 30) % 20\nc = o // 600\n"
      "v = tl.load(x_ptr + c * 16384 + h * 128 + w)\n"
      "tl.store(y_ptr + o, v)",
      "(75,)");
  const Access& load = only_kernel(model).accesses.at(0);
  EXPECT_EQ(load.strides, std::vector<std::int64_t>{1});
  EXPECT_GT(load.run_bytes, 15 * 4);
  EXPECT_LT(load.run_bytes, 60 * 4);
  EXPECT_GT(only_kernel(model).arithmetic.integer_div_constant, 0);
}

TEST(Tile, EarlyReturnAndBranches) {
  const Model model = kernel_of(
      "pid = tl.program_id(0)\n"
      "if pid >= 6:\n    return\n"
      "o = tl.arange(0, B)\n"
      "if pid < 3:\n    v = tl.load(x_ptr + o)\nelse:\n    v = tl.load(x_ptr + o + 64)\n"
      "tl.store(y_ptr + pid * B + o, v)",
      "(8,)");
  EXPECT_EQ(lost_text(model), "");
  const Kernel& kernel = only_kernel(model);
  EXPECT_NEAR(kernel.accesses.at(0).executions, 3.0 / 8, 0.01);
  EXPECT_NEAR(kernel.accesses.at(1).executions, 3.0 / 8, 0.01);
  EXPECT_NEAR(kernel.accesses.at(2).executions, 6.0 / 8, 0.01);
  EXPECT_NEAR(kernel.active_programs, 6.0 / 8, 0.01);
}

TEST(Tile, Dots) {
  const Model model = kernel_of(
      "r = tl.program_id(0) * 64 + tl.arange(0, 64)\n"
      "k = tl.arange(0, 32)\n"
      "acc = tl.zeros((64, 64), dtype=tl.float32)\n"
      "for i in range(0, tl.cdiv(m, 32)):\n"
      "    a = tl.load(x_ptr + r[:, None] * m + (i * 32 + k)[None, :])\n"
      "    b = tl.load(x_ptr + (i * 32 + k)[:, None] * 64 + tl.arange(0, 64)[None, :])\n"
      "    bt = tl.load(x_ptr + tl.arange(0, 64)[:, None] * m + (i * 32 + k)[None, :])\n"
      "    acc += tl.dot(a.to(tl.float32), b.to(tl.float32), allow_tf32=False)\n"
      "    acc = tl.dot(a, tl.trans(bt), acc)\n"
      "tl.store(y_ptr + r[:, None] * 64 + tl.arange(0, 64)[None, :], acc)",
      "(16,)", "float16");
  EXPECT_EQ(lost_text(model), "");
  const Kernel& kernel = only_kernel(model);
  ASSERT_EQ(kernel.dots.size(), 2U);
  const Dot& first = kernel.dots[0];
  EXPECT_EQ(first.m, 64);
  EXPECT_EQ(first.n, 64);
  EXPECT_EQ(first.k, 32);
  EXPECT_EQ(first.executions, 16);
  EXPECT_FALSE(first.allow_tf32);
  EXPECT_EQ(first.a.stored, Type::float16);
  EXPECT_EQ(first.a.type, Type::float32);
  EXPECT_TRUE(first.a.cast_in_registers);
  EXPECT_EQ(first.a.k_contiguous, std::optional<bool>(true));
  EXPECT_EQ(first.b.k_contiguous, std::optional<bool>(false));
  EXPECT_TRUE(first.accumulates);
  EXPECT_TRUE(kernel.dots[1].b.transposed);
  EXPECT_FALSE(kernel.dots[1].b.cast_in_registers);
  EXPECT_EQ(kernel.dots[1].b.k_contiguous, std::optional<bool>(true));
  EXPECT_EQ(kernel.arithmetic.add, 0) << "an accumulating dot adds nothing of its own";
}

TEST(Tile, BlockPointers) {
  const Model model = kernel_of(
      "p = tl.make_block_ptr(x_ptr, shape=(n, m), strides=(m, 1), offsets=(tl.program_id(0) * 64, "
      "0),"
      " block_shape=(64, 32), order=(1, 0))\n"
      "acc = tl.zeros((64, 32), tl.float32)\n"
      "for i in range(0, 20):\n"
      "    acc += tl.load(p, boundary_check=(0, 1))\n    p = tl.advance(p, (0, 32))\n"
      "tl.store(p, acc)",
      "(16,)");
  EXPECT_EQ(lost_text(model), "");
  const Access& load = only_kernel(model).accesses.at(0);
  EXPECT_EQ(load.strides, (std::vector<std::int64_t>{512, 1}));
  EXPECT_EQ(load.executions, 20);
  EXPECT_NEAR(load.active, 16.0 / 20, 0.05);
}

TEST(Tile, FunctionsThatCallOneAnother) {
  const Model model =
      forward_of("torch.rand(4096)", "x",
                 "y = torch.empty_like(x)\nk[(16,)](x, y, B=256, ACT='silu')\nreturn y",
                 "@triton.jit\ndef sigmoid(x):\n    return 1.0 / (1.0 + tl.exp(-x))\n"
                 "@triton.jit\ndef both(a, b):\n    return a + b, a * b\n"
                 "SCALE: tl.constexpr = tl.constexpr(2)\n"
                 "@triton.jit\ndef k(x_ptr, y_ptr, B: tl.constexpr, ACT: tl.constexpr):\n"
                 "    o = tl.program_id(0) * B + tl.arange(0, B)\n"
                 "    x = tl.load(x_ptr + o)\n"
                 "    if ACT == 'silu':\n        x = x * sigmoid(x)\n"
                 "    elif ACT == 'none':\n        x = tl.log(x)\n"
                 "    s, p = both(x, x)\n"
                 "    for i in tl.static_range(SCALE):\n        s += p\n"
                 "    tl.store(y_ptr + o, s)\n");
  EXPECT_EQ(lost_text(model), "");
  const Kernel& kernel = only_kernel(model);
  EXPECT_EQ(kernel.arithmetic.exp, 256);
  EXPECT_EQ(kernel.arithmetic.log, 0);
  EXPECT_EQ(kernel.arithmetic.div, 256);
  EXPECT_EQ(kernel.loops.at(0).trips, 2);
  EXPECT_TRUE(kernel.loops[0].static_range);
}

TEST(Tile, MultiplyAddsAreOne) {
  const Model model = kernel_of(
      "o = tl.arange(0, B)\nv = tl.load(x_ptr + o)\nw = tl.load(x_ptr + 64 + o)\n"
      "acc = tl.zeros([B], tl.float32)\n"
      "for i in range(10):\n    acc += v * w\n"
      "tl.atomic_add(y_ptr + o, acc, mask=o < 32)");
  const Kernel& kernel = only_kernel(model);
  EXPECT_EQ(kernel.arithmetic.fma, 640);
  EXPECT_EQ(kernel.arithmetic.mul, 0);
  EXPECT_EQ(kernel.arithmetic.add, 0);
  EXPECT_EQ(kernel.accesses.at(2).kind, AccessKind::atomic);
  EXPECT_EQ(kernel.accesses[2].atomic, "add");
  EXPECT_NEAR(kernel.accesses[2].active, 0.5, 0.05);
}

TEST(Tile, ReductionsAndScans) {
  const Model model = kernel_of(
      "o = tl.arange(0, B)\n"
      "x = tl.load(x_ptr + o[:, None] * m + tl.arange(0, 32)[None, :])\n"
      "a = tl.sum(x, axis=1)\nb = tl.max(x)\nc = tl.cumsum(a, 0)\n"
      "tl.store(y_ptr + o, a / b + c)");
  const Kernel& kernel = only_kernel(model);
  ASSERT_EQ(kernel.reductions.size(), 3U);
  EXPECT_EQ(kernel.reductions[0].axis, 1);
  EXPECT_EQ(kernel.reductions[0].elements, 64 * 32);
  EXPECT_EQ(kernel.reductions[1].axis, -1);
  EXPECT_TRUE(kernel.reductions[2].scan);
}

TEST(Tile, MasksOfFewerDimensions) {
  const Model model = kernel_of(
      "r = tl.arange(0, B)\nc = tl.arange(0, 32)\n"
      "v = tl.load(x_ptr + r[:, None] * m + c[None, :], mask=c < 8, other=0.0)\n"
      "tl.store(y_ptr + r[:, None] * m + c[None, :], v, mask=(r < 16)[:, None])");
  EXPECT_NEAR(only_kernel(model).accesses.at(0).active, 0.25, 0.03);
  EXPECT_NEAR(only_kernel(model).accesses.at(1).active, 0.25, 0.03);
  EXPECT_EQ(only_kernel(model).accesses[1].elements, 64 * 32);
}

TEST(Tile, WindowsOverlap) {
  const Model model = kernel_of(
      "o = tl.arange(0, B)\nacc = tl.zeros([B], tl.float32)\n"
      "for i in range(3):\n    for j in range(3):\n"
      "        acc += tl.load(x_ptr + i * m + o + j)\n"
      "tl.store(y_ptr + o, acc)");
  const Access& load = only_kernel(model).accesses.at(0);
  EXPECT_EQ(load.program_bytes, 9 * 64 * 4);
  EXPECT_EQ(load.program_distinct_bytes, 3 * 66 * 4);
}

TEST(Tile, SaysWhatItDoesNotKnow) {
  const Model model = kernel_of(
      "o = tl.arange(0, B)\nv = tl.load(x_ptr + o)\nn2 = tl.load(x_ptr).to(tl.int32)\n"
      "for i in range(n2):\n    v += 1.0\n"
      "w = tl.frobnicate(v)\n"
      "tl.store(y_ptr + o, v)");
  EXPECT_FALSE(only_kernel(model).understood);
  EXPECT_FALSE(only_kernel(model).loops.at(0).trips_known);
  EXPECT_NE(lost_text(model).find("frobnicate"), std::string::npos);
  EXPECT_NE(lost_text(model).find("trip count"), std::string::npos);
}

}  // namespace
}  // namespace quoin::architect::testing
