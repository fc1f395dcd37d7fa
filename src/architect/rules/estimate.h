// Prices for a kernel model: every operation of a program with its time on a device, and the
// program's time in eager PyTorch. Turns launches into cost::TiledKernel and PyTorch operations
// into calls of src/cost's library formulas. Rules price what they changed through the same
// functions.
#pragma once

#include <string>
#include <vector>

#include "architect/model/kernel_model.h"
#include "cost/devices.h"
#include "cost/gpu_host.h"
#include "cost/gpu_kernel.h"
#include "cost/gpu_library.h"

namespace quoin::architect {

struct OpPrice {
  cost::Seconds device;     // once
  cost::Seconds host;       // once
  cost::KernelTime kernel;  // of a launch
};

struct ProgramPrice {
  std::vector<OpPrice> ops;  // as Program::ops
  cost::Seconds device;      // of all
  cost::Seconds host;
  cost::Seconds total;  // eager, both together
};

[[nodiscard]] cost::TiledKernel tiled_kernel(const Program& program, const Op& op);
[[nodiscard]] OpPrice price_op(const Program& program, const Op& op, const cost::GpuDevice& gpu);
[[nodiscard]] ProgramPrice price_program(const Program& program, const cost::GpuDevice& gpu);

/// The total with other prices for some operations.
[[nodiscard]] cost::Seconds total_of(const Program& program, const std::vector<OpPrice>& ops);

/// Type of the lanes or tensor cores that a dot of these operands runs on.
[[nodiscard]] cost::DotType dot_type(Type operand, bool allow_tf32) noexcept;

[[nodiscard]] cost::ConvCall conv_call(const Program& program, const Op& op);
[[nodiscard]] cost::GemmCall gemm_call(const Program& program, const Op& op, bool tf32);

}  // namespace quoin::architect
