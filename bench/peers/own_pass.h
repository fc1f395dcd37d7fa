// The steps of the job that a library leaves to its user: passes over the activations before a
// product and over its result after it. Written with AVX-512 and OpenMP, so that no peer is held
// back by what we add to it.
#pragma once

#include <cstdint>

namespace quoin_peer_pass {

// What is left to do to an element of the product; the library has done the rest.
enum class Rest {
  kEverything,  // factor, row scale, column scale, bias, float16, each rounded on its own as the
                // contract says
  kRow,         // row scale, bias, float16: the column scale, factor included, is in the product
  kConversion,  // float16
};

// The result of a product, [M,N] row-major, and what its second pass needs.
struct Finish {
  Rest rest = Rest::kEverything;
  int64_t m = 0;
  int64_t n = 0;
  const int32_t* column_correction =
      nullptr;                     // [N], subtracted from an int32 product first; may be null
  const float* scale_x = nullptr;  // [M]
  const float* scale_w = nullptr;  // [N]
  const float* bias = nullptr;     // [N], zeros where there is none
  float factor = 1.0f;
  int threads = 1;
};

void finish(const Finish& job, const int32_t* product, uint16_t* y);
void finish(const Finish& job, const float* product, uint16_t* y);

// to[i] = from[i] + 128, for kernels that want one unsigned operand.
void shift_to_unsigned(const int8_t* from, int64_t count, int threads, uint8_t* to);

void convert_to_float(const int8_t* from, int64_t count, int threads, float* to);

// float16 bits to float32.
void widen(const uint16_t* from, int64_t count, float* to);

}  // namespace quoin_peer_pass
