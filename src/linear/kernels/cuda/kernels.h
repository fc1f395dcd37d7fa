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

#include <cstdint>
#include <cuda.h>
#include <cuda_runtime.h>
#include <span>
#include <string>

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

/// One sm90a kernel. "A" is the operand on wgmma's M side (64 rows an instruction) and "B" the one
/// on its N side (8 to 256): x and w, or w and x where `swap` is set.
struct Config {
  bool swap;          // the weights are A: few tokens fill a narrow B without waste
  int tile_a;         // rows of A in a tile, 64 to a wgmma
  int tile_b;         // rows of B in a tile
  int warpgroups;     // that share a tile's rows of A
  int split_k;        // CTAs of a cluster that share a tile, each with a slice of K
  int cluster_a = 1;  // neighbouring A tiles in a cluster: they share each load of B
  int cluster_b = 1;  // neighbouring B tiles in a cluster: they share each load of A
  int stages;         // depth of the ring of 128-byte K blocks
  int chains = 1;     // sums a thread that take turns: a wgmma waits for the last on the same sum
  int ctas = 1;       // that should fit on one SM together
  bool ping_pong = false;   // each warpgroup has tiles of its own: one stores, one multiplies
  bool persistent = false;  // as many clusters as fit walk over the tiles; else one tile each

  /// Rows of A that one warpgroup multiplies.
  [[nodiscard]] constexpr int warpgroup_rows() const {
    return ping_pong ? tile_a : tile_a / warpgroups;
  }
  /// 32-bit sums that a math thread holds.
  [[nodiscard]] constexpr int sums() const { return warpgroup_rows() * tile_b / 128 * chains; }
  /// From 128 sums on the loading warp brings three idle ones, to lend its registers (setmaxnreg
  /// works on whole warpgroups; without, 9 warps get 168 registers each and the sums spill).
  [[nodiscard]] constexpr bool lends_registers() const { return sums() >= 128; }
  [[nodiscard]] constexpr int threads() const {
    return warpgroups * 128 + (lends_registers() ? 128 : 32);
  }
  [[nodiscard]] constexpr int cluster() const { return split_k * cluster_a * cluster_b; }
};

/// "x128 w64 k4": tile rows of x and w, split of K, then cluster and stages.
[[nodiscard]] std::string name(const Config& config);

struct Candidate {
  Config config;
  const void* kernel_16;  // for 16-bit output
  const void* kernel_32;
  int shared_bytes;
};

/// Every sm90a kernel of this build.
[[nodiscard]] std::span<const Candidate> sm90a_candidates();

/// Why the candidate cannot do the problem, or null.
[[nodiscard]] const char* refusal(const Config& config, const Problem& problem);

struct LaunchPlan {
  const Candidate* candidate = nullptr;
  int clusters = 0;  // to launch: as many as the problem has, at most what the device holds
  int raster = 0;    // groups of A tiles walked before the next of B; 0: a default
};

/// Decides the grid on the current device and raises the kernel's shared-memory limit.
[[nodiscard]] cudaError_t make_launch_plan(const Candidate& candidate, const Problem& problem,
                                           LaunchPlan* plan);

/// Launches on `stream`. With `dependent`, weights may be fetched before the stream's previous
/// kernel has finished (programmatic dependent launch); everything else waits for it.
[[nodiscard]] cudaError_t launch(const LaunchPlan& plan, const Problem& problem,
                                 cudaStream_t stream, bool dependent = false);

/// The slow path: any shape, stride and alignment, no tensor cores.
[[nodiscard]] cudaError_t launch_any(const Problem& problem, cudaStream_t stream);

}  // namespace quoin::cuda
