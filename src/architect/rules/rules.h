// The one list of rules. Tests, the command line and the docs iterate over it; a new rule is a new
// file, a declaration and a line here.
#pragma once

#include <span>

#include "architect/rules/rule.h"

namespace quoin::architect {

[[nodiscard]] std::span<const Rule> rules() noexcept;

namespace rule {

Finding transposed_per_call(const Case& about);
Finding copied_per_call(const Case& about);
Finding result_copied(const Case& about);
Finding widened_int8(const Case& about);
Finding operand_across_k(const Case& about);
Finding ieee_dot(const Case& about);
Finding ieee_product(const Case& about);
Finding tile_misfit(const Case& about);
Finding unsplit_k(const Case& about);
Finding direct_convolution(const Case& about);
Finding few_channels(const Case& about);
Finding empty_taps(const Case& about);
Finding slower_than_reference(const Case& about);
Finding slower_than_library(const Case& about);
Finding unfused_pass(const Case& about);
Finding materialised_attention(const Case& about);
Finding split_reduction(const Case& about);
Finding reread_rows(const Case& about);
Finding reduction_inside_loop(const Case& about);
Finding starved_grid(const Case& about);
Finding small_programs(const Case& about);
Finding contended_atomic(const Case& about);
Finding scattered_lanes(const Case& about);
Finding index_arithmetic(const Case& about);
Finding stepwise_recurrence(const Case& about);
Finding many_launches(const Case& about);
Finding weight_arithmetic_per_call(const Case& about);
Finding batch_norm_per_call(const Case& about);
Finding sum_after_product(const Case& about);
Finding constant_result(const Case& about);
Finding masked_tiles(const Case& about);
Finding needless_output(const Case& about);

}  // namespace rule

}  // namespace quoin::architect
