// Runs both parts of a document and puts the model together.
#include "architect/model/model.h"

#include <algorithm>

#include "architect/model/host/interpreter.h"

namespace quoin::architect {
namespace {

void flatten(const Val& value, std::vector<ValueId>& outputs, int depth = 0) {
  if (value.is_tensor()) outputs.push_back(value.tensor());
  if (depth > 8) return;
  if (value.is_sequence()) {
    for (const Val& part : items_of(value)) flatten(part, outputs, depth + 1);
  } else if (value.is(ValKind::dict)) {
    for (const auto& [key, part] : as<DictObject>(value).items) flatten(part, outputs, depth + 1);
  }
}

/// A module's own get_inputs() or get_init_inputs(), as a list of values.
std::vector<Val> inputs_of(Interpreter& interpreter, std::string_view name) {
  std::vector<Val> items;
  const Val function = interpreter.global(name);
  if (!function.is(ValKind::function)) return items;
  const Val made = interpreter.call(function, {});
  if (!interpreter.iterate(made, items) && made.known()) items = {made};
  if (items.size() == 2 && items[0].is_sequence() && items[1].is(ValKind::dict)) {
    items = items_of(items[0]);  // [args, kwargs]
  }
  return items;
}

/// The kernel part may use what only the reference defines: get_inputs, constants, base classes.
/// What it defines itself comes later and wins.
void borrow(Interpreter& interpreter, Environment& from, Symbols& symbols) {
  for (const auto& [symbol, value] : from.variables) {
    interpreter.set_global(symbols.text(symbol), value);
  }
}

struct Run {
  Program& program;
  Recorder recorder;
  Interpreter interpreter;

  Run(Program& made, Symbols& symbols, std::vector<NotUnderstood>& lost, bool reference)
      : program(made), recorder(made), interpreter(symbols, recorder, lost, reference) {}
};

/// Builds the model and runs forward as its second call does: a first call may fill caches.
void run_model(Run& run, std::initializer_list<std::string_view> classes, const Val& not_this) {
  Interpreter& interpreter = run.interpreter;
  Val type;
  for (const std::string_view name : classes) {
    type = interpreter.global(name);
    if (type.is(ValKind::class_) && type.object != not_this.object) break;
    type = unknown_val();
  }
  if (!type.is(ValKind::class_)) {
    interpreter.misunderstood(1, "no class '" + std::string(*classes.begin()) + "'");
    return;
  }
  const Val model = interpreter.call(type, {.name = {},
                                            .positional = inputs_of(interpreter, "get_init_inputs"),
                                            .keywords = {},
                                            .line = 0});
  if (!model.is(ValKind::instance)) return;
  interpreter.name_parameters(model, "self.");
  run.recorder.phase = Recorder::Phase::inputs;
  std::vector<Val> inputs = inputs_of(interpreter, "get_inputs");
  if (inputs.empty() && !interpreter.global("get_inputs").is(ValKind::function)) {
    interpreter.misunderstood(1, "no get_inputs(), so no shapes");
  }
  for (const Val& input : inputs) flatten(input, run.program.inputs);
  for (const ValueId id : run.program.inputs) run.recorder.value(id).name.clear();
  run.recorder.phase = Recorder::Phase::running;
  const Call call{.name = {}, .positional = std::move(inputs), .keywords = {}, .line = 0};
  Val result = interpreter.call_forward(model, call);
  if (interpreter.state_changed && !interpreter.out_of_steps()) {
    run.recorder.restart();
    result = interpreter.call_forward(model, call);
  }
  flatten(result, run.program.outputs);
  run.program.complete = interpreter.forward_returned();
  if (run.recorder.overflow) {
    interpreter.misunderstood(0, "more operations than are kept: the rest was left out");
  }
  run.recorder.finish();
}

bool same_outputs(const Program& a, const Program& b) {
  // `a` may return more than the reference `b` (an RNN's last state beside its output), not less.
  const std::size_t count = b.outputs.size();
  if (count == 0 || a.outputs.size() < count) return false;
  for (std::size_t i = 0; i < count; ++i) {
    if (a.values[a.outputs[i]].shape != b.values[b.outputs[i]].shape) return false;
  }
  return true;
}

}  // namespace

Model model_of(const Document& document) {
  Model model;
  model.performance = document.performance;
  Symbols symbols;
  Result<Tree> reference_tree =
      parse_python(document.reference.text, document.reference.first_line, symbols);
  Result<Tree> kernel_tree =
      parse_python(document.kernel.text, document.kernel.first_line, symbols);
  Run reference(model.reference, symbols, model.not_understood, true);
  if (document.reference.present && reference_tree) {
    model.reference.present = true;
    reference.interpreter.run_module(reference_tree.value());
  } else if (document.reference.present) {
    model.not_understood.push_back(
        {document.reference.first_line, reference_tree.error().message, true});
  }
  Run current(model.current, symbols, model.not_understood, false);
  if (!kernel_tree) {
    model.not_understood.push_back(
        {document.kernel.first_line, kernel_tree.error().message, false});
    return model;
  }
  model.current.present = true;
  if (model.reference.present) {
    borrow(current.interpreter, reference.interpreter.globals(), symbols);
    run_model(reference, {"Model"}, {});
  }
  current.interpreter.run_module(kernel_tree.value());
  run_model(current, {"ModelNew", "Model"}, reference.interpreter.global("Model"));
  model.outputs_match = same_outputs(model.current, model.reference);
  return model;
}

}  // namespace quoin::architect
