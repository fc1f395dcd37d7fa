// Bit equality of every CUDA kernel with an exact reference: each candidate forced in turn on
// shapes around its tiles, on strided rows, extremes, NaN and infinite scales, every output and
// bias type.
//
//   nvcc -std=c++20 -O3 -gencode=arch=compute_90a,code=sm_90a -Isrc -Iinclude \
//       tests/cuda/check.cu src/linear/kernels/cuda/*.cu -o check
//
//   ./check [--tiny | --quick | --huge] [--only PART]
//
// --tiny, --quick: the smaller cases, as sanitizers need them. --only: of the sm90a kernels those
// whose names hold PART.
//
// (src/linear/kernels/cuda/sm80.cu with -gencode=arch=compute_80,code=compute_80 instead, to test
// the PTX that later cards run.)
//
// The sums come from a one-thread-per-output loop on the GPU that is itself checked against a CPU
// loop; scales, bias and rounding are done on the CPU by linear/epilogue.h.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "linear/epilogue.h"
#include "linear/kernels/cuda/kernels.h"
#include "linear/kernels/cuda/ptx.h"

namespace {

using quoin::DataType;
using namespace quoin::cuda;

void must(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::printf("%s: %s\n", what, cudaGetErrorString(error));
  std::exit(2);
}

template <class T>
struct DeviceArray {
  T* data = nullptr;
  std::size_t size = 0;
  explicit DeviceArray(const std::vector<T>& host) : size(host.size()) {
    must(cudaMalloc(&data, std::max<std::size_t>(1, size * sizeof(T))), "cudaMalloc");
    must(cudaMemcpy(data, host.data(), size * sizeof(T), cudaMemcpyHostToDevice), "copy in");
  }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  ~DeviceArray() { cudaFree(data); }
  [[nodiscard]] std::vector<T> host() const {
    std::vector<T> out(size);
    must(cudaMemcpy(out.data(), data, size * sizeof(T), cudaMemcpyDeviceToHost), "copy out");
    return out;
  }
};

enum class Data { random, lowest, strange_scales };

struct Case {
  std::int64_t m, n, k;
  int pad = 0;    // extra bytes in a row of x and w beyond the next multiple of 16; 1: unaligned
  int y_pad = 0;  // extra elements in a row of y
  Data data = Data::random;
  int y_offset = 0;  // elements before y
};

constexpr Case kCases[] = {
    {1, 64, 128},
    {1, 2048, 2048},
    {2, 72, 384},
    {3, 65, 129, 16, 1},
    {7, 200, 384, 0, 8},
    {8, 64, 1024},
    {9, 129, 1000, 32, 3},
    {16, 4096, 512},
    {17, 72, 1000, 0, 2},
    {31, 1000, 640},
    {33, 513, 1152, 16},
    {64, 128, 256},
    {65, 129, 257, 0, 1},
    {127, 255, 511},
    {128, 2048, 2048},
    {129, 257, 513, 16, 7},
    {128, 2048, 2048, 0, 0, Data::lowest},
    {200, 1000, 4096},
    {300, 520, 1040, 48, 8},
    {128, 256, 2048, 0, 0, Data::strange_scales},
    {16, 256, 2048, 0, 0, Data::strange_scales},
    {16, 512, 16384, 0, 0, Data::lowest},
    {513, 2050, 640},
    {1000, 3000, 256},
    {1, 1, 1},
    {5, 3, 2},
    {1, 8192, 128},
    {1500, 2304, 1152, 0, 8},
    {40, 40000, 256},
    {193, 385, 256, 0, 1},
    {70, 4104, 512},
    {2500, 72, 512},
    {100, 130, 300, 1, 1},
    {33, 17, 1, 1},
    {129, 131, 1020, 4},
    {31, 65, 36, 4},
    {7, 5, 0},
    {300, 257, 131071, 1, 3},
    {300, 264, 131071, 0, 0, Data::lowest},
    {300, 8, 256},
    {2500, 40, 512},
    {129, 56, 384, 0, 8},
    {300, 20, 256},
    {256, 448, 256},
    {130, 264, 256, 0, 0, Data::random, 1},
    {65, 2048, 256, 0, 0, Data::random, 2},
    {300, 520, 256, 0, 0, Data::random, 4},
};

constexpr DataType kOutTypes[] = {DataType::float16, DataType::bfloat16, DataType::float32,
                                  DataType::int32};

std::string text_of(DataType type) {
  return type == DataType::float16    ? "float16"
         : type == DataType::bfloat16 ? "bfloat16"
         : type == DataType::float32  ? "float32"
                                      : "int32";
}

__global__ void reference_sums(const std::int8_t* x, const std::int8_t* w, int* sums,
                               std::int64_t m, std::int64_t n, std::int64_t k,
                               std::int64_t x_stride, std::int64_t w_stride) {
  const std::int64_t i = blockIdx.x * std::int64_t{blockDim.x} + threadIdx.x;
  if (i >= m * n) return;
  int sum = 0;
  for (std::int64_t j = 0; j < k; ++j) sum += x[i / n * x_stride + j] * w[i % n * w_stride + j];
  sums[i] = sum;
}

std::vector<int> exact_sums(const Case& c, const std::vector<std::int8_t>& x,
                            const std::vector<std::int8_t>& w, std::int64_t stride,
                            const std::int8_t* device_x, const std::int8_t* device_w) {
  DeviceArray<int> sums(std::vector<int>(static_cast<std::size_t>(c.m * c.n)));
  reference_sums<<<static_cast<unsigned>((c.m * c.n + 255) / 256), 256>>>(
      device_x, device_w, sums.data, c.m, c.n, c.k, stride, stride);
  std::vector<int> out = sums.host();
  for (std::int64_t i = 0; i < c.m * c.n; i += 1 + c.m * c.n / 997) {
    int sum = 0;
    for (std::int64_t j = 0; j < c.k; ++j) sum += x[i / c.n * stride + j] * w[i % c.n * stride + j];
    if (sum != out[i]) {
      std::printf("the reference itself is wrong at %lld\n", static_cast<long long>(i));
      std::exit(2);
    }
  }
  return out;
}

float bias_at(const std::vector<float>& values, DataType type, std::int64_t n) {
  namespace e = quoin::epilogue;
  if (values.empty()) return 0.0F;
  if (type == DataType::float32) return values[n];
  return type == DataType::float16 ? e::float_from_half(e::half_from_float(values[n]))
                                   : e::float_from_bfloat16(e::bfloat16_from_float(values[n]));
}

struct Operands {
  std::vector<std::int8_t> x, w;
  std::vector<float> scale_x, scale_w, bias;
};

Operands make_operands(const Case& c, std::int64_t stride, bool bias, std::mt19937& random) {
  Operands o;
  std::uniform_int_distribution<int> code(-128, 127);
  std::uniform_real_distribution<float> scale(0.01F, 3.0F), offset(-2.0F, 2.0F);
  o.x.resize(static_cast<std::size_t>(c.m * stride + 16));
  o.w.resize(static_cast<std::size_t>(c.n * stride + 16));
  for (auto& v : o.x) v = static_cast<std::int8_t>(c.data == Data::lowest ? -128 : code(random));
  for (auto& v : o.w) v = static_cast<std::int8_t>(c.data == Data::lowest ? -128 : code(random));
  for (std::int64_t i = 0; i < c.m; ++i) o.scale_x.push_back(scale(random));
  for (std::int64_t i = 0; i < c.n; ++i) o.scale_w.push_back(scale(random));
  for (std::int64_t i = 0; bias && i < c.n; ++i) o.bias.push_back(offset(random));
  if (c.data == Data::strange_scales) {
    const float odd[] = {std::numeric_limits<float>::quiet_NaN(),
                         std::numeric_limits<float>::infinity(),
                         0.0F,
                         1e-39F,
                         -1e-7F,
                         65520.0F,
                         1e-5F,
                         -std::numeric_limits<float>::quiet_NaN(),
                         3e38F,
                         1e-12F};
    for (std::int64_t i = 0; i < c.m; i += 2) o.scale_x[i] = odd[i / 2 % 10];
    for (std::int64_t i = 0; i < c.n; i += 3) o.scale_w[i] = odd[i / 3 % 10];
    for (std::size_t i = 0; i < o.bias.size(); i += 7) o.bias[i] = odd[i / 7 % 10];
  }
  return o;
}

/// Bits of y as they should be, rows `y_stride` apart, `fill` in every byte between.
std::vector<std::uint8_t> expected_bytes(const Case& c, const std::vector<int>& sums,
                                         const Operands& o, DataType out, DataType bias_type,
                                         float factor, std::int64_t y_stride, int fill) {
  namespace e = quoin::epilogue;
  const std::size_t size = static_cast<std::size_t>(quoin::size_of(out));
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(c.y_offset + c.m * y_stride) * size + 64,
                                  static_cast<std::uint8_t>(fill));
  for (std::int64_t m = 0; m < c.m; ++m) {
    for (std::int64_t n = 0; n < c.n; ++n) {
      const int sum = sums[m * c.n + n];
      std::uint32_t bits = static_cast<std::uint32_t>(sum);
      if (out != DataType::int32) {
        const float y =
            e::dequantise(sum, factor, o.scale_x[m], o.scale_w[n], bias_at(o.bias, bias_type, n));
        bits = out == DataType::float32   ? e::bits_of(e::canonical_float(y))
               : out == DataType::float16 ? e::half_from_float(y)
                                          : e::bfloat16_from_float(y);
      }
      std::memcpy(&bytes[static_cast<std::size_t>(c.y_offset + m * y_stride + n) * size], &bits,
                  size);
    }
  }
  return bytes;
}

struct Tally {
  int passed = 0, failed = 0, refused = 0;
};

/// Runs a kernel on a poisoned output; true where every byte is right, those between rows too.
template <class Launch>
bool matches(const Problem& p, const std::vector<std::uint8_t>& expected,
             DeviceArray<std::uint8_t>& y, int fill, const std::string& label, Launch&& run) {
  for (int round = 0; round < 2; ++round) {
    must(cudaMemset(y.data, fill, y.size), "memset");
    must(run(p), label.c_str());
    const cudaError_t error = cudaDeviceSynchronize();
    if (error != cudaSuccess) {
      std::printf("FAILED %s: %s\n", label.c_str(), cudaGetErrorString(error));
      std::exit(1);
    }
    const std::vector<std::uint8_t> got = y.host();
    if (got == expected) continue;
    const std::size_t at = static_cast<std::size_t>(
        std::mismatch(got.begin(), got.end(), expected.begin()).first - got.begin());
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < got.size(); ++i) wrong += got[i] != expected[i];
    const std::size_t row = at / static_cast<std::size_t>(p.y_stride_elems * size_of(p.out_type));
    std::printf("FAILED %s: %zu bytes, first at %zu (row %zu)\n", label.c_str(), wrong, at, row);
    return false;
  }
  return true;
}

/// What a product reads, written long after the next kernel has been let in. On few SMs, so that it
/// finds others free: an SM does not change its share of shared memory while something runs on it.
__global__ void write_late(std::int8_t* x, const std::int8_t* from_x, std::size_t bytes,
                           float* scale, const float* from_scale, std::int64_t rows) {
  ptx::release_dependent_kernel();
  ptx::wait_for_producer_kernel();
  for (int i = 0; i < 40; ++i) __nanosleep(1000);
  for (std::size_t i = threadIdx.x; i < bytes; i += blockDim.x) x[i] = from_x[i];
  for (std::int64_t i = threadIdx.x; i < rows; i += blockDim.x) scale[i] = from_scale[i];
}

/// Reads what the kernel ahead has written, at once after waiting for it, launched while it runs.
__global__ void read_early(const std::uint8_t* from, std::uint8_t* to, std::size_t bytes) {
  ptx::wait_for_producer_kernel();
  const std::size_t step = std::size_t{gridDim.x} * blockDim.x;
  for (std::size_t i = blockIdx.x * std::size_t{blockDim.x} + threadIdx.x; i < bytes; i += step) {
    to[i] = from[i];
  }
}

cudaError_t launch_read_early(const DeviceArray<std::uint8_t>& from, DeviceArray<std::uint8_t>& to,
                              cudaStream_t stream) {
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(132);
  config.blockDim = dim3(256);
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = 1;
  return cudaLaunchKernelEx(&config, read_early, static_cast<const std::uint8_t*>(from.data),
                            to.data, from.size);
}

void check_case(const Case& c, int index, std::mt19937& random, bool quick,
                const std::string& only, Tally& tally) {
  const bool unaligned = c.pad == 1;
  const std::int64_t stride = unaligned ? c.k + 1 : (c.k + 15) / 16 * 16 + c.pad;
  const DataType bias_types[] = {DataType::float16, DataType::bfloat16, DataType::float32};
  const DataType bias_type = bias_types[index % 3];
  const Operands o = make_operands(c, stride, index % 4 != 3, random);
  const DeviceArray<std::int8_t> x(o.x), w(o.w);
  const DeviceArray<float> scale_x(o.scale_x), scale_w(o.scale_w), bias32(o.bias);
  std::vector<std::uint16_t> short_bias;
  for (const float b : o.bias) {
    short_bias.push_back(bias_type == DataType::float16 ? quoin::epilogue::half_from_float(b)
                                                        : quoin::epilogue::bfloat16_from_float(b));
  }
  const DeviceArray<std::uint16_t> bias16(short_bias);
  const std::vector<int> sums = exact_sums(c, o.x, o.w, stride, x.data, w.data);

  cudaStream_t stream = nullptr;  // launches overlap on it, and it waits for memset
  must(cudaStreamCreate(&stream), "stream");
  const DeviceArray<std::int8_t> late_x(o.x);
  const DeviceArray<float> late_scale(o.scale_x);
  for (const DataType out : kOutTypes) {
    if (quick && out == DataType::bfloat16 && index % 2 == 0) continue;
    Problem p;
    p.x = x.data, p.w = w.data;
    p.scale_x = scale_x.data, p.scale_w = scale_w.data;
    p.m = c.m, p.n = c.n, p.k = c.k;
    p.x_stride_elems = p.w_stride_elems = stride;
    p.y_stride_elems = c.n + c.y_pad;
    p.out_type = out, p.bias_type = bias_type;
    p.factor = index % 2 == 0 ? static_cast<float>(1.0 / (127.0 * 127.0)) : 1.0F;
    if (!o.bias.empty()) {
      p.bias = bias_type == DataType::float32 ? static_cast<const void*>(bias32.data) : bias16.data;
    }
    constexpr int kFill = 0xA5;
    const auto expected =
        expected_bytes(c, sums, o, out, bias_type, p.factor, p.y_stride_elems, kFill);
    DeviceArray<std::uint8_t> y(expected), elsewhere(expected);
    const std::int64_t before = c.y_offset * quoin::size_of(out);
    p.y = y.data + before;
    const std::string label = std::to_string(c.m) + "x" + std::to_string(c.n) + "x" +
                              std::to_string(c.k) + " case " + std::to_string(index) + " " +
                              text_of(out) + " ";
    const auto count = [&](bool ok) { ++(ok ? tally.passed : tally.failed); };
    count(matches(p, expected, y, kFill, label + "any_shape",
                  [](const Problem& q) { return launch_any(q, nullptr); }));
    count(matches(p, expected, y, kFill, label + "sm80",
                  [](const Problem& q) { return launch_sm80(q, nullptr); }));
    for (const Candidate& candidate : sm90a_candidates()) {
      if (name(candidate.config).find(only) == std::string::npos) continue;
      if (refusal(candidate.config, p) != nullptr) {
        ++tally.refused;
        continue;
      }
      const std::string who = label + name(candidate.config);
      LaunchPlan plan;
      const cudaError_t error = make_launch_plan(candidate, p, &plan);
      if (error != cudaSuccess) {
        std::printf("FAILED %s: no plan: %s\n", who.c_str(), cudaGetErrorString(error));
        ++tally.failed;
        continue;
      }
      count(matches(p, expected, y, kFill, who,
                    [&](const Problem& q) { return launch(plan, q, nullptr); }));
      if (candidate.config.persistent) {  // many tiles a CTA: its shared memory is used again
        LaunchPlan few = plan;
        few.resident = std::min(plan.resident, 3);
        count(matches(p, expected, y, kFill, who + " on few SMs",
                      [&](const Problem& q) { return launch(few, q, nullptr); }));
      }
      for (const bool release_early : {false, true}) {
        const std::string how = release_early ? " read from its start" : " read early";
        LaunchPlan ahead = plan;
        ahead.release_early = release_early;
        count(matches(p, expected, y, kFill, who + how, [&](const Problem& q) {
          must(cudaMemset(elsewhere.data, kFill, elsewhere.size), "memset");
          Problem to = q;
          to.y = elsewhere.data + before;
          const cudaError_t launched = launch(ahead, to, stream);
          return launched == cudaSuccess ? launch_read_early(elsewhere, y, stream) : launched;
        }));
      }
      for (const Start start : {Start::early, Start::waiting}) {
        const std::string how = start == Start::early ? " early" : " waiting";
        count(matches(p, expected, y, kFill, who + how, [&](const Problem& q) {
          must(cudaMemset(late_x.data, kFill, late_x.size), "memset");
          must(cudaMemset(late_scale.data, kFill, late_scale.size * sizeof(float)), "memset");
          write_late<<<1, 1024, 0, stream>>>(late_x.data, x.data, x.size, late_scale.data,
                                             scale_x.data, q.m);
          must(cudaGetLastError(), "write_late");
          Problem late = q;
          late.x = late_x.data, late.scale_x = late_scale.data;
          return launch(plan, late, stream, start);
        }));
      }
    }
  }
  must(cudaStreamDestroy(stream), "stream");
}

__global__ void count_wrong(const std::uint16_t* y, Problem p, unsigned long long* wrong) {
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = blockIdx.x * std::int64_t{blockDim.x} + threadIdx.x; i < p.m * p.n;
       i += step) {
    int sum = 0;
    for (int j = 0; j < p.k; j += 4) {
      sum = __dp4a(*reinterpret_cast<const int*>(p.x + i / p.n * p.x_stride_elems + j),
                   *reinterpret_cast<const int*>(p.w + i % p.n * p.w_stride_elems + j), sum);
    }
    const float v =
        quoin::epilogue::dequantise(sum, p.factor, p.scale_x[i / p.n], p.scale_w[i % p.n], 0.0F);
    if (y[i] != quoin::epilogue::half_from_float(v)) atomicAdd(wrong, 1ULL);
  }
}

/// An output of more than 2^31 elements.
void check_huge(std::mt19937& random, Tally& tally) {
  const Case c{70000, 32768, 64};
  const Operands o = make_operands(c, c.k, false, random);
  const DeviceArray<std::int8_t> x(o.x), w(o.w);
  const DeviceArray<float> scale_x(o.scale_x), scale_w(o.scale_w);
  DeviceArray<unsigned long long> wrong(std::vector<unsigned long long>(1));
  Problem p;
  must(cudaMalloc(&p.y, static_cast<std::size_t>(c.m * c.n * 2)), "cudaMalloc");
  p.x = x.data, p.w = w.data, p.scale_x = scale_x.data, p.scale_w = scale_w.data;
  p.m = c.m, p.n = c.n, p.k = c.k;
  p.x_stride_elems = p.w_stride_elems = c.k, p.y_stride_elems = c.n;
  p.factor = 1.0F / 4096;
  for (const Candidate& candidate : sm90a_candidates()) {
    if (refusal(candidate.config, p) != nullptr) continue;
    must(cudaMemset(p.y, 0xA5, static_cast<std::size_t>(c.m * c.n * 2)), "memset");
    LaunchPlan plan;
    must(make_launch_plan(candidate, p, &plan), "plan");
    must(launch(plan, p, nullptr), "launch");
    const unsigned long long before = wrong.host()[0];
    count_wrong<<<132 * 8, 256>>>(static_cast<const std::uint16_t*>(p.y), p, wrong.data);
    const unsigned long long added = wrong.host()[0] - before;
    if (added != 0) {
      std::printf("FAILED huge %s: %llu wrong\n", name(candidate.config).c_str(), added);
    }
    ++(added == 0 ? tally.passed : tally.failed);
  }
  cudaFree(p.y);
}

}  // namespace

int main(int argc, char** argv) {
  std::string_view option;
  std::string only;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--only" && i + 1 < argc) {
      only = argv[++i];
    } else if (argument == "--tiny" || argument == "--quick" || argument == "--huge") {
      option = argument;
    } else {
      std::printf("check [--tiny | --quick | --huge] [--only PART], not '%s'\n", argv[i]);
      return 2;
    }
  }
  std::setvbuf(stdout, nullptr, _IOLBF, 0);  // a hang leaves the failures so far on record
  const unsigned seed = 20251120;
  std::mt19937 random(seed);
  Tally tally;
  must(ready_sm80(), "ready_sm80");
  int index = 0;
  for (const Case& c : kCases) {
    const std::int64_t most = option == "--tiny" ? 1'000'000 : 20'000'000;
    if ((option == "--quick" || option == "--tiny") && c.m * c.n * c.k > most) {
      ++index;
      continue;
    }
    check_case(c, index++, random, option == "--quick" || option == "--tiny", only, tally);
    if (tally.failed > 40) break;
  }
  if (option == "--huge") check_huge(random, tally);
  std::printf("%d passed, %d failed, %d refused (seed %u)\n", tally.passed, tally.failed,
              tally.refused, seed);
  return tally.failed == 0 ? 0 : 1;
}
