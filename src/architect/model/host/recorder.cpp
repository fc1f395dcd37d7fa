#include "architect/model/host/recorder.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace quoin::architect {
namespace {

// A storage that is written in many parts (an RNN's output, step by step) keeps so many writers.
constexpr std::size_t kMaxWriters = 32;

}  // namespace

Shape contiguous_strides(const Shape& shape) {
  Shape strides(shape.size(), 1);
  for (std::size_t d = shape.size(); d-- > 1;) {
    strides[d - 1] = strides[d] * std::max<std::int64_t>(shape[d], 1);
  }
  return strides;
}

std::int64_t elements_of(const Shape& shape) {
  std::int64_t count = 1;
  for (const std::int64_t size : shape) {
    if (size <= 0) return 0;
    if (count > INT64_MAX / size) return INT64_MAX;
    count *= size;
  }
  return count;
}

ValueId Recorder::make(Shape shape, Type type) {
  if (program_.values.size() >= kMaxValues) {
    overflow = true;  // the interpreter stops at its next statement
    return static_cast<ValueId>(program_.values.size()) - 1;
  }
  Value made;
  made.strides = contiguous_strides(shape);
  made.shape = std::move(shape);
  made.type = type;
  made.origin = phase == Phase::building ? Origin::parameter
                : phase == Phase::inputs ? Origin::input
                                         : Origin::result;
  made.storage = static_cast<int>(storages_.size());
  Storage storage;
  storage.elements = quoin::architect::elements_of(made);
  storage.weight_only = phase != Phase::inputs;
  storages_.push_back(std::move(storage));
  program_.values.push_back(std::move(made));
  return static_cast<ValueId>(program_.values.size()) - 1;
}

ValueId Recorder::view(ValueId base, Shape shape, Shape strides, std::string how,
                       std::int64_t shift) {
  if (program_.values.size() >= kMaxValues) {
    overflow = true;
    return base;
  }
  Value made = program_.values[base];
  made.shape = std::move(shape);
  made.strides = std::move(strides);
  made.offset += shift;
  made.base = base;
  made.view = std::move(how);
  const auto& writers = storages_[made.storage].writers;
  made.producer = writers.empty() ? -1 : writers.back();
  program_.values.push_back(std::move(made));
  return static_cast<ValueId>(program_.values.size()) - 1;
}

void Recorder::name_value(ValueId id, std::string_view name) {
  std::string& held = program_.values[id].name;
  // A parameter keeps the module's name for it.
  if (held.starts_with("self.") && !name.starts_with("self.")) return;
  held = name;
}

Operand Recorder::operand(ValueId id, std::string_view role) const {
  Operand made{id, std::string(role), {}};
  if (id >= 0) made.producers = storages_[program_.values[id].storage].writers;
  return made;
}

void Recorder::set_scratch(ValueId id) {
  if (phase != Phase::running) return;
  Value& held = program_.values[id];
  held.origin = Origin::fresh;
  storages_[held.storage].scratch = true;
}

double Recorder::unique_bytes(ValueId id) const {
  if (id < 0) return 0;
  const Value& held = program_.values[id];
  double count = bytes_of(held.type);
  for (std::size_t d = 0; d < held.shape.size(); ++d) {
    if (held.strides[d] != 0 || held.shape[d] == 0) count *= static_cast<double>(held.shape[d]);
  }
  return count;
}

bool Recorder::weight_only(ValueId id) const {
  return id < 0 || storages_[program_.values[id].storage].weight_only;
}

OpId Recorder::record(Op op) {
  if (phase != Phase::running) return -1;
  if (program_.ops.size() >= kMaxOps) {
    overflow = true;
    return -1;
  }
  const auto id = static_cast<OpId>(program_.ops.size());
  op.weight_only = op.kind != OpKind::random;
  bool counts = op.kind == OpKind::launch;
  for (const Operand& input : op.inputs) {
    if (input.value < 0) continue;
    const Storage& storage = storages_[program_.values[input.value].storage];
    const bool scratch = storage.scratch && storage.writers.empty();
    op.weight_only = op.weight_only && (storage.weight_only || scratch);
  }
  if (op.bytes_read == 0 && !counts) {
    for (const Operand& input : op.inputs) op.bytes_read += unique_bytes(input.value);
  }
  for (const ValueId output : op.outputs) {
    if (output < 0) continue;
    Value& written = program_.values[output];
    Storage& storage = storages_[written.storage];
    const bool whole = quoin::architect::elements_of(written) >= storage.elements;
    if (whole) {
      storage.writers.clear();
      storage.weight_only = op.weight_only;
    } else {
      storage.weight_only = op.weight_only && (storage.weight_only || storage.scratch);
    }
    storage.scratch = false;
    if (storage.writers.size() >= kMaxWriters) {
      storage.writers.erase(storage.writers.begin() + 1);
    }
    storage.writers.push_back(id);
    written.producer = id;
    if (written.origin == Origin::fresh) written.origin = Origin::result;
  }
  if (op.bytes_written == 0 && !counts) {
    for (const ValueId output : op.outputs) {
      if (output >= 0) op.bytes_written += bytes_of(program_.values[output]);
    }
  }
  if (op.line == 0) op.line = line;
  op.loops = loops;
  program_.ops.push_back(std::move(op));
  return id;
}

void Recorder::add_output(ValueId id) {
  if (phase != Phase::running || program_.ops.empty() || id < 0) return;
  Op& op = program_.ops.back();
  Storage& storage = storages_[program_.values[id].storage];
  storage.weight_only = op.weight_only;
  storage.writers = {static_cast<OpId>(program_.ops.size()) - 1};
  program_.values[id].producer = storage.writers.back();
  op.outputs.push_back(id);
  op.bytes_written += bytes_of(program_.values[id]);
}

void Recorder::restart() {
  program_.ops.clear();
  loops.clear();
  for (Storage& storage : storages_) {
    storage.writers.clear();
    storage.scratch = false;
  }
  for (Value& held : program_.values) {
    held.producer = -1;
    if (held.origin == Origin::result || held.origin == Origin::fresh) {
      held.origin = Origin::parameter;  // kept by the module between calls, where it is used at all
    }
  }
}

void Recorder::finish() {
  std::vector<bool> returned(storages_.size(), false);
  for (const ValueId output : program_.outputs) {
    if (output >= 0) returned[program_.values[output].storage] = true;
  }
  for (Value& held : program_.values) {
    const Storage& storage = storages_[held.storage];
    held.weight_only = storage.weight_only && !storage.scratch;
    held.returned = returned[held.storage];
    const OpId last = storage.writers.empty() ? -1 : storage.writers.back();
    held.constant = held.returned && storage.writers.size() <= 1 && last == held.bounded_by &&
                    held.bounds.low == held.bounds.high && std::isfinite(held.bounds.low);
    if (held.origin == Origin::fresh && !storage.writers.empty()) held.origin = Origin::result;
  }
  program_.readers.assign(program_.ops.size(), {});
  for (std::size_t i = 0; i < program_.ops.size(); ++i) {
    const auto reader = static_cast<OpId>(i);
    for (const Operand& operand : program_.ops[i].inputs) {
      for (const OpId by : operand.producers) {
        if (by >= reader) continue;
        auto& readers = program_.readers[by];
        if (readers.empty() || readers.back() != reader) readers.push_back(reader);
      }
    }
  }
}

}  // namespace quoin::architect
