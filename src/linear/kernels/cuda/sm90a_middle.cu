// The middle kernels, compiled: sm90a_configs.h lists them, sm90a_kernel.cuh defines them.
#include "linear/kernels/cuda/sm90a_configs.h"
#include "linear/kernels/cuda/sm90a_instantiate.cuh"

namespace quoin::cuda {

template <std::size_t kIndex>
struct Middle {
  static constexpr Config kConfig = kMiddleConfigs[kIndex];
};

std::span<const Candidate> sm90a_middle_candidates() {
  static const auto candidates =
      instantiate<Middle>(std::make_index_sequence<std::size(kMiddleConfigs)>{});
  return candidates;
}

}  // namespace quoin::cuda
