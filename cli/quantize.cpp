// `quoin quantize`: a float matrix to int8 codes and one float32 scale per row.
#include <array>
#include <memory>
#include <string>
#include <utility>

#include "cli/command.h"
#include "cli/npy.h"
#include "quoin/linear.h"

namespace quoin::cli {
namespace {

struct QuantizeOptions {
  std::string x, out, out_scale;
  std::string x_type;
  int threads = 1;
};

Status quantize(const QuantizeOptions& options) {
  const std::vector<DataType> accepted = options.x_type.empty()
                                             ? std::vector{DataType::float32, DataType::float16}
                                             : std::vector{DataType::bfloat16};
  const Result<NpyArray> x = read_npy_matrix(options.x, accepted);
  if (!x) return x.error();
  const ConstTensor input = x->tensor;
  const Result<NpyArray> codes =
      allocate_matrix(DataType::int8, input.shape[0], input.shape[1], "the codes");
  if (!codes) return codes.error();
  const Result<NpyArray> scales =
      allocate_matrix(DataType::float32, input.shape[0], 1, "the scales");
  if (!scales) return scales.error();
  const Tensor scale_vector =
      vector(scales->tensor.data, DataType::float32, scales->tensor.shape[0]);

  Status done =
      quantize_rows(input, codes->tensor, scale_vector, RunOptions{.threads = options.threads});
  if (!done) return done;

  Result<OutputFile> codes_file = stage_npy(options.out, codes->tensor);
  if (!codes_file) return codes_file.error();
  Result<OutputFile> scales_file = stage_npy(options.out_scale, scale_vector);
  if (!scales_file) return scales_file.error();
  std::array files = {std::move(codes_file).value(), std::move(scales_file).value()};
  return OutputFile::publish(files);
}

}  // namespace

void add_quantize(CLI::App& app, Action& action) {
  auto options = std::make_shared<QuantizeOptions>();
  CLI::App* command = app.add_subcommand(
      "quantize",
      "Quantise each row of a float matrix to int8 by its largest magnitude.\n"
      "scale[m] = max over k of |x[m,k]|, code[m,k] = round_half_even(127 * (x[m,k] / scale[m])), "
      "in float32. A row of zeros gets scale 0 and codes 0; a row with a NaN or an infinity gets "
      "scale NaN and codes 0. Weights [N, K] are quantised the same way. Both files are written, "
      "or neither.");
  add_file(*command, "--x", options->x,
           "What to quantise: float16 or float32 [M, K], or bfloat16 with --x-type.")
      ->required();
  command
      ->add_option("--x-type", options->x_type, "Take x, a uint16 file, for the bits of bfloat16.")
      ->type_name("TYPE")
      ->check(CLI::IsMember({"bfloat16"}));
  add_file(*command, "--out", options->out, "Where the codes go: int8 [M, K].")->required();
  add_file(*command, "--out-scale", options->out_scale, "Where the scales go: float32 [M].")
      ->required();
  add_threads(*command, options->threads);
  command->footer("quoin quantize --x w_float.npy --out w.npy --out-scale sw.npy");
  command->callback(
      [options, &action] { action = [options] { return report(quantize(*options)); }; });
}

}  // namespace quoin::cli
