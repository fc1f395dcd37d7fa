// NumPy's .npy files, read strictly and written whole or not at all.
//
// A file is: the magic "\x93NUMPY", the version (1.0, 2.0 or 3.0), the header's length (2 bytes in
// version 1.0, 4 after it, little-endian), the header, and the elements. The header is a Python
// dict literal,
//
//   {'descr': '<f4', 'fortran_order': False, 'shape': (128, 2048), }
//
// which is parsed as exactly that, never evaluated. Read are vectors and matrices of |i1, <i4,
// <f2, <f4 and, where the caller accepts bfloat16 (which NumPy lacks), <u2 as its carrier, in C
// order. Every error names the file and the offending value. Tests: tests/npy_test.cpp, and
// tests/fuzz/npy_fuzz.cpp on parse_npy.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/output_file.h"
#include "quoin/result.h"
#include "quoin/tensor.h"

namespace quoin::cli {

struct FreeBytes {
  void operator()(std::byte* bytes) const noexcept { std::free(bytes); }
};

/// A buffer aligned to a cache line, never null.
using AlignedBytes = std::unique_ptr<std::byte[], FreeBytes>;

/// Uninitialised memory; the error says what for and how many bytes.
Result<AlignedBytes> allocate(std::size_t bytes, std::string_view what);

/// A contiguous array and its memory.
struct NpyArray {
  AlignedBytes bytes;
  Tensor tensor;  // a view of `bytes`
};

/// An uninitialised matrix; the error says what for and which shape.
Result<NpyArray> allocate_matrix(DataType type, std::int64_t rows, std::int64_t cols,
                                 std::string_view what);

/// What a header says, checked against the size of the file.
struct NpyLayout {
  DataType type = DataType::float32;
  int rank = 0;                         // 1 or 2
  std::array<std::int64_t, 2> shape{};  // shape[1] is 1 for a vector
  std::size_t data_offset = 0;          // where the elements begin; nothing follows them
  std::size_t data_bytes = 0;
};

/// Parses a whole file in memory. `accepted` lists the types that the caller can use; bfloat16
/// among them makes <u2 its carrier. Allocates nothing but messages.
Result<NpyLayout> parse_npy(std::span<const std::byte> file, std::string_view file_name,
                            std::span<const DataType> accepted);

/// Reads a regular file straight into one buffer, which is allocated once the header agrees with
/// the size of the file.
Result<NpyArray> read_npy(const std::string& path, const std::vector<DataType>& accepted);

/// The same for what can only be a matrix.
Result<NpyArray> read_npy_matrix(const std::string& path, const std::vector<DataType>& accepted);

/// The bytes before the elements, version 1.0, padded so that the elements begin at a multiple of
/// 64. bfloat16 is written as <u2.
std::string npy_header(const ConstTensor& tensor);

/// Writes a vector or a matrix, rows any distance apart, to a file that OutputFile::publish then
/// gives its name.
Result<OutputFile> stage_npy(const std::string& path, const ConstTensor& tensor);

/// Writes one file whole or not at all.
Status write_npy(const std::string& path, const ConstTensor& tensor);

}  // namespace quoin::cli
