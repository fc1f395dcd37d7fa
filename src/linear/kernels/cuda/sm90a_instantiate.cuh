// Turns a list of configurations into a list of compiled kernels. `Choice<i>` names the i-th.
#pragma once

#include <array>
#include <cstddef>
#include <utility>

#include "linear/kernels/cuda/sm90a_kernel.cuh"

namespace quoin::cuda {

template <template <std::size_t> class Choice, std::size_t... kIndex>
auto instantiate(std::index_sequence<kIndex...>) {
  return std::array<Candidate, sizeof...(kIndex)>{
      Candidate{Choice<kIndex>::kConfig,
                reinterpret_cast<const void*>(&sm90a_linear<Choice<kIndex>, true>),
                reinterpret_cast<const void*>(&sm90a_linear<Choice<kIndex>, false>),
                Layout<Choice<kIndex>::kConfig>::kBytes}...};
}

}  // namespace quoin::cuda
