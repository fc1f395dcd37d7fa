// The kernel model: what a document becomes, and all that the rules and prices know of it.
//
//   document --source--> parts --syntax--> trees --model--> Model { current, reference }
//
// A `Model` holds two `Program`s, the code under judgement (`ModelNew`) and the PyTorch reference
// (`Model`). A program is the sequence of device work of ONE forward call, in order: PyTorch
// operations and kernel launches (`Op`), over the tensors they read and write (`Value`). Everything
// is concrete: shapes, strides, element types, grids, trip counts. Views cost nothing, so they are
// values without an operation. A Python loop whose iterations do the same work is kept as a few
// operations with a `count` above one (an RNN's time steps, say).
//
// Each launch points at a `Kernel`: its body interpreted at tile level. Quantities there are per
// program of the grid and averaged over the grid; `x * launch.programs` is the launch's total.
//
// Plain data, no behaviour but small questions (bottom of this file). model/explain.h prints it.
// Nothing here is guessed in silence: what was not understood is in `Model::not_understood`, and
// an unknown number is -1 or an empty optional, as its field says.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "architect/source/document.h"

namespace quoin::architect {

/// Element types. `unknown` where the document does not tell.
enum class Type : std::uint8_t {
  unknown,
  boolean,
  int8,
  uint8,
  int16,
  int32,
  int64,
  float8,
  bfloat16,
  float16,
  float32,
  float64,
  complex64,
};

[[nodiscard]] const char* name(Type type) noexcept;  // "float16"
[[nodiscard]] int bytes_of(Type type) noexcept;      // 4 for unknown: PyTorch's default is float32
[[nodiscard]] bool is_float(Type type) noexcept;

using ValueId = int;  // index into Program::values, -1: none
using OpId = int;     // index into Program::ops, -1: none

// ---------------------------------------------------------------------------------- tensors

enum class Origin : std::uint8_t {
  input,      // an argument of forward, from get_inputs()
  parameter,  // of the module: parameters, buffers, tensors made in __init__
  result,     // written by operations of this forward call
  fresh,      // allocated in forward and not written (torch.empty)
};

/// What elements lie between, where the code shows it.
struct Bounds {
  double low = -HUGE_VAL, high = HUGE_VAL;
};

/// A tensor as one name sees it: shape and strides over a storage that views share.
struct Value {
  std::string name;  // the last Python name bound to it: "x", "self.weight"
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;  // in elements
  std::int64_t offset = 0;            // of the first element in its storage, in elements
  Type type = Type::unknown;
  Origin origin = Origin::result;
  int storage = -1;    // equal for a tensor and its views
  ValueId base = -1;   // the value this is a view of, -1 where it is none
  std::string view;    // how it came from `base`: "t", "permute(0,2,1)", "view"; empty
  OpId producer = -1;  // the last operation that had written this storage when the value was made
  bool weight_only = false;  // made of parameters and constants alone: could be hoisted
  bool shape_known = true;   // false: shape is a guess or empty (see not_understood)
  bool returned = false;     // its storage is an output's
  Bounds bounds;             // valid while `bounded_by` is the storage's last writer
  OpId bounded_by = -1;
  bool constant =
      false;  // an output: both bounds are equal, so it is this number whatever the input
  ValueId same_as = -1;  // the tensor that it repeats element by element (a mean over one element)
};

// ------------------------------------------------------------------------------- operations

enum class OpKind : std::uint8_t {
  launch,  // a Triton kernel: see Op::launch
  copy,    // contiguous, clone, reshape that must copy, cat, stack, pad, roll, copy_, expand+copy
  cast,    // .to(dtype), .half()
  fill,    // zeros, ones, full, arange
  random,  // rand, dropout's mask
  elementwise,  // add, relu, exp, where, ...
  reduction,    // sum, mean, max, norm, logsumexp, argmax, var
  scan,         // cumsum, cumprod
  softmax,      // softmax, log_softmax
  norm,         // batch, layer, group, instance, rms
  pool,         // max, avg, adaptive
  matmul,       // mm, bmm, linear, einsum and tensordot that are one: see Op::matmul
  conv,         // any convolution: see Op::conv
  attention,    // scaled_dot_product_attention: see Op::attention
  rnn,          // nn.RNN, GRU, LSTM as one library call: see Op::rnn
  gather,       // embedding, index_select, gather, advanced indexing
  scatter,
  sort,   // sort, topk
  loss,   // a loss function of torch.nn.functional, as its elementwise and reduction kernels
  other,  // understood as a call with these inputs and outputs, its cost is not known
};

[[nodiscard]] const char* name(OpKind kind) noexcept;

/// One product C[b, m, n] = A[b, m, k] * B[b, k, n].
struct Matmul {
  std::int64_t batch = 1, m = 0, n = 0, k = 0;
  bool a_k_contiguous = true;  // the strides along k are 1: "K-major"
  bool b_k_contiguous = true;  // true for a stored [N,K] weight (nn.Linear)
  Type type = Type::unknown;   // of both operands
  bool b_is_weight = false;
};

struct Conv {
  int dims = 2;  // 1, 2 or 3
  bool transposed = false;
  std::int64_t batch = 0, in_channels = 0, out_channels = 0, groups = 1;
  std::array<std::int64_t, 3> in{1, 1, 1}, out{1, 1, 1}, kernel{1, 1, 1};  // [d][h][w], dims last
  std::array<std::int64_t, 3> stride{1, 1, 1}, padding{0, 0, 0}, dilation{1, 1, 1};
  bool bias = false;
};

struct Attention {
  std::int64_t batch = 0, heads = 0, queries = 0, keys = 0, head_dim = 0, value_dim = 0;
  bool causal = false, mask = false;
};

struct Rnn {
  std::string cell;  // "GRU", "LSTM", "RNN"
  std::int64_t layers = 1, directions = 1, steps = 0, batch = 0, input = 0, hidden = 0;
  bool bias = true;
};

struct Pool {
  bool max = false, adaptive = false;
  int dims = 2;
  std::array<std::int64_t, 3> kernel{1, 1, 1}, stride{1, 1, 1}, padding{0, 0, 0};
};

/// What an operation reads: the value, and who last wrote its storage before (several where parts
/// were written apart; empty for inputs, parameters and fresh memory).
struct Operand {
  ValueId value = -1;
  std::string role;             // "input", "weight", "bias", or the kernel's parameter: "a_ptr"
  std::vector<OpId> producers;  // ascending
};

struct LoopLevel {  // one Python loop around an operation, outermost first
  int line = 0;
  double trips = 0;
};

struct Launch {
  int kernel = -1;  // index into Program::kernels
  std::array<std::int64_t, 3> grid{1, 1, 1};
  double programs = 1;  // product of the grid
  int num_warps = 4;    // Triton's defaults where the call names none
  int num_stages = 3;
  bool warps_given = false, stages_given = false;
  int autotune_configs = 0;  // of which the first was taken; 0: no autotune
};

struct Op {
  OpKind kind = OpKind::other;
  std::string name;  // "conv2d", "add", "contiguous", or the kernel's name
  int line = 0;      // in the document
  double count = 1;  // times per forward call
  std::vector<Operand> inputs;
  std::vector<ValueId> outputs;
  bool in_place = false;
  bool weight_only = false;  // every input is: the same every call
  bool reshapes = false;     // a copy that changes the layout, not the elements
  int device_kernels = 1;    // that eager PyTorch runs for it, about
  double flops = 0;          // multiply and add are two; elementwise: one per arithmetic step
  double bytes_read = 0;     // per execution, each operand once, and what its inner steps re-read
  double bytes_written = 0;
  std::vector<LoopLevel> loops;  // Python loops around it

  // By kind.
  std::optional<Launch> launch;
  std::optional<Matmul> matmul;
  std::optional<Conv> conv;
  std::optional<Attention> attention;
  std::optional<Rnn> rnn;
  std::optional<Pool> pool;
  std::vector<int> dims;    // reduced, normalised or scanned dimensions of the first input
  std::int64_t groups = 0;  // of a group norm
  bool training = true;     // batch norm: with the batch's own statistics
};

// ---------------------------------------------------------------------------------- kernels

constexpr int kMaxLoops = 16;
constexpr std::int64_t kUnknownStride = INT64_MIN;

/// Which program ids and loops something depends on.
struct Dependence {
  bool pid[3] = {false, false, false};
  std::uint32_t loops = 0;  // bit i: Kernel::loops[i]
  bool data = false;        // on something that was loaded
};

struct Loop {
  int line = 0;
  int parent = -1;  // index of the enclosing loop, -1: none
  std::string variable;
  double trips = 0;           // per entry, averaged over the grid
  bool trips_known = true;    // false: depends on loaded data, `trips` is 1
  bool trips_vary = false;    // with the program id: triangular work
  bool static_range = false;  // unrolled by the compiler
  bool while_loop = false;    // not pipelined
  double executions = 0;      // of the body, per program: trips of all enclosing ones multiplied
  double carried_bytes = 0;   // float tiles that live across iterations (accumulators)
};

enum class AccessKind : std::uint8_t { load, store, atomic };

/// One tl.load, tl.store or tl.atomic_* in the source.
struct Access {
  AccessKind kind = AccessKind::load;
  int line = 0;
  std::string pointer;        // the kernel's parameter behind the address: "a_ptr"; empty: unknown
  ValueId value = -1;         // the tensor passed for it
  std::string atomic;         // "add", "max", ...
  Type type = Type::unknown;  // in memory
  std::vector<std::int64_t> tile;     // {} for a scalar
  std::vector<std::int64_t> strides;  // in elements along each tile dimension, as most lanes see
                                      // it; 0: broadcast; kUnknownStride: irregular or by data
  int loop = -1;                      // innermost enclosing loop, -1: none
  double executions = 0;              // per program
  double elements = 0;                // of the tile
  double active = 1;                  // share of lanes whose mask is true, over grid and trips
  bool masked = false;
  Dependence address;  // pids it does not depend on re-read the same bytes

  int fast_dim = -1;                // tile dimension along which addresses are closest, -1: scalar
  double run_bytes = 0;             // contiguous bytes along fast_dim before a jump
  double sector_efficiency = 1;     // useful bytes over the bytes of the 32-byte sectors touched
  double footprint_efficiency = 1;  // the same of all that a program touches: taps fill gaps
  double unique_elements = 0;       // of a tile: without broadcast duplicates

  double program_bytes = 0;   // requested per program: executions * unique elements * active * size
  double total_bytes = 0;     // of all programs: what L2 serves at most (times 1/sector_efficiency)
  double distinct_bytes = 0;  // of the tensor, all programs together: what DRAM moves at least
  double program_distinct_bytes = 0;  // of the tensor, by one program: what L1 could keep of it
  bool eviction_hint = false;
};

/// Where a tile of a tl.dot comes from, through casts, transposes and elementwise steps.
struct DotOperand {
  int access = -1;              // index into Kernel::accesses; -1: computed (a softmax's p, say)
  Type stored = Type::unknown;  // in memory
  Type type = Type::unknown;    // as multiplied, after casts
  bool cast_in_registers = false;
  bool computed = false;             // arithmetic between the load and the dot
  bool transposed = false;           // tl.trans between them
  std::optional<bool> k_contiguous;  // memory stride along K is 1; none: not known
  Dependence address;
};

struct Dot {
  int line = 0;
  std::int64_t m = 0, n = 0, k = 0, batch = 1;
  DotOperand a, b;
  Type result = Type::float32;
  bool allow_tf32 = true;  // for float32 operands: tensor cores or not
  int loop = -1;
  double executions = 0;     // per program
  double useful = 1;         // share of the tile inside the masks of its operands
  bool accumulates = false;  // into a value carried by its innermost loop
};

struct Reduction {
  int line = 0;
  std::string name;  // "sum", "max", "argmax", "cumsum", ...
  std::vector<std::int64_t> tile;
  int axis = 0;  // -1: all
  int loop = -1;
  double executions = 0;
  double elements = 0;  // of the tile
  bool scan = false;
};

/// Arithmetic on float tiles and on index tiles, in element operations per program.
struct Arithmetic {
  double fma = 0;  // a multiply whose only use is an add counts as one
  double add = 0, mul = 0, div = 0;
  double min_max = 0, compare = 0, select = 0, convert = 0;
  double exp = 0, log = 0, sqrt = 0, rsqrt = 0, sincos = 0, tanh = 0, erf = 0, pow = 0, other = 0;
  double random = 0;
  double integer = 0;      // index arithmetic on tiles, without what a loop leaves alone
  double integer_div = 0;  // divisions and remainders by a value unknown at compile time
  double integer_div_constant = 0;
  // Of `integer` and `integer_div`, as instructions: multiply and add are one, and so are a
  // comparison and the `&` behind it; vectors count for every lane that computes them.
  double integer_issued = 0, integer_div_issued = 0;
};

struct Argument {
  std::string name;
  bool constexpr_ = false;
  ValueId value = -1;            // a tensor
  std::optional<double> number;  // a number, also booleans
  bool is_float = false;
};

/// A `@triton.jit` function with the arguments of one launch.
struct Kernel {
  std::string name;
  int line = 0;  // of its def
  std::vector<Argument> arguments;
  std::vector<Loop> loops;  // enclosing ones before inner ones
  std::vector<Access> accesses;
  std::vector<Dot> dots;
  std::vector<Reduction> reductions;
  Arithmetic arithmetic;
  double active_programs = 1;     // share of the grid that does not return at once
  double peak_tile_bytes = 0;     // the largest sum of float tiles seen alive in a loop, about
  std::int64_t largest_tile = 0;  // elements of the largest float tile
  bool understood = true;         // false: not_understood names lines in it
};

// ---------------------------------------------------------------------------------- program

struct Program {
  bool present = false;  // false: the document has no such part
  std::vector<Value> values;
  std::vector<Op> ops;                     // in order of execution
  std::vector<Kernel> kernels;             // one per distinct (function, arguments, grid)
  std::vector<ValueId> inputs;             // of forward
  std::vector<ValueId> outputs;            // returned, tuples flattened
  std::vector<std::vector<OpId>> readers;  // per operation: those that read its result, ascending
  bool complete = false;                   // forward ran to its return
  bool matmul_tf32 = false;                // the document allows PyTorch TF32 for float32 products
};

struct NotUnderstood {
  int line = 0;      // in the document, 0: unknown
  std::string what;  // "torch.fft.rfft", "while loop on loaded data"
  bool reference = false;
};

struct Model {
  Program current;
  Program reference;
  Performance performance;
  bool outputs_match = false;  // the shapes of both programs' outputs are equal
  std::vector<NotUnderstood> not_understood;
};

// -------------------------------------------------------------------------------- questions

[[nodiscard]] std::int64_t elements_of(const Value& value) noexcept;
[[nodiscard]] double bytes_of(const Value& value) noexcept;  // of its elements, not its storage
[[nodiscard]] bool is_contiguous(const Value& value) noexcept;

/// Follows views down to the value that owns the storage.
[[nodiscard]] ValueId root_of(const Program& program, ValueId value) noexcept;

/// The operations that read what `op` wrote (any of its outputs' storages), ascending.
[[nodiscard]] const std::vector<OpId>& consumers_of(const Program& program, OpId op);

/// Whether what `op` wrote, or a view of it, is returned.
[[nodiscard]] bool is_output(const Program& program, OpId op);

}  // namespace quoin::architect
