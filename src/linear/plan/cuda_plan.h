// Which sm90a kernel does an M x N x K product, and what it should take: candidates, a price for
// each, the cheapest. Plain C++, built and tested without CUDA.
//
//   for (const CudaPlanned& c : plan_cuda(device, {128, 2048, 2048})) print(c);  // cheapest first
//
// Tested by tests/cuda/plan_test.cpp; bench/cuda/regret.cpp holds the picks against a sweep.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cost/devices.h"
#include "linear/kernels/cuda/sm90a_config.h"
#include "linear/kernels/cuda/start.h"

namespace quoin::cuda {

struct CudaShape {
  std::int64_t m = 0, n = 0, k = 0;
  int out_bytes = 2;
  bool early = true;  // for the ranking: launched before what is ahead has finished, where it gains
};

/// What the price is made from, beside the device table and each kernel's `Config::permille`.
/// Fitted together (bench/cuda/fit.cpp) to 215 shapes of an H200, the five published layers and ten
/// beside them, of 2026-12-01 and, from 2,048 rows on, of 2026-11-22 too, so that picks are right
/// first, by a margin, and prices second; a single one is no measurement.
struct CudaRates {
  double clock = 1.532e9;       // hertz, under load
  double macs = 4096;           // int8 multiply-adds an SM does in a cycle
  double feed = 60.7;           // bytes a cycle from L2 into one SM
  double feed_all = 7262;       // ... into all of them
  double block = 286;           // cycles that a lone warpgroup takes for a block at least
  double latency = 2571;        // cycles from asking for a block to having it
  double memory_share = 0.884;  // of the datasheet's bandwidth, for large sizes
  double start = 0.56e-6;       // seconds: launch, first block, the last stores
  double cluster = 1.45e-6;     // more for a cluster: its launch, its barrier
  double finish = 31;           // cycles for each output of a math thread
};

struct CudaPlanned {
  const Config* config = nullptr;
  int kernel = 0;  // its place among all (config_at)
  double seconds = 0;
  bool in_range = true;         // measured for shapes like this one; others only if all else fails
  std::string refused_because;  // empty: it may be picked
};

/// Whether a kernel is worth considering for a shape: its tile neither wastes nor repeats too much.
/// The sweep that the prices are fitted to timed these.
[[nodiscard]] bool cuda_in_range(const Config& config, const CudaShape& shape);

/// Why a kernel is not for this shape, or empty. (What depends on pointers and strides is checked
/// by `refusal` in linear/kernels/cuda/kernels.h.) `cuda_applies`: the same, without the words.
[[nodiscard]] bool cuda_applies(const Config& config, const CudaShape& shape);
[[nodiscard]] std::string cuda_refusal(const Config& config, const CudaShape& shape);

/// Output tiles of a kernel that applies, narrow ones among them.
[[nodiscard]] std::int64_t cuda_tiles(const Config& config, const CudaShape& shape,
                                      const cost::GpuDevice& device);

/// Seconds that a kernel should take:
///
///   start + max(weights, tokens and output over the bandwidth,
///               an SM's blocks of K, each the slowest of multiply, feed, issue and ring,
///               all SMs' bytes over what L2 gives) + finishing that nothing overlaps
[[nodiscard]] double cuda_price(const Config& config, const CudaShape& shape,
                                const cost::GpuDevice& device, const CudaRates& rates = {});

/// Seconds less that a kernel takes where it is launched before the one ahead has finished, layer
/// after layer; negative where it loses, 0 where the shape does not gain at all. Measured, not
/// modelled: most where both fit the device together, more with clusters, whose launch is then
/// hidden, and with persistent kernels.
[[nodiscard]] double early_gain(const Config& config, const CudaShape& shape,
                                const cost::GpuDevice& device);

/// How the library launches a product's kernel behind any other. `may_be_early`: what is ahead does
/// not write the weights.
[[nodiscard]] Start product_start(const Config& config, const CudaShape& shape,
                                  const cost::GpuDevice& device, bool may_be_early);

/// ... and a quantiser with its product behind it, which then starts early unless this is `after`.
[[nodiscard]] Start quantiser_start(const CudaShape& shape, bool may_be_early);

/// Every kernel of sm90a_configs.h at its price, less its `early_gain` where it is launched early:
/// those in range first, the cheapest at the front, refused ones last.
[[nodiscard]] std::vector<CudaPlanned> plan_cuda(const cost::GpuDevice& device,
                                                 const CudaShape& shape,
                                                 const CudaRates& rates = {});

/// The number of the first kernel of `plan_cuda`, or -1 where all are refused. Allocates nothing.
[[nodiscard]] int pick_cuda(const cost::GpuDevice& device, const CudaShape& shape,
                            const CudaRates& rates = {}) noexcept;

/// "x64 w64 s12            4.5 us" a line, refusals with their reason.
[[nodiscard]] std::string to_string(const std::vector<CudaPlanned>& plan);

}  // namespace quoin::cuda
