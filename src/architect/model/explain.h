// The model as text, for --explain and for debugging: one line per operation, and the accesses,
// dots and loops of each launch.
#pragma once

#include <string>

#include "architect/model/kernel_model.h"

namespace quoin::architect {

[[nodiscard]] std::string to_text(const Model& model);
[[nodiscard]] std::string to_text(const Program& program);

/// "float16[128, 2048]"; strides added where the value is not contiguous.
[[nodiscard]] std::string to_text(const Value& value);

}  // namespace quoin::architect
