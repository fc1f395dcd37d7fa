// Bit equality of the GPU's quantiser with the CPU's portable one: every type, rows around each
// kernel's reach, odd strides and bases, rows of zeros, NaN, infinity, subnormals, and halves that
// round to even.
//
//   nvcc -std=c++20 -O3 -gencode=arch=compute_90a,code=sm_90a -Isrc -Iinclude \
//       tests/cuda/quantize_check.cu src/linear/quantize/cuda.cu \
//       src/linear/quantize/portable.cpp -Xcompiler -ffp-contract=off -o quantize_check
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "linear/epilogue.h"
#include "linear/quantize/cuda.h"
#include "linear/quantize/quantize.h"

namespace {

using quoin::DataType;

void must(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::printf("%s: %s\n", what, cudaGetErrorString(error));
  std::exit(2);
}

struct Case {
  std::int64_t m, k;
  int pad = 0;     // elements between rows of x, beyond the next multiple of 16
  int offset = 0;  // elements by which both bases are off their alignment
};

constexpr Case kCases[] = {
    {1, 1},       {3, 7},           {5, 8, 0, 1}, {4, 16},       {133, 255}, {2, 2047},
    {2, 2048},    {2, 2049},        {7, 4096},    {3, 8191, 16}, {3, 8192},  {2, 8193},
    {2, 14336},   {2, 16384},       {2, 32768},   {2, 65536},    {2, 65537}, {1, 131071},
    {9, 4096, 3}, {9, 4100, 16, 3}, {300, 64},    {2, 0},
};

/// Row r of a case: random values, but every eighth row is a special one.
float value_of(std::int64_t row, std::int64_t i, std::mt19937& random) {
  std::normal_distribution<float> normal(0.0F, 3.0F);
  const float x = normal(random);
  switch (row % 8) {
    case 1: return 0.0F;
    case 2: return i == 0 ? std::numeric_limits<float>::quiet_NaN() : x;
    case 3: return i == 0 ? -std::numeric_limits<float>::infinity() : x;
    case 4: return x * 1e-7F;                                    // float16 subnormals
    case 5: return static_cast<float>(random() % 255) - 127.0F;  // many exact halves below
    case 6: return i % 2 == 0 ? 254.0F : static_cast<float>(random() % 509) - 254.0F;
    case 7: return x * (i % 2 == 0 ? 1e-39F : 1e-36F);  // float32 and bfloat16 subnormals
    default: return row % 16 < 8 ? x : x * 1e30F;
  }
}

std::uint32_t bits_of(float value, DataType type) {
  namespace e = quoin::epilogue;
  if (type == DataType::float16) return e::half_from_float(value);
  return type == DataType::bfloat16 ? e::bfloat16_from_float(value) : e::bits_of(value);
}

bool check(const Case& c, DataType type, std::mt19937& random) {
  const auto size = static_cast<std::size_t>(quoin::size_of(type));
  const std::int64_t stride = (c.k + 15) / 16 * 16 + c.pad;
  const std::int64_t elements = c.m * stride + c.offset;
  std::vector<std::uint8_t> x(static_cast<std::size_t>(elements) * size + 16);
  for (std::int64_t row = 0; row < c.m; ++row) {
    for (std::int64_t i = 0; i < stride; ++i) {
      // What lies between rows is larger than any row, so reading it would show.
      const float value = i < c.k ? value_of(row, i, random) : 30000.0F;
      const std::uint32_t bits = bits_of(value, type);
      std::memcpy(&x[static_cast<std::size_t>(c.offset + row * stride + i) * size], &bits, size);
    }
  }
  constexpr std::uint8_t kFill = 0xA5;
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(elements) + 16, kFill);
  std::vector<float> scales(static_cast<std::size_t>(c.m));
  for (std::int64_t row = 0; row < c.m; ++row) {
    quoin::quantize_row_portable(
        &x[static_cast<std::size_t>(c.offset + row * stride) * size], type, c.k,
        reinterpret_cast<std::int8_t*>(&codes[static_cast<std::size_t>(c.offset + row * stride)]),
        &scales[static_cast<std::size_t>(row)]);
  }
  std::uint8_t *device_x = nullptr, *device_codes = nullptr;
  float* device_scales = nullptr;
  must(cudaMalloc(&device_x, x.size()), "x");
  must(cudaMalloc(&device_codes, codes.size()), "codes");
  must(cudaMalloc(&device_scales, scales.size() * 4), "scales");
  must(cudaMemcpy(device_x, x.data(), x.size(), cudaMemcpyHostToDevice), "copy");
  must(cudaMemset(device_codes, kFill, codes.size()), "memset");
  quoin::cuda::QuantizeProblem p;
  p.x = device_x + static_cast<std::size_t>(c.offset) * size;
  p.codes = reinterpret_cast<std::int8_t*>(device_codes) + c.offset;
  p.scale = device_scales, p.m = c.m, p.k = c.k, p.type = type;
  p.x_stride_elems = p.codes_stride_elems = stride;
  must(quoin::cuda::launch_quantize(p, nullptr), "launch");
  must(cudaDeviceSynchronize(), "run");
  std::vector<std::uint8_t> got(codes.size());
  std::vector<float> got_scales(scales.size());
  must(cudaMemcpy(got.data(), device_codes, got.size(), cudaMemcpyDeviceToHost), "copy out");
  must(cudaMemcpy(got_scales.data(), device_scales, scales.size() * 4, cudaMemcpyDeviceToHost),
       "copy out");
  for (void* pointer : {static_cast<void*>(device_x), static_cast<void*>(device_codes),
                        static_cast<void*>(device_scales)}) {
    cudaFree(pointer);
  }
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < got.size(); ++i) wrong += got[i] != codes[i];
  const bool same = std::memcmp(scales.data(), got_scales.data(), scales.size() * 4) == 0;
  if (wrong == 0 && same) return true;
  std::printf("FAILED %lld x %lld + %d, offset %d, type %d: %zu codes%s\n",
              static_cast<long long>(c.m), static_cast<long long>(c.k), c.pad, c.offset,
              static_cast<int>(type), wrong, same ? "" : ", scales");
  return false;
}

}  // namespace

int main() {
  const unsigned seed = 20261121;
  std::mt19937 random(seed);
  int passed = 0, failed = 0;
  for (const Case& c : kCases) {
    for (const DataType type : {DataType::float16, DataType::bfloat16, DataType::float32}) {
      ++(check(c, type, random) ? passed : failed);
    }
  }
  std::printf("quantiser: %d passed, %d failed (seed %u)\n", passed, failed, seed);
  return failed == 0 ? 0 : 1;
}
