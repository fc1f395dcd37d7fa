// Turns a list of configurations into a list of compiled kernels. `Choice<i>` names the i-th.
#pragma once

#include <array>
#include <cstddef>
#include <utility>

#include "linear/kernels/cuda/sm90a_kernel.cuh"

namespace quoin::cuda {

/// None where it would not fit the registers (`refusal` says so).
template <class Choice>
const void* kernel_32() {
  if constexpr (Choice::kConfig.sums() > 128)
    return nullptr;
  else
    return reinterpret_cast<const void*>(&sm90a_linear<Choice, false>);
}

template <template <std::size_t> class Choice, std::size_t... kIndex>
auto instantiate(std::index_sequence<kIndex...>) {
  return std::array<Candidate, sizeof...(kIndex)>{Candidate{
      Choice<kIndex>::kConfig, reinterpret_cast<const void*>(&sm90a_linear<Choice<kIndex>, true>),
      kernel_32<Choice<kIndex>>(), Layout<Choice<kIndex>::kConfig>::kBytes}...};
}

}  // namespace quoin::cuda
