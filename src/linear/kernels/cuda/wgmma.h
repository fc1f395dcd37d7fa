// wgmma m64nNk32 s32.s8.s8: D += A * B^T with both operands in shared memory, K contiguous (PTX
// ISA, Asynchronous Warpgroup Level Matrix Instructions). A thread holds N/2 sums: for column group
// j (8 columns) d[4j] and d[4j+1] are row lane/4 and columns 8j + 2(lane%4), +1 of its warp's 16
// rows, d[4j+2] and d[4j+3] the same eight rows below. The instruction exists for more N (24, 48,
// 144, 160, 208, 240); these have users.
#pragma once

#include <cstdint>

namespace quoin::cuda::ptx {

/// wgmma.fence: before the first wgmma that reads registers written by the thread.
__device__ __forceinline__ void wgmma_fence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
/// wgmma.commit_group.
__device__ __forceinline__ void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/// wgmma.wait_group: until at most `kPending` groups are in flight.
template <int kPending>
__device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

/// Matrix Descriptor Format: K-major rows of 128 bytes with 128-byte swizzle. Bits 0-13 address,
/// 16-29 leading offset (unused with a swizzle), 32-45 distance of 8-row groups (1024 bytes), all
/// in units of 16 bytes; 62-63 swizzle mode 1. The tile starts on a multiple of 1024 bytes; 32
/// bytes along K are two units.
/// Its low half is an address that is counted on from, its high half always the same: with the
/// whole put together for each wgmma six instructions more for each were issued.
__device__ __forceinline__ std::uint32_t wgmma_address(std::uint32_t shared) {
  return shared / 16 | 1U << 16;
}
__device__ __forceinline__ std::uint64_t wgmma_descriptor(std::uint32_t address) {
  return std::uint64_t{1U << 30 | 1024 / 16} << 32 | address;
}

// Operand lists: n registers by number, and an array's elements from i on.
#define QUOIN_R4 "%0, %1, %2, %3"
#define QUOIN_R8 QUOIN_R4 ", %4, %5, %6, %7"
#define QUOIN_R16 QUOIN_R8 ", %8, %9, %10, %11, %12, %13, %14, %15"
#define QUOIN_R32                            \
  QUOIN_R16                                  \
  ", %16, %17, %18, %19, %20, %21, %22, %23" \
  ", %24, %25, %26, %27, %28, %29, %30, %31"
#define QUOIN_R40 QUOIN_R32 ", %32, %33, %34, %35, %36, %37, %38, %39"
#define QUOIN_R48 QUOIN_R40 ", %40, %41, %42, %43, %44, %45, %46, %47"
#define QUOIN_R56 QUOIN_R48 ", %48, %49, %50, %51, %52, %53, %54, %55"
#define QUOIN_R64 QUOIN_R56 ", %56, %57, %58, %59, %60, %61, %62, %63"
#define QUOIN_R88                            \
  QUOIN_R64                                  \
  ", %64, %65, %66, %67, %68, %69, %70, %71" \
  ", %72, %73, %74, %75, %76, %77, %78, %79" \
  ", %80, %81, %82, %83, %84, %85, %86, %87"
#define QUOIN_R96 QUOIN_R88 ", %88, %89, %90, %91, %92, %93, %94, %95"
#define QUOIN_R112                               \
  QUOIN_R96                                      \
  ", %96, %97, %98, %99, %100, %101, %102, %103" \
  ", %104, %105, %106, %107, %108, %109, %110, %111"
#define QUOIN_R128                                   \
  QUOIN_R112                                         \
  ", %112, %113, %114, %115, %116, %117, %118, %119" \
  ", %120, %121, %122, %123, %124, %125, %126, %127"
#define QUOIN_D4(i) "+r"(d[i]), "+r"(d[i + 1]), "+r"(d[i + 2]), "+r"(d[i + 3])
#define QUOIN_D8(i) QUOIN_D4(i), QUOIN_D4(i + 4)
#define QUOIN_D32(i) QUOIN_D8(i), QUOIN_D8(i + 8), QUOIN_D8(i + 16), QUOIN_D8(i + 24)

/// d = a * b^T + (accumulate ? d : 0).
template <int kN>
struct Wgmma;

// N, its N / 2 registers, the numbers of the operands after them, d's elements.
#define QUOIN_WGMMA(n, registers, first, second, third, ...)                           \
  template <>                                                                          \
  struct Wgmma<n> {                                                                    \
    static __device__ __forceinline__ void multiply(int (&d)[n / 2], std::uint64_t a,  \
                                                    std::uint64_t b, int accumulate) { \
      asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #third                         \
                   ", 0;\n"                                                            \
                   "wgmma.mma_async.sync.aligned.m64n" #n "k32.s32.s8.s8 {" registers  \
                   "}, %" #first ", %" #second ", p;\n}\n"                             \
                   : __VA_ARGS__                                                       \
                   : "l"(a), "l"(b), "r"(accumulate));                                 \
    }                                                                                  \
  }
QUOIN_WGMMA(8, QUOIN_R4, 4, 5, 6, QUOIN_D4(0));
QUOIN_WGMMA(16, QUOIN_R8, 8, 9, 10, QUOIN_D8(0));
QUOIN_WGMMA(32, QUOIN_R16, 16, 17, 18, QUOIN_D8(0), QUOIN_D8(8));
QUOIN_WGMMA(64, QUOIN_R32, 32, 33, 34, QUOIN_D32(0));
QUOIN_WGMMA(80, QUOIN_R40, 40, 41, 42, QUOIN_D32(0), QUOIN_D8(32));
QUOIN_WGMMA(96, QUOIN_R48, 48, 49, 50, QUOIN_D32(0), QUOIN_D8(32), QUOIN_D8(40));
QUOIN_WGMMA(112, QUOIN_R56, 56, 57, 58, QUOIN_D32(0), QUOIN_D8(32), QUOIN_D8(40), QUOIN_D8(48));
QUOIN_WGMMA(128, QUOIN_R64, 64, 65, 66, QUOIN_D32(0), QUOIN_D32(32));
QUOIN_WGMMA(176, QUOIN_R88, 88, 89, 90, QUOIN_D32(0), QUOIN_D32(32), QUOIN_D8(64), QUOIN_D8(72),
            QUOIN_D8(80));
QUOIN_WGMMA(192, QUOIN_R96, 96, 97, 98, QUOIN_D32(0), QUOIN_D32(32), QUOIN_D32(64));
QUOIN_WGMMA(224, QUOIN_R112, 112, 113, 114, QUOIN_D32(0), QUOIN_D32(32), QUOIN_D32(64),
            QUOIN_D8(96), QUOIN_D8(104));
QUOIN_WGMMA(256, QUOIN_R128, 128, 129, 130, QUOIN_D32(0), QUOIN_D32(32), QUOIN_D32(64),
            QUOIN_D32(96));

#undef QUOIN_R4
#undef QUOIN_R8
#undef QUOIN_R16
#undef QUOIN_R32
#undef QUOIN_R40
#undef QUOIN_R48
#undef QUOIN_R56
#undef QUOIN_R64
#undef QUOIN_R88
#undef QUOIN_R96
#undef QUOIN_R112
#undef QUOIN_R128
#undef QUOIN_D4
#undef QUOIN_D8
#undef QUOIN_D32
#undef QUOIN_WGMMA

}  // namespace quoin::cuda::ptx
