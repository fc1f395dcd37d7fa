// The program under construction: tensors, the storages behind them, and the operations in order.
//
// While a model is built (`__init__`, `get_inputs`) nothing is recorded: tensors made there are
// parameters or inputs. While `forward` runs, each operation is. The recorder knows who last wrote
// each storage and whether it holds anything that depends on an input.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "architect/model/kernel_model.h"

namespace quoin::architect {

using Shape = std::vector<std::int64_t>;

[[nodiscard]] Shape contiguous_strides(const Shape& shape);
[[nodiscard]] std::int64_t elements_of(const Shape& shape);

/// Longest program that is kept; a longer one is cut there and says so.
inline constexpr std::size_t kMaxOps = 8'000;
/// Most tensors; a document that makes more is cut there and says so.
inline constexpr std::size_t kMaxValues = 200'000;

class Recorder {
 public:
  enum class Phase : std::uint8_t { building, inputs, running };

  explicit Recorder(Program& program) : program_(program) {}

  Phase phase = Phase::building;
  int line = 0;                  // of the statement that runs
  std::vector<LoopLevel> loops;  // Python loops around it
  bool overflow = false;         // kMaxOps or kMaxValues was reached

  [[nodiscard]] Program& program() { return program_; }
  [[nodiscard]] Value& value(ValueId id) { return program_.values[id]; }
  [[nodiscard]] const Value& value(ValueId id) const { return program_.values[id]; }

  /// A new contiguous tensor with a storage of its own.
  ValueId make(Shape shape, Type type);
  /// A view: the same storage.
  ValueId view(ValueId base, Shape shape, Shape strides, std::string how, std::int64_t shift = 0);
  void name_value(ValueId id, std::string_view name);

  /// An operand with its present producers.
  [[nodiscard]] Operand operand(ValueId id, std::string_view role = {}) const;

  /// Records `op`, whose inputs and outputs are set, and marks the outputs as written. Fills in
  /// bytes where they are zero. Nothing while building. Returns its number or -1.
  OpId record(Op op);
  /// A further output of the operation recorded last (the indices of a max, say).
  void add_output(ValueId id);

  /// Marks the value of a freshly allocated tensor as known (zeros) or scratch (empty).
  void set_scratch(ValueId id);

  /// Unique elements that a value reads: without broadcast dimensions.
  [[nodiscard]] double unique_bytes(ValueId id) const;
  [[nodiscard]] bool weight_only(ValueId id) const;

  /// Forgets the operations: what they wrote is now as if it had always been there.
  void restart();
  /// Copies what the storages know into the values, at the end.
  void finish();

 private:
  struct Storage {
    std::int64_t elements = 0;
    bool weight_only = true;
    bool scratch = false;       // allocated, never written
    std::vector<OpId> writers;  // since it was last written as a whole
  };

  Program& program_;
  std::vector<Storage> storages_;
};

}  // namespace quoin::architect
