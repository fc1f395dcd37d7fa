// Calls of the host interpreter: functions, classes, instances and the way to the builtins.
#include <algorithm>
#include <cmath>

#include "architect/model/host/interpreter.h"
#include "architect/model/torch/torch.h"

namespace quoin::architect {
namespace {

Val bit_length(const Val& value) {
  std::int64_t bits = 0;
  for (std::int64_t rest = std::abs(value.number); rest > 0; rest >>= 1) ++bits;
  return int_val(bits);
}

}  // namespace

Val Interpreter::argument(const Call& call, std::size_t place, std::string_view name) const {
  if (place < call.positional.size()) return call.positional[place];
  return keyword(call, name);
}

Val Interpreter::keyword(const Call& call, std::string_view name) const {
  for (const auto& [symbol, value] : call.keywords) {
    if (symbols.text(symbol) == name) return value;
  }
  return unknown_val();
}

Val Interpreter::call(const Val& callee, Call call) {
  if (calls_ >= kMaxCalls || depth_ > kMaxEvaluation) {
    return lost(call.line, "calls nested too deeply");
  }
  ++calls_;
  Val result;
  switch (callee.kind) {
    case ValKind::function:
      result = call_function(as<FunctionObject>(callee), nullptr, call);
      break;
    case ValKind::bound: {
      auto& bound = as<BoundObject>(callee);
      result = call_function(*bound.function, &bound.self, call);
      break;
    }
    case ValKind::class_: result = construct(callee, call); break;
    case ValKind::instance: result = call_instance(callee, call); break;
    case ValKind::builtin: {
      const std::string path = as<BuiltinObject>(callee).path;
      result = path == "super" ? super_of(call) : call_builtin(path, call);
      break;
    }
    case ValKind::method: {
      auto& method = as<MethodObject>(callee);
      result = call_method(method.receiver, method.name, call);
      break;
    }
    case ValKind::launcher: result = launch(*this, as<LauncherObject>(callee), call); break;
    case ValKind::partial: {
      auto& partial = as<PartialObject>(callee);
      std::vector<Val> positional = partial.positional;
      positional.insert(positional.end(), call.positional.begin(), call.positional.end());
      call.positional = std::move(positional);
      call.keywords.insert(call.keywords.end(), partial.keywords.begin(), partial.keywords.end());
      result = this->call(partial.callee, std::move(call));
      break;
    }
    default: result = unknown_val();
  }
  --calls_;
  return result;
}

// ----------------------------------------------------------------------------- user functions

/// Binds arguments to parameters. Launches of kernels pass options that are no parameters.
bool Interpreter::bind(const FunctionObject& function, const Call& call, const Val* self,
                       std::vector<std::pair<Symbol, Val>>& bound, bool kernel) {
  const Tree& tree = *function.tree;
  const NodeId list_node = tree.child(function.node, 0);
  std::vector<bool> used(call.keywords.size(), false);
  std::size_t next = 0;
  const std::size_t given = call.positional.size() + (self != nullptr ? 1 : 0);
  const auto positional = [&](std::size_t i) {
    return self == nullptr ? call.positional[i] : i == 0 ? *self : call.positional[i - 1];
  };
  bool keyword_only = false;
  std::size_t index = 0;
  const auto parameters = list_node < 0 ? std::span<const NodeId>() : tree.children_of(list_node);
  for (const NodeId id : parameters) {
    const Node& parameter = tree.at(id);
    const std::size_t place = index++;
    if (parameter.op == Operator::bare_star) {
      keyword_only = true;
    } else if (parameter.op == Operator::star) {
      std::vector<Val> rest;
      while (next < given) rest.push_back(positional(next++));
      bound.emplace_back(parameter.symbol, tuple(std::move(rest)));
      keyword_only = true;
    } else if (parameter.op == Operator::double_star) {
      const Val rest = dict();
      for (std::size_t k = 0; k < call.keywords.size(); ++k) {
        if (!used[k]) dict_set(rest, symbols.text(call.keywords[k].first), call.keywords[k].second);
      }
      bound.emplace_back(parameter.symbol, rest);
    } else if (!keyword_only && next < given) {
      bound.emplace_back(parameter.symbol, positional(next++));
    } else {
      Val value = place < function.defaults.size() ? function.defaults[place] : unknown_val();
      bool found = value.known();
      for (std::size_t k = 0; k < call.keywords.size(); ++k) {
        if (call.keywords[k].first != parameter.symbol) continue;
        value = call.keywords[k].second;
        used[k] = found = true;
      }
      if (!found && !kernel) {
        misunderstood(call.line, "no argument for '" + std::string(parameter.text) + "' of '" +
                                     std::string(function.name) + "'");
      }
      if (found || !kernel) bound.emplace_back(parameter.symbol, value);
    }
  }
  return next >= given;
}

Val Interpreter::call_function(FunctionObject& function, const Val* self, const Call& call) {
  if (function.jit) return lost(call.line, "a kernel called without a grid");
  auto* scope = make<Environment>();
  scope->parent = function.closure;
  bind(function, call, self, scope->variables);
  for (const auto& [symbol, value] : scope->variables) {
    if (value.is_tensor() && recorder.value(value.tensor()).name.empty()) {
      recorder.name_value(value.tensor(), symbols.text(symbol));
    }
  }
  const Tree* outer_tree = std::exchange(tree_, function.tree);
  Environment* outer_scope = std::exchange(scope_, scope);
  FunctionObject* outer_function = std::exchange(function_, &function);
  Val result = null_val();
  if (tree_->at(function.node).kind == NodeKind::lambda) {
    result = evaluate(tree_->child(function.node, 1));
  } else {
    returned_ = null_val();
    const Flow flow = run_block(tree_->child(function.node, 1));
    if (flow == Flow::returned) result = returned_;
    if (flow == Flow::raised) {
      result = lost(recorder.line, "an exception in '" + std::string(function.name) + "'");
    }
    returned_ = null_val();
  }
  tree_ = outer_tree;
  scope_ = outer_scope;
  function_ = outer_function;
  recorder.line = call.line;
  return result;
}

Val Interpreter::call_forward(const Val& model, const Call& call) {
  const Val result = call_instance(model, call);
  forward_returned_ = result.known() && !out_of_steps();
  return result;
}

// ------------------------------------------------------------------------ classes and instances

Val Interpreter::find_in_class(const ClassObject& type, Symbol name, int depth) {
  if (const Val* held = type.body->find(name)) return *held;
  for (const Val& base : type.bases) {
    if (!base.is(ValKind::class_) || depth > 16) continue;
    const Val found = find_in_class(as<ClassObject>(base), name, depth + 1);
    if (found.known()) return found;
  }
  return unknown_val();
}

/// "Conv2d" for a class that extends nn.Conv2d, "Module" for one that extends nn.Module.
std::string Interpreter::layer_base(const ClassObject& type, int depth) {
  for (const Val& base : type.bases) {
    if (base.is(ValKind::builtin)) {
      const std::string& path = as<BuiltinObject>(base).path;
      if (path.starts_with("torch.")) return path.substr(path.rfind('.') + 1);
    }
    if (base.is(ValKind::class_) && depth < 16) {
      const std::string found = layer_base(as<ClassObject>(base), depth + 1);
      if (!found.empty()) return found;
    }
  }
  return "";
}

Val Interpreter::construct(const Val& type, const Call& call) {
  auto& class_object = as<ClassObject>(type);
  const Val made = instance(layer_base(class_object));
  as<InstanceObject>(made).type = &class_object;
  const Val init = find_in_class(class_object, symbols.intern("__init__"));
  if (init.is(ValKind::function)) {
    call_function(as<FunctionObject>(init), &made, call);
  } else if (as<InstanceObject>(made).layer.empty()) {
    fill_fields(class_object, as<InstanceObject>(made), call);
  } else if (as<InstanceObject>(made).layer != "Module") {
    init_layer(*this, as<InstanceObject>(made), call);
  }
  return made;
}

/// A dataclass: arguments become the fields of its body, in their order.
void Interpreter::fill_fields(const ClassObject& type, InstanceObject& made, const Call& call) {
  std::size_t place = 0;
  for (const auto& [symbol, value] : type.body->variables) {
    if (value.is(ValKind::function)) continue;
    if (place < call.positional.size()) made.set(symbol, call.positional[place]);
    ++place;
  }
  for (const auto& [symbol, value] : call.keywords) made.set(symbol, value);
}

Val Interpreter::super_of(const Call& call) {
  auto* made = make<SuperObject>();
  if (call.positional.size() == 2 && call.positional[0].is(ValKind::class_)) {
    made->type = &as<ClassObject>(call.positional[0]);
    made->self = call.positional[1];
  } else if (function_ != nullptr && !scope_->variables.empty()) {
    made->type = function_->owner;
    made->self = scope_->variables.front().second;
  }
  Val value{ValKind::super_};
  value.object = made;
  return value;
}

Val Interpreter::super_attribute(const SuperObject& object, Symbol name) {
  if (object.type == nullptr || !object.self.is(ValKind::instance)) return unknown_val();
  for (const Val& base : object.type->bases) {
    if (!base.is(ValKind::class_)) continue;
    const Val found = find_in_class(as<ClassObject>(base), name);
    if (found.known()) return bind_method(found, object.self);
  }
  const std::string_view text = symbols.text(name);
  return method_of(object.self, text == "__init__"                        ? "super.__init__"
                                : text == "forward" || text == "__call__" ? "super.forward"
                                                                          : text);
}

Val Interpreter::call_instance(const Val& object, const Call& call) {
  auto& instance_object = as<InstanceObject>(object);
  if (instance_object.type != nullptr) {
    for (const char* name : {"forward", "__call__"}) {
      const Val method = find_in_class(*instance_object.type, symbols.intern(name));
      if (method.is(ValKind::function)) {
        return call_function(as<FunctionObject>(method), &object, call);
      }
    }
  }
  Val result;
  Call copy = call;
  if (call_layer(*this, instance_object, copy, result)) return result;
  return lost(call.line, "the layer nn." + instance_object.layer);
}

Val Interpreter::bind_method(const Val& found, const Val& self) {
  if (!found.is(ValKind::function)) return found;
  auto& function = as<FunctionObject>(found);
  if (function.is_static || function.jit) return found;
  if (function.is_property) return call_function(function, &self, {.line = line()});
  auto* made = make<BoundObject>();
  made->function = &function;
  made->self = self;
  Val value{ValKind::bound};
  value.object = made;
  return value;
}

Val Interpreter::method_of(const Val& receiver, std::string_view name) {
  auto* made = make<MethodObject>();
  made->receiver = receiver;
  made->name = name;
  Val value{ValKind::method};
  value.object = made;
  return value;
}

// --------------------------------------------------------------------------------- attributes

Val Interpreter::attribute(const Val& object, Symbol name) {
  const std::string_view text = symbols.text(name);
  switch (object.kind) {
    case ValKind::unknown: return unknown_val();
    case ValKind::instance: return instance_attribute(object, name);
    case ValKind::class_: return class_attribute(object, name);
    case ValKind::super_: return super_attribute(as<SuperObject>(object), name);
    case ValKind::builtin: return builtin_attribute(object, name);
    case ValKind::tensor: {
      Val result;
      if (tensor_attribute(*this, object.tensor(), text, result)) return result;
      return method_of(object, text);
    }
    case ValKind::device:
      if (text == "type") return string("cuda");
      if (text == "index") return int_val(0);
      return unknown_val();
    case ValKind::dtype:
      if (text == "itemsize") return int_val(bytes_of(object.type()));
      if (text == "is_floating_point") return bool_val(is_float(object.type()));
      return method_of(object, text);
    case ValKind::dict: {
      const Val held = dict_get(object, text);  // a namespace: device properties, say
      if (held.known()) return held;
      return method_of(object, text);
    }
    case ValKind::slice: {
      const auto& slice = as<SliceObject>(object);
      return text == "start" ? slice.begin : text == "stop" ? slice.end : slice.step;
    }
    case ValKind::tuple: {  // what max, topk and sort return has names
      const auto& items = items_of(object);
      if (text == "values" && !items.empty()) return items[0];
      if (text == "indices" && items.size() > 1) return items[1];
      return method_of(object, text);
    }
    case ValKind::null: return lost(line(), "the attribute '" + std::string(text) + "' of None");
    default: return method_of(object, text);
  }
}

Val Interpreter::class_attribute(const Val& object, Symbol name) {
  const Val found = find_in_class(as<ClassObject>(object), name);
  const std::string_view text = symbols.text(name);
  if (found.is(ValKind::function) && as<FunctionObject>(found).is_class) {
    return bind_method(found, object);
  }
  if (found.known()) return found;
  if (text == "__name__") return string(as<ClassObject>(object).name);
  return method_of(object, text);
}

Val Interpreter::instance_attribute(const Val& object, Symbol name) {
  auto& held = as<InstanceObject>(object);
  if (const Val* value = held.find(name)) return *value;
  if (held.type != nullptr) {
    const Val found = find_in_class(*held.type, name);
    if (found.known()) return bind_method(found, object);
  }
  const std::string_view text = symbols.text(name);
  for (const auto& [item_name, value] : held.items) {
    if (item_name == text) return value;
  }
  // Documents are judged as they are measured, after eval(): no dropout, running statistics.
  if (text == "training") return bool_val(false);
  if (text == "__class__" && held.type != nullptr) {
    Val value{ValKind::class_};
    value.object = held.type;
    return value;
  }
  return method_of(object, text);
}

Val Interpreter::builtin_attribute(const Val& object, Symbol name) {
  const std::string& path = as<BuiltinObject>(object).path;
  const std::string_view text = symbols.text(name);
  if (path == "torch.version" || path == "sys") return string("");
  if (text == "__version__") return string("2.11.0");
  if (text == "__name__") return string(path);
  return builtin(path + "." + std::string(text));
}

void Interpreter::set_attribute(const Val& object, Symbol name, const Val& value) {
  const bool running = recorder.phase == Recorder::Phase::running;
  if (object.is(ValKind::instance)) {
    as<InstanceObject>(object).set(name, value);
    state_changed = state_changed || running;
  } else if (object.is(ValKind::class_)) {
    as<ClassObject>(object).body->set(name, value);
    state_changed = state_changed || running;
  } else if (object.is_tensor() && symbols.text(name) == "data" && value.is_tensor() &&
             recorder.phase == Recorder::Phase::running) {
    const bool same =
        recorder.value(object.tensor()).storage == recorder.value(value.tensor()).storage;
    if (!same) misunderstood(line(), "a tensor's data was exchanged");
  } else if (object.is(ValKind::builtin) && symbols.text(name) == "allow_tf32" &&
             as<BuiltinObject>(object).path == "torch.backends.cuda.matmul") {
    recorder.program().matmul_tf32 = truth(value) == 1;
  }
}

// ----------------------------------------------------------------------------------- builtins

Val Interpreter::call_builtin(const std::string& path, Call& call) {
  const std::size_t dot = path.rfind('.');
  const std::string_view last = std::string_view(path).substr(dot == path.npos ? 0 : dot + 1);
  const std::string_view module =
      dot == path.npos ? std::string_view() : std::string_view(path).substr(0, dot);
  call.name = last;
  Val result;
  bool known = false;
  if (module == "torch.nn.init") {
    return call.positional.empty()                   ? null_val()
           : last == "_calculate_fan_in_and_fan_out" ? fan_in_and_out(*this, call.positional[0])
                                                     : call.positional[0];
  }
  if (module.starts_with("torch.cuda") || module.starts_with("torch.backends") ||
      module.starts_with("torch.utils") || module == "torch._dynamo") {
    known = call_cuda(*this, last, call, result);
  } else if (module.starts_with("torch.nn") && !last.empty() && last[0] >= 'A' && last[0] <= 'Z') {
    const Val made = instance(std::string(last));
    known = init_layer(*this, as<InstanceObject>(made), call);
    result = last == "Parameter" || last == "Buffer"
                 ? call.positional.empty() ? unknown_val() : call.positional[0]
                 : made;
  } else if (module == "torch" || module.starts_with("torch.")) {
    known = call_torch(*this, last, call, result);
  } else if (module == "einops" || module.starts_with("einops.")) {
    const std::string name =
        last == "rearrange" || last == "Rearrange" ? "rearrange" : "einops_" + std::string(last);
    known = call_torch(*this, name, call, result);
  } else if (module == "math" || module == "np" || module.starts_with("np.")) {
    known = call_math(*this, last, call, result);
  } else if (module == "triton" || module.starts_with("triton.")) {
    known = call_triton(*this, last, call, result);
  } else {
    known = call_python(*this, last, call, result);
  }
  if (known) return result;
  return lost(call.line, "'" + path + "'");
}

Val Interpreter::call_method(const Val& receiver, std::string_view name, Call& call) {
  Val result;
  bool known = false;
  call.name = name;
  switch (receiver.kind) {
    case ValKind::tensor: {
      Call with_self = call;
      with_self.method = true;
      with_self.positional.insert(with_self.positional.begin(), receiver);
      known = call_torch(*this, name, with_self, result);
      break;
    }
    case ValKind::tuple:
    case ValKind::list:
    case ValKind::set: known = call_list_method(*this, receiver, name, call, result); break;
    case ValKind::dict: known = call_dict_method(*this, receiver, name, call, result); break;
    case ValKind::string: known = call_string_method(*this, receiver, name, call, result); break;
    case ValKind::instance: known = call_module_method(*this, receiver, name, call, result); break;
    case ValKind::class_:
      if (name == "apply") {  // torch.autograd.Function
        const Val forward = find_in_class(as<ClassObject>(receiver), symbols.intern("forward"));
        if (forward.is(ValKind::function)) {
          const Val context = instance("FunctionCtx");
          return call_function(as<FunctionObject>(forward), &context, call);
        }
      }
      break;
    case ValKind::integer:
    case ValKind::real:
    case ValKind::boolean:
      result = name == "bit_length" ? bit_length(receiver)
               : name == "is_integer"
                   ? bool_val(receiver.as_real() == std::floor(receiver.as_real()))
                   : receiver;
      known = name == "bit_length" || name == "is_integer" || name == "item" || name == "to";
      break;
    case ValKind::dtype:
      result = receiver;  // .to_real() and the like
      known = true;
      break;
    default: break;
  }
  if (known) return result;
  return lost(call.line, "the method '" + std::string(name) + "'");
}

void Interpreter::name_parameters(const Val& module, const std::string& prefix, int depth) {
  if (depth > 12) return;
  auto& held = as<InstanceObject>(module);
  const auto visit = [&](const std::string& name, const Val& value) {
    if (value.is_tensor()) {
      Value& tensor = recorder.value(value.tensor());
      if (!tensor.name.starts_with("self.")) tensor.name = prefix + name;
    } else if (value.is(ValKind::instance)) {
      name_parameters(value, prefix + name + ".", depth + 1);
    }
  };
  for (const auto& [symbol, value] : held.attributes) {
    visit(std::string(symbols.text(symbol)), value);
  }
  for (const auto& [name, value] : held.items) visit(name, value);
}

}  // namespace quoin::architect
