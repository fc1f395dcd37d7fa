#include "cli/output_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

namespace quoin::cli {
namespace {

// One write(2) moves at most 2,147,479,552 bytes; a round figure below it.
constexpr std::size_t kMaxWriteBytes = std::size_t{1} << 30;

constexpr int kNameAttempts = 100;

std::string errno_text(int code) { return std::generic_category().message(code); }

std::string sibling_name(const std::string& target) {
  static std::atomic<std::uint64_t> counter{0};
  const std::filesystem::path directory = std::filesystem::path(target).parent_path();
  return (directory / fmt::format(".quoin-{}-{}.tmp", getpid(), counter++)).string();
}

// Gives an earlier target a second name, under which it survives until all outputs are in place.
Result<std::string> keep_earlier(const std::string& path, const std::string& target) {
  for (int attempt = 0; attempt < kNameAttempts; ++attempt) {
    std::string kept = sibling_name(target);
    if (link(target.c_str(), kept.c_str()) == 0) return kept;
    if (errno != EEXIST) break;
  }
  return Error{ErrorCode::invalid_argument,
               fmt::format("{}: exists and cannot be kept aside while it is replaced: {}; "
                           "remove it first",
                           path, errno_text(errno))};
}

}  // namespace

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)),
      target_(std::move(other.target_)),
      temporary_(std::exchange(other.temporary_, {})),
      mode_(other.mode_),
      replaces_(other.replaces_),
      descriptor_(std::exchange(other.descriptor_, -1)) {}

OutputFile& OutputFile::operator=(OutputFile&& other) noexcept {
  if (this == &other) return *this;
  discard();
  path_ = std::move(other.path_);
  target_ = std::move(other.target_);
  temporary_ = std::exchange(other.temporary_, {});
  mode_ = other.mode_;
  replaces_ = other.replaces_;
  descriptor_ = std::exchange(other.descriptor_, -1);
  return *this;
}

OutputFile::~OutputFile() { discard(); }

void OutputFile::discard() noexcept {
  if (descriptor_ >= 0) close(std::exchange(descriptor_, -1));
  if (!temporary_.empty()) unlink(temporary_.c_str());
  temporary_.clear();
}

Error OutputFile::failure(const char* doing) const {
  return {ErrorCode::invalid_argument,
          fmt::format("{}: cannot {}: {}", path_, doing, errno_text(errno))};
}

Result<OutputFile> OutputFile::create(const std::string& path) {
  OutputFile file;
  file.path_ = path;
  if (path.empty()) {
    return Error{ErrorCode::invalid_argument, "the name of an output file is empty"};
  }
  struct stat earlier {};
  if (stat(path.c_str(), &earlier) == 0) {
    if (!S_ISREG(earlier.st_mode)) {
      return Error{ErrorCode::invalid_argument,
                   fmt::format("{}: is {}; outputs are regular files, written whole or not at all",
                               path, S_ISDIR(earlier.st_mode) ? "a directory" : "no regular file")};
    }
    if (access(path.c_str(), W_OK) != 0) return file.failure("replace it");
    file.replaces_ = true;
    file.mode_ = earlier.st_mode & 07777;
  }
  std::error_code failed;
  const std::filesystem::path absolute = std::filesystem::absolute(path, failed);
  if (!failed) file.target_ = std::filesystem::weakly_canonical(absolute, failed).string();
  if (failed) {
    return Error{ErrorCode::invalid_argument,
                 fmt::format("{}: cannot create it: {}", path, failed.message())};
  }
  for (int attempt = 0; attempt < kNameAttempts && file.descriptor_ < 0; ++attempt) {
    const std::string name = sibling_name(file.target_);
    file.descriptor_ = open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file.descriptor_ >= 0) file.temporary_ = name;
    if (file.descriptor_ < 0 && errno != EEXIST) break;
  }
  if (file.descriptor_ < 0) return file.failure("create a file in its directory");
  return file;
}

Status OutputFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const std::size_t wanted = std::min(bytes.size(), kMaxWriteBytes);
    const ssize_t written = ::write(descriptor_, bytes.data(), wanted);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return failure("write");
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

Status OutputFile::finish() {
  if (replaces_ && fchmod(descriptor_, mode_) != 0) return failure("set its permissions");
  if (fsync(descriptor_) != 0) return failure("bring it to the disk");
  if (close(std::exchange(descriptor_, -1)) != 0) return failure("close");
  return {};
}

Status OutputFile::publish(std::span<OutputFile> files) {
  for (std::size_t i = 0; i < files.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (files[i].target_ != files[j].target_) continue;
      return Error{ErrorCode::invalid_argument,
                   fmt::format("{} and {} are one file, named for two outputs", files[j].path_,
                               files[i].path_)};
    }
  }

  struct Done {
    OutputFile* file;
    std::string earlier;  // its second name; empty where there was none
  };
  std::vector<Done> done;
  done.reserve(files.size());
  Status outcome;
  for (OutputFile& file : files) {
    Done step{&file, {}};
    if (file.replaces_ && files.size() > 1) {
      Result<std::string> kept = keep_earlier(file.path_, file.target_);
      if (!kept) outcome = kept.error();
      if (kept) step.earlier = std::move(kept).value();
    }
    if (outcome && rename(file.temporary_.c_str(), file.target_.c_str()) != 0) {
      outcome = file.failure("give it its name");
      if (!step.earlier.empty()) unlink(step.earlier.c_str());
    }
    if (!outcome) break;
    file.temporary_.clear();
    done.push_back(std::move(step));
  }
  for (const Done& step : done) {
    if (!step.earlier.empty() && !outcome) rename(step.earlier.c_str(), step.file->target_.c_str());
    if (!step.earlier.empty() && outcome) unlink(step.earlier.c_str());
    if (step.earlier.empty() && !outcome) unlink(step.file->target_.c_str());
  }
  return outcome;
}

Status write_text(const std::string& path, std::string_view text) {
  Result<OutputFile> file = OutputFile::create(path);
  if (!file) return file.error();
  if (Status written = file->write(std::as_bytes(std::span(text))); !written) return written;
  if (Status finished = file->finish(); !finished) return finished;
  return OutputFile::publish({&file.value(), 1});
}

}  // namespace quoin::cli
