// The device table: what each machine can do at most, with the source of every figure.
#pragma once

#include <span>
#include <string_view>

#include "cost/units.h"

namespace quoin::cost {

/// Read bandwidth of one level, for one core and for all of `cores`.
struct ReadRate {
  BytesPerSecond one;
  BytesPerSecond all;
};

/// How far ahead of itself a loop that reads memory front to back should prefetch, by what holds
/// it back.
struct StreamAhead {
  Bytes memory_bound;
  Bytes compute_bound;
};

struct CpuDevice {
  std::string_view name;
  std::string_view title;
  std::string_view vendor;  // CPUID vendor and family that this row is for; empty: any
  int family = 0;
  int first_model = 0, last_model = 0;  // of that family
  int cores = 1;                        // those that `all` figures were measured with
  int vector_bits = 256;                // width of the multipliers: wider registers take turns
  Hertz clock;                          // under a sustained vector load
  Bytes l2;                             // of one core
  Bytes l3;                             // shared
  ReadRate from_l2, from_l3, from_memory;
  StreamAhead stream_ahead;
  std::string_view source;
};

/// Peaks of dense operations by the datasheet. 0: no such path.
struct GpuDevice {
  std::string_view name;
  std::string_view title;
  int sms = 0;  // compute units on AMD
  OpsPerSecond fp32, tf32, fp16, fp8, int8;
  BytesPerSecond memory;
  Bytes l2;
  Bytes smem_per_sm;
  std::string_view source;
};

[[nodiscard]] std::span<const CpuDevice> cpu_devices();
[[nodiscard]] std::span<const GpuDevice> gpu_devices();

/// The row with this name, or null.
[[nodiscard]] const CpuDevice* find_cpu(std::string_view name);
[[nodiscard]] const GpuDevice* find_gpu(std::string_view name);

/// The row for a CPU that reports this vendor, family and model; the last, generic row for an
/// unknown one.
[[nodiscard]] const CpuDevice& match_cpu(std::string_view vendor, int family, int model);

}  // namespace quoin::cost
