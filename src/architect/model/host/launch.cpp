// A kernel's launch: arguments bound, grid computed, the kernel interpreted (once for equal
// arguments), the operation recorded.
#include <algorithm>

#include "architect/model/host/interpreter.h"
#include "architect/model/tile/tile.h"

namespace quoin::architect {
namespace {

struct Options {
  int num_warps = 0, num_stages = 0;
};

/// Keywords that are the launch's own, not the kernel's.
bool take_option(std::string_view name, const Val& value, Options& options) {
  if (name == "num_warps")
    options.num_warps = static_cast<int>(value.number);
  else if (name == "num_stages")
    options.num_stages = static_cast<int>(value.number);
  else
    return name == "num_ctas" || name == "enable_fp_fusion" || name == "maxnreg" ||
           name == "waves_per_eu" || name == "matrix_instr_nonkdim" || name == "stream";
  return true;
}

bool is_parameter(const FunctionObject& function, Symbol symbol) {
  const NodeId list = function.tree->child(function.node, 0);
  if (list < 0) return false;
  for (const NodeId id : function.tree->children_of(list)) {
    if (function.tree->at(id).symbol == symbol) return true;
  }
  return false;
}

Val meta_of(Interpreter& interpreter, const std::vector<std::pair<Symbol, Val>>& bound) {
  const Val meta = interpreter.dict();
  for (const auto& [symbol, value] : bound) {
    interpreter.dict_set(meta, interpreter.symbols.text(symbol), value);
  }
  return meta;
}

/// A tuple, a number, or a function of META.
bool grid_of(Interpreter& interpreter, Val grid, const Val& meta, int line,
             std::array<std::int64_t, 3>& sizes) {
  if (grid.is(ValKind::function) || grid.is(ValKind::bound) || grid.is(ValKind::partial)) {
    grid = interpreter.call(grid, {.name = {}, .positional = {meta}, .keywords = {}, .line = line});
  }
  std::vector<Val> items;
  if (grid.is_integer())
    items = {grid};
  else if (!interpreter.iterate(grid, items))
    return false;
  if (items.empty() || items.size() > 3) return false;
  for (std::size_t d = 0; d < items.size(); ++d) {
    const Val& size = items[d];
    if (size.is_integer())
      sizes[d] = std::max<std::int64_t>(size.number, 0);
    else if (size.is(ValKind::real))
      sizes[d] = static_cast<std::int64_t>(size.real);
    else
      return false;
  }
  return true;
}

std::uint64_t mixed(std::uint64_t hash, std::uint64_t value) {
  return hash ^ (value + 0x9e3779b97f4a7c15ULL + (hash << 6) + (hash >> 2));
}

/// What an interpretation depends on: the function, numbers, shapes and types, the grid.
std::uint64_t key_of(const Interpreter& interpreter, const FunctionObject& function,
                     const std::vector<std::pair<Symbol, Val>>& bound,
                     const std::array<std::int64_t, 3>& grid) {
  std::uint64_t hash = reinterpret_cast<std::uintptr_t>(&function);
  for (const auto& [symbol, value] : bound) {
    hash = mixed(hash, static_cast<std::uint64_t>(symbol));
    hash = mixed(hash, static_cast<std::uint64_t>(value.kind));
    if (value.is_tensor()) {
      const Value& tensor = interpreter.recorder.value(value.tensor());
      hash = mixed(hash, static_cast<std::uint64_t>(tensor.type));
      hash = mixed(hash, static_cast<std::uint64_t>(elements_of(tensor)));
    } else if (value.is(ValKind::real)) {
      hash = mixed(hash, static_cast<std::uint64_t>(std::hash<double>()(value.real)));
    } else if (value.is(ValKind::string)) {
      hash = mixed(hash, std::hash<std::string_view>()(text_of(value)));
    } else {
      hash = mixed(hash, static_cast<std::uint64_t>(value.number));
    }
  }
  for (const std::int64_t size : grid) hash = mixed(hash, static_cast<std::uint64_t>(size));
  return hash;
}

/// The launch as an operation: what the kernel loads is read, what it stores is written.
Op launch_op(const Interpreter& interpreter, const Kernel& kernel, int kernel_id,
             const std::vector<std::pair<Symbol, Val>>& bound) {
  Op op;
  op.kind = OpKind::launch;
  op.name = kernel.name;
  for (const auto& [symbol, value] : bound) {
    if (!value.is_tensor()) continue;
    const std::string_view name = interpreter.symbols.text(symbol);
    bool reads = false;
    bool writes = false;
    for (const Access& access : kernel.accesses) {
      if (access.pointer != name) continue;
      reads = reads || access.kind != AccessKind::store;
      writes = writes || access.kind != AccessKind::load;
      if (access.kind != AccessKind::store) op.bytes_read += access.distinct_bytes;
      if (access.kind != AccessKind::load) op.bytes_written += access.distinct_bytes;
    }
    if (reads) op.inputs.push_back(interpreter.recorder.operand(value.tensor(), name));
    if (writes) {
      op.outputs.push_back(value.tensor());
      op.in_place = op.in_place || reads;
    }
  }
  op.launch = Launch{};
  op.launch->kernel = kernel_id;
  return op;
}

double flops_of(const Kernel& kernel) {
  double flops = 0;
  for (const Dot& dot : kernel.dots) {
    flops += 2.0 * static_cast<double>(dot.batch * dot.m) * static_cast<double>(dot.n * dot.k) *
             dot.executions;
  }
  const Arithmetic& a = kernel.arithmetic;
  flops += 2 * a.fma + a.add + a.mul + a.div + a.min_max + a.compare + a.select;
  flops += a.exp + a.log + a.sqrt + a.rsqrt + a.sincos + a.tanh + a.erf + a.pow + a.other;
  for (const Reduction& reduction : kernel.reductions) {
    flops += reduction.elements * reduction.executions;
  }
  return flops;
}

}  // namespace

Val launch(Interpreter& interpreter, const LauncherObject& launcher, const Call& call) {
  const FunctionObject& function = *launcher.kernel;
  Recorder& recorder = interpreter.recorder;
  if (!function.jit)
    return interpreter.lost(call.line, "a launch of what is no @triton.jit function");
  if (recorder.phase != Recorder::Phase::running) return null_val();
  Options options;
  Call arguments;
  arguments.positional = call.positional;
  arguments.line = call.line;
  for (const auto& [symbol, value] : call.keywords) {
    if (is_parameter(function, symbol) ||
        !take_option(interpreter.symbols.text(symbol), value, options)) {
      arguments.keywords.emplace_back(symbol, value);
    }
  }
  if (!function.configs.empty()) {
    const TunedConfig& config = function.configs.front();
    for (const auto& [symbol, value] : config.values) {
      if (!take_option(interpreter.symbols.text(symbol), value, options)) {
        arguments.keywords.emplace_back(symbol, value);
      }
    }
    if (config.num_warps > 0) options.num_warps = config.num_warps;
    if (config.num_stages > 0) options.num_stages = config.num_stages;
  }
  std::vector<std::pair<Symbol, Val>> bound;
  interpreter.bind(function, arguments, nullptr, bound, true);
  for (const auto& [symbol, decide] : function.heuristics) {
    const Val meta = meta_of(interpreter, bound);
    const Val value = interpreter.call(
        decide, {.name = {}, .positional = {meta}, .keywords = {}, .line = call.line});
    if (interpreter.symbols.text(symbol) == "num_warps") {
      options.num_warps = static_cast<int>(value.number);
      continue;
    }
    std::erase_if(bound, [&, wanted = symbol](const auto& held) { return held.first == wanted; });
    bound.emplace_back(symbol, value);
  }
  std::array<std::int64_t, 3> grid{1, 1, 1};
  if (!grid_of(interpreter, launcher.grid, meta_of(interpreter, bound), call.line, grid)) {
    interpreter.misunderstood(call.line, "the grid of '" + std::string(function.name) + "'");
  }
  if (grid[0] == 0 || grid[1] == 0 || grid[2] == 0) return null_val();  // nothing runs
  Program& program = recorder.program();
  const std::uint64_t key = key_of(interpreter, function, bound, grid);
  int kernel_id = interpreter.known_kernel(key);
  if (kernel_id < 0) {
    Kernel kernel;
    kernel.name = function.name;
    kernel.line = function.tree->at(function.node).line;
    TileInterpreter(interpreter, kernel, grid).run(function, bound);
    kernel_id = static_cast<int>(program.kernels.size());
    program.kernels.push_back(std::move(kernel));
    interpreter.remember_kernel(key, kernel_id);
  }
  Op op = launch_op(interpreter, program.kernels[kernel_id], kernel_id, bound);
  op.line = call.line;
  op.launch->grid = grid;
  op.launch->programs =
      static_cast<double>(grid[0]) * static_cast<double>(grid[1]) * static_cast<double>(grid[2]);
  op.launch->warps_given = options.num_warps > 0;
  op.launch->stages_given = options.num_stages > 0;
  if (options.num_warps > 0) op.launch->num_warps = options.num_warps;
  if (options.num_stages > 0) op.launch->num_stages = options.num_stages;
  op.launch->autotune_configs = static_cast<int>(function.configs.size());
  op.flops = flops_of(program.kernels[kernel_id]) * op.launch->programs;
  recorder.record(std::move(op));
  return null_val();
}

}  // namespace quoin::architect
