// The large kernels, compiled: sm90a_configs.h lists them, sm90a_kernel.cuh defines them.
#include "linear/kernels/cuda/sm90a_configs.h"
#include "linear/kernels/cuda/sm90a_instantiate.cuh"

namespace quoin::cuda {

template <std::size_t kIndex>
struct Large {
  static constexpr Config kConfig = kLargeConfigs[kIndex];
};

std::span<const Candidate> sm90a_large_candidates() {
  static const auto candidates =
      instantiate<Large>(std::make_index_sequence<std::size(kLargeConfigs)>{});
  return candidates;
}

}  // namespace quoin::cuda
