// From a document to the kernel model: parses both parts, runs the host code with the shapes of
// get_inputs(), and interprets each launched kernel. Never fails: what could not be understood is
// listed in the model. Tested by tests/architect/front_*_test.cpp.
#pragma once

#include "architect/model/kernel_model.h"
#include "architect/source/document.h"

namespace quoin::architect {

[[nodiscard]] Model model_of(const Document& document);

}  // namespace quoin::architect
