// One function per machine instruction that the sm90a kernel uses, and nothing else. Each names the
// section of the PTX ISA manual (9.0) that defines it; sections there are titled by instruction.
// Shared-memory addresses are 32-bit.
#pragma once

#include <cuda.h>

#include <cstdint>

namespace quoin::cuda::ptx {

// --- Addresses and identity ----------------------------------------------------------------------

__device__ __forceinline__ std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

/// Special Registers: %cluster_ctarank, %clusterid.x, %nclusterid.x.
__device__ __forceinline__ std::uint32_t cluster_rank() {
  std::uint32_t rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
__device__ __forceinline__ std::uint32_t cluster_id() {
  std::uint32_t id;
  asm volatile("mov.u32 %0, %%clusterid.x;" : "=r"(id));
  return id;
}
__device__ __forceinline__ std::uint32_t cluster_count() {
  std::uint32_t count;
  asm volatile("mov.u32 %0, %%nclusterid.x;" : "=r"(count));
  return count;
}

/// Parallel Synchronization, elect.sync: the lane that acts for its warp. Unlike a test of the
/// lane's number it tells the compiler that one lane at most is active.
__device__ __forceinline__ bool elected() {
  std::uint32_t yes;
  asm volatile(
      "{\n.reg .pred p;\n"
      "elect.sync _|p, 0xFFFFFFFF;\n"
      "selp.u32 %0, 1, 0, p;\n}\n"
      : "=r"(yes));
  return yes != 0;
}

/// A value that is the same in all lanes of a warp, made known as such: then addresses and
/// descriptors live in uniform registers. Without, every copy and every wgmma comes in a loop over
/// the lanes' values (60 instructions a K block, which was the whole time of a small product).
__device__ __forceinline__ int uniform(int value) { return __shfl_sync(0xFFFFFFFFU, value, 0); }

/// The same value, which the compiler has to keep: what it can compute again it does, and the base
/// of shared memory in the loop over K cost 64 x 64 tiles 3%.
__device__ __forceinline__ std::uint32_t kept(std::uint32_t value) {
  std::uint32_t same;
  asm volatile("mov.b32 %0, %1;" : "=r"(same) : "r"(value));
  return same;
}

/// Sets a register here and now. (What an assignment writes is known, and ptxas then writes it
/// where it is read: before the next tile's first wgmma, for the tensor cores to wait for.)
template <std::uint32_t kValue>
__device__ __forceinline__ void set(int& target) {
  asm volatile("mov.b32 %0, %1;" : "=r"(target) : "n"(kValue));
}

/// Data Movement, mapa: the address of the same shared variable in CTA `rank` of the cluster.
__device__ __forceinline__ std::uint32_t map_to_rank(std::uint32_t address, std::uint32_t rank) {
  std::uint32_t mapped;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(mapped) : "r"(address), "r"(rank));
  return mapped;
}

// --- Barriers of threads -------------------------------------------------------------------------

/// Parallel Synchronization, bar.sync, on one of the 16 named barriers. Id 0 is __syncthreads.
__device__ __forceinline__ void named_barrier(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

/// Parallel Synchronization, barrier.cluster. Relaxed: `fence_barrier_init` has published what the
/// others need, and a release would flush everything else too (MEMBAR.GPU).
__device__ __forceinline__ void cluster_arrive() {
  asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
}
__device__ __forceinline__ void cluster_wait() {
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// --- Parallel Synchronization, mbarrier ----------------------------------------------------------

__device__ __forceinline__ void barrier_init(std::uint32_t barrier, std::uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

/// fence.mbarrier_init: makes initialised barriers visible to the cluster and the copy engine.
__device__ __forceinline__ void fence_barrier_init() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

__device__ __forceinline__ void barrier_arrive(std::uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

/// The barrier may lie in another CTA of the cluster (an address from `map_to_rank`). CTA scope: it
/// orders no memory for the other side. `.release.cluster` would, by a MEMBAR.GPU at every arrival:
/// at 2048x4096x4096 clusters of
/// two then took 72 us for 61.
__device__ __forceinline__ void barrier_arrive_remote(std::uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cluster.b64 _, [%0];" ::"r"(barrier) : "memory");
}

__device__ __forceinline__ void barrier_expect_bytes(std::uint32_t barrier, std::uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
}

/// Waits until the phase of parity `parity` has completed. try_wait suspends the thread in
/// hardware for a while, so the loop hardly spins.
__device__ __forceinline__ void barrier_wait(std::uint32_t barrier, std::uint32_t parity) {
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@done bra finished;\n"
      "bra again;\n"
      "finished:\n"
      "}\n" ::"r"(barrier),
      "r"(parity)
      : "memory");
}

// --- Data Movement, cp.async.bulk.tensor: the copy engine (TMA) ----------------------------------

/// Data Movement, prefetch.tensormap.
__device__ __forceinline__ void prefetch_map(const CUtensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

/// Loads the box of `map` at (x, y) into shared memory; `barrier` counts its bytes.
__device__ __forceinline__ void load_tile(std::uint32_t target, const CUtensorMap* map,
                                          std::uint32_t barrier, int x, int y) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
      " [%0], [%1, {%3, %4}], [%2];" ::"r"(target),
      "l"(map), "r"(barrier), "r"(x), "r"(y)
      : "memory");
}

/// The same into every CTA of the cluster whose bit is set, at the same offset, each CTA's own
/// barrier counting the bytes.
__device__ __forceinline__ void load_tile_multicast(std::uint32_t target, const CUtensorMap* map,
                                                    std::uint32_t barrier, int x, int y,
                                                    std::uint16_t ctas) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
      ".multicast::cluster [%0], [%1, {%3, %4}], [%2], %5;" ::"r"(target),
      "l"(map), "r"(barrier), "r"(x), "r"(y), "h"(ctas)
      : "memory");
}

/// Stores a box from shared memory to (x, y) of `map`, one bulk group; what lies outside stays out.
/// Every thread that wrote the box has called `fence_before_copy_engine` and been waited for.
__device__ __forceinline__ void store_tile(const CUtensorMap* map, std::uint32_t source, int x,
                                           int y) {
  asm volatile(
      "cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%2, %3}], [%1];\n"
      "cp.async.bulk.commit_group;" ::"l"(map),
      "r"(source), "r"(x), "r"(y)
      : "memory");
}
/// fence.proxy.async: what this thread has written to shared memory is there for the copy engine.
__device__ __forceinline__ void fence_before_copy_engine() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
/// cp.async.bulk.wait_group.read: until at most `kPending` of this thread's stores still read.
template <int kPending>
__device__ __forceinline__ void wait_for_stores() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(kPending) : "memory");
}

// --- Distributed shared memory -------------------------------------------------------------------

/// Data Movement, st.async: 16 bytes into another CTA of the cluster, counted by its barrier.
__device__ __forceinline__ void send(std::uint32_t target, std::uint32_t barrier, int a, int b,
                                     int c, int d) {
  asm volatile(
      "st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 [%0], {%2, %3, %4, %5}, "
      "[%1];" ::"r"(target),
      "r"(barrier), "r"(a), "r"(b), "r"(c), "r"(d)
      : "memory");
}

/// Data Movement, ld.shared.v4.
__device__ __forceinline__ int4 load_shared(std::uint32_t address) {
  int4 value;
  asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "r"(address)
               : "memory");
  return value;
}

// --- Small matrices of 16-bit elements -----------------------------------------------------------

/// Warp-level Matrix Instructions, stmatrix: four 8x8 matrices; lane l names row l % 8 of matrix
/// l / 8.
__device__ __forceinline__ void store_matrices(std::uint32_t row_address, std::uint32_t a,
                                               std::uint32_t b, std::uint32_t c, std::uint32_t d) {
  asm volatile(
      "stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(row_address), "r"(a),
      "r"(b), "r"(c), "r"(d)
      : "memory");
}

/// Warp-level Matrix Instructions, movmatrix: transposes an 8x8 matrix held two elements a lane.
__device__ __forceinline__ std::uint32_t transpose_matrix(std::uint32_t value) {
  std::uint32_t transposed;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(transposed) : "r"(value));
  return transposed;
}

/// Data Movement, cvt: the float32 of a binary16.
__device__ __forceinline__ float half_to_float(std::uint32_t bits) {
  float value;
  asm("{.reg .b16 h; cvt.u16.u32 h, %1; cvt.f32.f16 %0, h;}" : "=f"(value) : "r"(bits));
  return value;
}

/// Data Movement, cvt: two float32 to packed 16-bit floats, nearest even, NaN to 0x7FFF.
__device__ __forceinline__ std::uint32_t pack_half(float low, float high) {
  std::uint32_t packed;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}
__device__ __forceinline__ std::uint32_t pack_bfloat16(float low, float high) {
  std::uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

// --- Data Movement, ld.global --------------------------------------------------------------------

/// Not __ldg (ld.global.nc): the memory model leaves that out, so `wait_for_producer_kernel` does
/// not order it, and here the kernel ahead may write what is read while this one is resident.
__device__ __forceinline__ std::uint32_t load_global(const std::uint32_t* from) {
  std::uint32_t value;
  asm volatile("ld.global.b32 %0, [%1];" : "=r"(value) : "l"(from) : "memory");
  return value;
}
__device__ __forceinline__ std::uint32_t load_global(const std::uint16_t* from) {
  std::uint16_t value;
  asm volatile("ld.global.b16 %0, [%1];" : "=h"(value) : "l"(from) : "memory");
  return value;
}
__device__ __forceinline__ uint4 load_global(const uint4* from) {
  uint4 value;
  asm volatile("ld.global.v4.b32 {%0, %1, %2, %3}, [%4];"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "l"(from)
               : "memory");
  return value;
}
/// The same, of what is not read again (.cs: likely to be evicted first).
__device__ __forceinline__ uint4 load_streaming(const uint4* from) {
  uint4 value;
  asm volatile("ld.global.cs.v4.b32 {%0, %1, %2, %3}, [%4];"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "l"(from)
               : "memory");
  return value;
}

// --- Registers ----------------------------------------------------------------------------------

/// Miscellaneous Instructions, setmaxnreg: by all warps of a warpgroup.
template <int kRegisters>
__device__ __forceinline__ void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ __forceinline__ void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

// --- Order between kernels: Parallel Synchronization, griddepcontrol -----------------------------

/// Returns once the kernels that this one depends on have finished (at once if there are none).
/// Cards before Hopper have no early start, and so nothing to wait for.
__device__ __forceinline__ void wait_for_producer_kernel() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
/// Lets the next kernel of the stream start early.
__device__ __forceinline__ void release_dependent_kernel() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

}  // namespace quoin::cuda::ptx
