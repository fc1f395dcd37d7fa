// What the document's measurements say about the modelled times.
#pragma once

#include <string>

#include "architect/rules/estimate.h"

namespace quoin::architect {

struct Correction {
  double factor = 1;            // measured over modelled time of the kernel under judgement
  cost::Seconds reference{-1};  // measured; negative: not given
  bool measured = false;        // the current time was given
  std::string cited;  // "measured at 2.42 ms against 2.77 ms in PyTorch", empty without data
  bool at_bandwidth = false;  // the profiler saw the memory busy to 85% or more in the main kernel
};

[[nodiscard]] Correction correction_of(const Model& model, const ProgramPrice& current,
                                       const ProgramPrice& reference, const cost::GpuDevice& gpu);

}  // namespace quoin::architect
