// What a CPU backend is to the rest of quoin: three functions. Nothing here knows of planning.
//
// Weights arrive packed (linear/pack.h): blocks of `tile_cols` output channels, each block read
// front to back. A kernel call computes one tile of the output over a chunk of K; the sums stay
// with the caller between chunks, and the call with the last one writes the finished outputs.
#pragma once

#include <cstdint>

#include "quoin/tensor.h"

namespace quoin {

/// One tile: y[rows, cols] = epilogue(x[rows, k] * weight[cols, k]^T).
struct CpuTile {
  const std::int8_t* x = nullptr;  // [rows, k]
  std::int64_t x_stride_elems = 0;
  std::int64_t k = 0;  // of this chunk: a multiple of kPrefetchSpan, except in the last one
  bool first_chunk = true;
  bool last_chunk = true;
  std::int32_t* sums = nullptr;  // [tile_rows * tile_cols], 64-byte aligned, order up to the kernel

  int rows = 0;  // 1 .. the backend's tile_rows
  int cols = 0;  // 1 .. the backend's tile_cols

  const std::uint8_t* weight = nullptr;  // the packed block, from this chunk on
  const std::int32_t* row_sums =
      nullptr;                     // [rows], sum over all k of x; unused without shift_weight
  const float* scale_x = nullptr;  // [rows]; unused for int32 output
  const float* scale_w = nullptr;  // [tile_cols], padded; unused for int32 output
  const float* bias = nullptr;     // [tile_cols], padded; unused for int32 output
  float factor = 1.0F;

  void* y = nullptr;
  std::int64_t y_stride_bytes = 0;
  DataType out_type = DataType::float16;

  // Where the weights of a later call lie: every kPrefetchSpan bytes of k, the kernel prefetches
  // this many more 64-byte lines from there into the second-level cache. Never read, so any
  // address.
  const std::uint8_t* prefetch = nullptr;
  int prefetch_lines = 0;
  bool prefetch_to_l1 = false;  // else to the second level
};

inline constexpr std::int64_t kPrefetchSpan = 16;

struct CpuKernels {
  void (*tile)(const CpuTile& tile);

  /// sums[r] = sum over k of x[r, k]. Only for backends whose table entry says shift_weight.
  void (*row_sums)(const std::int8_t* x, std::int64_t x_stride_elems, std::int64_t rows,
                   std::int64_t k, std::int32_t* sums);

  /// One row of quantize_rows (quoin/linear.h): k codes and one scale from k values of `type`.
  void (*quantize_row)(const void* x, DataType type, std::int64_t k, std::int8_t* codes,
                       float* scale);
};

extern const CpuKernels kPortableKernels;
#if defined(__x86_64__)
extern const CpuKernels kAvx2Kernels;
extern const CpuKernels kAvxVnniKernels;
extern const CpuKernels kAvx512VnniKernels;
#endif

}  // namespace quoin
