// Reading and writing of .npy files; the header's parser is in npy_header.cpp.
#include "cli/npy.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "cli/npy_header.h"

namespace quoin::cli {
namespace {

constexpr std::size_t kCacheLine = 64;

// One read(2) moves at most 2,147,479,552 bytes; a round figure below it.
constexpr std::size_t kMaxReadBytes = std::size_t{1} << 30;

class Descriptor {
 public:
  explicit Descriptor(int value) noexcept : value_(value) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (value_ >= 0) close(value_);
  }
  [[nodiscard]] int get() const noexcept { return value_; }

 private:
  int value_;
};

Error cannot_read(const std::string& path, std::string_view why) {
  return {ErrorCode::invalid_argument, fmt::format("{}: cannot read: {}", path, why)};
}

Error cannot_read_errno(const std::string& path) {
  return cannot_read(path, std::generic_category().message(errno));
}

Status read_at(int descriptor, const std::string& path, std::size_t offset,
               std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const std::size_t wanted = std::min(bytes.size(), kMaxReadBytes);
    const ssize_t got = pread(descriptor, bytes.data(), wanted, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return cannot_read_errno(path);
    if (got == 0) return cannot_read(path, "it became shorter meanwhile");
    offset += static_cast<std::size_t>(got);
    bytes = bytes.subspan(static_cast<std::size_t>(got));
  }
  return {};
}

Result<std::size_t> size_of_regular_file(int descriptor, const std::string& path) {
  struct stat status {};
  if (fstat(descriptor, &status) != 0) return cannot_read_errno(path);
  if (S_ISDIR(status.st_mode)) return cannot_read(path, "it is a directory");
  if (!S_ISREG(status.st_mode)) return cannot_read(path, "it is no regular file");
  return static_cast<std::size_t>(status.st_size);
}

}  // namespace

Result<AlignedBytes> allocate(std::size_t bytes, std::string_view what) {
  const std::size_t whole_lines = (bytes + kCacheLine - 1) / kCacheLine * kCacheLine;
  if (whole_lines >= bytes) {
    void* memory = std::aligned_alloc(kCacheLine, std::max(whole_lines, kCacheLine));
    if (memory != nullptr) return AlignedBytes(static_cast<std::byte*>(memory));
  }
  return Error{ErrorCode::out_of_memory,
               fmt::format("out of memory: {} bytes for {}", bytes, what)};
}

Result<NpyArray> allocate_matrix(DataType type, std::int64_t rows, std::int64_t cols,
                                 std::string_view what) {
  const std::string label = fmt::format("{}, {} [{}, {}]", what, name(type), rows, cols);
  std::int64_t bytes = 0;
  if (rows < 0 || cols < 0 || __builtin_mul_overflow(rows, cols, &bytes) ||
      __builtin_mul_overflow(bytes, size_of(type), &bytes)) {
    return Error{ErrorCode::out_of_memory, fmt::format("no machine has the memory for {}", label)};
  }
  Result<AlignedBytes> memory = allocate(static_cast<std::size_t>(bytes), label);
  if (!memory) return memory.error();
  NpyArray array;
  array.bytes = std::move(memory).value();
  array.tensor = matrix(static_cast<void*>(array.bytes.get()), type, rows, cols);
  return array;
}

Result<NpyArray> read_npy(const std::string& path, const std::vector<DataType>& accepted) {
  // O_NONBLOCK: a named pipe is refused below instead of waited for. No effect on regular files.
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) return cannot_read_errno(path);
  const Result<std::size_t> size = size_of_regular_file(file.get(), path);
  if (!size) return size.error();

  std::vector<std::byte> start(std::min(size.value(), kMaxNpyPreamble));
  if (Status done = read_at(file.get(), path, 0, start); !done) return done.error();
  const Result<NpyLayout> layout = parse_npy_start(start, size.value(), path, accepted);
  if (!layout) return layout.error();

  Result<AlignedBytes> memory = allocate(layout->data_bytes, path);
  if (!memory) return memory.error();
  NpyArray array;
  array.bytes = std::move(memory).value();
  const std::span<std::byte> elements(array.bytes.get(), layout->data_bytes);
  if (Status done = read_at(file.get(), path, layout->data_offset, elements); !done) {
    return done.error();
  }
  void* data = array.bytes.get();
  array.tensor = layout->rank == 1 ? vector(data, layout->type, layout->shape[0])
                                   : matrix(data, layout->type, layout->shape[0], layout->shape[1]);
  return array;
}

Result<NpyArray> read_npy_matrix(const std::string& path, const std::vector<DataType>& accepted) {
  Result<NpyArray> array = read_npy(path, accepted);
  if (!array || array->tensor.rank == 2) return array;
  return Error{ErrorCode::invalid_argument,
               fmt::format("{}: is {}, but must be a matrix: x.reshape(1, -1) makes a vector one "
                           "row",
                           path, to_string(array->tensor))};
}

Result<OutputFile> stage_npy(const std::string& path, const ConstTensor& tensor) {
  const bool is_matrix = tensor.rank == 2;
  const std::int64_t cols = is_matrix ? tensor.shape[1] : tensor.shape[0];
  const std::int64_t rows = is_matrix ? tensor.shape[0] : 1;
  if (tensor.rank < 1 || tensor.rank > 2 || rows < 0 || cols < 0 ||
      (cols > 1 && tensor.strides[is_matrix ? 1 : 0] != 1)) {
    return Error{ErrorCode::invalid_argument,
                 fmt::format("{}: cannot write {}: only vectors and matrices with contiguous rows",
                             path, to_string(tensor))};
  }
  Result<OutputFile> file = OutputFile::create(path);
  if (!file) return file;
  const std::string header = npy_header(tensor);
  if (Status done = file->write(std::as_bytes(std::span(header))); !done) return done.error();

  const bool contiguous = rows <= 1 || tensor.strides[0] == cols;
  const std::int64_t row_bytes = cols * size_of(tensor.type) * (contiguous ? rows : 1);
  const std::int64_t stride_bytes = contiguous ? 0 : tensor.strides[0] * size_of(tensor.type);
  const auto* first = static_cast<const std::byte*>(tensor.data);
  for (std::int64_t row = 0; row_bytes > 0 && row < (contiguous ? 1 : rows); ++row) {
    const std::span<const std::byte> bytes(first + row * stride_bytes,
                                           static_cast<std::size_t>(row_bytes));
    if (Status done = file->write(bytes); !done) return done.error();
  }
  if (Status done = file->finish(); !done) return done.error();
  return file;
}

Status write_npy(const std::string& path, const ConstTensor& tensor) {
  Result<OutputFile> file = stage_npy(path, tensor);
  if (!file) return file.error();
  return OutputFile::publish({&file.value(), 1});
}

}  // namespace quoin::cli
