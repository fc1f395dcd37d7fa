// One line of progress on stderr for work of seconds and more, only where stderr is a terminal:
//
//   Progress progress("verify", jobs.size());
//   for (...) { progress.step("avx2 128x2048x2048"); ... }   // [ 3/24] verify avx2 128x2048x2048
//
// The line is erased when the object goes, so results on stdout stay clean. For one thread.
#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

namespace quoin::cli {

class Progress {
 public:
  Progress(std::string label, std::size_t total)
      : label_(std::move(label)), total_(total), shown_(isatty(STDERR_FILENO) == 1) {}
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() { clear(); }

  /// The next piece of work begins.
  void step(std::string_view what) {
    ++current_;
    if (!shown_) return;
    const auto now = std::chrono::steady_clock::now();
    if (drawn_ && now - last_ < kInterval) return;
    last_ = now;
    const std::string width = std::to_string(total_);
    std::string line =
        fmt::format("[{:>{}}/{}] {} {}", current_, width.size(), total_, label_, what);
    line.resize(std::min(line.size(), kMaxColumns));
    std::fputs(("\r\x1b[K" + line).c_str(), stderr);
    std::fflush(stderr);
    drawn_ = true;
  }

  /// Erases the line, before something else is printed.
  void clear() {
    if (drawn_) std::fputs("\r\x1b[K", stderr);
    drawn_ = false;
  }

 private:
  // Often enough to look alive, seldom enough to cost nothing; the first step is always drawn.
  static constexpr std::chrono::milliseconds kInterval{50};
  static constexpr std::size_t kMaxColumns = 79;  // a longer line would wrap and not be erased

  std::string label_;
  std::size_t total_;
  std::size_t current_ = 0;
  bool shown_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point last_;
};

}  // namespace quoin::cli
