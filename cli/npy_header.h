// The part of a .npy file before its elements. Used by npy.cpp; the format is told in npy.h.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "cli/npy.h"

namespace quoin::cli {

/// Longest header that is read. NumPy writes 118 bytes for anything read here; its own limit, for
/// records with hundreds of fields, is 10,000.
inline constexpr std::size_t kMaxNpyHeader = 65'535;

/// Magic, version and a 4-byte length, then the header.
inline constexpr std::size_t kMaxNpyPreamble = 12 + kMaxNpyHeader;

/// parse_npy on a file of `file_bytes` bytes of which `start` holds the first ones: all of them or
/// at least kMaxNpyPreamble.
Result<NpyLayout> parse_npy_start(std::span<const std::byte> start, std::size_t file_bytes,
                                  std::string_view file_name, std::span<const DataType> accepted);

}  // namespace quoin::cli
