#include "architect/rules/support.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace quoin::architect {

std::string_view name(Category category) noexcept {
  switch (category) {
    case Category::fusion: return "operator fusion";
    case Category::algorithm: return "algorithm replacement";
    case Category::launches: return "kernel launch reduction";
    case Category::layout: return "memory layout optimization";
  }
  return "";
}

const Op& op_at(const Program& program, OpId id) {
  return program.ops[static_cast<std::size_t>(id)];
}

const Kernel* kernel_of(const Program& program, const Op& op) {
  if (!op.launch || op.launch->kernel < 0) return nullptr;
  return &program.kernels[static_cast<std::size_t>(op.launch->kernel)];
}

const Value* value_at(const Program& program, ValueId id) {
  if (id < 0 || id >= static_cast<int>(program.values.size())) return nullptr;
  return &program.values[static_cast<std::size_t>(id)];
}

double device_time(const Case& about, OpId op) {
  return about.current.ops[static_cast<std::size_t>(op)].device.value *
         op_at(about.program(), op).count;
}

double device_share(const Case& about, OpId op) {
  return device_time(about, op) / std::max(about.current.device.value, 1e-12);
}

std::vector<OpId> launches(const Program& program) {
  std::vector<OpId> out;
  for (std::size_t i = 0; i < program.ops.size(); ++i) {
    if (kernel_of(program, program.ops[i]) != nullptr) out.push_back(static_cast<OpId>(i));
  }
  return out;
}

bool is_pointwise(const Op& op) {
  return op.kind == OpKind::elementwise || op.kind == OpKind::cast;
}

bool streams(const Program& program, const Op& op) {
  const Kernel* kernel = kernel_of(program, op);
  if (kernel == nullptr || !kernel->dots.empty()) return false;
  double loaded = 0, distinct = 0;
  for (const Access& access : kernel->accesses) {
    loaded += access.total_bytes;
    distinct += access.distinct_bytes;
  }
  return loaded < 3.2 * distinct;
}

const Value* first_output(const Program& program, const Op& op) {
  return op.outputs.empty() ? nullptr : value_at(program, op.outputs.front());
}

ValueId accessed(const Op& launch, const Access& access) noexcept {
  for (const Operand& operand : launch.inputs) {
    if (operand.role == access.pointer && operand.value >= 0) return operand.value;
  }
  return access.value;
}

double output_bytes(const Program& program, const Op& op) {
  double sum = 0;
  for (ValueId id : op.outputs) {
    if (const Value* value = value_at(program, id)) sum += bytes_of(*value);
  }
  return sum;
}

OpId reference_of(const Case& about, OpId launch) {
  const Program& reference = about.model.reference;
  const Op& op = op_at(about.program(), launch);
  const Value* out = first_output(about.program(), op);
  if (out == nullptr) return -1;
  const auto has_weight = [&](const Op& heavy) {
    for (const Operand& wanted : heavy.inputs) {
      const Value* weight = value_at(reference, wanted.value);
      if (weight == nullptr || weight->origin != Origin::parameter || elements_of(*weight) < 64)
        continue;
      for (const Operand& given : op.inputs) {
        const Value* value = value_at(about.program(), given.value);
        if (value != nullptr && elements_of(*value) == elements_of(*weight)) return true;
      }
      return false;
    }
    return true;  // no weight: a product of activations
  };
  for (std::size_t i = 0; i < reference.ops.size(); ++i) {
    const Op& heavy = reference.ops[i];
    if (heavy.kind != OpKind::conv && heavy.kind != OpKind::matmul) continue;
    const Value* wanted = first_output(reference, heavy);
    if (wanted == nullptr || elements_of(*wanted) != elements_of(*out)) continue;
    if (has_weight(heavy)) return static_cast<OpId>(i);
  }
  return -1;
}

// --------------------------------------------------------------------------------- prices

void Changed::drop(OpId op) { ops_[static_cast<std::size_t>(op)] = OpPrice{}; }

void Changed::device(OpId op, cost::Seconds time) {
  ops_[static_cast<std::size_t>(op)].device = time;
}

void Changed::add_device(OpId op, cost::Seconds time) {
  OpPrice& price = ops_[static_cast<std::size_t>(op)];
  price.device = price.device + time;
}

void Changed::hand_to_library(OpId op, cost::Seconds device, cost::Seconds host) {
  ops_[static_cast<std::size_t>(op)] = OpPrice{device, host, {}};
}

void Changed::kernel(OpId op, const cost::TiledKernel& kernel) {
  OpPrice& price = ops_[static_cast<std::size_t>(op)];
  price.kernel = cost::price(kernel, about_.gpu);
  price.device = price.kernel.time;
}

cost::Seconds Changed::total() const { return total_of(about_.program(), ops_); }

bool Repriced::take(OpId id, const Op& op, double seconds) {
  const double was = price(id);
  changed_.device(id, cost::Seconds{seconds});
  names_.push_back(op_name(op));
  if (was < before_) return false;
  before_ = was;
  after_ = seconds;
  return true;
}

std::string Repriced::who() const { return list_text(names_); }
std::string Repriced::before() const { return milliseconds({before_}); }
std::string Repriced::after() const { return milliseconds({after_}); }

// ----------------------------------------------------------------------------------- text

std::string milliseconds(cost::Seconds time) {
  const double ms = time.value * 1e3;
  if (ms < 0.1) return fmt::format("{:.0f} us", ms * 1e3);
  if (ms < 10) return fmt::format("{:.2f} ms", ms);
  return ms < 100 ? fmt::format("{:.1f} ms", ms) : fmt::format("{:.0f} ms", ms);
}

std::string bytes_text(double bytes) {
  if (bytes < 1e3) return fmt::format("{:.0f} bytes", bytes);
  if (bytes < 1e6) return fmt::format("{:.0f} KB", bytes / 1e3);
  if (bytes < 1e9) return fmt::format("{:.0f} MB", bytes / 1e6);
  return fmt::format("{:.1f} GB", bytes / 1e9);
}

std::string percent(double share) { return fmt::format("{:.0f}%", share * 100); }
std::string times(double factor) {
  return factor < 10 ? fmt::format("{:.1f}x", factor) : fmt::format("{:.0f}x", factor);
}

std::string shape_only(const Value& value) {
  return fmt::format("[{}]", fmt::join(value.shape, ", "));
}

std::string shape_text(const Value& value) { return name(value.type) + shape_only(value); }

std::string value_name(const Program& program, ValueId id) {
  const Value* value = value_at(program, id);
  if (value == nullptr) return "a tensor";
  if (!value->name.empty()) return "`" + value->name + "`";
  if (value->base >= 0 && value->base != id) return value_name(program, value->base);
  return "a tensor";
}

std::string op_name(const Op& op) {
  return op.line > 0 ? fmt::format("`{}` (line {})", op.name, op.line)
                     : fmt::format("`{}`", op.name);
}

std::string list_text(const std::vector<std::string>& names, std::size_t most) {
  std::vector<std::string> unique;
  for (const std::string& each : names) {
    if (std::find(unique.begin(), unique.end(), each) == unique.end()) unique.push_back(each);
  }
  if (unique.empty()) return "";
  if (unique.size() == 1) return unique.front();
  if (unique.size() > most) {
    std::string text = unique.front();
    for (std::size_t i = 1; i < most; ++i) text += ", " + unique[i];
    return fmt::format("{} and {} more", text, unique.size() - most);
  }
  std::string text = unique.front();
  for (std::size_t i = 1; i + 1 < unique.size(); ++i) text += ", " + unique[i];
  return text + " and " + unique.back();
}

std::string count_text(double count) {
  std::string digits = fmt::format("{:.0f}", count);
  for (int at = static_cast<int>(digits.size()) - 3; at > 0; at -= 3) {
    digits.insert(static_cast<std::size_t>(at), ",");
  }
  return digits;
}

}  // namespace quoin::architect
