// The time of one tiled kernel (a Triton launch) on a GPU, from what each program of its grid does.
//
//   time = launch + ( dram^p + l2^p + issue^p + tensor^p + latency^p + dispatch^p )^(1/p)
//
//   dram      bytes that miss L2, over the bandwidth reached in practice
//   l2        sectors that L1 does not serve, over the L2's bandwidth
//   issue     instructions of all warps, over the schedulers' rate
//   tensor    dots, with the time to fill and to transpose their tiles in shared memory
//   latency   waves of resident programs, times what one program waits for
//   dispatch  programs over the rate at which a GPU starts them
//
// Pipes overlap, so their times are not added; two pipes of equal time disturb one another, so it
// is no plain maximum either: p = 6 (kPipeNorm). Pure functions. The constants are in
// gpu_kernel.cpp, each with its measurement; tests/architect/back_cost_test.cpp holds the model
// against them.
#pragma once

#include <array>
#include <vector>

#include "cost/devices.h"
#include "cost/units.h"

namespace quoin::cost {

/// What multiplies a dot: tensor cores by operand type, or the ordinary float32 lanes.
enum class DotType { float32, tf32, float16, float8, int8 };

/// One load, store or atomic of a kernel. Bytes are useful ones: masked lanes and duplicates left
/// out.
struct TileAccess {
  enum class Kind { load, store, atomic };
  Kind kind = Kind::load;
  Bytes element{4};
  double executions = 1;          // per program
  double lanes = 1;               // elements of the tile, those masked off included
  Bytes program;                  // requested by one program
  Bytes program_distinct;         // of the tensor, by one program
  Bytes total;                    // requested by all programs
  Bytes distinct;                 // of the tensor, by all programs
  Bytes run{128};                 // contiguous bytes before a jump
  double lines = 0;               // of 128 bytes that a warp touches; 0: by run and efficiency
  double sector_efficiency = 1;   // useful bytes over the bytes of the sectors touched
  double kept_efficiency = 0;     // the same where L1 keeps what a program touches; 0: no better
  std::array<bool, 3> depends{};  // on which program ids the address does
  int stage = 0;                  // index into TiledKernel::stages
  bool feeds_dot = false;
  bool row_misaligned = false;  // rows that do not start at a sector
};

struct TileDot {
  double m = 0, n = 0, k = 0;
  double executions = 1;  // per program
  DotType type = DotType::tf32;
  bool k_major = true;    // both operands run along K in memory
  bool cast = false;      // an operand was converted in registers
  bool computed = false;  // an operand was computed: no asynchronous copy of it
  int stage = 0;
};

/// A loop of the kernel, or (the first) what is outside of all loops.
struct TileStage {
  double executions = 1;       // of the body, per program
  double trips = 64;           // per entry
  bool pipelined = false;      // loads of later iterations run ahead (a dot's loop with stages > 1)
  double barriers = 0;         // block-wide reductions and layout changes in the body
  double dependent_loads = 0;  // memory round trips that wait for one another
};

struct TiledKernel {
  std::array<double, 3> grid{1, 1, 1};
  double active = 1;  // share of the grid that does not return at once
  int warps = 4;
  int buffers = 3;             // num_stages
  double largest_tile = 0;     // elements of the largest float tile
  double carried = 0;          // elements that live across iterations
  double instructions = 0;     // lane operations per program, memory operations left out
  double extra_registers = 0;  // per thread, beyond what the tiles need
  double special = 0;          // of those, in the special function units
  std::vector<TileAccess> accesses;
  std::vector<TileDot> dots;
  std::vector<TileStage> stages{TileStage{}};
};

enum class Pipe { dram, l2, issue, tensor, latency, dispatch, atomics };

[[nodiscard]] const char* name(Pipe pipe) noexcept;

struct KernelTime {
  Seconds time;  // of the GPU, its launch included
  Seconds dram, l2, issue, tensor, latency, dispatch, atomics;
  Bytes dram_bytes;
  Ops flops;
  double resident = 1;  // programs per SM
  double waves = 1;     // of resident programs
  Pipe limiter = Pipe::dram;
};

[[nodiscard]] KernelTime price(const TiledKernel& kernel, const GpuDevice& gpu);

/// The tensor pipe alone: cycles of one SM for one execution of this dot with many programs
/// resident.
[[nodiscard]] double dot_cycles(const TileDot& dot, const GpuDevice& gpu);

// Facts of a device that its table row implies.
[[nodiscard]] Hertz clock_of(const GpuDevice& gpu);
[[nodiscard]] double lanes_per_sm(const GpuDevice& gpu);
[[nodiscard]] OpsPerSecond peak(const GpuDevice& gpu, DotType type);
/// Streaming: reads and writes together, and reads alone.
[[nodiscard]] BytesPerSecond stream_rate(const GpuDevice& gpu);
[[nodiscard]] BytesPerSecond read_rate(const GpuDevice& gpu);
[[nodiscard]] BytesPerSecond l2_rate(const GpuDevice& gpu);

}  // namespace quoin::cost
