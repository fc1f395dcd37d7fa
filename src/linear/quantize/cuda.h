// The quantiser on a GPU: the rule of quantize.h, bit for bit, a row to a CTA.
//
// Tested by tests/cuda/quantize_check.cu against quantize_row_portable.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "linear/kernels/cuda/start.h"
#include "quoin/tensor.h"

namespace quoin::cuda {

/// scale[m] = max |x[m,k]|, codes[m,k] = round_half_even(127 * (x[m,k] / scale[m])). Device
/// pointers; strides in elements; K contiguous. Any alignment; 16-byte rows are fast.
struct QuantizeProblem {
  const void* x = nullptr;       // [m, k] of type
  std::int8_t* codes = nullptr;  // [m, k]
  float* scale = nullptr;        // [m]
  std::int64_t m = 0, k = 0;
  std::int64_t x_stride_elems = 0, codes_stride_elems = 0;
  DataType type = DataType::float16;
};

/// Once for each device, while it is current: loads the kernels, which a capture cannot.
[[nodiscard]] cudaError_t ready_quantize();

/// Launches on `stream`. A kernel that is launched after it as a dependent one may start when this
/// one does; with `Start::waiting` when what is ahead of this one has finished.
[[nodiscard]] cudaError_t launch_quantize(const QuantizeProblem& problem, cudaStream_t stream,
                                          Start start = Start::after);

}  // namespace quoin::cuda
