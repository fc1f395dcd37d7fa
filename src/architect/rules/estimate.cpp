#include "architect/rules/estimate.h"

#include <algorithm>
#include <cmath>

namespace quoin::architect {
namespace {

using cost::Bytes;
using cost::Seconds;
using cost::TileAccess;
using cost::TiledKernel;

double product(const std::array<std::int64_t, 3>& values) {
  return static_cast<double>(values[0]) * static_cast<double>(values[1]) *
         static_cast<double>(values[2]);
}

const Value* value_of(const Program& program, ValueId id) {
  if (id < 0 || id >= static_cast<int>(program.values.size())) return nullptr;
  return &program.values[static_cast<std::size_t>(id)];
}

const Value* input_value(const Program& program, const Op& op, std::size_t index) {
  return index < op.inputs.size() ? value_of(program, op.inputs[index].value) : nullptr;
}

const Value* output_value(const Program& program, const Op& op) {
  return op.outputs.empty() ? nullptr : value_of(program, op.outputs.front());
}

double elements(const Value* value) {
  return value == nullptr ? 0 : static_cast<double>(elements_of(*value));
}

// ------------------------------------------------------------------------------- launches

/// Loops that the compiler unrolls are part of the stage around them.
std::vector<int> stage_of_loops(const Kernel& kernel) {
  std::vector<int> stage(kernel.loops.size(), 0);
  int next = 1;
  for (std::size_t i = 0; i < kernel.loops.size(); ++i) {
    const Loop& loop = kernel.loops[i];
    if (loop.static_range && loop.trips <= 64) {
      stage[i] = loop.parent < 0 ? 0 : stage[static_cast<std::size_t>(loop.parent)];
    } else {
      stage[i] = next++;
    }
  }
  return stage;
}

int stage_at(const std::vector<int>& stages, int loop) {
  return loop < 0 || loop >= static_cast<int>(stages.size())
             ? 0
             : stages[static_cast<std::size_t>(loop)];
}

/// Whether rows of this stored tensor start inside a 32-byte sector.
bool rows_misaligned(const Program& program, const Launch& launch, const Access& access) {
  const Value* value = value_of(program, access.value);
  if (value == nullptr || value->shape.size() < 2 || access.kind != AccessKind::store) return false;
  const std::int64_t row = value->shape.back() * bytes_of(value->type);
  if (row % 32 == 0 || row < 128) return false;
  // A flat walk over all elements ignores rows.
  const double flat = std::ceil(elements(value) / std::max(1.0, access.elements));
  return std::fabs(flat - launch.programs) > 0.5 && access.run_bytes > 32;
}

TileAccess tile_access(const Program& program, const Launch& launch, const Access& access,
                       int stage) {
  TileAccess out;
  out.kind = access.kind == AccessKind::load    ? TileAccess::Kind::load
             : access.kind == AccessKind::store ? TileAccess::Kind::store
                                                : TileAccess::Kind::atomic;
  out.element = Bytes{static_cast<double>(bytes_of(access.type))};
  out.executions = access.executions;
  out.lanes = std::max(1.0, access.elements);
  out.program = Bytes{access.program_bytes};
  out.program_distinct = Bytes{access.program_distinct_bytes};
  out.total = Bytes{access.total_bytes};
  out.distinct = Bytes{access.distinct_bytes};
  out.run = Bytes{access.elements > 1 ? std::max(access.run_bytes, out.element.value) : 128};
  out.sector_efficiency = access.sector_efficiency;
  if (access.kind == AccessKind::load) out.kept_efficiency = access.footprint_efficiency;
  bool irregular = false;
  for (const std::int64_t stride : access.strides)
    irregular = irregular || stride == kUnknownStride;
  if (irregular && !access.address.data) {
    // Divided indices, not scattered data: neighbours share sectors.
    out.sector_efficiency = std::max(out.sector_efficiency, 0.5);
    out.run = Bytes{std::max(out.run.value, 64.0)};
    out.program_distinct = out.program_distinct * 0.5;
  }
  for (std::size_t i = 0; i < 3; ++i) out.depends[i] = access.address.pid[i];
  if (access.elements > 1 && out.sector_efficiency <= 0.13) {
    double lines = std::clamp(128 / out.run.value, 1.0, 32.0);
    if (access.fast_dim >= 0 && !irregular) {
      // Lanes that are a few elements apart still share lines.
      const std::int64_t stride = access.strides[static_cast<std::size_t>(access.fast_dim)];
      if (stride > 0)
        lines = std::min(lines, std::max(1.0, static_cast<double>(stride) * out.element.value / 4));
    }
    out.lines = std::max(1.0, lines * access.active);
  }
  out.stage = stage;
  out.row_misaligned = rows_misaligned(program, launch, access);
  return out;
}

/// Instructions that lanes issue, without what indices cost.
double instructions_of(const Arithmetic& a) {
  return a.fma + a.add + a.mul + 8 * a.div + a.min_max + 0.5 * (a.compare + a.select) + a.convert +
         2 * a.exp + 3 * a.log + 8 * a.sqrt + 3 * a.rsqrt + 20 * a.sincos + 12 * a.tanh +
         20 * a.erf + 25 * a.pow + 2 * a.other + 60 * a.random;
}

/// Those of indices. Quotient and remainder by one runtime value share a division of about 22
/// instructions, half of which prepare the divisor once per thread; by a constant they are a
/// multiply and a shift. In the loop of a dot the compiler hoists and shares about half.
double index_instructions_of(const Kernel& kernel, const Launch& launch) {
  const Arithmetic& a = kernel.arithmetic;
  if (!kernel.dots.empty()) {
    return 0.5 * a.integer + 11 * a.integer_div + 1.5 * a.integer_div_constant;
  }
  double widest = 1;
  for (const Access& access : kernel.accesses) widest = std::max(widest, access.elements);
  const double each = std::max(1.0, widest / (32.0 * launch.num_warps));  // elements of a thread
  return 0.9 * a.integer_issued + (6 + 6 / each) * a.integer_div_issued +
         1.5 * a.integer_div_constant;
}

double special_of(const Arithmetic& a) {
  return a.exp + a.log + a.sqrt + a.rsqrt + a.div + a.sincos + a.tanh + 2 * a.pow + a.integer_div;
}

/// A tile of an input patch: neighbours along both dimensions are neighbours in memory, so it
/// overlaps itself.
bool overlaps(const Access& a) {
  return a.tile.size() == 2 && a.strides.size() == 2 && a.tile[0] > 1 && a.tile[1] > 1 &&
         ((a.strides[0] == 1 && a.strides[1] == 1) || a.strides[1] == kUnknownStride);
}

/// Tiles whose addresses come from divided indices: Triton cannot see how they run, so lanes go
/// along the last dimension. Of an input patch [M, K] that is the taps of one row (about three
/// together), of an OIHW weight [K, N] the output channels, a line apart each. Returns whether
/// there is such a tile.
bool gather_lanes(const Kernel& kernel, TiledKernel& out) {
  const double divisions = kernel.arithmetic.integer_div + kernel.arithmetic.integer_div_constant;
  if (kernel.dots.empty() || divisions <= 0) return false;
  bool gathers = false;
  for (const Access& a : kernel.accesses) {
    gathers = gathers || (a.kind == AccessKind::load && a.loop >= 0 && overlaps(a));
  }
  if (!gathers) return false;
  for (std::size_t i = 0; i < kernel.accesses.size(); ++i) {
    const Access& a = kernel.accesses[i];
    if (a.kind != AccessKind::load || a.loop < 0 || a.tile.size() != 2) continue;
    double lines = 0;
    if (overlaps(a) && a.tile[0] >= a.tile[1]) lines = 11;
    if (!overlaps(a) && a.strides[0] == 1 && a.strides[1] > 1) lines = 32;
    if (lines == 0) continue;
    out.accesses[i].lines = lines;
    out.accesses[i].run = out.accesses[i].element;  // no wide loads
  }
  return true;
}

cost::TileDot tile_dot(const Dot& dot, int stage) {
  cost::TileDot out;
  out.m = static_cast<double>(dot.m * std::max<std::int64_t>(1, dot.batch));
  out.n = static_cast<double>(dot.n);
  out.k = static_cast<double>(dot.k);
  out.executions = dot.executions;
  out.type = dot_type(dot.a.type == Type::unknown ? dot.b.type : dot.a.type, dot.allow_tf32);
  // Gathered tiles (implicit GEMMs) are laid out as their last dimension runs: K for the left
  // operand.
  const auto along_k = [](const DotOperand& operand) {
    return operand.computed || operand.access < 0 || operand.k_contiguous.value_or(false);
  };
  out.k_major = along_k(dot.a) && along_k(dot.b);
  out.cast = dot.a.cast_in_registers || dot.b.cast_in_registers;
  out.computed = dot.a.computed || dot.b.computed;
  out.stage = stage;
  return out;
}

}  // namespace

cost::DotType dot_type(Type operand, bool allow_tf32) noexcept {
  switch (operand) {
    case Type::int8:
    case Type::uint8: return cost::DotType::int8;
    case Type::float8: return cost::DotType::float8;
    case Type::float16:
    case Type::bfloat16: return cost::DotType::float16;
    default: return allow_tf32 ? cost::DotType::tf32 : cost::DotType::float32;
  }
}

TiledKernel tiled_kernel(const Program& program, const Op& op) {
  TiledKernel out;
  if (!op.launch || op.launch->kernel < 0) return out;
  const Launch& launch = *op.launch;
  const Kernel& kernel = program.kernels[static_cast<std::size_t>(launch.kernel)];
  for (std::size_t i = 0; i < 3; ++i) out.grid[i] = static_cast<double>(launch.grid[i]);
  out.active = kernel.active_programs;
  out.warps = launch.num_warps;
  out.buffers = launch.num_stages;
  out.largest_tile = static_cast<double>(kernel.largest_tile);
  out.instructions = instructions_of(kernel.arithmetic) + index_instructions_of(kernel, launch);
  out.special = special_of(kernel.arithmetic);

  const std::vector<int> stages = stage_of_loops(kernel);
  for (std::size_t i = 0; i < kernel.loops.size(); ++i) {
    out.carried = std::max(out.carried, kernel.loops[i].carried_bytes / 4);
    if (stages[i] < static_cast<int>(out.stages.size())) continue;
    cost::TileStage stage;
    stage.executions = kernel.loops[i].executions;
    stage.trips = kernel.loops[i].trips;
    out.stages.push_back(stage);
  }
  for (const Access& access : kernel.accesses) {
    out.accesses.push_back(tile_access(program, launch, access, stage_at(stages, access.loop)));
    auto& stage = out.stages[static_cast<std::size_t>(out.accesses.back().stage)];
    if (access.kind == AccessKind::load) {
      stage.dependent_loads = std::max(stage.dependent_loads, access.address.data ? 2.0 : 1.0);
    }
  }
  if (!kernel.dots.empty()) {
    // Index vectors of a two-dimensional tile are computed by every lane of the other dimension: a
    // vector along K 32 times, one along the rows by each warp. Implicit GEMMs live on them.
    const bool gathers = gather_lanes(kernel, out);
    const double replicated = gathers ? 20 : 4;
    const Arithmetic& a = kernel.arithmetic;
    // Plain tiles: one mask and one address for each wide load.
    if (!gathers) out.instructions -= 0.4 * a.integer;
    out.instructions += (replicated - 1) * (11 * a.integer_div + 1.5 * a.integer_div_constant);
  }
  for (const Dot& dot : kernel.dots) {
    out.dots.push_back(tile_dot(dot, stage_at(stages, dot.loop)));
    if (dot.b.access >= 0 && overlaps(kernel.accesses[static_cast<std::size_t>(dot.b.access)])) {
      out.dots.back().k_major = false;  // a patch as [K, N]: laid out along N
    }
    auto& stage = out.stages[static_cast<std::size_t>(out.dots.back().stage)];
    const bool loaded = dot.a.access >= 0 || dot.b.access >= 0;
    const bool counted =
        dot.loop >= 0 && !kernel.loops[static_cast<std::size_t>(dot.loop)].while_loop;
    stage.pipelined = stage.pipelined || (loaded && counted && launch.num_stages > 1);
    for (const DotOperand* operand : {&dot.a, &dot.b}) {
      if (operand->access >= 0)
        out.accesses[static_cast<std::size_t>(operand->access)].feeds_dot = true;
    }
  }
  if (kernel.dots.empty() && launch.num_warps > 1) {
    // Rows and columns that meet in a tile arrive in different layouts: one goes through shared
    // memory in each iteration.
    std::vector<int> ranks(out.stages.size(), 0);
    for (const TileAccess& access : out.accesses) {
      if (access.kind != TileAccess::Kind::load || access.stage == 0 || access.lanes < 8) continue;
      const bool whole = access.lanes > 0.9 * out.largest_tile;
      ranks[static_cast<std::size_t>(access.stage)] |= whole ? 1 : 2;
    }
    for (std::size_t i = 1; i < ranks.size(); ++i) {
      if (ranks[i] < 2 || out.largest_tile <= 512) continue;
      out.stages[i].barriers += 1;
      out.extra_registers = 90;  // 146 to 185 in all where an accumulator of 2,048 needs 16
    }
  }
  if (launch.num_warps > 1) {
    for (const Reduction& reduction : kernel.reductions) {
      const auto at = static_cast<std::size_t>(stage_at(stages, reduction.loop));
      const double share = reduction.executions / std::max(1.0, out.stages[at].executions);
      out.stages[at].barriers += std::min(share, 8.0) * (reduction.scan ? 2 : 1);
    }
  }
  return out;
}

// ------------------------------------------------------------------------------- operations

cost::GemmCall gemm_call(const Program& program, const Op& op, bool tf32) {
  cost::GemmCall call;
  if (!op.matmul) return call;
  const Matmul& m = *op.matmul;
  call.batch = static_cast<double>(m.batch);
  call.m = static_cast<double>(m.m);
  call.n = static_cast<double>(m.n);
  call.k = static_cast<double>(m.k);
  const Value* a = input_value(program, op, 0);
  const Type type = m.type != Type::unknown ? m.type : a != nullptr ? a->type : Type::float32;
  call.type = dot_type(type, tf32);
  call.element = bytes_of(type);
  const Value* out = output_value(program, op);
  call.out_element = out != nullptr ? bytes_of(out->type) : call.element;
  return call;
}

cost::ConvCall conv_call(const Program& program, const Op& op) {
  cost::ConvCall call;
  if (!op.conv) return call;
  const Conv& c = *op.conv;
  call.dims = c.dims;
  call.transposed = c.transposed;
  call.batch = static_cast<double>(c.batch);
  call.in_channels = static_cast<double>(c.in_channels);
  call.out_channels = static_cast<double>(c.out_channels);
  call.groups = static_cast<double>(c.groups);
  call.in_points = product(c.in);
  call.out_points = product(c.out);
  call.taps = product(c.kernel);
  call.strides = product(c.stride);
  call.bias = c.bias;
  const Value* in = input_value(program, op, 0);
  if (in != nullptr) call.element = bytes_of(in->type);
  return call;
}

namespace {

/// The reduced length and the stride between neighbours of it, from Op::dims.
struct Along {
  double length = 1, inner = 1;
};

Along along(const Value* in, const std::vector<int>& dims) {
  Along out;
  if (in == nullptr) return out;
  const int rank = static_cast<int>(in->shape.size());
  int last = -1;
  for (int dim : dims) {
    const int at = dim < 0 ? dim + rank : dim;
    if (at < 0 || at >= rank) continue;
    out.length *= static_cast<double>(in->shape[static_cast<std::size_t>(at)]);
    last = std::max(last, at);
  }
  if (dims.empty()) {
    out.length = elements(in);
    return out;
  }
  for (int i = last + 1; i < rank; ++i) {
    out.inner *= static_cast<double>(in->shape[static_cast<std::size_t>(i)]);
  }
  return out;
}

/// Whether all tensor operands have the output's shape and type, and lie in memory as it does.
bool plain_operands(const Program& program, const Op& op) {
  const Value* out = output_value(program, op);
  if (out == nullptr) return true;
  for (const Operand& operand : op.inputs) {
    const Value* in = value_of(program, operand.value);
    if (in == nullptr || elements_of(*in) <= 1) continue;
    if (in->shape != out->shape) return false;
    if (bytes_of(in->type) < bytes_of(out->type)) return false;
    if (!is_contiguous(*in)) return false;
  }
  return true;
}

Seconds copy_time(const Program& program, const Op& op, const cost::GpuDevice& gpu) {
  const Value* in = input_value(program, op, 0);
  const Value* out = output_value(program, op);
  const Bytes moved{op.bytes_read + op.bytes_written};
  if (in == nullptr || out == nullptr || is_contiguous(*in) || op.inputs.size() > 1) {
    return cost::elementwise_time(moved, elements(out), true, gpu);
  }
  // How many bytes stay together: dimensions at the end that are contiguous in the source.
  double run = 1;
  for (std::size_t i = in->shape.size(); i-- > 0;) {
    if (in->shape[i] != 1 && in->strides.size() > i &&
        in->strides[i] != static_cast<std::int64_t>(run))
      break;
    run *= static_cast<double>(in->shape[i]);
  }
  const double size = bytes_of(in->type);
  return cost::relayout_time(elements(out), Bytes{size}, Bytes{run * size}, gpu);
}

Seconds norm_price(const Program& program, const Op& op, const cost::GpuDevice& gpu) {
  const Value* in = input_value(program, op, 0);
  if (in == nullptr)
    return cost::elementwise_time(Bytes{op.bytes_read + op.bytes_written}, 0, true, gpu);
  const double count = elements(in), size = bytes_of(in->type);
  const auto dim = [&](std::size_t i) {
    return i < in->shape.size() ? static_cast<double>(in->shape[i]) : 1.0;
  };
  if (op.name.find("batch") != std::string::npos) {
    const auto kind = op.training ? cost::NormKind::batch_train : cost::NormKind::batch_eval;
    return cost::norm_time(kind, count, size, dim(0) * dim(1), gpu);
  }
  if (op.name.find("group") != std::string::npos) {
    const double rows = dim(0) * static_cast<double>(std::max<std::int64_t>(1, op.groups));
    return cost::norm_time(cost::NormKind::group, count, size, rows, gpu);
  }
  if (op.name.find("instance") != std::string::npos) {
    return cost::norm_time(cost::NormKind::instance, count, size, dim(0) * dim(1), gpu);
  }
  const double length = along(in, op.dims).length;
  return cost::norm_time(cost::NormKind::layer, count, size, count / std::max(1.0, length), gpu);
}

Seconds library_time(const Program& program, const Op& op, const cost::GpuDevice& gpu) {
  const Value* in = input_value(program, op, 0);
  const Value* out = output_value(program, op);
  const Bytes read{op.bytes_read}, written{op.bytes_written},
      moved{op.bytes_read + op.bytes_written};
  const double out_count = std::max(elements(out), 1.0);
  switch (op.kind) {
    case OpKind::launch: break;
    case OpKind::copy: return copy_time(program, op, gpu);
    case OpKind::fill:
    case OpKind::random: return cost::fill_time(written, gpu);
    case OpKind::matmul: return cost::gemm_time(gemm_call(program, op, false), gpu);
    case OpKind::conv: return cost::conv_time(conv_call(program, op), gpu);
    case OpKind::reduction: {
      const Along a = along(in, op.dims);
      return cost::reduction_time(read, written, a.length, a.inner, gpu) +
             cost::microseconds(2.5) * std::max(0, op.device_kernels - 1);
    }
    case OpKind::softmax: {
      const Along a = along(in, op.dims);
      return cost::softmax_time(elements(in), in != nullptr ? bytes_of(in->type) : 4, a.length,
                                a.inner, gpu);
    }
    case OpKind::scan: {
      const Along a = along(in, op.dims);
      return cost::scan_time(elements(in), in != nullptr ? bytes_of(in->type) : 4, a.length,
                             a.inner, gpu);
    }
    case OpKind::norm: return norm_price(program, op, gpu);
    case OpKind::pool: {
      const double taps =
          op.pool ? op.pool->adaptive ? elements(in) / out_count : product(op.pool->kernel) : 4;
      return cost::pool_time(elements(in), out_count, taps, in != nullptr ? bytes_of(in->type) : 4,
                             gpu);
    }
    case OpKind::attention:
      if (op.attention) {
        const Attention& a = *op.attention;
        const Type type = in != nullptr ? in->type : Type::float32;
        return cost::attention_time(static_cast<double>(a.batch * a.heads),
                                    static_cast<double>(a.queries), static_cast<double>(a.keys),
                                    static_cast<double>(a.head_dim), a.causal,
                                    dot_type(type, false), gpu);
      }
      break;
    case OpKind::rnn:
      if (op.rnn) {
        const Rnn& r = *op.rnn;
        const double gates = r.cell == "LSTM" ? 4 : r.cell == "GRU" ? 3 : 1;
        const double steps = static_cast<double>(r.layers * r.directions * r.steps);
        return cost::rnn_step_time(gates, static_cast<double>(r.batch),
                                   static_cast<double>(r.hidden), gpu) *
               steps;
      }
      break;
    default: break;
  }
  const Seconds one = cost::elementwise_time(moved, out_count, plain_operands(program, op), gpu);
  return one + cost::microseconds(2.5) * std::max(0, op.device_kernels - 1);
}

Seconds host_price(const Program& program, const Op& op) {
  using cost::HostCall;
  const double kernels = std::max(1, op.device_kernels);
  switch (op.kind) {
    case OpKind::launch: {
      // Views that the call takes as arguments were made in Python too.
      double views = 0;
      for (const Operand& operand : op.inputs) {
        const Value* value = value_of(program, operand.value);
        views += value != nullptr && value->base >= 0 ? 1 : 0;
      }
      const Kernel& kernel =
          program.kernels[static_cast<std::size_t>(std::max(0, op.launch->kernel))];
      return cost::host_time(HostCall::triton_launch) +
             cost::microseconds(1) * static_cast<double>(kernel.arguments.size()) +
             cost::microseconds(3.5) * views;
    }
    case OpKind::elementwise:
    case OpKind::cast: return cost::host_time(HostCall::elementwise) * kernels;
    case OpKind::copy:
    case OpKind::fill: return cost::host_time(HostCall::copy);
    case OpKind::reduction: return cost::host_time(HostCall::reduction) * kernels;
    case OpKind::matmul: return cost::host_time(HostCall::matmul);
    case OpKind::conv: return cost::host_time(HostCall::convolution);
    case OpKind::norm: return cost::host_time(HostCall::norm);
    case OpKind::pool: return cost::host_time(HostCall::pool);
    case OpKind::rnn: {
      const double steps =
          op.rnn && op.rnn->cell != "RNN"
              ? static_cast<double>(op.rnn->layers * op.rnn->directions * op.rnn->steps)
              : 8;
      return cost::host_time(HostCall::rnn_step) * steps;
    }
    default: return cost::host_time(HostCall::other);
  }
}

}  // namespace

OpPrice price_op(const Program& program, const Op& op, const cost::GpuDevice& gpu) {
  OpPrice out;
  out.host = host_price(program, op);
  if (op.launch && op.launch->kernel >= 0) {
    out.kernel = cost::price(tiled_kernel(program, op), gpu);
    out.device = out.kernel.time;
  } else {
    out.device = library_time(program, op, gpu);
  }
  // Shapes of a broken document can be anything; a price is a number all the same.
  if (!std::isfinite(out.device.value) || out.device.value < 0) out.device = Seconds{};
  return out;
}

Seconds total_of(const Program& program, const std::vector<OpPrice>& ops) {
  std::vector<cost::Issue> issues;
  issues.reserve(ops.size());
  for (std::size_t i = 0; i < ops.size(); ++i) {
    issues.push_back({ops[i].host, ops[i].device, program.ops[i].count});
  }
  return cost::eager_time(issues);
}

ProgramPrice price_program(const Program& program, const cost::GpuDevice& gpu) {
  ProgramPrice out;
  out.ops.reserve(program.ops.size());
  for (const Op& op : program.ops) {
    out.ops.push_back(price_op(program, op, gpu));
    out.device = out.device + out.ops.back().device * op.count;
    out.host = out.host + out.ops.back().host * op.count;
  }
  out.total = total_of(program, out.ops);
  return out;
}

}  // namespace quoin::architect
