// The cost model against measurements: calibration/h200.jsonl, made by calibration/measure.py on an
// NVIDIA H200 with PyTorch 2.11 and Triton 3.6 on 2026-11-21. Prints the median error and the share
// within 1.5x for each kind of case and fails below a floor for all of them.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cost/gpu_kernel.h"
#include "cost/gpu_library.h"

namespace quoin::cost {
namespace {

using nlohmann::json;

const GpuDevice& card() { return *find_gpu("h200"); }

double at(const json& row, const char* key) { return row.at(key).get<double>(); }

TileAccess access(TileAccess::Kind kind, double element, double executions, double lanes,
                  double program_distinct, double distinct, double programs, int stage) {
  TileAccess a;
  a.kind = kind;
  a.element = Bytes{element};
  a.executions = executions;
  a.lanes = lanes;
  a.program = Bytes{executions * lanes * element};
  a.program_distinct = Bytes{program_distinct};
  a.total = Bytes{a.program.value * programs};
  a.distinct = Bytes{distinct};
  a.depends = {true, false, false};
  a.stage = stage;
  return a;
}

TiledKernel stream_kernel(const json& row) {
  const double n = at(row, "n"), size = at(row, "bytes"), block = at(row, "B");
  TiledKernel k;
  k.grid = {std::ceil(n / block), 1, 1};
  k.warps = row.at("w");
  k.largest_tile = block;
  k.instructions = 4 * block;
  k.accesses = {
      access(TileAccess::Kind::load, size, 1, block, block * size, n * size, k.grid[0], 0),
      access(TileAccess::Kind::store, size, 1, block, block * size, n * size, k.grid[0], 0)};
  return k;
}

TiledKernel row_kernel(const json& row, bool scale) {
  const double rows = at(row, "rows"), length = at(row, "R"), block = at(row, "B");
  const double trips = std::ceil(length / block);
  TiledKernel k;
  k.grid = {rows, 1, 1};
  k.warps = row.at("w");
  k.largest_tile = k.carried = block;
  k.instructions = 6 * block * trips;
  k.stages.push_back({.executions = trips,
                      .barriers = !scale && row.at("inloop") ? 1.0 : 0.0,
                      .dependent_loads = 1});
  k.accesses = {
      access(TileAccess::Kind::load, 4, trips, block, 4 * length, 4 * length * rows, rows, 1)};
  if (scale) {
    k.accesses.push_back(
        access(TileAccess::Kind::store, 4, trips, block, 4 * length, 4 * length * rows, rows, 1));
    k.accesses.back().row_misaligned = std::fmod(length * 4, 32) != 0;
  } else {
    k.accesses.push_back(access(TileAccess::Kind::store, 4, 1, 1, 4, 4 * rows, rows, 0));
  }
  return k;
}

TiledKernel gemm_kernel(const json& row) {
  const double m = at(row, "M"), n = at(row, "N"), k = at(row, "K");
  const double bm = at(row, "BM"), bn = at(row, "BN"), bk = at(row, "BK");
  const std::string type = row.at("ty");
  const double size = type == "tf32" || type == "ieee"  ? 4
                      : type == "f16" || type == "bf16" ? 2
                                                        : 1;
  TiledKernel out;
  out.grid = {std::ceil(m / bm), std::ceil(n / bn), 1};
  out.warps = row.at("w");
  out.buffers = row.at("s");
  out.largest_tile = out.carried = bm * bn;
  const double trips = std::ceil(k / bk), programs = out.grid[0] * out.grid[1];
  out.instructions = bm * bn * 2 + trips * (bm + bn) * bk * 0.5;
  out.stages.push_back({.executions = trips, .pipelined = out.buffers > 1, .dependent_loads = 1});
  TileAccess a = access(TileAccess::Kind::load, size, trips, bm * bk, bm * k * size, m * k * size,
                        programs, 1);
  TileAccess b = access(TileAccess::Kind::load, size, trips, bn * bk, bn * k * size, n * k * size,
                        programs, 1);
  a.feeds_dot = b.feeds_dot = true;
  a.depends = {true, false, false};
  b.depends = {false, true, false};
  TileAccess c =
      access(TileAccess::Kind::store, 4, 1, bm * bn, bm * bn * 4, m * n * 4, programs, 0);
  c.depends = {true, true, false};
  out.accesses = {a, b, c};
  TileDot dot{.m = bm, .n = bn, .k = bk, .executions = trips};
  dot.type = type == "ieee"                    ? DotType::float32
             : type == "f16" || type == "bf16" ? DotType::float16
             : type == "i8"                    ? DotType::int8
                                               : DotType::tf32;
  dot.k_major = row.at("nk");
  dot.cast = type == "i8cast";
  dot.stage = 1;
  out.dots = {dot};
  return out;
}

TiledKernel strided_kernel(const json& row) {
  const double n = at(row, "n"), block = at(row, "B"), run = at(row, "RUN");
  TiledKernel k;
  k.grid = {n / block, 1, 1};
  k.warps = row.at("w");
  k.largest_tile = block;
  k.instructions = 16 * block;
  k.accesses = {access(TileAccess::Kind::load, 4, 1, block, block * 4, n * 4, k.grid[0], 0),
                access(TileAccess::Kind::store, 4, 1, block, block * 4, n * 4, k.grid[0], 0)};
  k.accesses[0].run = Bytes{4 * run};
  k.accesses[0].sector_efficiency = std::min(1.0, run / 8);
  return k;
}

TiledKernel pixel_softmax(const json& row) {
  const double n = at(row, "n"), channels = at(row, "C"), block = at(row, "B");
  TiledKernel k;
  k.grid = {n, 1, 1};
  k.warps = row.at("w");
  k.largest_tile = block;
  k.instructions = 20 * block;
  k.special = 2 * block;
  k.stages[0].barriers = k.warps > 1 ? 2 : 0;
  const double bytes = channels * 4;
  k.accesses = {access(TileAccess::Kind::load, 4, 1, block, bytes, bytes * n, n, 0),
                access(TileAccess::Kind::store, 4, 1, block, bytes, bytes * n, n, 0)};
  for (TileAccess& a : k.accesses) {
    a.program = Bytes{bytes};
    a.total = Bytes{bytes * n};
    a.run = Bytes{4};
    a.sector_efficiency = 1.0 / 8;
  }
  return k;
}

TiledKernel atomic_kernel(const json& row) {
  TiledKernel k;
  const double programs = 1 << 20, per = at(row, "per");
  k.grid = {programs, 1, 1};
  k.largest_tile = 256;
  k.instructions = 4 * 256;
  k.stages[0].barriers = 1;
  k.accesses = {access(TileAccess::Kind::load, 4, 1, 256, 1024, 1024 * programs, programs, 0),
                access(TileAccess::Kind::atomic, 4, 1, 1, 4, 4 * programs / per, programs, 0)};
  return k;
}

double conv_out(double in, double k, double stride) {
  return std::floor((in + 2 * std::floor(k / 2) - k) / stride) + 1;
}

/// The model's microseconds, or a negative number for a case that it does not price.
double modelled(const json& row) {
  const std::string kind = row.at("kind");
  const GpuDevice& gpu = card();
  const auto us = [](Seconds time) { return time.value * 1e6; };
  if (kind == "gemm") return us(price(gemm_kernel(row), gpu).time);
  if (kind == "stream") return us(price(stream_kernel(row), gpu).time);
  if (kind == "rowred") return us(price(row_kernel(row, false), gpu).time);
  if (kind == "rowscale") return us(price(row_kernel(row, true), gpu).time);
  if (kind == "strided") return us(price(strided_kernel(row), gpu).time);
  if (kind == "tiny") return us(price(pixel_softmax(row), gpu).time);
  if (kind == "atomic") return us(price(atomic_kernel(row), gpu).time);
  if (kind == "linear" || kind == "bmm") {
    GemmCall c;
    c.batch = row.value("B", 1.0);
    c.m = at(row, "M");
    c.n = at(row, "N");
    c.k = at(row, "K");
    const bool half = row.at("dt") == "torch.float16";
    c.type = half ? DotType::float16 : DotType::float32;
    c.element = c.out_element = half ? 2 : 4;
    return us(gemm_time(c, gpu));
  }
  if (kind == "transpose") {
    const double n = row["sh"][0].get<double>() * row["sh"][1].get<double>();
    const std::string type = row.at("dt");
    const double size = type == "torch.float32" ? 4 : type == "torch.float16" ? 2 : 1;
    return us(relayout_time(n, Bytes{size}, Bytes{size}, gpu));
  }
  if (kind == "nhwc2nchw" || kind == "nchw2nhwc")
    return us(relayout_time(at(row, "n"), Bytes{4}, Bytes{4}, gpu));
  const std::map<std::string, double> passes = {{"relu", 2},       {"add", 3},      {"sigmoid", 2},
                                                {"gelu", 2},       {"tanh", 2},     {"clone", 2},
                                                {"mul_scalar", 2}, {"softplus", 2}, {"mish", 2},
                                                {"clamp", 2},      {"tohalf", 1.5}};
  if (const auto found = passes.find(kind); found != passes.end()) {
    return us(elementwise_time(Bytes{4 * found->second * at(row, "n")}, at(row, "n"), true, gpu));
  }
  if (kind == "zeros") return us(fill_time(Bytes{4 * at(row, "n")}, gpu));
  if (row.contains("rows") && row.contains("cols")) {
    const double rows = at(row, "rows"), cols = at(row, "cols"), n = rows * cols;
    if (kind == "softmax" || kind == "log_softmax") return us(softmax_time(n, 4, cols, 1, gpu));
    if (kind == "layer_norm") return us(norm_time(NormKind::layer, n, 4, rows, gpu));
    if (kind == "sum_last" || kind == "norm" || kind == "mean_last" || kind == "max_last") {
      return us(reduction_time(Bytes{4 * n}, Bytes{4 * rows}, cols, 1, gpu));
    }
    if (kind == "sum_first")
      return us(reduction_time(Bytes{4 * n}, Bytes{4 * cols}, rows, cols, gpu));
    if (kind == "cumsum") return us(scan_time(n, 4, cols, 1, gpu));
    if (kind == "cumsum0") return us(scan_time(n, 4, rows, cols, gpu));
    if (kind == "bias_add" || kind == "col_mul")
      return us(elementwise_time(Bytes{8 * n}, n, false, gpu));
    return -1;
  }
  if (row.contains("N") && row.contains("C") && row.contains("H") && !row.contains("k")) {
    const double batch = at(row, "N"), channels = at(row, "C"), side = at(row, "H"),
                 n = batch * channels * side * side;
    if (kind == "bn_eval") return us(norm_time(NormKind::batch_eval, n, 4, batch * channels, gpu));
    if (kind == "group_norm")
      return us(norm_time(NormKind::group, n, 4, batch * (channels >= 8 ? 8 : 1), gpu));
    if (kind == "instance_norm")
      return us(norm_time(NormKind::instance, n, 4, batch * channels, gpu));
    if (kind == "max_pool2" || kind == "avg_pool2") return us(pool_time(n, n / 4, 4, 4, gpu));
    if (kind == "max_pool3s2") return us(pool_time(n, n / 4, 9, 4, gpu));
    if (kind == "softmax_c") return us(softmax_time(n, 4, channels, side * side, gpu));
    if (kind == "sum_c")
      return us(reduction_time(Bytes{4 * n}, Bytes{4 * n / channels}, channels, side * side, gpu));
    return -1;
  }
  if (kind.starts_with("conv2d") || kind == "conv3d" || kind.starts_with("convT3d") ||
      kind == "convT2d") {
    const bool transposed = kind.starts_with("convT"), deep = kind.find("3d") != std::string::npos;
    ConvCall c;
    c.dims = deep ? 3 : 2;
    c.transposed = transposed;
    c.batch = at(row, "N");
    c.in_channels = at(row, "C");
    c.out_channels = at(row, "O");
    c.groups = row.value("g", 1.0);
    const double k = at(row, "k"), side = at(row, "H"), depth = deep ? at(row, "D") : 1;
    const double stride = kind == "convT3d_s2" ? 2 : row.value("st", 1.0);
    c.strides = stride * stride * (deep ? stride : 1);
    c.taps = k * k * (deep ? k : 1);
    c.in_points = side * side * depth;
    const double pad = kind == "convT3d_s2" || kind == "convT2d" ? 1 : 0;
    const auto out = [&](double in) {
      return transposed ? (in - 1) * stride - 2 * pad + k
             : deep     ? in - k + 1
                        : conv_out(in, k, stride);
    };
    c.out_points = out(side) * out(side) * (deep ? out(depth) : 1);
    if (kind == "conv2d_f16") c.element = 2;
    return us(conv_time(c, gpu));
  }
  if (kind == "sdpa") {
    const DotType type = row.at("dt") == "torch.float16" ? DotType::float16 : DotType::float32;
    return us(attention_time(at(row, "B") * at(row, "heads"), at(row, "S"), at(row, "S"),
                             at(row, "D"), false, type, gpu));
  }
  return -1;
}

TEST(BackCost, HoldsAgainstMeasurements) {
  std::ifstream file(QUOIN_CALIBRATION);
  ASSERT_TRUE(file.good()) << QUOIN_CALIBRATION;
  std::map<std::string, std::vector<double>> errors;
  std::vector<double> all;
  const bool verbose = std::getenv("QUOIN_CALIBRATION_VERBOSE") != nullptr;
  for (std::string line; std::getline(file, line);) {
    const json row = json::parse(line);
    if (!row.contains("us") || row["us"].is_null() || row["kind"] == "host") continue;
    const double model = modelled(row);
    if (model <= 0) continue;
    const double error = std::log(model / row["us"].get<double>());
    errors[row["kind"]].push_back(error);
    all.push_back(std::fabs(error));
    if (verbose)
      fmt::print("{:6.2f} {:9.1f} {:9.1f} {}\n", std::exp(error), model, row["us"].get<double>(),
                 line);
  }
  const auto share = [](const std::vector<double>& values) {
    return static_cast<double>(
               std::count_if(values.begin(), values.end(),
                             [](double e) { return std::fabs(e) <= std::log(1.5); })) /
           static_cast<double>(values.size());
  };
  for (auto& [kind, values] : errors) {
    double mean = 0;
    for (double e : values) mean += e / static_cast<double>(values.size());
    fmt::print("{:14} {:3} cases, {:3.0f}% within 1.5x, model/measured {:.2f} (geometric mean)\n",
               kind, values.size(), 100 * share(values), std::exp(mean));
  }
  ASSERT_GT(all.size(), 200U);
  std::sort(all.begin(), all.end());
  const double median = std::exp(all[all.size() / 2]) - 1;
  fmt::print("all: {} cases, {:.0f}% within 1.5x, median error {:.0f}%\n", all.size(),
             100 * share(all), 100 * median);
  EXPECT_GE(share(all), 0.80);
  EXPECT_LE(median, 0.22);
}

}  // namespace
}  // namespace quoin::cost
