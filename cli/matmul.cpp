// `quoin matmul`: the linear layer on .npy files. The flags decide which operands there must be
// (check_flags), the type of x decides whether it is quantised on the way (multiply).
#include <fmt/format.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/command.h"
#include "cli/npy.h"
#include "quoin/linear.h"

namespace quoin::cli {
namespace {

struct MatmulOptions {
  std::string x, weight, out;
  std::optional<std::string> scale_x, scale_w, bias;
  std::string x_type, bias_type, out_type = "float16";
  std::string dequant_factor = "both-absmax";
  bool dequant_factor_given = false;
  std::string backend;
  int threads = 1;
};

struct Operands {
  NpyArray x, weight;
  std::optional<NpyArray> scale_x, scale_w, bias;
};

Error bad(std::string message) { return {ErrorCode::invalid_argument, std::move(message)}; }

// What can be said before any file is opened.
Status check_flags(const MatmulOptions& options) {
  if (!options.bias_type.empty() && !options.bias) {
    return bad("--bias-type is given without --bias");
  }
  if (options.out_type == "int32") {
    const char* given = options.scale_x                ? "--scale-x"
                        : options.scale_w              ? "--scale-w"
                        : options.bias                 ? "--bias"
                        : options.dequant_factor_given ? "--dequant-factor"
                        : !options.x_type.empty()      ? "--x-type"
                                                       : nullptr;
    if (given == nullptr) return {};
    return bad(
        fmt::format("--out-type int32 is the raw sum of products of int8 x: leave out {}", given));
  }
  if (!options.scale_w) {
    return bad(fmt::format("--out-type {} needs --scale-w, float32 [N]; only int32 goes without",
                           options.out_type));
  }
  if (!options.x_type.empty() && options.scale_x) {
    return bad(
        fmt::format("--x-type {} is quantised on the way and gets its scales there: leave "
                    "out --scale-x",
                    options.x_type));
  }
  return {};
}

Status read_into(std::optional<NpyArray>& array, const std::optional<std::string>& path,
                 const std::vector<DataType>& accepted) {
  if (!path) return {};
  Result<NpyArray> read = read_npy(*path, accepted);
  if (!read) return read.error();
  array = std::move(read).value();
  return {};
}

// Files are read in the order in which a complaint about them is most useful: x first, as its type
// decides what the others must be.
Result<Operands> read_operands(const MatmulOptions& options) {
  const bool raw = options.out_type == "int32";
  const std::vector<DataType> x_types =
      !options.x_type.empty() ? std::vector{DataType::bfloat16}
      : raw                   ? std::vector{DataType::int8}
                              : std::vector{DataType::int8, DataType::float16, DataType::float32};
  const std::vector<DataType> bias_types = options.bias_type.empty()
                                               ? std::vector{DataType::float16, DataType::float32}
                                               : std::vector{DataType::bfloat16};
  Operands operands;
  Result<NpyArray> x = read_npy_matrix(options.x, x_types);
  if (!x) return x.error();
  operands.x = std::move(x).value();

  const bool codes = operands.x.tensor.type == DataType::int8;
  if (codes && !raw && !options.scale_x) {
    return bad(
        fmt::format("{}: is int8 and so needs its scales, --scale-x, float32 [M], as "
                    "`quoin quantize` writes them",
                    options.x));
  }
  if (!codes && options.scale_x) {
    return bad(
        fmt::format("{}: is {}, which is quantised on the way and gets its scales there: "
                    "leave out --scale-x, or give int8 codes from `quoin quantize`",
                    options.x, name(operands.x.tensor.type)));
  }
  Result<NpyArray> weight = read_npy_matrix(options.weight, {DataType::int8});
  if (!weight) return weight.error();
  operands.weight = std::move(weight).value();
  Status done = read_into(operands.scale_x, options.scale_x, {DataType::float32});
  if (done) done = read_into(operands.scale_w, options.scale_w, {DataType::float32});
  if (done) done = read_into(operands.bias, options.bias, bias_types);
  if (!done) return done.error();
  return operands;
}

std::optional<ConstTensor> view(const std::optional<NpyArray>& array) {
  if (!array) return {};
  return array->tensor;
}

// The library names operands by their role; this adds which file plays it and what it holds.
Error with_files(const Error& error, const MatmulOptions& options, const Operands& operands) {
  if (error.code != ErrorCode::invalid_argument) return error;
  std::string files;
  const auto add = [&](const char* flag, const std::string& path, const NpyArray& array) {
    files += fmt::format("\n  {} {}: {}", flag, path, to_string(array.tensor));
  };
  add("--x", options.x, operands.x);
  if (operands.scale_x) add("--scale-x", *options.scale_x, *operands.scale_x);
  add("--weight", options.weight, operands.weight);
  if (operands.scale_w) add("--scale-w", *options.scale_w, *operands.scale_w);
  if (operands.bias) add("--bias", *options.bias, *operands.bias);
  return {error.code, error.message + files};
}

Status multiply(const LinearLayer& layer, const Operands& operands, const Tensor& y, int threads) {
  const RunOptions run{.threads = threads};
  const ConstTensor x = operands.x.tensor;
  if (x.type == DataType::int8) {
    return layer.run(QuantizedRows{.codes = x, .scales = view(operands.scale_x)}, y, run);
  }
  const std::size_t bytes = layer.workspace_bytes(x.shape[0]);
  const Result<AlignedBytes> workspace = allocate(bytes, "the codes and scales of x");
  if (!workspace) return workspace.error();
  return layer.run_dynamic(x, y, {workspace.value().get(), bytes}, run);
}

Status matmul(const MatmulOptions& options) {
  if (Status done = check_flags(options); !done) return done;
  const std::optional<float> factor = parse_dequant_factor(options.dequant_factor);
  const std::optional<DataType> out_type = parse_data_type(options.out_type);
  if (!factor || !out_type) return bad("--dequant-factor or --out-type: no such value");

  const Result<Operands> operands = read_operands(options);
  if (!operands) return operands.error();
  // Before the weights are packed: a y that does not fit is known at once.
  const Result<NpyArray> y = allocate_matrix(*out_type, operands->x.tensor.shape[0],
                                             operands->weight.tensor.shape[0], options.out);
  if (!y) return y.error();
  const Result<LinearLayer> layer =
      prepare({.weight = operands->weight.tensor,
               .scale_w = view(operands->scale_w),
               .bias = view(operands->bias)},
              {.out_type = *out_type, .dequant_factor = *factor, .backend = options.backend});
  if (!layer) return with_files(layer.error(), options, operands.value());
  Status done = multiply(layer.value(), operands.value(), y->tensor, options.threads);
  if (!done) return with_files(done.error(), options, operands.value());
  return write_npy(options.out, y->tensor);
}

void add_operands(CLI::App& command, MatmulOptions& options) {
  add_file(command, "--x", options.x,
           "Activations [M, K]. Either int8 codes, or float16 or float32 (bfloat16 with --x-type), "
           "which "
           "are quantised on the way as `quoin quantize` does it.")
      ->required();
  add_file(command, "--scale-x", options.scale_x,
           "Scales of int8 x: float32 [M] or [M, 1]. Not for a float x, nor for int32 output.");
  add_file(command, "--weight", options.weight, "Weights: int8 [N, K], a row for each output.")
      ->required();
  add_file(command, "--scale-w", options.scale_w,
           "Scales of the weights: float32 [N] or [N, 1]. Needed, but not for int32 output.");
  add_file(command, "--bias", options.bias,
           "Bias: float16 or float32 (bfloat16 with --bias-type), [N] or [N, 1]. Not for int32 "
           "output.");
  add_file(command, "--out", options.out, "Where y goes: [M, N] of the type --out-type.")
      ->required();
}

}  // namespace

void add_matmul(CLI::App& app, Action& action) {
  auto options = std::make_shared<MatmulOptions>();
  CLI::App* command = app.add_subcommand(
      "matmul",
      "Multiply: y = x * w^T in int8, dequantised row by row, with bias.\n"
      "y[m,n] = ((float(acc[m,n]) * f) * scale_x[m]) * scale_w[n] + bias[n], each step rounded to "
      "float32 and the last to the output type; acc[m,n], the sum over k of x[m,k] * w[n,k], is "
      "exact. K is at most 131071.");
  add_operands(*command, *options);
  command
      ->add_option("--out-type", options->out_type,
                   "Type of y. bfloat16 is written as uint16; int32 is acc itself, without scales, "
                   "factor and bias.")
      ->type_name("TYPE")
      ->check(CLI::IsMember({"float16", "bfloat16", "float32", "int32"}))
      ->capture_default_str();
  command
      ->add_option("--x-type", options->x_type, "Take x, a uint16 file, for the bits of bfloat16.")
      ->type_name("TYPE")
      ->check(CLI::IsMember({"bfloat16"}));
  command
      ->add_option("--bias-type", options->bias_type,
                   "Take the bias, a uint16 file, for the bits of bfloat16.")
      ->type_name("TYPE")
      ->check(CLI::IsMember({"bfloat16"}));
  CLI::Option* factor =
      command
          ->add_option(
              "--dequant-factor", options->dequant_factor,
              "The factor f. A number, or by name: both-absmax is 1/127^2, where both "
              "scales are largest magnitudes, as `quoin quantize` writes them; one-absmax "
              "is 1/127, where one of them is; true-scales is 1, where code * scale is the "
              "value in both.")
          ->type_name("F")
          ->check(factor_check())
          ->capture_default_str();
  add_backend(*command, options->backend);
  add_threads(*command, options->threads);
  command->footer(
      "quoin matmul --x x.npy --scale-x sx.npy --weight w.npy --scale-w sw.npy --out y.npy\n"
      "quoin matmul --x x_float.npy --weight w.npy --scale-w sw.npy --bias b.npy --out y.npy\n"
      "quoin matmul --x x.npy --weight w.npy --out-type int32 --out acc.npy");
  command->callback([options, factor, &action] {
    options->dequant_factor_given = factor->count() > 0;
    action = [options] { return report(matmul(*options)); };
  });
}

}  // namespace quoin::cli
