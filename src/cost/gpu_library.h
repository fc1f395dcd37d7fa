// The time of PyTorch's own operations on a GPU: cuBLAS, cuDNN and ATen kernels, as eager PyTorch
// runs them (float32 matrices without TF32, convolutions with it). Device time alone; what the
// host adds is in gpu_host.h.
//
// Each formula is a roofline with the rates that these kernels reach, measured on an H200 with
// PyTorch 2.11 on 2026-11-21 (tests/architect/calibration/h200.jsonl); rates that are bound by
// arithmetic on indices rather than by memory are scaled with the cores, not with the bandwidth.
#pragma once

#include "cost/devices.h"
#include "cost/gpu_kernel.h"
#include "cost/units.h"

namespace quoin::cost {

struct GemmCall {
  double batch = 1, m = 0, n = 0, k = 0;
  DotType type = DotType::float32;
  double element = 4;  // bytes of an element of the operands
  double out_element = 4;
};

struct ConvCall {
  int dims = 2;
  bool transposed = false;
  double batch = 0, in_channels = 0, out_channels = 0, groups = 1;
  double in_points = 0, out_points = 0;  // per image and channel
  double taps = 1;                       // points of the kernel
  double strides = 1;                    // product of the strides
  double element = 4;
  bool bias = false;  // eager PyTorch adds it in a pass of its own
};

enum class NormKind { batch_eval, batch_train, layer, group, instance, rms };

[[nodiscard]] Seconds gemm_time(const GemmCall& call, const GpuDevice& gpu);
[[nodiscard]] Seconds conv_time(const ConvCall& call, const GpuDevice& gpu);
/// `plain`: every operand has the output's shape and type. Others (broadcast, mixed types, strided)
/// run an index calculation per element.
[[nodiscard]] Seconds elementwise_time(Bytes moved, double elements, bool plain,
                                       const GpuDevice& gpu);
/// A copy that changes the layout; `run`: contiguous bytes that stay together on both sides.
[[nodiscard]] Seconds relayout_time(double elements, Bytes element, Bytes run,
                                    const GpuDevice& gpu);
[[nodiscard]] Seconds fill_time(Bytes written, const GpuDevice& gpu);
/// `inner`: elements between neighbours along the reduced dimension (1: the last dimension).
[[nodiscard]] Seconds reduction_time(Bytes read, Bytes written, double reduced, double inner,
                                     const GpuDevice& gpu);
[[nodiscard]] Seconds softmax_time(double elements, double element, double length, double inner,
                                   const GpuDevice& gpu);
[[nodiscard]] Seconds norm_time(NormKind kind, double elements, double element, double rows,
                                const GpuDevice& gpu);
[[nodiscard]] Seconds scan_time(double elements, double element, double length, double inner,
                                const GpuDevice& gpu);
[[nodiscard]] Seconds pool_time(double in_elements, double out_elements, double taps,
                                double element, const GpuDevice& gpu);
[[nodiscard]] Seconds attention_time(double heads, double queries, double keys, double dim,
                                     bool causal, DotType type, const GpuDevice& gpu);
/// One step of one layer and direction: cuDNN's, without what the host adds.
[[nodiscard]] Seconds rnn_step_time(double gates, double batch, double hidden,
                                    const GpuDevice& gpu);

}  // namespace quoin::cost
