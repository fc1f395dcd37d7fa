// `quoin verify`: every backend against the plain oracle, bit for bit.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bench/measure.h"
#include "cli/command.h"
#include "cli/progress.h"
#include "linear/epilogue.h"
#include "linear/gpu.h"
#include "linear/oracle.h"
#include "quoin/device.h"
#include "quoin/linear.h"

namespace quoin::cli {
namespace {

struct VerifyOptions {
  std::vector<std::string> backends;  // empty: all of them
  std::vector<std::string> shapes;    // each passed shape_check; empty: the built-in list
  int threads = 1;
  std::uint64_t seed = 1;
};

// 1, t - 1, t, t + 1 and 2t + 3 of the backend's own tile in every dimension would be 125 shapes;
// these touch every edge of every backend, and two real layers.
constexpr std::array<Shape, 12> kShapes{{{1, 1, 1},
                                         {1, 48, 4},
                                         {2, 47, 3},
                                         {3, 49, 127},
                                         {5, 16, 64},
                                         {6, 17, 65},
                                         {7, 128, 33},
                                         {8, 99, 256},
                                         {9, 131, 1023},
                                         {19, 259, 257},
                                         {5, 64, 9613},
                                         {33, 512, 1024}}};

constexpr std::array<DataType, 4> kOutTypes{DataType::float16, DataType::bfloat16,
                                            DataType::float32, DataType::int32};

/// Operands on the first CUDA device, for as long as this lives.
class OnGpu {
 public:
  /// Points a view to a copy of what it points to.
  void move(ConstTensor& view) {
    const std::int64_t rows = view.shape[0], stride = view.rank == 2 ? view.strides[0] : 1;
    const auto bytes = static_cast<std::size_t>(rows * stride * size_of(view.type));
    view.data = keep(copy_to_gpu(kDevice, view.data, bytes));
  }
  void move(std::optional<ConstTensor>& view) {
    if (view) move(*view);
  }
  void* allocate(std::size_t bytes) { return keep(copy_to_gpu(kDevice, nullptr, bytes)); }
  [[nodiscard]] bool ok() const { return ok_; }

  static constexpr int kDevice = 0;

 private:
  void* keep(std::shared_ptr<void> memory) {
    ok_ = ok_ && memory != nullptr;
    kept_.push_back(std::move(memory));
    return kept_.back().get();
  }

  std::vector<std::shared_ptr<void>> kept_;
  bool ok_ = true;
};

/// prepare and run, on the CPU or, by way of copies, on the first CUDA device.
Status compute(LinearWeights weights, QuantizedRows rows, const LinearOptions& options, int threads,
               bool on_gpu, const Tensor& y) {
  if (!on_gpu) {
    const Result<LinearLayer> layer = prepare(weights, options);
    if (!layer) return layer.error();
    return layer->run(rows, y, {.threads = threads});
  }
  OnGpu gpu;
  gpu.move(weights.weight);
  gpu.move(weights.scale_w);
  gpu.move(weights.bias);
  gpu.move(rows.codes);
  gpu.move(rows.scales);
  Tensor out = y;
  const auto bytes = static_cast<std::size_t>(y.shape[0] * y.strides[0] * size_of(y.type));
  out.data = gpu.allocate(bytes);
  const Error lost{ErrorCode::unavailable,
                   "CUDA device 0 holds or returns no copy of the operands"};
  if (!gpu.ok()) return lost;
  LinearOptions there = options;
  there.device = OnGpu::kDevice;
  const Result<LinearLayer> layer = prepare(weights, there);
  if (!layer) return layer.error();
  if (const Status s = layer->run(rows, out); !s) return s;
  if (!copy_from_gpu(OnGpu::kDevice, y.data, out.data, bytes)) return lost;
  return {};
}

/// Outputs of one backend that differ from the oracle, over one output type, with or without bias.
Result<std::int64_t> count_differences(const bench::Problem& p, const BackendInfo& backend,
                                       DataType out_type, bool with_bias, int threads) {
  LinearWeights weights = p.weights();
  QuantizedRows rows = p.rows();
  OracleLinear oracle{.x = p.x.data(),
                      .w = p.weight.data(),
                      .scale_x = p.scale_x.data(),
                      .scale_w = p.scale_w.data(),
                      .m = p.m,
                      .n = p.n,
                      .k = p.k,
                      .x_stride = p.k,
                      .w_stride = p.k,
                      .factor = kBothAbsmax,
                      .out_type = out_type};
  std::vector<double> bias;
  for (const Float16 b : p.bias) bias.push_back(epilogue::float_from_half(b.bits));
  if (with_bias) oracle.bias = bias.data();
  if (!with_bias) weights.bias.reset();
  if (out_type == DataType::int32) {
    weights.scale_w.reset();
    weights.bias.reset();
    rows.scales.reset();
  }
  const std::int64_t size = size_of(out_type);
  std::vector<std::byte> y(static_cast<std::size_t>(p.m * p.n * size));
  const Tensor out = matrix(static_cast<void*>(y.data()), out_type, p.m, p.n);
  const LinearOptions options{.out_type = out_type, .backend = backend.name};
  if (const Status s = compute(weights, rows, options, threads, backend.on_gpu, out); !s) {
    return s.error();
  }
  std::int64_t different = 0;
  for (std::int64_t i = 0; i < p.m * p.n; ++i) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, y.data() + i * size, static_cast<std::size_t>(size));
    if (bits != oracle_output(oracle, i / p.n, i % p.n)) ++different;
  }
  return different;
}

/// One backend on one shape, every output type with and without bias; prints its line.
Result<std::int64_t> verify_shape(const BackendInfo& backend, const Shape& shape,
                                  const VerifyOptions& options, Progress& progress) {
  const std::string what = fmt::format("{:<12} {}x{}x{}", backend.name, shape.m, shape.n, shape.k);
  progress.step(what);
  const bench::Problem problem = bench::random_problem(shape.m, shape.n, shape.k, options.seed);
  std::int64_t different = 0;
  for (const DataType out_type : kOutTypes) {
    for (const bool with_bias : {true, false}) {
      if (out_type == DataType::int32 && with_bias) continue;
      Result<std::int64_t> count =
          count_differences(problem, backend, out_type, with_bias, options.threads);
      if (!count) return count;
      different += count.value();
    }
  }
  progress.clear();
  fmt::print("{:<36} {}\n", what,
             different == 0 ? "equal"
                            : fmt::format("DIFFERS in {} outputs (seed {}, {} threads)", different,
                                          options.seed, options.threads));
  return different;
}

// kSuccess where all that ran agree, kFailure where one differs, kUnavailable where a backend
// asked for by name is not on this machine.
int verify(const VerifyOptions& options) {
  std::vector<Shape> shapes = parse_shapes(options.shapes);
  if (shapes.empty()) shapes.assign(kShapes.begin(), kShapes.end());
  Progress progress("verify", shapes.size() * backends().size());
  std::int64_t different = 0;
  int skipped = 0;
  for (const BackendInfo& backend : backends()) {
    const bool named = std::find(options.backends.begin(), options.backends.end(), backend.name) !=
                       options.backends.end();
    if (!named && !options.backends.empty()) continue;
    if (!backend.available) {
      fmt::print("{:<12} skipped: {}\n", backend.name, backend.reason);
      skipped += named ? 1 : 0;
      continue;
    }
    for (const Shape& shape : shapes) {
      const Result<std::int64_t> count = verify_shape(backend, shape, options, progress);
      if (!count) return report(count.error());
      different += count.value();
    }
  }
  if (different != 0) return kFailure;
  return skipped != 0 ? kUnavailable : kSuccess;
}

}  // namespace

void add_verify(CLI::App& app, Action& action) {
  auto options = std::make_shared<VerifyOptions>();
  CLI::App* command = app.add_subcommand(
      "verify",
      "Check every backend of this machine against a plain reference, bit for bit.\n"
      "Random operands, every output type, with and without bias. Prints a line for each backend "
      "and shape; backends that this machine lacks are listed as skipped.");
  command
      ->add_option("--backend", options->backends,
                   "Backends to check, separated by commas. Default: all of them.")
      ->type_name("NAME")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::IsMember(backend_names()));
  command
      ->add_option("--shapes", options->shapes,
                   "Problems to check, MxNxK, separated by commas or spaces. Default: a list "
                   "around the tile sizes of the backends.")
      ->type_name("MxNxK")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(shape_check());
  add_threads(*command, options->threads);
  command
      ->add_option("--seed", options->seed, "Seed of the random operands, printed on a difference.")
      ->type_name("INT")
      ->capture_default_str();
  command->footer("quoin verify\nquoin verify --backend avx2 --shapes 1x64x64,33x129x257");
  command->callback([options, &action] { action = [options] { return verify(*options); }; });
}

}  // namespace quoin::cli
