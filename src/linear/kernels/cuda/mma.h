// One function per machine instruction that the sm80 kernel uses (PTX ISA 9.0, sections by
// instruction). Shared-memory addresses are 32-bit.
#pragma once

#include <cstdint>

namespace quoin::cuda::ptx {

/// Data Movement, cp.async: kBytes (4, 8 or 16) into shared memory, of which the first `valid` are
/// read and the rest are zeros.
template <int kBytes>
__device__ __forceinline__ void copy_async(std::uint32_t target, const void* source, int valid) {
  if constexpr (kBytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(target), "l"(source),
                 "r"(valid)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(target), "l"(source),
                 "n"(kBytes), "r"(valid)
                 : "memory");
  }
}
__device__ __forceinline__ void copy_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
/// Until at most `kPending` groups of this thread are in flight.
template <int kPending>
__device__ __forceinline__ void copy_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

/// Warp-level Matrix Instructions, ldmatrix: four 8 x 16-byte matrices; lane l names row l % 8 of
/// matrix l / 8 and receives bytes 4(l % 4) to +3 of row l / 4 of each.
__device__ __forceinline__ void load_matrices(std::uint32_t (&d)[4], std::uint32_t row_address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"(row_address)
               : "memory");
}

/// Warp-level Matrix Instructions, mma m16n8k32 s8: d += a * b^T. d[0], d[1]: row lane / 4, columns
/// 2(lane % 4), +1; d[2], d[3]: eight rows below.
__device__ __forceinline__ void multiply_m16n8k32(int (&d)[4], const std::uint32_t (&a)[4],
                                                  std::uint32_t b0, std::uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

}  // namespace quoin::cuda::ptx
