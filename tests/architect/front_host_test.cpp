// The host interpreter: Python as documents use it, launches and their grids, loops.
#include "tests/architect/front_support.h"

namespace quoin::architect::testing {
namespace {

const std::string kCopy =
    "@triton.jit\n"
    "def copy_kernel(x_ptr, y_ptr, n, BLOCK: tl.constexpr):\n"
    "    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)\n"
    "    tl.store(y_ptr + offs, tl.load(x_ptr + offs, mask=offs < n), mask=offs < n)\n";

std::array<std::int64_t, 3> grid_of(const std::string& grid, const std::string& before = "") {
  const Model model = forward_of("torch.rand(1000, 10)", "x",
                                 "y = torch.empty_like(x)\nn = x.numel()\n" + before + "\n" +
                                     "copy_kernel[" + grid + "](x, y, n, BLOCK=256)\nreturn y",
                                 kCopy);
  EXPECT_EQ(lost_text(model), "");
  return first_launch(model).launch.value_or(Launch{}).grid;
}

TEST(Host, Grids) {
  using Grid = std::array<std::int64_t, 3>;
  EXPECT_EQ(grid_of("(triton.cdiv(n, 256),)"), (Grid{40, 1, 1}));
  EXPECT_EQ(grid_of("lambda meta: (triton.cdiv(n, meta['BLOCK']), 2)"), (Grid{40, 2, 1}));
  EXPECT_EQ(grid_of("grid", "def grid(META):\n    return (max(1, n // META['BLOCK']),)"),
            (Grid{39, 1, 1}));
  EXPECT_EQ(grid_of("grid", "grid = (n // 1000, 3, 4)"), (Grid{10, 3, 4}));
  EXPECT_EQ(grid_of("(triton.next_power_of_2(n),)"), (Grid{16384, 1, 1}));
  EXPECT_EQ(grid_of("(triton.next_power_of_2(512),)"), (Grid{512, 1, 1}));
}

TEST(Host, AutotuneTakesTheFirstConfiguration) {
  const Model model = forward_of(
      "torch.rand(4096)", "x",
      "y = torch.empty_like(x)\n"
      "tuned[lambda m: (triton.cdiv(x.numel(), m['BLOCK']),)](x, y, x.numel())\nreturn y",
      "@triton.autotune(configs=[triton.Config({'BLOCK': b}, num_warps=w) for b in [512, 1024] "
      "for w in [2, 8]], key=['n'])\n"
      "@triton.heuristics({'EVEN': lambda args: args['n'] % args['BLOCK'] == 0})\n"
      "@triton.jit\n"
      "def tuned(x_ptr, y_ptr, n, BLOCK: tl.constexpr, EVEN: tl.constexpr):\n"
      "    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)\n"
      "    if EVEN:\n        v = tl.load(x_ptr + offs)\n"
      "    else:\n        v = tl.load(x_ptr + offs, mask=offs < n)\n"
      "    tl.store(y_ptr + offs, v)\n");
  EXPECT_EQ(lost_text(model), "");
  const Launch launch = first_launch(model).launch.value_or(Launch{});
  EXPECT_EQ(launch.grid[0], 8);
  EXPECT_EQ(launch.num_warps, 2);
  EXPECT_EQ(launch.autotune_configs, 4);
  ASSERT_EQ(only_kernel(model).accesses.size(), 2U);
  EXPECT_FALSE(only_kernel(model).accesses[0].masked);
}

TEST(Host, LaunchReadsAndWrites) {
  const Model model = forward_of("torch.rand(1000)", "x",
                                 "y = torch.empty_like(x)\n"
                                 "copy_kernel[(4,)](x, y, 1000, BLOCK=256)\n"
                                 "z = torch.relu(y)\nreturn z",
                                 kCopy);
  ASSERT_EQ(model.current.ops.size(), 2U);
  EXPECT_EQ(model.current.ops[0].inputs.at(0).role, "x_ptr");
  EXPECT_EQ(model.current.ops[1].inputs.at(0).producers, std::vector<OpId>{0});
  EXPECT_EQ(consumers_of(model.current, 0), std::vector<OpId>{1});
  EXPECT_TRUE(is_output(model.current, 1));
  EXPECT_FALSE(is_output(model.current, 0));
}

TEST(Host, Python) {
  const Model model = forward_of(
      "torch.rand(6, 4)", "x",
      "sizes = [i * 2 for i in range(1, 4) if i != 2]\n"
      "a, *rest, b = (1, 2, 3, 4)\n"
      "d = {'k': 5, **{'m': 6}}\n"
      "n = 0\n"
      "while n < 3:\n    n += 1\n    if n == 2:\n        continue\n"
      "name = f'part{n}'\n"
      "flag = not (a > b) and 0 < n <= 3 or False\n"
      "f = lambda t, k=2: t * k\n"
      "try:\n    q = f(d['m'])\nexcept ValueError:\n    q = 0\n"
      "with torch.no_grad():\n    w = max(sizes) if flag else -1\n"
      "return torch.empty(sizes[0], sum(rest), w, q, len(name), -7 // 2 + 5, int(7.9), d['k'])");
  EXPECT_EQ(lost_text(model), "");
  EXPECT_EQ(outputs_of(model), "float32[2, 5, 6, 12, 5, 1, 7, 5]");
}

TEST(Host, Classes) {
  const Model model = model_of_code(
      "torch.rand(8, 16)",
      "def make(k):\n    def wide(n):\n        return n * k\n    return wide\n"
      "class Base(nn.Module):\n"
      "    factor = 2\n"
      "    def __init__(self, n):\n        super().__init__()\n        self.n = n\n"
      "        self.register_buffer('mask', torch.ones(n))\n"
      "    @property\n    def wide(self):\n        return self.n * self.factor\n"
      "class Inner(Base):\n"
      "    def __init__(self, n):\n        super(Inner, self).__init__(n)\n"
      "        self.layers = nn.ModuleList([nn.Linear(16, 16) for _ in range(3)])\n"
      "        self.head = nn.Sequential(nn.Linear(16, self.wide), nn.ReLU())\n"
      "    def forward(self, x):\n"
      "        for i, layer in enumerate(self.layers):\n            x = layer(x)\n"
      "        return self.head(x) * self.mask.sum()\n"
      "class ModelNew(nn.Module):\n"
      "    def __init__(self):\n        super().__init__()\n"
      "        for i in range(2):\n            setattr(self, f'inner{i}', Inner(make(3)(4)))\n"
      "    def forward(self, x):\n        return getattr(self, 'inner1')(x)\n");
  EXPECT_EQ(lost_text(model), "");
  EXPECT_EQ(outputs_of(model), "float32[8, 24]");
  EXPECT_EQ(operations_of(model),
            "matmul:linear matmul:linear matmul:linear matmul:linear elementwise:relu "
            "reduction:sum elementwise:mul");
  EXPECT_TRUE(model.current.ops[5].weight_only);
  EXPECT_FALSE(model.current.ops[4].weight_only);
  EXPECT_EQ(model.current.values[model.current.ops[0].inputs[1].value].name,
            "self.inner1.layers.0.weight");
}

TEST(Host, LongLoopsAreCounted) {
  const Model model =
      forward_of("torch.rand(100, 8, 16), torch.rand(8, 16)", "x, h",
                 "out = []\nn = 0\nfor t in range(x.shape[0]):\n    h = torch.tanh(x[t] + h)\n"
                 "    out.append(h)\n    n += 2\nreturn torch.stack(out), torch.empty(n)");
  EXPECT_EQ(lost_text(model), "");
  EXPECT_EQ(outputs_of(model), "float32[100, 8, 16] float32[200]");
  double tanhs = 0;
  for (const Op& op : model.current.ops) tanhs += op.name == "tanh" ? op.count : 0;
  EXPECT_EQ(tanhs, 100);
  EXPECT_LT(model.current.ops.size(), 12U);
}

TEST(Host, LoopsWhoseIterationsDifferAreNotCounted) {
  const Model model = forward_of("torch.rand(40, 8)", "x",
                                 "y = x\nfor t in range(1, 40):\n    y = x[:t] * 2\nreturn y");
  EXPECT_EQ(model.current.ops.size(), 39U);
  EXPECT_EQ(outputs_of(model), "float32[39, 8]");
}

TEST(Host, SaysWhatItDoesNotKnow) {
  const Model model = forward_of("torch.rand(4)", "x",
                                 "y = torch.fft.rfft(x)\nif x.sum() > 0:\n    y = x\nreturn x");
  ASSERT_EQ(model.not_understood.size(), 2U) << lost_text(model);
  EXPECT_NE(model.not_understood[0].what.find("torch.fft.rfft"), std::string::npos);
  EXPECT_EQ(model.not_understood[0].line, 9);
  EXPECT_FALSE(model.not_understood[0].reference);
}

TEST(Host, Ends) {
  for (const char* body :
       {"while True:\n    pass\nreturn x", "def f(n):\n    return f(n + 1)\nreturn f(0)",
        "a = [1]\nwhile True:\n    a = a + a\nreturn x",
        "s = 'x'\nwhile True:\n    s = s + s\nreturn x", "while True:\n    x = x.t()\nreturn x",
        "while True:\n    x = x * 2\nreturn x", "a = []\na.append(a)\nreturn a",
        "for i in range(10 ** 12):\n    x = x + 1\nreturn x",
        "return (lambda f: f(f))(lambda f: f(f))"}) {
    const Model model = forward_of("torch.rand(4, 4)", "x", body);
    EXPECT_TRUE(model.current.present) << body;
  }
}

// What a first call puts aside for the next ones is not work of a call.
TEST(Host, CachesAreFilled) {
  const Model model = model_of_code(
      "torch.rand(8, 16)",
      "class ModelNew(nn.Module):\n"
      "    def __init__(self):\n        super().__init__()\n"
      "        self.w = nn.Parameter(torch.rand(32, 16))\n        self.cached = None\n"
      "    def forward(self, x):\n"
      "        if self.cached is None:\n            self.cached = self.w.t().contiguous()\n"
      "        return x @ self.cached\n");
  EXPECT_EQ(operations_of(model), "matmul:matmul");
  EXPECT_TRUE(model.current.ops.at(0).matmul->b_is_weight);
  EXPECT_TRUE(model.current.ops[0].inputs.at(1).producers.empty());
}

TEST(Host, KernelPartsExtendTheReference) {
  const std::string imports(kImports);
  const auto document = document_of(
      imports +
          "class Model(nn.Module):\n    def __init__(self, n):\n        super().__init__()\n"
          "        self.fc = nn.Linear(n, 2 * n)\n"
          "    def forward(self, x):\n        return self.fc(x)\nN = 16\n"
          "def get_inputs():\n    return [torch.rand(4, N)]\n"
          "def get_init_inputs():\n    return [N]\n",
      imports +
          "class ModelNew(Model):\n    def forward(self, x):\n"
          "        return torch.relu(super().forward(x))\n",
      "");
  ASSERT_TRUE(document.ok());
  const Model model = model_of(document.value());
  EXPECT_EQ(lost_text(model), "");
  EXPECT_EQ(operations_of(model), "matmul:linear elementwise:relu");
  EXPECT_TRUE(model.outputs_match);
}

TEST(Host, SmallClassesAndAnnotations) {
  const Model model = forward_of(
      "torch.rand(6, 4)", "x: torch.Tensor, n: Optional[int] = None",
      "c = CONFIGS['big']\nreturn torch.empty(c.block, c.warps, (x.shape[0] - 1).bit_length()), "
      "x.topk(2, dim=1).values, x.max(dim=1).indices",
      "@dataclass\nclass Cfg:\n    block: int = 128\n    warps: int = 4\n"
      "CONFIGS = {'big': Cfg(256, warps=8)}\n");
  EXPECT_EQ(lost_text(model), "");
  EXPECT_EQ(outputs_of(model), "float32[256, 8, 3] float32[6, 2] int64[6]");
}

TEST(Host, WeightOnlyWork) {
  const Model model = model_of_code(
      "torch.rand(8, 16)",
      "class ModelNew(nn.Module):\n"
      "    def __init__(self):\n        super().__init__()\n        self.w = "
      "nn.Parameter(torch.rand(32, 16))\n"
      "    def forward(self, x):\n        wt = self.w.t().contiguous()\n        return x @ wt\n");
  ASSERT_EQ(model.current.ops.size(), 2U);
  EXPECT_TRUE(model.current.ops[0].weight_only);
  EXPECT_TRUE(model.current.ops[0].reshapes);
  EXPECT_EQ(model.current.ops[0].kind, OpKind::copy);
  EXPECT_FALSE(model.current.ops[1].weight_only);
  EXPECT_TRUE(model.current.ops[1].matmul->b_is_weight);
  EXPECT_FALSE(model.current.ops[1].matmul->b_k_contiguous);
  const ValueId source = model.current.ops[0].inputs[0].value;
  EXPECT_EQ(model.current.values[source].view, "t(1,0)");
  EXPECT_EQ(model.current.values[root_of(model.current, source)].name, "self.w");
}

}  // namespace
}  // namespace quoin::architect::testing
