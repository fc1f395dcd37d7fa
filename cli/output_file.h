// Files that are written whole or not at all: bytes go to a temporary file in the target's own
// directory, reach the disk, and only then take the target's name. A failure at any point removes
// the temporary file and leaves an earlier target as it was. (A killed process may leave a file
// named ".quoin-<process>-<number>.tmp".) Every output of the program goes through here; tested by
// tests/npy_test.cpp.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "quoin/result.h"

namespace quoin::cli {

/// One output on its way: create, write any number of times, finish, publish.
class OutputFile {
 public:
  /// Opens the temporary file. Refuses a target that exists and is no regular file (a directory,
  /// a device, a pipe) or is read-only. Symbolic links to files are followed.
  static Result<OutputFile> create(const std::string& path);

  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&& other) noexcept;
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  ~OutputFile();

  Status write(std::span<const std::byte> bytes);

  /// Brings the bytes to the disk and closes the file; the target is still untouched.
  Status finish();

  /// Gives every finished file its target's name: all of them, or none and what stood there before
  /// stands again. Refuses two files with one target.
  static Status publish(std::span<OutputFile> files);

 private:
  OutputFile() = default;
  void discard() noexcept;
  [[nodiscard]] Error failure(const char* doing) const;  // from errno

  std::string path_;       // as the user wrote it, for messages
  std::string target_;     // with links resolved
  std::string temporary_;  // empty once it is published or discarded
  mode_t mode_ = 0;        // permissions of an earlier target, to be kept
  bool replaces_ = false;  // whether there is an earlier target
  int descriptor_ = -1;
};

/// Writes one file whole or not at all.
Status write_text(const std::string& path, std::string_view text);

}  // namespace quoin::cli
