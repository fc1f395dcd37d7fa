// Other people's kernels in the benchmark: a list, empty unless a file that defines it is linked.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "linear/kernels/cuda/kernels.h"

struct Peer {
  std::string name;
  std::function<bool(const quoin::cuda::Problem&)> applies;
  /// `dependent`: as quoin's own launches (kernels.h).
  std::function<cudaError_t(const quoin::cuda::Problem&, cudaStream_t, bool dependent)> call;
};

/// bench/cuda/no_peers.cu: none. bench/cuda/cutlass_peers.cu: CUTLASS, over several choices.
std::vector<Peer> peers();

/// The name of the peer that a serving engine's static table takes; empty where there is none.
std::string serving_pick(std::int64_t m, std::int64_t n);
