// One row of the quantiser, per instruction set. The rule is quantize_rows' (quoin/linear.h):
//
//   scale = max |x|,  codes = round_half_even(127 * (x / scale)), each step rounded to float32;
//   a row of zeros: scale 0, codes 0; a row with a NaN or an infinity: scale NaN, codes 0.
//
// The row is read from memory once: the second walk over it, after its maximum is known, finds it
// in the cache. The maximum is taken over the bits of |x| as integers, which order like the values
// and put infinities and NaNs on top, so one maximum answers all three questions. The division is a
// true one: x * (1 / scale) can differ in the last bit, which moves a code near a half.
#pragma once

#include <cstdint>

#include "quoin/tensor.h"

namespace quoin {

void quantize_row_portable(const void* x, DataType type, std::int64_t k, std::int8_t* codes,
                           float* scale);
#if defined(__x86_64__)
void quantize_row_avx2(const void* x, DataType type, std::int64_t k, std::int8_t* codes,
                       float* scale);
void quantize_row_avx512(const void* x, DataType type, std::int64_t k, std::int8_t* codes,
                         float* scale);
#endif

}  // namespace quoin
