#include "architect/rules/dots.h"

#include <algorithm>
#include <cmath>

#include "architect/rules/support.h"

namespace quoin::architect {
namespace {

bool written_by(const Program& program, ValueId value, OpId op) {
  const ValueId root = root_of(program, value);
  for (ValueId out : op_at(program, op).outputs) {
    if (root >= 0 && root == root_of(program, out)) return true;
    const Value* a = value_at(program, value);
    const Value* b = value_at(program, out);
    if (a != nullptr && b != nullptr && a->storage >= 0 && a->storage == b->storage) return true;
  }
  return false;
}

}  // namespace

std::vector<PerCallCopy> per_call_copies(const Program& program) {
  std::vector<PerCallCopy> out;
  for (std::size_t i = 0; i < program.ops.size(); ++i) {
    const Op& op = program.ops[i];
    if (op.kind != OpKind::copy || !op.weight_only || op.inputs.empty()) continue;
    PerCallCopy copy;
    copy.op = static_cast<OpId>(i);
    const Value* in = value_at(program, op.inputs.front().value);
    copy.source = value_name(program, root_of(program, op.inputs.front().value));
    copy.transposes = op.reshapes || (in != nullptr && !is_contiguous(*in));
    for (OpId reader : consumers_of(program, copy.op)) {
      const Kernel* kernel = kernel_of(program, op_at(program, reader));
      if (kernel == nullptr) continue;
      copy.readers.push_back(reader);
      for (const Dot& dot : kernel->dots) {
        for (const DotOperand* operand : {&dot.a, &dot.b}) {
          if (operand->access < 0) continue;
          const Access& access = kernel->accesses[static_cast<std::size_t>(operand->access)];
          copy.feeds_dot = copy.feeds_dot ||
                           written_by(program, accessed(op_at(program, reader), access), copy.op);
        }
      }
    }
    out.push_back(std::move(copy));
  }
  return out;
}

cost::TiledKernel read_along_k(const Program& program, OpId reader, OpId copy) {
  const Op& op = op_at(program, reader);
  cost::TiledKernel out = tiled_kernel(program, op);
  const Kernel& kernel = *kernel_of(program, op);
  for (std::size_t i = 0; i < kernel.dots.size() && i < out.dots.size(); ++i) {
    const auto runs = [&](const DotOperand& operand) {
      if (operand.access < 0 || operand.computed) return true;
      const Access& access = kernel.accesses[static_cast<std::size_t>(operand.access)];
      return written_by(program, accessed(op, access), copy) || operand.k_contiguous.value_or(true);
    };
    out.dots[i].k_major = runs(kernel.dots[i].a) && runs(kernel.dots[i].b);
  }
  return out;
}

double dot_flops(const Program& program, const Op& op) {
  const Kernel* kernel = kernel_of(program, op);
  if (kernel == nullptr) return 0;
  double sum = 0;
  for (const Dot& dot : kernel->dots) {
    sum += 2.0 * static_cast<double>(dot.m * dot.n * dot.k * std::max<std::int64_t>(1, dot.batch)) *
           dot.executions;
  }
  return sum * op.launch->programs * kernel->active_programs;
}

Product product_of(const Program& program, const Op& op) {
  Product out;
  const Kernel* kernel = kernel_of(program, op);
  if (kernel == nullptr || kernel->dots.size() != 1) return out;
  const Dot& dot = kernel->dots.front();
  const Value* result = first_output(program, op);
  if (dot.batch > 1 || dot.loop < 0 || result == nullptr) return out;
  const Loop& loop = kernel->loops[static_cast<std::size_t>(dot.loop)];
  if (loop.parent >= 0 || result->shape.empty()) return out;
  out.k = static_cast<double>(dot.k) * dot.executions * std::max(dot.useful, 0.5);
  const double count = static_cast<double>(elements_of(*result));
  // Rows and columns of the product: the grid says how many tiles there are of each.
  const double tiles = op.launch->programs;
  if (count > 1.01 * tiles * static_cast<double>(dot.m * dot.n)) return out;
  out.n = static_cast<double>(result->shape.back());
  out.m = count / std::max(1.0, out.n);
  out.type = dot_type(dot.a.type == Type::unknown ? dot.b.type : dot.a.type, dot.allow_tf32);
  out.is = out.m >= 1 && out.n >= 1 && out.k >= 1;
  return out;
}

}  // namespace quoin::architect
