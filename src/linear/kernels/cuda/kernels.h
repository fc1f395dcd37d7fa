// The CUDA kernels behind one plain interface: a list of candidates, why one does not apply to a
// problem, and a launch. Nothing here plans, allocates device memory or synchronises.
//
//   for (const Candidate& c : sm90a_candidates()) {
//     if (refusal(c.config, problem) != nullptr) continue;
//     LaunchPlan plan;
//     cudaError_t error = make_launch_plan(c, problem, &plan);            // once per layer and M
//     if (error == cudaSuccess) error = launch(plan, problem, stream);    // any number of times
//   }
//
// Tested by tests/cuda/check.cu, timed by bench/cuda/bench.cu.
#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <span>
#include <string>

#include "linear/kernels/cuda/sm90a_config.h"
#include "linear/kernels/cuda/start.h"
#include "quoin/tensor.h"

namespace quoin::cuda {

/// y[m,n] = round(((float(sum of x[m,k] * w[n,k]) * factor) * scale_x[m]) * scale_w[n] + bias[n]),
/// or the sum alone for int32 output. Device pointers; strides in elements; K contiguous.
struct Problem {
  const std::int8_t* x = nullptr;  // [m, k]
  const std::int8_t* w = nullptr;  // [n, k]
  void* y = nullptr;               // [m, n] of out_type
  const float* scale_x = nullptr;  // [m]; unused for int32 output, as are scale_w and bias
  const float* scale_w = nullptr;  // [n]
  const void* bias = nullptr;      // [n] of bias_type, or null
  std::int64_t m = 0, n = 0, k = 0;
  std::int64_t x_stride_elems = 0, w_stride_elems = 0, y_stride_elems = 0;
  DataType out_type = DataType::float16;
  DataType bias_type = DataType::float16;
  float factor = 1.0F;
};

struct Candidate {
  Config config;
  const void* kernel_16;  // for 16-bit output
  const void* kernel_32;  // null where it does not fit
  int shared_bytes;
};

/// Every sm90a kernel of this build.
[[nodiscard]] std::span<const Candidate> sm90a_candidates();

/// Why the candidate cannot do the problem, or null.
[[nodiscard]] const char* refusal(const Config& config, const Problem& problem);

/// The weights as a kernel's copy engine reads them: in boxes for its tiles, and for its narrow
/// ones.
struct WeightMaps {
  CUtensorMap tile, tail;
};

struct LaunchPlan {
  const Candidate* candidate = nullptr;
  int resident = 0;  // clusters that the device holds at once: what a persistent kernel launches
  int raster = 0;    // groups of A tiles walked before the next of B; 0: a default
  const WeightMaps* weights = nullptr;  // from `encode_weights`, or null: encoded at each launch
  bool release_early = false;  // lets the next kernel start early whatever the weights' size
};

/// Readies a kernel on the current device, once: loads it, raises its shared-memory limit and says
/// how many of its clusters the device holds at once.
[[nodiscard]] cudaError_t ready(const Candidate& candidate, bool is_16_bit, int* resident);

/// The same for one problem.
[[nodiscard]] cudaError_t make_launch_plan(const Candidate& candidate, const Problem& problem,
                                           LaunchPlan* plan);

/// The tensor maps of the weights for a candidate, to be kept with them.
[[nodiscard]] cudaError_t encode_weights(const Candidate& candidate, const Problem& problem,
                                         WeightMaps* maps);

/// Launches on `stream`.
[[nodiscard]] cudaError_t launch(const LaunchPlan& plan, const Problem& problem,
                                 cudaStream_t stream, Start start = Start::after);

/// The sm80 kernel (mma.sync, cp.async): any card from Ampere on, and every shape, stride and
/// alignment; what the sm90a kernels refuse goes here. Rows on 16-byte boundaries are fastest.
[[nodiscard]] cudaError_t launch_sm80(const Problem& problem, cudaStream_t stream);

/// Once for each device, while it is current, before the first `launch_sm80`.
[[nodiscard]] cudaError_t ready_sm80();

/// The plainest kernel, to compare the others with: any shape, no tensor cores, slow.
[[nodiscard]] cudaError_t launch_any(const Problem& problem, cudaStream_t stream);

}  // namespace quoin::cuda
