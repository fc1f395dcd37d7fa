// Names and small questions of the kernel model.
#include "architect/model/kernel_model.h"

#include <algorithm>

namespace quoin::architect {

const char* name(Type type) noexcept {
  switch (type) {
    case Type::unknown: return "unknown";
    case Type::boolean: return "bool";
    case Type::int8: return "int8";
    case Type::uint8: return "uint8";
    case Type::int16: return "int16";
    case Type::int32: return "int32";
    case Type::int64: return "int64";
    case Type::float8: return "float8";
    case Type::bfloat16: return "bfloat16";
    case Type::float16: return "float16";
    case Type::float32: return "float32";
    case Type::float64: return "float64";
    case Type::complex64: return "complex64";
  }
  return "unknown";
}

int bytes_of(Type type) noexcept {
  switch (type) {
    case Type::boolean:
    case Type::int8:
    case Type::uint8:
    case Type::float8: return 1;
    case Type::int16:
    case Type::bfloat16:
    case Type::float16: return 2;
    case Type::unknown:
    case Type::int32:
    case Type::float32: return 4;
    case Type::int64:
    case Type::float64:
    case Type::complex64: return 8;
  }
  return 4;
}

bool is_float(Type type) noexcept {
  return type == Type::float8 || type == Type::bfloat16 || type == Type::float16 ||
         type == Type::float32 || type == Type::float64 || type == Type::complex64;
}

const char* name(OpKind kind) noexcept {
  switch (kind) {
    case OpKind::launch: return "launch";
    case OpKind::copy: return "copy";
    case OpKind::cast: return "cast";
    case OpKind::fill: return "fill";
    case OpKind::random: return "random";
    case OpKind::elementwise: return "elementwise";
    case OpKind::reduction: return "reduction";
    case OpKind::scan: return "scan";
    case OpKind::softmax: return "softmax";
    case OpKind::norm: return "norm";
    case OpKind::pool: return "pool";
    case OpKind::matmul: return "matmul";
    case OpKind::conv: return "conv";
    case OpKind::attention: return "attention";
    case OpKind::rnn: return "rnn";
    case OpKind::gather: return "gather";
    case OpKind::scatter: return "scatter";
    case OpKind::sort: return "sort";
    case OpKind::loss: return "loss";
    case OpKind::other: return "other";
  }
  return "other";
}

std::int64_t elements_of(const Value& value) noexcept {
  std::int64_t count = 1;
  for (const std::int64_t size : value.shape) {
    if (size <= 0) return 0;
    if (count > INT64_MAX / size) return INT64_MAX;
    count *= size;
  }
  return count;
}

double bytes_of(const Value& value) noexcept {
  return static_cast<double>(elements_of(value)) * bytes_of(value.type);
}

bool is_contiguous(const Value& value) noexcept {
  std::int64_t expected = 1;
  for (std::size_t d = value.shape.size(); d-- > 0;) {
    if (value.shape[d] == 1) continue;
    if (value.strides[d] != expected) return false;
    expected *= value.shape[d];
  }
  return true;
}

ValueId root_of(const Program& program, ValueId value) noexcept {
  while (value >= 0 && program.values[value].base >= 0) value = program.values[value].base;
  return value;
}

const std::vector<OpId>& consumers_of(const Program& program, OpId op) {
  static const std::vector<OpId> kNone;
  const auto at = static_cast<std::size_t>(op);
  return op >= 0 && at < program.readers.size() ? program.readers[at] : kNone;
}

bool is_output(const Program& program, OpId op) {
  const auto& written = program.ops[op].outputs;
  return std::any_of(written.begin(), written.end(),
                     [&](ValueId value) { return value >= 0 && program.values[value].returned; });
}

}  // namespace quoin::architect
