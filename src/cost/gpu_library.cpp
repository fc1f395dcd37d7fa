#include "cost/gpu_library.h"

#include <algorithm>
#include <cmath>

namespace quoin::cost {
namespace {

// An operation on few elements: 3.4 to 4.0 us between two events.
constexpr Seconds kSmall = microseconds(3.2);
constexpr Seconds kGemmStart = microseconds(5);
// float32 products without tensor cores: 51 of 67 TFLOPS; float16: 760 to 780 of 989.
constexpr double kSgemm = 0.76, kTensorGemm = 0.78;
// Elements a second of kernels that compute an index for each: broadcasts, bias passes, casts to a
// wider type: 315 to 405e9; layouts changed element by element: 140e9, softmax across channels:
// 85e9.
constexpr double kIndexed = 330e9, kRelayout = 148e9, kSpatialSoftmax = 85e9;
constexpr double kLongSoftmax = 300e9, kScan = 237e9;
constexpr double kCalibrationCycles =
    132 * 1.98e9;  // SMs times clock of the card that was measured

/// A rate that depends on the cores rather than on the memory.
double scaled(double rate, const GpuDevice& gpu) {
  return rate * gpu.sms * clock_of(gpu).value / kCalibrationCycles;
}

double bandwidth(const GpuDevice& gpu, double share) { return gpu.memory.value * share; }

/// Bytes that the previous kernel has just written are partly still in the L2.
Seconds stream(Bytes bytes, const GpuDevice& gpu) { return bytes / stream_rate(gpu); }

double utilisation(double tiles, const GpuDevice& gpu, double least) {
  const double waves = std::ceil(tiles / gpu.sms);
  return std::max(least, tiles / (waves * gpu.sms));
}

double padded(double value, double to) { return std::ceil(value / to) * to; }

}  // namespace

Seconds gemm_time(const GemmCall& c, const GpuDevice& gpu) {
  const double bytes = c.batch * ((c.m * c.k + c.k * c.n) * c.element + c.m * c.n * c.out_element);
  // A matrix times a vector is a read of the matrix: 8.6 GB in 2.40 ms.
  if (std::min(c.m, c.n) <= 1)
    return kGemmStart + Bytes{bytes} / BytesPerSecond{bandwidth(gpu, 0.75)};
  const bool plain_lanes = c.type == DotType::float32;
  const double m = padded(c.m, 16), n = padded(c.n, 16);
  const double ops = 2 * c.batch * m * n * c.k;
  const double rate = peak(gpu, c.type).value * (plain_lanes ? kSgemm : kTensorGemm);
  const double tile_n = plain_lanes ? 64 : 128;
  const double tiles = c.batch * std::ceil(c.m / 128) * std::ceil(c.n / tile_n);
  const double busy = utilisation(tiles, gpu, tiles < gpu.sms ? 0.55 : 0.8);
  const Seconds compute{ops / (rate * (c.m <= 16 ? 1 : busy))};
  const Seconds move = Bytes{bytes} / stream_rate(gpu);
  // The float32 kernels are short of asynchronous copies: reading and multiplying barely overlap.
  if (plain_lanes) return kGemmStart + compute + move;
  return kGemmStart + max(compute, move * 1.2);
}

namespace {

/// cuDNN's rate in operations a second for this convolution.
double conv_rate(const ConvCall& c, const GpuDevice& gpu) {
  const double depth = c.in_channels / c.groups * c.taps;
  const double outs = c.out_channels / c.groups;
  const bool half = c.element == 2;
  if (c.groups > 1) return gpu.fp32.value * (c.taps > 1 ? 0.5 : 0.19);
  if (c.transposed) {
    // Gradients by data: 190 to 240 TFLOPS from 64 channels on, a fifth of it with 32.
    const double channels = c.in_channels >= 64 ? 1 : std::pow(c.in_channels / 64, 1.7);
    return peak(gpu, DotType::tf32).value * 0.42 * std::max(0.03, channels) *
           (c.dims == 3 ? 0.65 : 1);
  }
  if (c.in_channels <= 8 && !half) {
    // Too few channels for the tensor cores: 10 TFLOPS with 16 outputs, 17 to 29 with 64.
    const double width = outs >= 64 ? 1 : std::max(0.25, outs / 48);
    return gpu.fp32.value * 0.5 * width * depth / (depth + 20);
  }
  const double width = std::min(1.0, 0.6 * outs / 64);
  const double share = 0.8 * std::min(1.0, width * (outs >= 128 ? 1 / 0.6 : 1));
  const double tile_n = outs <= 64 ? 64 : 128;
  const double tiles = std::ceil(c.batch * c.out_points / 128) * std::ceil(outs / tile_n);
  const double rate = peak(gpu, half ? DotType::float16 : DotType::tf32).value * (half ? 0.7 : 1);
  return rate * share * depth / (depth + 150) * utilisation(tiles, gpu, 0.35);
}

}  // namespace

Seconds conv_time(const ConvCall& c, const GpuDevice& gpu) {
  const double in = c.batch * c.in_channels * c.in_points;
  const double out = c.batch * c.out_channels * c.out_points;
  const Bytes io{(in + out) * c.element};
  Seconds bias{};
  if (c.bias) bias = elementwise_time(Bytes{2 * out * c.element}, out, false, gpu);
  const bool depthwise = c.groups > 1 && c.groups == c.in_channels;
  if (depthwise && !c.transposed) {
    // 102e9 outputs a second with 9 taps, 56e9 with 21.
    const double each = (3.6 + 0.68 * c.taps) / scaled(1e12, gpu);
    return kSmall + bias + max(Seconds{out * each}, stream(io, gpu));
  }
  const double points = c.transposed ? c.in_points : c.out_points;
  const double ops = 2 * c.batch * points * c.in_channels / c.groups * c.out_channels * c.taps;
  const Seconds compute{ops / conv_rate(c, gpu)};
  if (c.taps == 1 && c.groups == 1 && !c.transposed && c.strides == 1) {
    return kGemmStart + bias + max(compute, stream(io, gpu) * 1.12);
  }
  Seconds layout{};
  if (c.groups == 1 && (c.in_channels > 8 || c.transposed)) {
    // NCHW to NHWC and back, 3.3 of 4.8 TB/s.
    layout = Bytes{2 * io.value} / BytesPerSecond{bandwidth(gpu, 0.72)};
  }
  return kGemmStart + bias + layout + max(compute, stream(io, gpu));
}

Seconds elementwise_time(Bytes moved, double elements, bool plain, const GpuDevice& gpu) {
  const Seconds memory = moved / stream_rate(gpu);
  if (plain) return kSmall + memory;
  return kSmall + max(memory, Seconds{elements / scaled(kIndexed, gpu)});
}

Seconds relayout_time(double elements, Bytes element, Bytes run, const GpuDevice& gpu) {
  const Seconds memory = Bytes{2 * elements * element.value} / stream_rate(gpu);
  // A transpose in ATen touches a sector for each element; runs of a sector or more are indexed
  // copies.
  const double rate = run.value >= 32 ? kIndexed : kRelayout * (1.15 - 0.04 * element.value);
  return kSmall + max(memory, Seconds{elements / scaled(rate, gpu)});
}

Seconds fill_time(Bytes written, const GpuDevice& gpu) { return kSmall + written / read_rate(gpu); }

Seconds reduction_time(Bytes read, Bytes written, double reduced, double inner,
                       const GpuDevice& gpu) {
  double share = 0.82;
  if (inner <= 1 && reduced < 512) share = std::clamp(0.82 * reduced / 256, 0.1, 0.82);
  const double outputs = written.value / 4;
  // One output: two passes. Few outputs with a long stride: few threads.
  if (inner > 1 && outputs < 4096) share *= 0.8;
  return kSmall + Seconds{2e-6} +
         Bytes{read.value + written.value} / BytesPerSecond{bandwidth(gpu, share)};
}

Seconds softmax_time(double elements, double element, double length, double inner,
                     const GpuDevice& gpu) {
  const Seconds memory = Bytes{2 * elements * element} / BytesPerSecond{bandwidth(gpu, 0.83)};
  if (inner > 1) {
    const double few = std::min(1.0, inner / 830);  // threads run along the inner positions
    return kSmall + max(memory, Seconds{elements / scaled(kSpatialSoftmax * few, gpu)});
  }
  if (length <= 1024) return kSmall + memory;
  return kSmall + max(memory * 1.3, Seconds{elements / scaled(kLongSoftmax, gpu)});
}

Seconds norm_time(NormKind kind, double elements, double element, double rows,
                  const GpuDevice& gpu) {
  const double bytes = elements * element;
  const double spread = std::clamp(rows / (2.0 * gpu.sms), 0.1, 1.0);
  switch (kind) {
    case NormKind::batch_eval: {
      const Seconds indexed{elements / scaled(350e9, gpu) / std::min(1.0, rows / gpu.sms)};
      return kSmall + max(Bytes{2 * bytes} / stream_rate(gpu) * 1.1, indexed);
    }
    case NormKind::batch_train:
      return kSmall * 2 +
             Bytes{3 * bytes} / BytesPerSecond{bandwidth(gpu, 0.55) * std::max(0.5, spread)};
    case NormKind::layer:
    case NormKind::rms: {
      const Seconds memory = Bytes{2 * bytes} / BytesPerSecond{bandwidth(gpu, 0.66) * spread};
      // A block of 128 threads walks each row: 16 rows of 4,194,304 floats in 8.07 ms.
      const double turns = std::ceil(rows / (16.0 * gpu.sms));
      const Seconds walked{turns * elements / std::max(1.0, rows) / (0.263 * clock_of(gpu).value)};
      return kSmall + max(max(memory, Seconds{rows / scaled(0.7e9, gpu)}), walked);
    }
    case NormKind::group: {
      const Seconds moments = Bytes{bytes} / BytesPerSecond{bandwidth(gpu, 0.42) *
                                                            std::min(1.0, rows / (3.0 * gpu.sms))};
      return kSmall * 3 + moments + elementwise_time(Bytes{2 * bytes}, elements, false, gpu);
    }
    case NormKind::instance: {
      const Seconds statistics = Bytes{bytes} / BytesPerSecond{bandwidth(gpu, 0.55) * spread};
      const Seconds blocks{rows / scaled(0.19e9, gpu)};
      return kSmall * 2 +
             max(statistics + Bytes{2 * bytes} / BytesPerSecond{bandwidth(gpu, 0.66)}, blocks);
    }
  }
  return kSmall;
}

Seconds scan_time(double elements, double element, double length, double inner,
                  const GpuDevice& gpu) {
  const Seconds memory = Bytes{2 * elements * element} / stream_rate(gpu);
  const double rows = elements / std::max(1.0, length);
  if (inner > 1) {
    // One thread walks a column: 0.37 us a step.
    return kSmall +
           max(memory, Seconds{length * 0.37e-6 * std::max(1.0, rows / (2048.0 * gpu.sms))});
  }
  const double rate = kScan * std::min(1.0, std::pow(rows / 16384, 0.35));
  return kSmall + max(memory, Seconds{elements / scaled(length < 256 ? 12e9 : rate, gpu)});
}

Seconds pool_time(double in_elements, double out_elements, double taps, double element,
                  const GpuDevice& gpu) {
  const Seconds memory = Bytes{(in_elements + out_elements) * element} / stream_rate(gpu);
  if (taps > 256) return kSmall + memory * 1.25;  // global: a reduction
  // 83e9 outputs a second with 4 taps, 63e9 with 9, 49e9 with 16.
  const double each = (7 + 0.9 * taps) / scaled(1e12, gpu);
  return kSmall + max(memory, Seconds{out_elements * each});
}

Seconds attention_time(double heads, double queries, double keys, double dim, bool causal,
                       DotType type, const GpuDevice& gpu) {
  const double ops = 4 * heads * queries * keys * dim;
  const double width = std::min(1.0, 0.35 + 0.3 * dim / 64);
  // 33 TFLOPS in float32 for heads of 64, 45 for 128; 400 and 550 in float16.
  double share = type == DotType::float32 ? 0.76 * width : 0.62 * width;
  // Heads that no flash kernel takes run in one that keeps its sums in memory: 143 of 989 TFLOPS.
  if (type != DotType::float32 && dim > 256) share = 0.145;
  const Seconds compute{ops / (peak(gpu, type).value * share) * (causal ? 0.62 : 1)};
  return kGemmStart + compute;
}

Seconds rnn_step_time(double gates, double batch, double hidden, const GpuDevice& gpu) {
  // A GRU step of 10 x 256: a product of 4.1 us and a pointwise kernel of 1.6 us. Plain cells run
  // in one persistent kernel: 1.8 us a step.
  if (gates <= 1)
    return microseconds(1.8) + Seconds{2 * batch * hidden * hidden / (gpu.fp32.value * 0.3)};
  const double ops = 2 * batch * hidden * hidden * gates;
  return microseconds(5) + Seconds{ops / (peak(gpu, DotType::tf32).value * 0.15)};
}

}  // namespace quoin::cost
