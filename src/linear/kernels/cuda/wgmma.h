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

// Operand lists, eight registers at a time.
#define QUOIN_ACC8(d, i)                                                                      \
  "+r"(d[i]), "+r"(d[i + 1]), "+r"(d[i + 2]), "+r"(d[i + 3]), "+r"(d[i + 4]), "+r"(d[i + 5]), \
      "+r"(d[i + 6]), "+r"(d[i + 7])
#define QUOIN_ACC32(d, i) \
  QUOIN_ACC8(d, i), QUOIN_ACC8(d, i + 8), QUOIN_ACC8(d, i + 16), QUOIN_ACC8(d, i + 24)

/// d = a * b^T + (accumulate ? d : 0).
template <int kN>
struct Wgmma;

template <>
struct Wgmma<8> {
  static __device__ __forceinline__ void multiply(int (&d)[4], std::uint64_t a, std::uint64_t b,
                                                  int accumulate) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %6, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n8k32.s32.s8.s8 {"
        "%0, %1, %2, %3}, "
        "%4, %5, p;\n}\n"
        : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
        : "l"(a), "l"(b), "r"(accumulate));
  }
};

template <>
struct Wgmma<16> {
  static __device__ __forceinline__ void multiply(int (&d)[8], std::uint64_t a, std::uint64_t b,
                                                  int accumulate) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %10, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n16k32.s32.s8.s8 {"
        "%0, %1, %2, %3, %4, %5, %6, %7}, "
        "%8, %9, p;\n}\n"
        : QUOIN_ACC8(d, 0)
        : "l"(a), "l"(b), "r"(accumulate));
  }
};

template <>
struct Wgmma<32> {
  static __device__ __forceinline__ void multiply(int (&d)[16], std::uint64_t a, std::uint64_t b,
                                                  int accumulate) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %18, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n32k32.s32.s8.s8 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, "
        "%12, %13, %14, %15}, "
        "%16, %17, p;\n}\n"
        : QUOIN_ACC8(d, 0), QUOIN_ACC8(d, 8)
        : "l"(a), "l"(b), "r"(accumulate));
  }
};

template <>
struct Wgmma<64> {
  static __device__ __forceinline__ void multiply(int (&d)[32], std::uint64_t a, std::uint64_t b,
                                                  int accumulate) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %34, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n64k32.s32.s8.s8 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, "
        "%12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, "
        "%24, %25, %26, %27, %28, %29, %30, %31}, "
        "%32, %33, p;\n}\n"
        : QUOIN_ACC32(d, 0)
        : "l"(a), "l"(b), "r"(accumulate));
  }
};

template <>
struct Wgmma<80> {
  static __device__ __forceinline__ void multiply(int (&d)[40], std::uint64_t a, std::uint64_t b,
                                                  int accumulate) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %42, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n80k32.s32.s8.s8 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, "
        "%17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39}, "
        "%40, %41, p;\n}\n"
        : QUOIN_ACC32(d, 0), QUOIN_ACC8(d, 32)
        : "l"(a), "l"(b), "r"(accumulate));
  }
};

template <>
struct Wgmma<96> {
  static __device__ __forceinline__ void multiply(int (&d)[48], std::uint64_t a, std::uint64_t b,
                                                  int accumulate) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %50, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n96k32.s32.s8.s8 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, "
        "%17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, "
        "%47}, "
        "%48, %49, p;\n}\n"
        : QUOIN_ACC32(d, 0), QUOIN_ACC8(d, 32), QUOIN_ACC8(d, 40)
        : "l"(a), "l"(b), "r"(accumulate));
  }
};

template <>
struct Wgmma<112> {
  static __device__ __forceinline__ void multiply(int (&d)[56], std::uint64_t a, std::uint64_t b,
                                                  int accumulate) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %58, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n112k32.s32.s8.s8 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, "
        "%17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, "
        "%47, %48, %49, %50, %51, %52, %53, %54, %55}, "
        "%56, %57, p;\n}\n"
        : QUOIN_ACC32(d, 0), QUOIN_ACC8(d, 32), QUOIN_ACC8(d, 40), QUOIN_ACC8(d, 48)
        : "l"(a), "l"(b), "r"(accumulate));
  }
};

template <>
struct Wgmma<128> {
  static __device__ __forceinline__ void multiply(int (&d)[64], std::uint64_t a, std::uint64_t b,
                                                  int accumulate) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n128k32.s32.s8.s8 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, "
        "%12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, "
        "%24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, "
        "%36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, "
        "%60, %61, %62, %63}, "
        "%64, %65, p;\n}\n"
        : QUOIN_ACC32(d, 0), QUOIN_ACC32(d, 32)
        : "l"(a), "l"(b), "r"(accumulate));
  }
};

template <>
struct Wgmma<176> {
  static __device__ __forceinline__ void multiply(int (&d)[88], std::uint64_t a, std::uint64_t b,
                                                  int accumulate) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %90, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n176k32.s32.s8.s8 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, "
        "%17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, "
        "%34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, "
        "%51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, %64, %65, %66, %67, "
        "%68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, %84, "
        "%85, %86, %87}, "
        "%88, %89, p;\n}\n"
        : QUOIN_ACC32(d, 0), QUOIN_ACC32(d, 32), QUOIN_ACC8(d, 64), QUOIN_ACC8(d, 72),
          QUOIN_ACC8(d, 80)
        : "l"(a), "l"(b), "r"(accumulate));
  }
};

template <>
struct Wgmma<192> {
  static __device__ __forceinline__ void multiply(int (&d)[96], std::uint64_t a, std::uint64_t b,
                                                  int accumulate) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %98, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n192k32.s32.s8.s8 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, "
        "%17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, "
        "%47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, "
        "%62, %63, %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, "
        "%77, %78, %79, %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, "
        "%92, %93, %94, %95}, "
        "%96, %97, p;\n}\n"
        : QUOIN_ACC32(d, 0), QUOIN_ACC32(d, 32), QUOIN_ACC32(d, 64)
        : "l"(a), "l"(b), "r"(accumulate));
  }
};

template <>
struct Wgmma<224> {
  static __device__ __forceinline__ void multiply(int (&d)[112], std::uint64_t a, std::uint64_t b,
                                                  int accumulate) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %114, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n224k32.s32.s8.s8 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, "
        "%17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, "
        "%47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, "
        "%62, %63, %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, "
        "%77, %78, %79, %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, "
        "%92, %93, %94, %95, %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, "
        "%106, %107, %108, %109, %110, %111}, "
        "%112, %113, p;\n}\n"
        : QUOIN_ACC32(d, 0), QUOIN_ACC32(d, 32), QUOIN_ACC32(d, 64), QUOIN_ACC8(d, 96),
          QUOIN_ACC8(d, 104)
        : "l"(a), "l"(b), "r"(accumulate));
  }
};

template <>
struct Wgmma<256> {
  static __device__ __forceinline__ void multiply(int (&d)[128], std::uint64_t a, std::uint64_t b,
                                                  int accumulate) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %130, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n256k32.s32.s8.s8 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, "
        "%12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, "
        "%24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, "
        "%36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, "
        "%60, %61, %62, %63, %64, %65, %66, %67, %68, %69, %70, %71, "
        "%72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, "
        "%84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
        "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, "
        "%108, %109, %110, %111, %112, %113, %114, %115, %116, %117, %118, %119, "
        "%120, %121, %122, %123, %124, %125, %126, %127}, "
        "%128, %129, p;\n}\n"
        : QUOIN_ACC32(d, 0), QUOIN_ACC32(d, 32), QUOIN_ACC32(d, 64), QUOIN_ACC32(d, 96)
        : "l"(a), "l"(b), "r"(accumulate));
  }
};

#undef QUOIN_ACC32
#undef QUOIN_ACC8

}  // namespace quoin::cuda::ptx
