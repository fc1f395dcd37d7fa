// The decode kernels, compiled: sm90a_configs.h lists them, sm90a_kernel.cuh defines them.
#include "linear/kernels/cuda/sm90a_configs.h"
#include "linear/kernels/cuda/sm90a_instantiate.cuh"

namespace quoin::cuda {

template <std::size_t kIndex>
struct Decode {
  static constexpr Config kConfig = kDecodeConfigs[kIndex];
};

std::span<const Candidate> sm90a_decode_candidates() {
  static const auto candidates =
      instantiate<Decode>(std::make_index_sequence<std::size(kDecodeConfigs)>{});
  return candidates;
}

}  // namespace quoin::cuda
