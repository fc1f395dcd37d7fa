// What this machine reaches right now in loops that do nothing else: the limits that every
// benchmark of quoin is held against, measured beside it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "cost/units.h"

namespace quoin {

/// The instruction that a loop repeats on registers, 16 independent sums.
enum class PeakLoop : std::uint8_t {
  vpdpbusd_zmm,  // 128 operations each
  vpdpbusd_ymm,  // 64, VEX form
  vpmaddwd_ymm,  // 32, with a vpaddd beside each
};

/// int8 operations a second of `threads` threads together, over about `seconds`; nothing where this
/// machine lacks the instruction.
[[nodiscard]] std::optional<cost::OpsPerSecond> measure_peak(PeakLoop loop, int threads,
                                                             double seconds = 1e-3);

/// Bytes a second that `threads` threads together read from `data` (64-byte aligned), each its own
/// part front to back with the widest loads, over at least one pass and about `seconds`.
[[nodiscard]] cost::BytesPerSecond measure_read(const std::uint8_t* data, std::size_t bytes,
                                                int threads, double seconds = 1e-3);

}  // namespace quoin
