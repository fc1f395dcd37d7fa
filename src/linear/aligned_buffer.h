// Memory for packed weights: aligned to the page size that makes streaming it cheapest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace quoin {

struct FreeDeleter {
  void operator()(void* p) const noexcept { std::free(p); }
};
using AlignedBuffer = std::unique_ptr<std::uint8_t[], FreeDeleter>;

/// `bytes` of uninitialised memory, 64-byte aligned; from 4 MiB on, 2 MiB aligned with huge pages
/// asked for (one TLB entry then covers 10 panels instead of a fraction of one). Null without
/// memory.
inline AlignedBuffer allocate_aligned(std::size_t bytes) noexcept {
  constexpr std::size_t kHugePage = std::size_t{2} << 20;
  const std::size_t alignment = bytes >= 2 * kHugePage ? kHugePage : 64;
  if (bytes > SIZE_MAX - alignment) return nullptr;
  const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  AlignedBuffer buffer(static_cast<std::uint8_t*>(
      std::aligned_alloc(alignment, rounded == 0 ? alignment : rounded)));
#if defined(__linux__)
  if (buffer && alignment == kHugePage) madvise(buffer.get(), rounded, MADV_HUGEPAGE);
#endif
  return buffer;
}

}  // namespace quoin
