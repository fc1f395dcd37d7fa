// Interprets a @triton.jit function at tile level with the arguments of one launch: every value has
// a shape and a type, integers and pointers are nodes of an index graph, float tiles are known by
// where they come from. The body of a loop is interpreted once; a branch that depends on the
// program is interpreted both ways. What happens how often is told afterwards, by sampling.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "architect/model/host/interpreter.h"
#include "architect/model/tile/index.h"

namespace quoin::architect {

constexpr int kDotProduct = -2;  // added to an accumulator by the tensor cores for nothing

struct TileShape {
  std::array<std::int64_t, kMaxTileDims> size{1, 1, 1, 1, 1};
  int rank = 0;

  [[nodiscard]] double elements() const {
    double count = 1;
    for (int d = 0; d < rank; ++d) count *= static_cast<double>(size[d]);
    return count;
  }
  friend bool operator==(const TileShape&, const TileShape&) = default;
};

struct Tile {
  enum class Kind : std::uint8_t {
    unknown,
    host,   // what is no tile: a type, a string, None, a function
    index,  // integers, booleans, pointers: `node`
    real,   // floats
    block,  // a block pointer or tensor descriptor: `items`
    items,  // a tuple of tiles
  };

  Kind kind = Kind::unknown;
  Type type = Type::unknown;  // of an element; of a pointer: what it points to
  bool pointer = false;
  bool weak = false;  // a Python number, which takes the other operand's type
  TileShape shape;
  IndexId node = -1;   // -1: unknown
  int parameter = -1;  // of a pointer: the kernel's parameter
  Val host;
  std::optional<double> number;  // a known float
  Depends depends = 0;           // of a float tile: what its loads' addresses depend on
  // Where loaded elements come from: access, and which of its dimensions each dimension is.
  int access = -1;
  std::array<std::int8_t, kMaxTileDims> axis{0, 1, 2, 3, 4};
  bool computed = false, cast = false, transposed = false;
  int product = -1;  // of a multiply not yet used: its context; kDotProduct: of a dot
  std::shared_ptr<std::vector<Tile>> items;

  [[nodiscard]] bool known() const { return kind != Kind::unknown; }
  [[nodiscard]] bool is(Kind wanted) const { return kind == wanted; }
};

/// The positional and keyword arguments of a call inside a kernel.
struct TileCall {
  std::string_view name;
  std::vector<Tile> positional;
  std::vector<std::pair<Symbol, Tile>> keywords;
  int line = 0;
};

class TileInterpreter {
 public:
  TileInterpreter(Interpreter& host, Kernel& kernel, const std::array<std::int64_t, 3>& grid);

  /// Interprets the kernel; `bound` are its parameters' values.
  void run(const FunctionObject& function, const std::vector<std::pair<Symbol, Val>>& bound);

  Interpreter& host;
  Kernel& kernel;
  IndexGraph graph;

  // --- used by functions.cpp and memory.cpp ---
  [[nodiscard]] const Tile* find(const TileCall& call, std::size_t place,
                                 std::string_view name) const;
  [[nodiscard]] Tile argument(const TileCall& call, std::size_t place, std::string_view name) const;
  [[nodiscard]] std::int64_t integer(const Tile& tile, std::int64_t otherwise) const;
  [[nodiscard]] bool shape_of(const Tile& tile, TileShape& shape) const;
  [[nodiscard]] Type type_of(const Tile& tile) const;
  Tile lost(int line, std::string what);
  Tile index(IndexId node, const TileShape& shape = {}, Type type = Type::int32);
  Tile real(const TileShape& shape, Type type = Type::float32);
  Tile host_tile(const Val& value);
  Tile tuple(std::vector<Tile> items);
  Arithmetic& arithmetic();     // of what runs now
  [[nodiscard]] int context();  // index into contexts_
  [[nodiscard]] std::int64_t grid(int axis) const { return grid_[axis]; }
  Tile binary(Operator op, const Tile& a, const Tile& b, int line);
  Tile compare(Operator op, const Tile& a, const Tile& b);
  Tile minimum(bool is_max, const Tile& a, const Tile& b);
  Tile select(const Tile& condition, const Tile& yes, const Tile& no);
  Tile convert(const Tile& tile, Type type);
  Tile broadcast_to(const Tile& tile, const TileShape& shape);
  /// Dimension d of the result is dimension `from[d]` of the tile, -1 for a new one of size 1.
  Tile rearranged(const Tile& tile, const std::vector<int>& from);
  Tile reshaped(const Tile& tile, const TileShape& shape);
  Tile mixed(const Tile& tile, const TileShape& shape);  // elements that lost their places
  Tile reduce(const TileCall& call, std::string_view name, bool scan);
  Tile load(const TileCall& call);
  Tile store(const TileCall& call);
  Tile atomic(const TileCall& call, std::string_view name);
  Tile dot(const TileCall& call);
  Tile make_block(const TileCall& call, bool descriptor);
  Tile advance(const TileCall& call);
  Tile call_function(const FunctionObject& function, const TileCall& call);
  void note_tile(const Tile& tile);

 private:
  enum class Flow : std::uint8_t { normal, broke, continued, returned };
  using Scope = std::vector<std::pair<Symbol, Tile>>;

  static constexpr std::int64_t kMaxSteps = 200'000;
  static constexpr int kMaxDepth = 400;
  static constexpr int kMaxCallDepth = 16;
  static constexpr std::int64_t kMaxUnrolled = 64;

  struct Context {  // where something happens: in which loop, on which path
    int loop = -1;
    int path = -1;
    Arithmetic arithmetic;
  };
  struct Path {
    IndexId condition = -1;
    int parent = -1;
  };
  struct PendingAccess {
    IndexId address = -1, mask = -1;
    int context = 0;
    TileShape shape;
    std::vector<double>
        reach;  // per dimension: elements a lane advances on average, jumps included
  };
  struct PendingDot {
    int context = 0;
    Tile a, b;
  };

  std::array<std::int64_t, 3> grid_;
  const Tree* tree_ = nullptr;
  Scope scope_;
  const FunctionObject* function_ = nullptr;
  Tile returned_;
  std::vector<Context> contexts_;
  std::vector<Path> paths_;
  std::vector<PendingAccess> pending_accesses_;
  std::vector<PendingDot> pending_dots_;
  std::vector<int> pending_reductions_;
  int loop_ = -1, path_ = -1, exit_path_ = -1;
  bool divides_ = false;  // some index is decoded by a division
  int depth_ = 0, calls_ = 0;
  std::int64_t steps_ = 0;

  // Statements and expressions (interpret.cpp)
  Flow run_block(NodeId block);
  Flow run_statement(NodeId statement);
  Flow run_if(NodeId statement);
  Flow run_for(NodeId statement);
  Flow run_while(NodeId statement);
  Flow run_unrolled(NodeId statement, const std::vector<Tile>& items);
  void assign(NodeId target, const Tile& value);
  [[nodiscard]] Tile* local(Symbol symbol);
  void set_local(Symbol symbol, const Tile& value);
  Tile evaluate(NodeId expression);
  Tile evaluate_kind(NodeId expression);
  Tile evaluate_name(const Node& node);
  Tile evaluate_attribute(NodeId expression);
  Tile attribute_of(const Tile& object, Symbol name, int line);
  Tile evaluate_subscript(NodeId expression);
  Tile evaluate_call(NodeId expression);
  Tile evaluate_logic(NodeId expression);
  Tile evaluate_conditional(NodeId expression);
  Tile evaluate_unary(NodeId expression);
  [[nodiscard]] int truth(const Tile& tile) const;
  [[nodiscard]] IndexId condition_of(const Tile& tile);
  void collect_assigned(NodeId node, std::vector<Symbol>& names, int depth) const;
  std::vector<std::pair<Symbol, Tile>> enter_loop(int loop, NodeId body);
  void leave_loop(int loop, const std::vector<std::pair<Symbol, Tile>>& carried);
  Tile carried(int loop, const Tile& tile);
  void close(const Tile& phi, const Tile& last);
  Tile after(int loop, const Tile& phi, const Tile& last);
  void merge(const Scope& other, IndexId condition);
  int open_loop(int line, const IndexLoop& bounds, std::string variable, bool unrolled);

  // Memory (memory.cpp)
  int record_access(AccessKind kind, const Tile& pointer, const Tile* mask, int line);
  [[nodiscard]] Tile block_pointer(const Tile& block, const Tile* offsets, IndexId& mask,
                                   bool checked);
  [[nodiscard]] DotOperand operand_of(const Tile& tile) const;
  [[nodiscard]] Dependence dependence_of(Depends depends) const;

  // Numbers (measure.cpp)
  void measure();
  void measure_loops(const Sampler& sampler, std::vector<double>& executions);
  std::vector<double> weights_of(const Sampler& sampler, int context) const;
  void measure_accesses(Sampler& sampler, const std::vector<std::vector<double>>& weights);
  void measure_strides(Sampler& sampler, const std::vector<std::vector<double>>& weights);
  void measure_reach(Sampler& sampler, int rank);
  void measure_footprints(Sampler& sampler, const std::vector<std::vector<double>>& weights);
  void finish_dots();
  void add_arithmetic(const std::vector<double>& executions);
  void add_index_arithmetic(const std::vector<double>& loop_executions);
  [[nodiscard]] bool fused(const IndexNode& node) const;
};

/// tl.* and methods of tiles, by name. True where known.
bool call_tile_function(TileInterpreter& tiles, std::string_view name, TileCall& call,
                        Tile& result);

}  // namespace quoin::architect
