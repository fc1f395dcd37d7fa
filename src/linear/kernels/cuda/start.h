// When a kernel starts, seen from the one ahead of it on its stream.
#pragma once

namespace quoin::cuda {

/// Programmatic dependent launch (CUDA C++ Programming Guide): a kernel may be on the device before
/// the one ahead of it has finished.
enum class Start {
  after,    // not before: a plain launch
  waiting,  // there before, it waits first: hides its launch, reads and writes nothing early
  early,    // ... and a product fetches its weights: only where what is ahead does not write them
};

}  // namespace quoin::cuda
