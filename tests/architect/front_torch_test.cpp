// PyTorch functions: the shapes, types and operations that each gives.
#include "tests/architect/front_support.h"

namespace quoin::architect::testing {
namespace {

struct Case {
  const char* expression;
  const char* output;
  const char* operations;  // null: any
};

// x: float32[4, 8, 16], h: float16[4, 8, 16], m: float32[16, 32], i: int64[4], c: [2, 6, 10, 12]
constexpr Case kCases[] = {
    {"x.view(4, -1)", "float32[4, 128]", ""},
    {"x.transpose(1, 2)", "float32[4, 16, 8] strides [128, 1, 16]", ""},
    {"x.permute(2, 0, 1).contiguous()", "float32[16, 4, 8]", "copy:contiguous"},
    {"x.transpose(0, 1).reshape(8, 64)", "float32[8, 64]", "copy:reshape"},
    {"x.transpose(0, 1).view(8, 2, 2, 16)", "float32[8, 2, 2, 16] strides [16, 256, 128, 1]", ""},
    {"x[:, None, 1::2, -1]", "float32[4, 1, 4] strides [128, 0, 32]", nullptr},
    {"x[..., 0]", "float32[4, 8] strides [128, 16]", ""},
    {"x[i]", "float32[4, 8, 16]", "gather:index"},
    {"x[0].t()", "float32[16, 8] strides [1, 16]", ""},
    {"x.unsqueeze(1).expand(-1, 3, -1, -1)", "float32[4, 3, 8, 16] strides [128, 0, 16, 1]", ""},
    {"torch.cat([x, x], dim=-1)", "float32[4, 8, 32]", "copy:cat"},
    {"torch.stack((x, x), 1)", "float32[4, 2, 8, 16]", "copy:stack"},
    {"x.chunk(3, dim=1)[2]", "float32[4, 2, 16] strides [128, 16, 1]", ""},
    {"x.split([3, 5], 1)[1]", "float32[4, 5, 16] strides [128, 16, 1]", ""},
    {"x.flatten(1)", "float32[4, 128]", ""},
    {"F.pad(x, (1, 2, 3, 0))", "float32[4, 11, 19]", "copy:pad"},
    {"x.unfold(2, 4, 2)", "float32[4, 8, 7, 4] strides [128, 16, 2, 1]", ""},
    {"x.half()", "float16[4, 8, 16]", "cast:to"},
    {"x.to(torch.float32)", "float32[4, 8, 16]", ""},
    {"h * 2.0", "float16[4, 8, 16]", "elementwise:mul"},
    {"h + x", "float32[4, 8, 16]", "elementwise:add"},
    {"i / 2", "float32[4]", "elementwise:div"},
    {"x > 0", "bool[4, 8, 16]", "elementwise:gt"},
    {"x.relu_()", "float32[4, 8, 16]", "elementwise:relu"},
    {"F.gelu(h)", "float16[4, 8, 16]", "elementwise:gelu"},
    {"torch.where(x > 0, x, 0.0)", "float32[4, 8, 16]", "elementwise:gt elementwise:where"},
    {"x.sum()", "float32[]", "reduction:sum"},
    {"x.mean(dim=(0, 2), keepdim=True)", "float32[1, 8, 1]", "reduction:mean"},
    {"x.max(1)[0]", "float32[4, 16]", "reduction:max"},
    {"torch.max(x, x)", "float32[4, 8, 16]", "elementwise:maximum"},
    {"x.argmax(dim=-1)", "int64[4, 8]", "reduction:argmax"},
    {"torch.norm(x, p=2, dim=1, keepdim=True)", "float32[4, 1, 16]", "reduction:norm"},
    {"torch.logsumexp(x, dim=1)", "float32[4, 16]", "reduction:logsumexp"},
    {"torch.cumsum(x, 1)", "float32[4, 8, 16]", "scan:cumsum"},
    {"F.softmax(x, dim=-1)", "float32[4, 8, 16]", "softmax:softmax"},
    {"x @ m", "float32[4, 8, 32]", "matmul:matmul"},
    {"torch.bmm(x, x.transpose(1, 2))", "float32[4, 8, 8]", "matmul:bmm"},
    {"F.linear(x, m.t())", "float32[4, 8, 32]", "matmul:linear"},
    {"torch.einsum('bik,kj->bij', x, m)", "float32[4, 8, 32]", "matmul:einsum"},
    {"torch.einsum('...k,kj->...j', x, m)", "float32[4, 8, 32]", "matmul:einsum"},
    {"torch.addmm(m[0], x[0], m)", "float32[8, 32]", "matmul:addmm"},
    {"nn.Conv2d(6, 9, (3, 5), stride=2, padding=1, groups=3)(c)", "float32[2, 9, 5, 5]",
     "conv:conv2d"},
    {"nn.Conv2d(6, 9, 3, dilation=2, padding='same')(c)", "float32[2, 9, 10, 12]", "conv:conv2d"},
    {"nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1)(c)",
     "float32[2, 4, 20, 24]", "conv:conv_transpose2d"},
    {"nn.Conv1d(8, 2, 5)(x)", "float32[4, 2, 12]", "conv:conv1d"},
    {"nn.ConvTranspose3d(2, 3, 2, 2)(c.unsqueeze(0))", "float32[1, 3, 12, 20, 24]", nullptr},
    {"nn.MaxPool2d(3, stride=2, padding=1)(c)", "float32[2, 6, 5, 6]", "pool:max_pool2d"},
    {"F.avg_pool2d(c, 4)", "float32[2, 6, 2, 3]", "pool:avg_pool2d"},
    {"nn.AvgPool1d(3, 2, 1, ceil_mode=True)(x)", "float32[4, 8, 9]", nullptr},
    {"nn.AdaptiveAvgPool2d((1, 1))(c)", "float32[2, 6, 1, 1]", "pool:adaptive_avg_pool2d"},
    {"nn.BatchNorm2d(6)(c)", "float32[2, 6, 10, 12]", "norm:batch_norm"},
    {"nn.LayerNorm(16)(x)", "float32[4, 8, 16]", "norm:layer_norm"},
    {"nn.GroupNorm(3, 6)(c)", "float32[2, 6, 10, 12]", "norm:group_norm"},
    {"F.normalize(x, dim=1)", "float32[4, 8, 16]",
     "reduction:norm elementwise:clamp_min elementwise:div"},
    {"F.cross_entropy(m, torch.randint(0, 32, (16,)))", "float32[]",
     "random:randint softmax:log_softmax loss:nll_loss"},
    {"F.mse_loss(x, x)", "float32[]", "loss:mse_loss"},
    {"nn.Embedding(10, 3)(i)", "float32[4, 3]", "gather:embedding"},
    {"F.scaled_dot_product_attention(c, c, c)", "float32[2, 6, 10, 12]",
     "attention:scaled_dot_product_attention"},
    {"nn.GRU(16, 5, 2, bidirectional=True)(x)[0]", "float32[4, 8, 10]", "rnn:GRU"},
    {"nn.LSTM(16, 5, batch_first=True)(x)[1][1]", "float32[1, 4, 5]", "rnn:LSTM"},
    {"nn.MultiheadAttention(16, 2)(x, x, x)[0]", "float32[4, 8, 16]", nullptr},
    {"nn.Dropout(0.0)(x)", "float32[4, 8, 16]", ""},
    {"nn.Dropout(0.5)(x)", "float32[4, 8, 16]", ""},
    {"torch.zeros_like(h, dtype=torch.int32)", "int32[4, 8, 16]", "fill:zeros_like"},
    {"x.new_empty(3, 4)", "float32[3, 4]", ""},
    {"torch.arange(0, 10, 3)", "int64[4]", "fill:arange"},
    {"torch.diag(x[0]) @ x[0, :, :8]", nullptr, nullptr},
    {"torch.roll(x, 2, 1)", "float32[4, 8, 16]", "copy:roll"},
    {"F.interpolate(c, scale_factor=2)", "float32[2, 6, 20, 24]", "elementwise:interpolate"},
    {"nn.PixelShuffle(2)(torch.rand(1, 8, 3, 5))", "float32[1, 2, 6, 10]", nullptr},
    {"x.masked_fill(x == 0, -1e9)", "float32[4, 8, 16]", "elementwise:eq elementwise:masked_fill"},
    {"torch._int_mm(m.to(torch.int8), m.t().to(torch.int8))", "int32[16, 16]",
     "cast:to cast:to matmul:_int_mm"},
};

TEST(Torch, Functions) {
  for (const Case& each : kCases) {
    const Model model = forward_of(
        "torch.rand(4, 8, 16), torch.rand(4, 8, 16, dtype=torch.float16), torch.rand(16, 32), "
        "torch.randint(0, 4, (4,)), torch.rand(2, 6, 10, 12)",
        "x, h, m, i, c", std::string("return ") + each.expression);
    if (each.output == nullptr) continue;  // only that it ends
    EXPECT_EQ(lost_text(model), "") << each.expression;
    EXPECT_EQ(outputs_of(model), each.output) << each.expression;
    if (each.operations != nullptr) {
      EXPECT_EQ(operations_of(model), each.operations) << each.expression;
    }
  }
}

TEST(Torch, ProductsTellTheirLayout) {
  const Model model = forward_of("torch.rand(2, 128, 64), torch.rand(256, 64)", "x, w",
                                 "return torch.matmul(x, w.t())");
  const Matmul matmul = model.current.ops.at(0).matmul.value_or(Matmul{});
  EXPECT_EQ(matmul.m, 256);
  EXPECT_EQ(matmul.n, 256);
  EXPECT_EQ(matmul.k, 64);
  EXPECT_EQ(matmul.batch, 1);
  EXPECT_TRUE(matmul.a_k_contiguous);
  EXPECT_TRUE(matmul.b_k_contiguous);
  EXPECT_EQ(model.current.ops[0].flops, 2.0 * 256 * 256 * 64);
  EXPECT_EQ(model.current.ops[0].bytes_read, 4.0 * (256 * 64 + 256 * 64));
}

TEST(Torch, ConvolutionsCountTheirWork) {
  const Model model = forward_of("torch.rand(2, 6, 10, 12)", "x",
                                 "return nn.Conv2d(6, 9, 3, groups=3, bias=False)(x)");
  EXPECT_EQ(model.current.ops.at(0).flops, 2.0 * 2 * 9 * 8 * 10 * 2 * 9);
  const Conv conv = model.current.ops[0].conv.value_or(Conv{});
  EXPECT_EQ(conv.groups, 3);
  EXPECT_EQ(conv.out[1], 8);
  EXPECT_EQ(conv.kernel[2], 3);
}

TEST(Torch, RecurrentLayers) {
  const Model model = forward_of("torch.rand(512, 10, 128)", "x",
                                 "return nn.GRU(128, 256, 6, bidirectional=True)(x)[0]");
  const Rnn rnn = model.current.ops.at(0).rnn.value_or(Rnn{});
  EXPECT_EQ(rnn.steps, 512);
  EXPECT_EQ(rnn.batch, 10);
  EXPECT_EQ(rnn.layers, 6);
  EXPECT_EQ(rnn.directions, 2);
  const double first = 128 + 256, rest = 512 + 256;
  EXPECT_EQ(model.current.ops[0].flops, 2.0 * 3 * 512 * (first + 5 * rest) * 512 * 10);
}

TEST(Torch, TellsAllowedTf32) {
  EXPECT_FALSE(forward_of("torch.rand(4)", "x", "return x").current.matmul_tf32);
  EXPECT_TRUE(
      forward_of("torch.rand(4)", "x", "return x", "torch.backends.cuda.matmul.allow_tf32 = True\n")
          .current.matmul_tf32);
  EXPECT_TRUE(
      forward_of("torch.rand(4)", "x", "return x", "torch.set_float32_matmul_precision('high')\n")
          .current.matmul_tf32);
}

TEST(Torch, Einops) {
  const Model model =
      forward_of("torch.rand(2, 3, 8, 12)", "x",
                 "return rearrange(x, 'b c (h p) (w q) -> b (h w) (p q c)', p=4, q=3)",
                 "from einops import rearrange\n");
  EXPECT_EQ(lost_text(model), "");
  EXPECT_EQ(outputs_of(model), "float32[2, 8, 36]");
  const Model order =
      forward_of("torch.rand(2, 3, 8, 12)", "x", "return rearrange(x, 'b c h w -> b h c w')",
                 "from einops import rearrange\n");
  EXPECT_EQ(outputs_of(order), "float32[2, 8, 3, 12] strides [288, 12, 96, 1]");
}

TEST(Torch, ConstantsAreRemembered) {
  const Model model = forward_of("torch.rand(4, 6)", "x",
                                 "n = int(torch.prod(torch.tensor(x.shape)))\n"
                                 "rates = [r.item() for r in torch.linspace(0, 1, 5)]\n"
                                 "return torch.empty(n, int(rates[2] * 10))");
  EXPECT_EQ(lost_text(model), "");
  EXPECT_EQ(outputs_of(model), "float32[24, 5]");
}

/// The number that every element of the only output is, or the text "open".
std::string constant_of(const std::string& body) {
  const Model model = forward_of("torch.rand(8, 1, 4)", "x", body);
  EXPECT_EQ(lost_text(model), "") << body;
  if (model.current.outputs.size() != 1) return "no output";
  const Value& value = model.current.values[model.current.outputs[0]];
  return value.constant ? std::to_string(value.bounds.low) : "open";
}

TEST(Torch, ConstantResultsAreSeen) {
  EXPECT_EQ(constant_of("return torch.clamp(torch.min(x, torch.tensor(0.5)), min=0.5, max=1.0)"),
            "0.500000");
  EXPECT_EQ(constant_of("return torch.clamp(torch.min(x, torch.tensor(0.5)), min=0.4, max=1.0)"),
            "open");
  EXPECT_EQ(constant_of("y = F.relu(x).clamp_(max=0.0)\nreturn y.view(-1).to(torch.float16)"),
            "0.000000");
  EXPECT_EQ(constant_of("return F.gelu(x - x.mean(dim=1, keepdim=True))"), "0.000000");
  EXPECT_EQ(constant_of("return F.gelu(x - x.mean(dim=2, keepdim=True))"), "open");
  EXPECT_EQ(constant_of("return F.softmax(x, dim=1) * 3"), "3.000000");
  EXPECT_EQ(constant_of("return F.softmax(x, dim=2) * 3"), "open");
  // What is written into a buffer of zeros makes it unknown.
  EXPECT_EQ(constant_of("y = torch.zeros(8, 4)\ny[:, 1:3] = x[:, 0, :2]\nreturn y"), "open");
  EXPECT_EQ(constant_of("y = torch.clamp(x, 0.0, 0.0)\nv = y.view(-1)\ny.add_(x)\nreturn v"),
            "open");
  EXPECT_EQ(constant_of("y = torch.clamp(x, 0.0, 0.0)\nv = y.view(-1)\ny.add_(x)\nreturn v * 2"),
            "open");
}

}  // namespace
}  // namespace quoin::architect::testing
