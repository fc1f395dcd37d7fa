// What a prepared layer holds. prepare.cpp makes it, run.cpp reads it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "linear/aligned_buffer.h"
#include "linear/backends.h"
#include "linear/gpu.h"
#include "quoin/linear.h"

namespace quoin {

struct PreparedLayer {
  const Backend* backend = nullptr;  // null on a GPU
  std::int64_t n = 0;
  std::int64_t k = 0;
  DataType out_type = DataType::float16;
  float factor = 1.0F;
  int device = kCpu;

  std::unique_ptr<const GpuLayer> gpu;  // null on the CPU; what follows is the CPU's

  AlignedBuffer weight;   // packed (pack.h)
  AlignedBuffer columns;  // float32 scale_w[padded n], then bias[padded n]; null for int32 output
  std::int64_t padded_n = 0;
  std::size_t held_bytes = 0;

  [[nodiscard]] const float* scale_w() const noexcept {
    return reinterpret_cast<const float*>(columns.get());
  }
  [[nodiscard]] const float* bias() const noexcept { return scale_w() + padded_n; }
};

}  // namespace quoin
