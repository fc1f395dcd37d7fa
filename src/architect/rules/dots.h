// What the rules on dots share: copies of weights made per call, and kernels with other operands.
#pragma once

#include <string>
#include <vector>

#include "architect/rules/estimate.h"

namespace quoin::architect {

struct PerCallCopy {
  OpId op = -1;
  std::string source;         // the weight's name, in backticks
  bool transposes = false;    // the layout changes
  bool feeds_dot = false;     // an operand of a tl.dot
  std::vector<OpId> readers;  // launches
};

/// Copies of data that is the same in every call.
[[nodiscard]] std::vector<PerCallCopy> per_call_copies(const Program& program);

/// The launch `reader`, reading what `copy` copied from where it is stored: operands along K.
[[nodiscard]] cost::TiledKernel read_along_k(const Program& program, OpId reader, OpId copy);

/// Total operations of a launch's dots, tiles' padding included.
[[nodiscard]] double dot_flops(const Program& program, const Op& op);

/// A launch that is one product: a single dot that accumulates in the only loop.
struct Product {
  bool is = false;
  double m = 0, n = 0, k = 0;  // of the whole product, by the output and the loop
  cost::DotType type = cost::DotType::tf32;
};

[[nodiscard]] Product product_of(const Program& program, const Op& op);

}  // namespace quoin::architect
