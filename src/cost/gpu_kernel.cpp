#include "cost/gpu_kernel.h"

#include <algorithm>
#include <cmath>

namespace quoin::cost {
namespace {

// Measured on an H200 (132 SMs at 1.98 GHz, Triton 3.6, 2026-11-21) unless another source is
// named; the cases are in tests/architect/calibration/h200.jsonl.

// Reads and writes of 4 GB: 4.27 of 4.8 TB/s there, 3.03 of 3.35 on an H100. Reads: 4.55 and 3.11.
constexpr double kStream = 0.90;
constexpr double kRead = 0.94;
// A column read through 32-byte sectors: 4.6 to 5.1 TB/s, 17.6 bytes a cycle and SM. Whole lines,
// as the tiles of small products ask for: 8.5 to 10.6 TB/s. Scattered stores take twice as long.
constexpr double kL2BytesPerCycle = 18.5;
constexpr double kL2LineGain = 2.4;
constexpr double kScatteredStore = 2;
// Empty programs: 1.656e9 a second, whatever their warps. 0.836 a cycle of the whole device.
constexpr double kProgramsPerCycle = 0.836;
constexpr double kPipeNorm = 6;                 // streams of 1 to 16 elements a thread: within 5%
constexpr Seconds kLaunch = microseconds(2.2);  // an empty kernel between two events: 2.7 us

// Round trips. A row read by one program of 4 or 8 warps, 64 programs: 470 ns for 4 KB.
constexpr double kDramLatency = 470e-9;
constexpr double kL2Latency = 230e-9;  // hits: 270 cycles and the way back
constexpr double kPipelinedTrip = 700e-9, kPipelinedTripL2 = 440e-9;
constexpr double kBytesAhead =
    4096;  // what the compiler's unrolling keeps in flight in plain loops
constexpr double kProgramBytes = 28e9;  // bytes a second that one program can take in
constexpr double kBarrier = 110e-9;  // a reduction over a block in a loop: 564 against 123 + 330 ns
constexpr double kStart = 150e-9;    // a load, a store and the block's start: 800 ns together
constexpr double kWarpIpc = 0.45;    // of a scheduler with one warp to choose from

// Shared memory is filled at about 65 bytes a cycle and SM: 64x64x32 to 128x256x64, f16 and tf32.
constexpr double kFillBytesPerCycle = 65;
constexpr double kSyncCycles = 25;
// Operands that wgmma cannot transpose (all but 16 bit) and that do not run along K: cycles per
// element.
constexpr double kTransposeTf32 = 0.5;
constexpr double kTransposeInt8 = 0.15;    // for n = 64; grows with n
constexpr double kInt8Accumulate = 0.018;  // per element of the tile
// float32 dots with input_precision "ieee": 41 TFLOPS; 14 to 22 with an operand along K.
constexpr double kIeeeShare = 0.61, kIeeeShareKMajor = 0.27;
// mma.sync, tiles under 64 rows: 80 TFLOPS in tf32, 107 to 135 in f16, 83 to 117 in int8.
constexpr double kSmallTf32 = 0.155, kSmallFloat16 = 0.125, kSmallInt8 = 0.05;

// Several hundred KB of nested taps still hit: neighbours in time are neighbours in memory.
constexpr double kL1Reach = 600e3;
constexpr double kL1Bytes = 256e3;    // of an SM
constexpr double kLineSlots = 1.4;    // half a cycle of the load unit for each line above two
constexpr double kIssueShare = 0.72;  // of four instructions a cycle
constexpr double kAtomicsPerSecond = 2.4e9;  // on spread addresses
constexpr double kSectorAtomics = 0.56e9;    // on one 32-byte sector: 1,048,576 in 1.9 ms

double element_bytes(DotType type) {
  switch (type) {
    case DotType::float32:
    case DotType::tf32: return 4;
    case DotType::float16: return 2;
    case DotType::float8:
    case DotType::int8: return 1;
  }
  return 4;
}

double sm_cycle_rate(const GpuDevice& gpu) { return clock_of(gpu).value * gpu.sms; }

}  // namespace

const char* name(Pipe pipe) noexcept {
  switch (pipe) {
    case Pipe::dram: return "DRAM bandwidth";
    case Pipe::l2: return "L2 bandwidth";
    case Pipe::issue: return "instruction issue";
    case Pipe::tensor: return "the tensor pipe";
    case Pipe::latency: return "latency";
    case Pipe::dispatch: return "the start of programs";
    case Pipe::atomics: return "atomics";
  }
  return "";
}

double lanes_per_sm(const GpuDevice& gpu) {
  // No GPU of the table runs below 1 GHz, so one that would with 128 lanes has 64.
  return gpu.fp32.value / (256.0 * gpu.sms) < 1e9 ? 64 : 128;
}

Hertz clock_of(const GpuDevice& gpu) {
  return {gpu.fp32.value / (2 * lanes_per_sm(gpu) * gpu.sms)};
}

OpsPerSecond peak(const GpuDevice& gpu, DotType type) {
  switch (type) {
    case DotType::float32: return gpu.fp32;
    case DotType::tf32: return gpu.tf32.value > 0 ? gpu.tf32 : gpu.fp32;
    case DotType::float16: return gpu.fp16;
    case DotType::float8: return gpu.fp8.value > 0 ? gpu.fp8 : gpu.fp16;
    case DotType::int8: return gpu.int8.value > 0 ? gpu.int8 : gpu.fp16;
  }
  return gpu.fp32;
}

BytesPerSecond stream_rate(const GpuDevice& gpu) { return gpu.memory * kStream; }
BytesPerSecond read_rate(const GpuDevice& gpu) { return gpu.memory * kRead; }
BytesPerSecond l2_rate(const GpuDevice& gpu) { return {kL2BytesPerCycle * sm_cycle_rate(gpu)}; }

double dot_cycles(const TileDot& dot, const GpuDevice& gpu) {
  const double ops = 2 * dot.m * dot.n * dot.k;
  const double per_cycle = peak(gpu, dot.type).value / sm_cycle_rate(gpu);
  if (dot.type == DotType::float32) {
    return ops / (per_cycle * (dot.k_major ? kIeeeShareKMajor : kIeeeShare));
  }
  const double bytes = element_bytes(dot.type);
  if (dot.m < 64) {
    const double share = bytes == 4 ? kSmallTf32 : bytes == 2 ? kSmallFloat16 : kSmallInt8;
    return ops / (per_cycle * share);
  }
  double cycles = ops / per_cycle + (dot.m + dot.n) * dot.k * bytes / kFillBytesPerCycle;
  cycles += kSyncCycles;
  if (dot.type == DotType::int8) cycles += kInt8Accumulate * dot.m * dot.n;
  if (dot.cast) {
    // Through registers in any layout: 145 TFLOPS along K, 105 across, for int8 cast to tf32.
    cycles += (dot.k_major ? 0.015 : 0.05) * (dot.m + dot.n) * dot.k;
  } else if (!dot.k_major && bytes != 2) {
    const double each = bytes == 4 ? kTransposeTf32 : kTransposeInt8 * dot.n / 64;
    cycles += each * dot.n * dot.k;
  }
  return cycles;
}

namespace {

/// Cycles of one execution with one program on the SM: filling overlaps with multiplying, and a
/// transpose has the shared memory for itself. 64 x 64 x 32 across K: 350 ns with its bytes in L2;
/// 128 x 256 x 64 in f16: 690 ns.
double lone_dot_cycles(const TileDot& dot, const GpuDevice& gpu) {
  const double all = dot_cycles(dot, gpu);
  if (dot.type == DotType::float32 || dot.m < 64) return all;
  const double bytes = element_bytes(dot.type);
  const double ops = 2 * dot.m * dot.n * dot.k / (peak(gpu, dot.type).value / sm_cycle_rate(gpu));
  const double fill = (dot.m + dot.n) * dot.k * bytes / kFillBytesPerCycle;
  const bool transposed = !dot.k_major && bytes != 2 && !dot.cast;
  return std::min(all, std::max(ops, fill) + kSyncCycles + (transposed ? 0.12 * dot.n * dot.k : 0) +
                           (dot.type == DotType::int8 ? kInt8Accumulate * dot.m * dot.n : 0));
}

double programs(const TiledKernel& k) { return k.grid[0] * k.grid[1] * k.grid[2]; }
double threads(const TiledKernel& k) { return 32.0 * k.warps; }

double registers(const TiledKernel& k) {
  double tile = std::max(k.largest_tile, k.carried);
  for (const TileDot& dot : k.dots) tile = std::max(tile, dot.m * dot.n);
  return std::min(255.0,
                  24 + k.extra_registers + 1.6 * tile / threads(k) + (k.dots.empty() ? 0 : 24));
}

double shared_bytes(const TiledKernel& k) {
  double most = 0;
  for (const TileDot& dot : k.dots) {
    const double bytes = element_bytes(dot.type);
    const auto stage = static_cast<std::size_t>(dot.stage);
    const bool ahead = stage < k.stages.size() && k.stages[stage].pipelined;
    most = std::max(most, (dot.m + dot.n) * dot.k * bytes * (ahead ? std::max(1, k.buffers) : 1));
  }
  return most;
}

double resident_programs(const TiledKernel& k, const GpuDevice& gpu) {
  double fit = std::min(32.0, std::floor(64.0 / k.warps));
  fit = std::min(fit, std::floor(65536 / (registers(k) * threads(k))));
  const double shared = shared_bytes(k);
  if (shared > 0) fit = std::min(fit, std::floor(gpu.smem_per_sm.value / (shared + 1024)));
  return std::max(1.0, fit);
}

/// Bytes of an access that DRAM moves: each byte once where the L2 keeps it until its next use.
double dram_bytes(const TiledKernel& k, const TileAccess& a, const GpuDevice& gpu, double at_once) {
  const double keep = 0.7 * gpu.l2.value;
  // A sector that is only partly used comes whole, unless neighbours use the rest in time.
  double distinct = a.distinct.value;
  if (distinct <= 0) return 0;
  double loops = a.program_distinct.value > 0 ? a.program.value / a.program_distinct.value : 1;
  if (loops > 1.5 && at_once * a.program_distinct.value > keep && distinct > keep &&
      a.program_distinct.value > 200e3 / 2) {
    // One program walks its data several times, and the data of those that run with it do not fit.
    return std::min(a.total.value, distinct * loops);
  }
  if (distinct <= keep) return distinct;
  // Tiles shared by programs: what the programs of one wave read together is read once.
  double unique = 1, left = at_once;
  bool by_id = false;
  for (int axis = 0; axis < 3; ++axis) {
    const double span = std::clamp(left, 1.0, k.grid[axis]);
    left = std::ceil(left / std::max(1.0, k.grid[axis]));
    if (a.depends[axis]) {
      unique *= span;
      by_id = true;
    }
  }
  if (!by_id) return distinct;
  const double waves = std::max(1.0, programs(k) / at_once);
  const double wave_bytes = std::min(unique * a.program_distinct.value, distinct);
  if (wave_bytes >= 0.999 * distinct) return distinct * waves;
  // Neighbours that overlap (convolution taps, sectors of a column) find their bytes in the L2.
  const bool overlapping = unique > 0.99 * std::min(at_once, programs(k));
  return overlapping ? distinct : std::clamp(waves * wave_bytes, distinct, a.total.value);
}

/// Atomics on the same sector take turns: how long those of one access take.
double atomics_time(const TiledKernel& k, const TileAccess& a, double at_once) {
  // Neighbouring lanes of one sector go together.
  const double each = a.program.value / std::clamp(a.run.value, a.element.value, 32.0);
  const double all = std::max(each, a.executions) * programs(k) * k.active;
  double range = 1;
  for (int axis = 0; axis < 3; ++axis) range *= a.depends[axis] ? k.grid[axis] : 1;
  const double addresses = std::max(1.0, a.distinct.value / a.element.value);
  const double in_flight =
      std::min(addresses, at_once * std::min(1.0, addresses / std::max(1.0, range)));
  const double sectors = std::max(1.0, in_flight * a.element.value / 32);
  return all / std::min(kAtomicsPerSecond, kSectorAtomics * sectors);
}

struct Memory {
  double dram_read = 0, dram_written = 0, l2 = 0, atomics = 0;  // bytes, seconds of atomics
};

Memory memory_of(const TiledKernel& k, const GpuDevice& gpu, double at_once) {
  Memory sum;
  const double resident = std::max(1.0, at_once / gpu.sms);
  for (const TileAccess& a : k.accesses) {
    const double moved = dram_bytes(k, a, gpu, at_once);
    // L1 serves what a program asks for again while its lines are kept, and what the programs that
    // follow one another on an SM share.
    const bool kept = a.program_distinct.value * resident < kL1Reach || a.feeds_dot;
    const double asked =
        kept && a.program_distinct.value > 0 ? a.program_distinct.value : a.program.value;
    // Where L1 keeps the sectors of one iteration until later taps use the rest of them.
    const double held = a.lanes * a.element.value / std::max(a.sector_efficiency, 1.0 / 32);
    const bool fills = held * resident < kL1Bytes && !a.feeds_dot;
    const double efficiency =
        std::clamp(fills ? std::max(a.sector_efficiency, a.kept_efficiency) : a.sector_efficiency,
                   1.0 / 32, 1.0);
    const bool shared = !a.depends[0] && a.program_distinct.value < 65536 && !a.feeds_dot &&
                        k.grid[0] > 4.0 * gpu.sms;
    const double askers = shared ? programs(k) / k.grid[0] * gpu.sms : programs(k) * k.active;
    const bool lines = efficiency > 0.7 && a.run.value >= 64;
    const double through_l2 =
        std::min(asked * askers, a.total.value) / efficiency / (lines ? kL2LineGain : 1);
    if (a.kind == TileAccess::Kind::load) {
      sum.dram_read += moved;
      sum.l2 += std::max(through_l2, moved / kL2LineGain);
    } else if (a.kind == TileAccess::Kind::store) {
      // Rows that start inside a sector: partly written sectors are fetched and merged. A row of
      // 65,535 floats, scaled: 5 times the bytes in a loop over the row, 2.3 times tile by tile.
      double factor = a.row_misaligned ? (a.executions > 4 ? 4.5 : 2.2) : 1;
      factor = std::max(factor, std::min(4.0, 0.5 / efficiency));
      sum.dram_written += moved * factor;
      sum.l2 += std::max(through_l2 * (lines ? 1 : kScatteredStore), moved / kL2LineGain);
    } else {
      sum.atomics = std::max(sum.atomics, atomics_time(k, a, at_once));
      sum.l2 += a.total.value;
      sum.dram_written += moved;
    }
  }
  return sum;
}

/// Instructions of one program's warps: arithmetic, and four for each memory operation of a thread.
double warp_instructions(const TiledKernel& k) {
  double lanes = k.instructions;
  for (const TileAccess& a : k.accesses) {
    const double wide = std::clamp(std::min(16.0, a.run.value) / a.element.value, 1.0,
                                   std::max(1.0, a.lanes / threads(k)));
    const double issued = std::max(a.lanes / wide, threads(k));
    // Lanes that jump take a slot of the load unit for each line.
    double lines = a.lines;
    if (lines <= 0) {
      lines = a.sector_efficiency <= 0.13 ? 128.0 / std::max(a.run.value, 4.0)
                                          : 1 / a.sector_efficiency;
    }
    lines = std::clamp(lines, 1.0, 32.0);
    lanes += a.executions * issued * (3 + kLineSlots * std::max(0.0, lines - 2));
  }
  double warps = lanes / 32;
  warps += k.special / 32;  // a quarter of the rate, beside what `instructions` counts
  for (const TileStage& s : k.stages)
    warps += s.executions * (3 * k.warps + s.barriers * 30 * k.warps);
  return warps;
}

double stage_latency(const TiledKernel& k, std::size_t index, const GpuDevice& gpu) {
  const TileStage& s = k.stages[index];
  double bytes = 0;
  bool far = false, loads = false;
  for (const TileAccess& a : k.accesses) {
    if (a.stage != static_cast<int>(index) || a.kind != TileAccess::Kind::load) continue;
    loads = true;
    bytes += a.lanes * a.element.value;
    // Bytes that many programs or iterations ask for come from L2 all but once.
    const bool shared = a.total.value > 6 * a.distinct.value;
    const bool large =
        a.distinct.value > 0.25 * gpu.l2.value || a.program_distinct.value * 3 > a.program.value;
    far = far || (large && !shared);
  }
  double time = s.barriers * kBarrier, loaded = 0;
  if (loads) {
    const double trip = far ? kDramLatency : kL2Latency;
    double wait = trip * std::max(1.0, s.dependent_loads);
    if (s.pipelined) {
      // Loads of later iterations are on their way: 400 to 530 ns an iteration with three stages
      // and one program on an SM, 800 with two.
      wait = (far ? kPipelinedTrip : kPipelinedTripL2) / std::max(1, k.buffers - 1);
    } else if (s.barriers == 0 && index > 0) {
      wait *= std::clamp(bytes / kBytesAhead, s.trips < 8 ? 0.4 : 0.25, 1.0);
    }
    if (!s.pipelined) wait += std::max(0.0, bytes - kBytesAhead) / kProgramBytes;
    loaded = wait;
  }
  double multiplied = 0;
  for (const TileDot& dot : k.dots) {
    if (dot.stage != static_cast<int>(index)) continue;
    const double share = s.executions > 0 ? dot.executions / s.executions : 1;
    multiplied += share * lone_dot_cycles(dot, gpu) / clock_of(gpu).value;
    time += share * 60e-9;
    if (dot.cast) time += share * 120e-9;
    // An int8 tile across K, one program on an SM: 860 ns an iteration instead of 400.
    if (!dot.k_major && dot.type == DotType::int8) time += share * 420e-9;
  }
  return time + (s.pipelined ? std::max(loaded, multiplied) : loaded + multiplied);
}

double program_latency(const TiledKernel& k, const GpuDevice& gpu, double instructions) {
  double time = kStart;
  for (std::size_t i = 0; i < k.stages.size(); ++i) {
    time += k.stages[i].executions * stage_latency(k, i, gpu);
  }
  // A block alone on an SM issues from few warps: each scheduler has warps / 4 to choose from.
  const double per_scheduler = std::max(1.0, k.warps / 4.0);
  const double ipc = std::min(0.9, kWarpIpc * per_scheduler);
  time += instructions / std::min(4.0, static_cast<double>(k.warps)) / ipc / clock_of(gpu).value;
  return time;
}

/// Whether a dot's tiles are transposed on their way: operands across K that wgmma cannot take.
bool transposes(const TiledKernel& k) {
  for (const TileDot& dot : k.dots) {
    if (!dot.k_major && !dot.cast && element_bytes(dot.type) == 4 && dot.type != DotType::float32) {
      return true;
    }
  }
  return false;
}

double norm(std::initializer_list<double> parts) {
  double most = 0;
  for (double part : parts) most = std::max(most, part);
  if (most <= 0) return 0;
  double sum = 0;
  for (double part : parts) sum += std::pow(part / most, kPipeNorm);
  return most * std::pow(sum, 1 / kPipeNorm);
}

}  // namespace

KernelTime price(const TiledKernel& k, const GpuDevice& gpu) {
  KernelTime out;
  const double n = std::max(1.0, programs(k));
  const double active = std::max(1.0, n * k.active);
  out.resident = resident_programs(k, gpu);
  const double at_once = std::min(n, out.resident * gpu.sms);
  out.waves = n / (out.resident * gpu.sms);

  const Memory memory = memory_of(k, gpu, at_once);
  out.dram_bytes = {memory.dram_read + memory.dram_written};
  const bool reads_only = memory.dram_written < 0.1 * memory.dram_read;
  out.dram = out.dram_bytes / (reads_only ? read_rate(gpu) : stream_rate(gpu));
  out.l2 = Bytes{memory.l2} / l2_rate(gpu);
  const double cycle_rate = sm_cycle_rate(gpu);
  const double instructions = warp_instructions(k);
  const double busy = std::min(1.0, active / gpu.sms);  // SMs that have a program at all
  out.issue = {instructions * active / (4 * kIssueShare * cycle_rate * busy)};
  double cycles = 0;
  for (const TileDot& dot : k.dots) {
    cycles += dot.executions * dot_cycles(dot, gpu);
    out.flops = out.flops + Ops{2 * dot.m * dot.n * dot.k * dot.executions * active};
  }
  out.flops = out.flops + Ops{k.instructions * active};
  // A part-filled last wave holds the others up.
  const double whole = std::ceil(active / gpu.sms) * gpu.sms / active;
  out.tensor = {cycles * active / cycle_rate / busy *
                (k.dots.empty() ? 1 : std::min(whole, 2.0) * busy)};
  const double rounds = active / (out.resident * gpu.sms);
  const double turns = rounds < 1 ? 1 : rounds < 6 ? std::ceil(rounds - 0.05) : rounds;
  out.latency = {turns * program_latency(k, gpu, instructions)};
  out.dispatch = {n / (kProgramsPerCycle * clock_of(gpu).value)};
  out.atomics = {memory.atomics};
  double tensor = out.tensor.value, issue = out.issue.value, dram = out.dram.value;
  if (transposes(k)) {
    // Tiles that pass through registers: each iteration waits for its barriers, so the pipes take
    // turns (implicit GEMMs in tf32: 0.8 to 1.8 us an iteration on an SM, the sum of the parts).
    tensor += issue + dram;
    issue = dram = 0;
  }
  out.time = kLaunch + Seconds{norm({dram, out.l2.value, issue, tensor, out.latency.value,
                                     out.dispatch.value, out.atomics.value})};
  const std::pair<Pipe, double> pipes[] = {
      {Pipe::dram, out.dram.value},       {Pipe::l2, out.l2.value},
      {Pipe::issue, out.issue.value},     {Pipe::tensor, out.tensor.value},
      {Pipe::latency, out.latency.value}, {Pipe::dispatch, out.dispatch.value},
      {Pipe::atomics, out.atomics.value}};
  double most = -1;
  for (const auto& [pipe, time] : pipes) {
    if (time > most) {
      most = time;
      out.limiter = pipe;
    }
  }
  return out;
}

}  // namespace quoin::cost
