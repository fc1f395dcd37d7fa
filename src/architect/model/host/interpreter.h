// Runs the host side of a document with the concrete shapes of get_inputs(): a small Python
// interpreter whose tensors have shapes but no elements. Every PyTorch call and kernel launch of
// `forward` goes to the recorder.
//
// It always ends: statements are counted, recursion is limited. It never raises: what it does not
// know becomes an unknown value and a line in `not_understood`.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "architect/model/host/recorder.h"
#include "architect/model/host/value.h"

namespace quoin::architect {

/// The arguments of one call, as a builtin sees them.
struct Call {
  std::string_view name;  // last part of the path
  std::vector<Val> positional;
  std::vector<std::pair<Symbol, Val>> keywords;
  int line = 0;
  bool method = false;  // called as x.name(...), with x first
};

class Interpreter {
 public:
  Interpreter(Symbols& symbols, Recorder& recorder, std::vector<NotUnderstood>& not_understood,
              bool reference);

  Symbols& symbols;
  Recorder& recorder;

  /// Runs a module's statements into the global environment.
  void run_module(const Tree& tree);
  [[nodiscard]] Val global(std::string_view name);
  void set_global(std::string_view name, const Val& value);

  [[nodiscard]] Val call(const Val& callee, Call arguments);
  [[nodiscard]] Val attribute(const Val& object, Symbol name);
  void set_attribute(const Val& object, Symbol name, const Val& value);
  [[nodiscard]] Val item(const Val& object, const Val& index);
  void set_item(const Val& object, const Val& index, const Val& value);
  [[nodiscard]] Val binary(Operator op, const Val& left, const Val& right);
  [[nodiscard]] Val compare(Operator op, const Val& left, const Val& right);
  /// The elements of a list, a tuple, a range, a tensor's first dimension, ...; false if unknown.
  bool iterate(const Val& iterable, std::vector<Val>& items);
  /// 1, 0, or -1 where it is unknown.
  [[nodiscard]] int truth(const Val& value);

  // Making values
  [[nodiscard]] Val string(std::string_view text);
  [[nodiscard]] Val sequence(ValKind kind, std::vector<Val> items);
  [[nodiscard]] Val tuple(std::vector<Val> items) {
    return sequence(ValKind::tuple, std::move(items));
  }
  [[nodiscard]] Val list(std::vector<Val> items) {
    return sequence(ValKind::list, std::move(items));
  }
  [[nodiscard]] Val shape_val(const Shape& shape);
  [[nodiscard]] Val builtin(std::string path);
  [[nodiscard]] Val dict();
  [[nodiscard]] Val instance(std::string layer);
  template <class T>
  T* make() {
    auto made = std::make_unique<T>();
    T* raw = made.get();
    arena_.push_back(std::move(made));
    return raw;
  }

  /// Elements of small constant tensors (torch.tensor([2, 3]), linspace), by storage.
  std::unordered_map<int, std::vector<double>> contents;
  /// The elements of such a tensor, empty where they are not known.
  [[nodiscard]] std::vector<double> contents_of(const Val& tensor) const;

  // Reading arguments
  [[nodiscard]] Val argument(const Call& call, std::size_t place, std::string_view name) const;
  [[nodiscard]] Val keyword(const Call& call, std::string_view name) const;
  [[nodiscard]] static Val dict_get(const Val& dict, std::string_view key);
  void dict_set(const Val& dict, std::string_view key, const Val& value);
  bool bind(const FunctionObject& function, const Call& call, const Val* self,
            std::vector<std::pair<Symbol, Val>>& bound, bool kernel = false);

  void misunderstood(int line, std::string what);
  [[nodiscard]] Val lost(int line, std::string what) {
    misunderstood(line, std::move(what));
    return unknown_val();
  }

  /// The kernel of an earlier launch with the same arguments, or -1.
  [[nodiscard]] int known_kernel(std::uint64_t key) const {
    const auto found = kernels_.find(key);
    return found == kernels_.end() ? -1 : found->second;
  }
  void remember_kernel(std::uint64_t key, int kernel) { kernels_.emplace(key, kernel); }

  [[nodiscard]] int line() const { return recorder.line; }
  [[nodiscard]] bool out_of_steps() const { return steps_ > kMaxSteps || recorder.overflow; }
  /// Work of kernel interpretations, which share one budget: false once it is used up.
  bool spend(std::int64_t kernel_steps) {
    kernel_steps_ += kernel_steps;
    return kernel_steps_ <= kMaxKernelSteps;
  }
  [[nodiscard]] bool forward_returned() const { return forward_returned_; }
  void note_append(SequenceObject* list, const Val& value) {
    if (track_appends_) appends_.emplace_back(list, value);
  }
  Val call_forward(const Val& model, const Call& call);
  [[nodiscard]] Environment& globals() { return *globals_; }
  /// Whether forward left something behind for its next call: an attribute, an entry of a dict.
  bool state_changed = false;
  /// "self.conv.weight" for the tensors of a module.
  void name_parameters(const Val& module, const std::string& prefix, int depth = 0);

 private:
  // 50 to 250 ns a step: a quarter of a second at the most.
  static constexpr std::int64_t kMaxSteps = 1'000'000;
  static constexpr std::int64_t kObjectSteps = 50;  // an object with its attributes and tensors
  // A node of an index graph that is sampled counts one: some 20 us for a thousand.
  static constexpr std::int64_t kMaxKernelSteps = 4'000'000;
  static constexpr std::size_t kMaxItems = 200'000;         // of a list, or characters of a string
  static constexpr std::int64_t kMaxAllItems = 20'000'000;  // of all lists ever made
  static constexpr int kMaxCalls = 60;                      // nested calls of Python functions
  static constexpr int kMaxEvaluation = 900;  // nested evaluations of this interpreter

  enum class Flow : std::uint8_t { normal, broke, continued, returned, raised };

  std::vector<NotUnderstood>& not_understood_;
  bool reference_;
  std::vector<std::unique_ptr<Object>> arena_;
  std::unordered_set<std::string> said_;
  std::unordered_map<std::uint64_t, int> kernels_;
  Environment* globals_ = nullptr;
  Environment* scope_ = nullptr;
  const Tree* tree_ = nullptr;
  FunctionObject* function_ = nullptr;  // that runs
  Val returned_;
  bool forward_returned_ = false;
  std::int64_t steps_ = 0;
  std::int64_t kernel_steps_ = 0;
  std::int64_t all_items_ = 0;
  int calls_ = 0;
  int depth_ = 0;
  bool track_appends_ = false;
  std::vector<std::pair<SequenceObject*, Val>> appends_;

  // Statements (statements.cpp, loops.cpp)
  Flow run_block(NodeId block);
  Flow run_statement(NodeId statement);
  Flow run_if(NodeId statement);
  Flow run_for(NodeId statement);
  Flow run_while(NodeId statement);
  Flow run_with(NodeId statement);
  Flow run_try(NodeId statement);
  Flow run_iteration(NodeId statement, const Val& item);
  std::uint64_t operations_hash(std::size_t from, std::size_t to) const;
  void skip_iterations(std::size_t from, std::size_t to, std::int64_t count,
                       const std::vector<std::pair<Symbol, Val>>& before);
  void run_definition(NodeId statement);
  void run_class(NodeId statement);
  void run_import(NodeId statement);
  void read_decorators(FunctionObject& function, const std::vector<NodeId>& decorators);
  void assign(NodeId target, const Val& value);
  void unpack(NodeId target, const Val& value);
  void run_augmented(NodeId statement);

  // Expressions (expressions.cpp)
  Val evaluate(NodeId expression);
  Val evaluate_kind(NodeId expression);
  Val evaluate_name(NodeId expression);
  Val evaluate_call(NodeId expression);
  Val evaluate_comprehension(NodeId expression);
  void comprehend(NodeId expression, std::size_t clause, std::vector<Val>& items,
                  std::vector<std::pair<Val, Val>>& pairs);
  Val evaluate_format(NodeId expression);
  Val evaluate_slice(NodeId expression);
  Val evaluate_dict(NodeId expression);
  Val evaluate_unary(NodeId expression);
  Val lambda(NodeId expression);
  std::string source_of(NodeId expression) const;

  // Calls (calls.cpp)
  Val call_function(FunctionObject& function, const Val* self, const Call& call);
  Val call_instance(const Val& object, const Call& call);
  Val construct(const Val& type, const Call& call);
  void fill_fields(const ClassObject& type, InstanceObject& made, const Call& call);
  Val super_of(const Call& call);
  Val super_attribute(const SuperObject& object, Symbol name);
  Val call_builtin(const std::string& path, Call& call);
  Val call_method(const Val& receiver, std::string_view name, Call& call);
  Val find_in_class(const ClassObject& type, Symbol name, int depth = 0);
  std::string layer_base(const ClassObject& type, int depth = 0);
  Val bind_method(const Val& found, const Val& self);
  Val method_of(const Val& receiver, std::string_view name);
  Val class_attribute(const Val& object, Symbol name);
  Val instance_attribute(const Val& object, Symbol name);
  Val builtin_attribute(const Val& object, Symbol name);
};

// Builtins of Python and its standard library (python_builtins.cpp, methods.cpp). True if known.
bool call_python(Interpreter& interpreter, std::string_view name, Call& call, Val& result);
bool call_math(Interpreter& interpreter, std::string_view name, Call& call, Val& result);
bool call_list_method(Interpreter& interpreter, const Val& receiver, std::string_view name,
                      Call& call, Val& result);
bool call_dict_method(Interpreter& interpreter, const Val& receiver, std::string_view name,
                      Call& call, Val& result);
bool call_string_method(Interpreter& interpreter, const Val& receiver, std::string_view name,
                        Call& call, Val& result);
bool call_triton(Interpreter& interpreter, std::string_view name, Call& call, Val& result);

// A launch of a kernel (launch.cpp).
Val launch(Interpreter& interpreter, const LauncherObject& launcher, const Call& call);

}  // namespace quoin::architect
