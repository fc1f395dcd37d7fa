// Every refusal of one wrong argument: its code, a message that holds the offending values, and an
// output left alone. errors_test.cpp has what is not one argument.
#include <functional>
#include <string>
#include <vector>

#include "tests/arguments.h"

namespace quoin::test {
namespace {

struct Refusal {
  const char* what;
  Call call;
  std::function<void(Arguments&)> spoil;
  std::vector<const char*> says;
  ErrorCode code = ErrorCode::invalid_argument;
};

void expect_refusal(const Refusal& refusal) {
  SCOPED_TRACE(refusal.what);
  Arguments a;
  ASSERT_TRUE(make_call(refusal.call, a).ok()) << "the arguments are right before they are spoilt";
  Arguments spoilt;
  refusal.spoil(spoilt);
  const Status status = make_call(refusal.call, spoilt);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, refusal.code) << status.error().message;
  for (const char* part : refusal.says) {
    EXPECT_NE(status.error().message.find(part), std::string::npos)
        << "no \"" << part << "\" in: " << status.error().message;
  }
  spoilt.expect_untouched();
}

TEST(Errors, Prepare) {
  const std::vector<Refusal> refusals{
      {"rank",
       Call::prepare,
       [](Arguments& a) { a.weights.weight.rank = 3; },
       {"weight", "rank 3"}},
      {"rank 0", Call::prepare, [](Arguments& a) { a.weights.weight = {}; }, {"weight", "rank 0"}},
      {"type",
       Call::prepare,
       [](Arguments& a) { a.weights.weight.type = DataType::float16; },
       {"weight is float16 [6, 8] strides [8, 1]", "must be int8"}},
      {"negative size",
       Call::prepare,
       [](Arguments& a) { a.weights.weight.shape[0] = -6; },
       {"weight is int8 [-6, 8]", "negative"}},
      {"negative K",
       Call::prepare,
       [](Arguments& a) { a.weights.weight.shape[1] = -8; },
       {"weight is int8 [6, -8]", "negative"}},
      {"transposed",
       Call::prepare,
       [](Arguments& a) {
         a.weights.weight.strides = {1, 6};
       },
       {"strides [1, 6]", "contiguous"}},
      {"row stride",
       Call::prepare,
       [](Arguments& a) { a.weights.weight.strides[0] = 7; },
       {"strides [7, 1]", ">= 8"}},
      {"negative stride",
       Call::prepare,
       [](Arguments& a) { a.weights.weight.strides[0] = -8; },
       {"strides [-8, 1]"}},
      {"null",
       Call::prepare,
       [](Arguments& a) { a.weights.weight.data = nullptr; },
       {"weight", "null pointer"}},
      {"overflow",
       Call::prepare,
       [](Arguments& a) { a.weights.weight.strides[0] = kHuge; },
       {"weight", "4611686018427387904", "2^63"}},
      {"K",
       Call::prepare,
       [](Arguments& a) { a.weights.weight = matrix(a.w_data.data(), 1, 131072); },
       {"[1, 131072]", "131071"},
       ErrorCode::unsupported},
      {"no scale_w",
       Call::prepare,
       [](Arguments& a) { a.weights.scale_w.reset(); },
       {"scale_w is missing", "float16", "float32 [6]"}},
      {"scale_w size",
       Call::prepare,
       [](Arguments& a) { a.weights.scale_w = vector(a.scale_w_data.data(), 5); },
       {"scale_w is float32 [5]", "6 values"}},
      {"scale_w type",
       Call::prepare,
       [](Arguments& a) { a.weights.scale_w = vector(a.bias_data.data(), 6); },
       {"scale_w is float16 [6]", "float32"}},
      {"scale_w rank",
       Call::prepare,
       [](Arguments& a) { a.weights.scale_w = matrix(a.scale_w_data.data(), 1, 6); },
       {"scale_w", "rank 2", "[6] or [6, 1]"}},
      {"scale_w stride",
       Call::prepare,
       [](Arguments& a) { a.weights.scale_w = matrix(a.scale_w_data.data(), 6, 1, 2); },
       {"scale_w is float32 [6, 1] strides [2, 1]", "contiguous"}},
      {"scale_w null",
       Call::prepare,
       [](Arguments& a) { a.weights.scale_w->data = nullptr; },
       {"scale_w", "null pointer"}},
      {"bias size",
       Call::prepare,
       [](Arguments& a) { a.weights.bias = vector(a.bias_data.data(), 7); },
       {"bias is float16 [7]", "6 values"}},
      {"bias type",
       Call::prepare,
       [](Arguments& a) { a.weights.bias = vector(a.w_data.data(), 6); },
       {"bias is int8 [6]", "float16, bfloat16 or float32"}},
      {"bias null",
       Call::prepare,
       [](Arguments& a) { a.weights.bias->data = nullptr; },
       {"bias", "null pointer"}},
      {"int8 output",
       Call::prepare,
       [](Arguments& a) { a.options.out_type = DataType::int8; },
       {"out_type is int8", "int32"}},
      {"int32 with scales",
       Call::prepare,
       [](Arguments& a) { a.options.out_type = DataType::int32; },
       {"int32", "scale_w"}},
      {"int32 with bias",
       Call::prepare,
       [](Arguments& a) {
         a.options.out_type = DataType::int32;
         a.weights.scale_w.reset();
       },
       {"int32", "bias"}},
      {"backend",
       Call::prepare,
       [](Arguments& a) { a.options.backend = "avx1024"; },
       {"\"avx1024\"", "option", "avx512_vnni, avx_vnni, avx2, portable"}},
  };
  for (const Refusal& refusal : refusals) expect_refusal(refusal);
}

TEST(Errors, Run) {
  const std::vector<Refusal> refusals{
      {"threads 0", Call::run, [](Arguments& a) { a.run.threads = 0; }, {"threads is 0", "1024"}},
      {"threads -1", Call::run, [](Arguments& a) { a.run.threads = -1; }, {"threads is -1"}},
      {"threads 2000", Call::run, [](Arguments& a) { a.run.threads = 2000; }, {"threads is 2000"}},
      {"x K",
       Call::run,
       [](Arguments& a) { a.x.codes = matrix(a.x_data.data(), 4, 7); },
       {"x is int8 [4, 7]", "[any, 8]"}},
      {"x type",
       Call::run,
       [](Arguments& a) { a.x.codes = a.x_float; },
       {"x is float32 [4, 8]", "must be int8"}},
      {"x rank",
       Call::run,
       [](Arguments& a) { a.x.codes = vector(a.x_data.data(), 8); },
       {"x has rank 1"}},
      {"x null", Call::run, [](Arguments& a) { a.x.codes.data = nullptr; }, {"x", "null pointer"}},
      {"x stride",
       Call::run,
       [](Arguments& a) {
         a.x.codes.strides = {7, 1};
       },
       {"strides [7, 1]"}},
      {"x columns",
       Call::run,
       [](Arguments& a) {
         a.x.codes.strides = {16, 2};
       },
       {"strides [16, 2]", "contiguous"}},
      {"x overflow", Call::run, [](Arguments& a) { a.x.codes.strides[0] = kHuge; }, {"x", "2^63"}},
      {"no scale_x",
       Call::run,
       [](Arguments& a) { a.x.scales.reset(); },
       {"scale_x is missing", "float16", "[4]"}},
      {"scale_x size",
       Call::run,
       [](Arguments& a) { a.x.scales->shape[0] = 3; },
       {"scale_x is float32 [3]", "4 values"}},
      {"scale_x type",
       Call::run,
       [](Arguments& a) { a.x.scales = vector(a.x_data.data(), 4); },
       {"scale_x is int8 [4]", "float32"}},
      {"scale_x null",
       Call::run,
       [](Arguments& a) { a.x.scales->data = nullptr; },
       {"scale_x", "null pointer"}},
      {"y rows",
       Call::run,
       [](Arguments& a) { a.y.shape[0] = 3; },
       {"y is float16 [3, 6]", "[4, 6]"}},
      {"y columns",
       Call::run,
       [](Arguments& a) { a.y.shape[1] = 5; },
       {"y is float16 [4, 5]", "[4, 6]"}},
      {"y type",
       Call::run,
       [](Arguments& a) { a.y.type = DataType::bfloat16; },
       {"y is bfloat16", "must be float16"}},
      {"y rank", Call::run, [](Arguments& a) { a.y.rank = 1; }, {"y has rank 1"}},
      {"y null", Call::run, [](Arguments& a) { a.y.data = nullptr; }, {"y", "null pointer"}},
      {"y stride", Call::run, [](Arguments& a) { a.y.strides[0] = 5; }, {"strides [5, 1]"}},
      {"y transposed",
       Call::run,
       [](Arguments& a) {
         a.y.strides = {1, 4};
       },
       {"strides [1, 4]", "contiguous"}},
      {"y overflow", Call::run, [](Arguments& a) { a.y.strides[0] = kHuge; }, {"y", "2^63"}},
      {"y over x",
       Call::run,
       [](Arguments& a) { a.y.data = a.x_data.data() + 31; },
       {"y (", "x (", "overlap"}},
      {"y over scale_x",
       Call::run,
       [](Arguments& a) { a.y.data = a.scale_x_data.data(); },
       {"y (", "scale_x (", "overlap"}},
  };
  for (const Refusal& refusal : refusals) expect_refusal(refusal);
}

TEST(Errors, RunDynamic) {
  const std::vector<Refusal> refusals{
      {"threads",
       Call::run_dynamic,
       [](Arguments& a) { a.run.threads = 1025; },
       {"threads is 1025"}},
      {"x type",
       Call::run_dynamic,
       [](Arguments& a) { a.x_float = matrix(a.x_data.data(), 4, 8); },
       {"x is int8 [4, 8]", "float16, bfloat16 or float32"}},
      {"x K",
       Call::run_dynamic,
       [](Arguments& a) { a.x_float.shape[1] = 7; },
       {"x is float32 [4, 7]", "[any, 8]"}},
      {"y rows", Call::run_dynamic, [](Arguments& a) { a.y.shape[0] = 5; }, {"y", "[4, 6]"}},
      {"y over x",
       Call::run_dynamic,
       [](Arguments& a) { a.y.data = a.x_float_data.data(); },
       {"y (", "x (", "overlap"}},
      {"no workspace",
       Call::run_dynamic,
       [](Arguments& a) { a.room = {}; },
       {"workspace has 0 bytes", "4 rows", "workspace_bytes(4)"}},
      {"workspace over x",
       Call::run_dynamic,
       [](Arguments& a) { a.x_float.data = a.room_data.data() + 4; },
       {"workspace", "x (", "overlap"}},
      {"workspace over y",
       Call::run_dynamic,
       [](Arguments& a) { a.y.data = a.room_data.data() + 100; },
       {"workspace", "y (", "overlap"}},
      {"int32",
       Call::run_dynamic,
       [](Arguments& a) {
         a.options.out_type = DataType::int32;
         a.weights.scale_w.reset();
         a.weights.bias.reset();
       },
       {"run_dynamic", "int32"}},
  };
  for (const Refusal& refusal : refusals) expect_refusal(refusal);
}

TEST(Errors, QuantizeRows) {
  const std::vector<Refusal> refusals{
      {"x type",
       Call::quantize,
       [](Arguments& a) { a.x_float.type = DataType::int32; },
       {"x is int32 [4, 8]", "float16, bfloat16 or float32"}},
      {"x rank", Call::quantize, [](Arguments& a) { a.x_float.rank = 0; }, {"x has rank 0"}},
      {"x null", Call::quantize, [](Arguments& a) { a.x_float.data = nullptr; }, {"null pointer"}},
      {"codes shape",
       Call::quantize,
       [](Arguments& a) { a.codes.shape[1] = 9; },
       {"codes is int8 [4, 9]", "[4, 8]"}},
      {"codes type",
       Call::quantize,
       [](Arguments& a) { a.codes.type = DataType::int32; },
       {"codes is int32", "int8"}},
      {"codes stride",
       Call::quantize,
       [](Arguments& a) { a.codes.strides[0] = 2; },
       {"strides [2, 1]"}},
      {"scales size",
       Call::quantize,
       [](Arguments& a) { a.scales.shape[0] = 5; },
       {"scales is float32 [5]", "4 values"}},
      {"scales type",
       Call::quantize,
       [](Arguments& a) { a.scales.type = DataType::float16; },
       {"scales is float16", "float32"}},
      {"threads", Call::quantize, [](Arguments& a) { a.run.threads = 0; }, {"threads is 0"}},
      {"codes over x",
       Call::quantize,
       [](Arguments& a) { a.codes.data = a.x_float_data.data(); },
       {"codes (", "x (", "overlap"}},
      {"scales over x",
       Call::quantize,
       [](Arguments& a) { a.scales.data = a.x_float_data.data(); },
       {"scales (", "x (", "overlap"}},
      {"codes over scales",
       Call::quantize,
       [](Arguments& a) { a.codes.data = a.scales_data.data(); },
       {"codes (", "scales (", "overlap"}},
  };
  for (const Refusal& refusal : refusals) expect_refusal(refusal);
}

}  // namespace
}  // namespace quoin::test
