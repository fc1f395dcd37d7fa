// One output at a time, for the kernels that take any shape, stride and alignment.
#pragma once

#include "linear/epilogue.h"
#include "linear/kernels/cuda/kernels.h"

namespace quoin::cuda {

__device__ __forceinline__ float bias_of(const Problem& p, std::int64_t n) {
  if (p.bias == nullptr) return 0.0F;
  if (p.bias_type == DataType::float32) return static_cast<const float*>(p.bias)[n];
  const std::uint16_t bits = static_cast<const std::uint16_t*>(p.bias)[n];
  return p.bias_type == DataType::float16 ? epilogue::float_from_half(bits)
                                          : epilogue::float_from_bfloat16(bits);
}

/// Finishes and stores y[m, n]. The scales and the bias are the caller's; int32 output ignores
/// them.
__device__ __forceinline__ void store(const Problem& p, std::int64_t m, std::int64_t n, int sum,
                                      float scale_x, float scale_w, float bias) {
  const std::int64_t at = m * p.y_stride_elems + n;
  if (p.out_type == DataType::int32) {
    static_cast<int*>(p.y)[at] = sum;
    return;
  }
  const float y = epilogue::dequantise(sum, p.factor, scale_x, scale_w, bias);
  if (p.out_type == DataType::float32) {
    static_cast<float*>(p.y)[at] = epilogue::canonical_float(y);
  } else {
    static_cast<std::uint16_t*>(p.y)[at] = p.out_type == DataType::float16
                                               ? epilogue::half_from_float(y)
                                               : epilogue::bfloat16_from_float(y);
  }
}

}  // namespace quoin::cuda
