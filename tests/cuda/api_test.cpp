// Layers on a CUDA device through the public API, compared byte for byte with the same layer on the
// CPU (which tests/linear_test.cpp holds to the oracle): types, strides and bases, any batch,
// capture and replay, launches that overlap, threads and streams, a device that is not the current
// one, refusals, no allocation. Without a usable device every test is skipped, and says why. The
// kernels one by one: check.cu.
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "linear/epilogue.h"
#include "quoin/quoin.h"

// Allocations of this program, for the test that `run` makes none.
static std::atomic<long> allocations{0};
// Not inlined, or g++ sees a free() of what operator new returned, and warns.
#define QUOIN_OUT_OF_LINE __attribute__((noinline))
QUOIN_OUT_OF_LINE void* operator new(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
QUOIN_OUT_OF_LINE void operator delete(void* memory) noexcept { std::free(memory); }
QUOIN_OUT_OF_LINE void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace quoin::test {
namespace {

#define MUST(call)                                                \
  do {                                                            \
    const cudaError_t error_ = (call);                            \
    ASSERT_EQ(error_, cudaSuccess) << cudaGetErrorString(error_); \
  } while (false)

constexpr int kThreads = 8;  // of the CPU, for the expected results

/// Bytes on the current device, `offset` behind an aligned address.
class Memory {
 public:
  Memory() = default;
  explicit Memory(std::size_t bytes, std::size_t offset = 0) : bytes_(bytes), offset_(offset) {
    if (cudaMalloc(&base_, bytes + offset + 1) != cudaSuccess) std::abort();
    if (cudaMemset(base_, 0xA5, bytes + offset + 1) != cudaSuccess) std::abort();
  }
  template <class T>
  explicit Memory(const std::vector<T>& host, std::size_t offset = 0)
      : Memory(host.size() * sizeof(T), offset) {
    set(host);
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  Memory(Memory&& other) noexcept { swap(other); }
  Memory& operator=(Memory&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Memory() { cudaFree(base_); }
  template <class T>
  void set(const std::vector<T>& host) {
    if (cudaMemcpy(at(), host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice) !=
        cudaSuccess) {
      std::abort();
    }
  }
  void poison() { cudaMemset(at(), 0xA5, bytes_); }
  [[nodiscard]] void* at() const { return static_cast<char*>(base_) + offset_; }
  [[nodiscard]] std::size_t size() const { return bytes_; }
  [[nodiscard]] std::string bytes() const {
    std::string host(bytes_, '\0');
    if (cudaDeviceSynchronize() != cudaSuccess) return "the device failed";
    if (cudaMemcpy(host.data(), at(), bytes_, cudaMemcpyDeviceToHost) != cudaSuccess) return "lost";
    return host;
  }

 private:
  void swap(Memory& other) {
    std::swap(base_, other.base_);
    std::swap(bytes_, other.bytes_);
    std::swap(offset_, other.offset_);
  }
  void* base_ = nullptr;
  std::size_t bytes_ = 0, offset_ = 0;
};

struct Options {
  std::int64_t m = 0, n = 0, k = 0;
  DataType out = DataType::float16, bias = DataType::float16;
  bool has_bias = true;
  int pad = 0, y_pad = 0, offset = 0;  // extra elements a row, and bytes before x and w
  bool lowest = false;
};

/// A layer's operands on the host and on the current device.
struct Case {
  Options o;
  std::vector<std::int8_t> x, w;
  std::vector<float> scale_x, scale_w, bias32, x_float;
  std::vector<std::uint16_t> bias16;
  Memory gx, gw, gsx, gsw, gb, gy, gxf;

  explicit Case(const Options& options, unsigned seed = 1) : o(options) {
    std::mt19937 random(seed);
    std::uniform_int_distribution<int> code(-128, 127);
    std::uniform_real_distribution<float> scale(0.01F, 3.0F), value(-2.0F, 2.0F);
    const auto fill = [&](std::vector<std::int8_t>& v, std::int64_t rows) {
      v.resize(static_cast<std::size_t>(rows * stride()));
      for (auto& e : v) e = static_cast<std::int8_t>(o.lowest ? -128 : code(random));
    };
    fill(x, o.m);
    fill(w, o.n);
    for (std::int64_t i = 0; i < o.m; ++i) scale_x.push_back(scale(random));
    for (std::int64_t i = 0; i < o.n; ++i) scale_w.push_back(scale(random));
    for (std::int64_t i = 0; i < o.n; ++i) {
      bias32.push_back(value(random));
      bias16.push_back(o.bias == DataType::float16 ? epilogue::half_from_float(bias32.back())
                                                   : epilogue::bfloat16_from_float(bias32.back()));
    }
    for (std::int64_t i = 0; i < o.m * stride(); ++i) x_float.push_back(value(random));
    const auto offset = static_cast<std::size_t>(o.offset);
    gx = Memory(x, offset), gw = Memory(w, offset), gsx = Memory(scale_x), gsw = Memory(scale_w);
    gb = o.bias == DataType::float32 ? Memory(bias32) : Memory(bias16);
    gy = Memory(static_cast<std::size_t>(o.m * y_stride() * size_of(o.out)));
    gxf = Memory(x_float);
  }
  [[nodiscard]] std::int64_t stride() const { return o.k + o.pad; }
  [[nodiscard]] std::int64_t y_stride() const { return o.n + o.y_pad; }
  [[nodiscard]] bool raw() const { return o.out == DataType::int32; }
  [[nodiscard]] LinearWeights weights(bool gpu) const {
    const void* bias = o.bias == DataType::float32 ? static_cast<const void*>(bias32.data())
                                                   : static_cast<const void*>(bias16.data());
    LinearWeights v;
    v.weight = matrix(gpu ? static_cast<const void*>(gw.at()) : w.data(), DataType::int8, o.n, o.k,
                      stride());
    if (raw()) return v;
    v.scale_w =
        vector(gpu ? static_cast<const void*>(gsw.at()) : scale_w.data(), DataType::float32, o.n);
    if (o.has_bias) v.bias = vector(gpu ? gb.at() : bias, o.bias, o.n);
    return v;
  }
  [[nodiscard]] QuantizedRows rows(bool gpu, std::int64_t m) const {
    QuantizedRows v;
    v.codes = matrix(gpu ? static_cast<const void*>(gx.at()) : x.data(), DataType::int8, m, o.k,
                     stride());
    if (!raw()) {
      v.scales =
          vector(gpu ? static_cast<const void*>(gsx.at()) : scale_x.data(), DataType::float32, m);
    }
    return v;
  }
  [[nodiscard]] ConstTensor floats(bool gpu, std::int64_t m) const {
    return matrix(gpu ? static_cast<const void*>(gxf.at()) : x_float.data(), DataType::float32, m,
                  o.k, stride());
  }
  [[nodiscard]] Tensor y(std::int64_t m) const {
    return matrix(gy.at(), o.out, m, o.n, y_stride());
  }
  [[nodiscard]] Result<LinearLayer> prepare(int device) const {
    return quoin::prepare(weights(device >= 0), {.out_type = o.out, .device = device});
  }
  /// What the CPU gives for the first m rows, 0xA5 between the rows.
  [[nodiscard]] std::string expected(std::int64_t m, bool dynamic = false) const {
    const Result<LinearLayer> layer = prepare(kCpu);
    if (!layer) return layer.error().message;
    std::string bytes(static_cast<std::size_t>(o.m * y_stride() * size_of(o.out)), '\xA5');
    const Tensor out = matrix(static_cast<void*>(bytes.data()), o.out, m, o.n, y_stride());
    std::vector<std::byte> room(dynamic ? layer->workspace_bytes(m) : 0);
    const Status done = dynamic
                            ? layer->run_dynamic(floats(false, m), out, room, {.threads = kThreads})
                            : layer->run(rows(false, m), out, {.threads = kThreads});
    return done ? bytes : done.error().message;
  }
};

/// The first difference, in words; empty where there is none.
std::string difference(const std::string& got, const std::string& expected) {
  if (got == expected) return {};
  std::size_t wrong = got.size() == expected.size() ? 0 : 1, first = got.size();
  for (std::size_t i = 0; i < std::min(got.size(), expected.size()); ++i) {
    if (got[i] == expected[i]) continue;
    first = std::min(first, i);
    ++wrong;
  }
  return std::to_string(wrong) + " bytes of " + std::to_string(expected.size()) +
         " differ, the first at " + std::to_string(first);
}

class Gpu : public testing::Test {
 protected:
  void SetUp() override {
    std::string reason;
    for (const BackendInfo& info : backends()) {
      if (info.on_gpu && info.available) return;
      if (info.on_gpu) reason = info.reason;
    }
    GTEST_SKIP() << reason;
  }
};

TEST_F(Gpu, IsListed) {
  ASSERT_FALSE(gpus().empty());
  EXPECT_GT(gpus()[0].sms, 0);
  EXPECT_FALSE(gpus()[0].table_row.empty());
}

TEST_F(Gpu, EqualsTheCpu) {
  const DataType outs[] = {DataType::float16, DataType::bfloat16, DataType::float32,
                           DataType::int32};
  const DataType biases[] = {DataType::float16, DataType::bfloat16, DataType::float32};
  int index = 0;
  for (const Options& shape :
       {Options{.m = 1, .n = 64, .k = 128}, Options{.m = 1, .n = 1, .k = 1},
        Options{.m = 1, .n = 777, .k = 1001}, Options{.m = 2, .n = 72, .k = 384, .pad = 16},
        Options{.m = 7, .n = 200, .k = 384, .y_pad = 8},
        Options{.m = 17, .n = 72, .k = 1000, .pad = 8, .y_pad = 3},
        Options{.m = 65, .n = 129, .k = 257, .pad = 15, .y_pad = 1},
        Options{.m = 65, .n = 2048, .k = 2048}, Options{.m = 129, .n = 4096, .k = 512},
        Options{.m = 100, .n = 130, .k = 300, .pad = 1, .offset = 1},
        Options{.m = 33, .n = 72, .k = 512, .offset = 5}, Options{.m = 64, .n = 96, .k = 0},
        Options{.m = 193, .n = 515, .k = 1024, .lowest = true},
        Options{.m = 300, .n = 520, .k = 1040, .pad = 32}, Options{.m = 1100, .n = 1030, .k = 640},
        Options{.m = 128, .n = 16384, .k = 256},  // stored by the copy engine
        Options{.m = 128, .n = 16392, .k = 256, .y_pad = 8},
        Options{.m = 3, .n = 9, .k = 131071, .pad = 1}}) {
    for (const DataType out : outs) {
      Options o = shape;
      o.out = out;
      o.bias = biases[index % 3];
      o.has_bias = ++index % 5 != 0;
      SCOPED_TRACE(std::to_string(o.m) + " x " + std::to_string(o.n) + " x " + std::to_string(o.k) +
                   " " + std::string(name(out)));
      const Case c(o, static_cast<unsigned>(index));
      const Result<LinearLayer> layer = c.prepare(0);
      ASSERT_TRUE(layer.ok()) << layer.error().message;
      EXPECT_EQ(layer->device(), 0);
      const Status done = layer->run(c.rows(true, o.m), c.y(o.m));
      ASSERT_TRUE(done.ok()) << done.error().message;
      EXPECT_EQ(difference(c.gy.bytes(), c.expected(o.m)), "");
    }
  }
}

TEST_F(Gpu, DynamicEqualsTheCpuWithNansAndInfinities) {
  for (const std::int64_t m : {1, 16, 100, 300}) {
    for (const int pad : {0, 1, 8}) {
      Case c({.m = m, .n = 264, .k = 520, .pad = pad});
      for (std::int64_t i = 0; i < m; i += 3) {
        c.x_float[static_cast<std::size_t>(i * c.stride() + i % 520)] =
            i % 2 == 0 ? std::numeric_limits<float>::quiet_NaN()
                       : -std::numeric_limits<float>::infinity();
      }
      c.gxf.set(c.x_float);
      const Result<LinearLayer> layer = c.prepare(0);
      ASSERT_TRUE(layer.ok()) << layer.error().message;
      const std::size_t room = layer->workspace_bytes(m);
      const Memory workspace(room, static_cast<std::size_t>(pad) * 3);  // any alignment
      const Status done = layer->run_dynamic(c.floats(true, m), c.y(m),
                                             {static_cast<std::byte*>(workspace.at()), room});
      ASSERT_TRUE(done.ok()) << done.error().message;
      EXPECT_EQ(difference(c.gy.bytes(), c.expected(m, true)), "") << m << " " << pad;
    }
  }
}

TEST_F(Gpu, QuantizesLikeTheCpu) {
  const Case c({.m = 37, .n = 1, .k = 1000, .pad = 24});
  std::vector<std::int8_t> codes(37 * 1000);
  std::vector<float> scales(37);
  ASSERT_TRUE(
      quantize_rows(c.floats(false, 37), matrix(codes.data(), 37, 1000), vector(scales.data(), 37))
          .ok());
  const Memory gpu_codes(codes.size()), gpu_scales(scales.size() * 4);
  const Status done =
      quantize_rows(c.floats(true, 37), matrix(gpu_codes.at(), DataType::int8, 37, 1000),
                    vector(gpu_scales.at(), DataType::float32, 37), {.device = 0});
  ASSERT_TRUE(done.ok()) << done.error().message;
  EXPECT_EQ(gpu_codes.bytes(), std::string(reinterpret_cast<char*>(codes.data()), codes.size()));
  EXPECT_EQ(gpu_scales.bytes(),
            std::string(reinterpret_cast<char*>(scales.data()), scales.size() * 4));
}

// The same bits for a row in every batch from 1 to 512, whichever kernels that takes.
TEST_F(Gpu, BatchInvariance) {
  const Case c({.m = 512, .n = 1040, .k = 1040, .y_pad = 8});
  const Result<LinearLayer> layer = c.prepare(0);
  ASSERT_TRUE(layer.ok()) << layer.error().message;
  const std::string all = c.expected(512);
  const std::size_t row = static_cast<std::size_t>(c.y_stride()) * 2;
  Memory y(all.size());
  for (std::int64_t m = 1; m <= 512; ++m) {
    y.poison();
    const Tensor out = matrix(y.at(), c.o.out, m, c.o.n, c.y_stride());
    ASSERT_TRUE(layer->run(c.rows(true, m), out).ok());
    const std::string untouched(all.size() - row * static_cast<std::size_t>(m), '\xA5');
    ASSERT_EQ(difference(y.bytes(), all.substr(0, row * static_cast<std::size_t>(m)) + untouched),
              "")
        << m << " rows";
  }
}

TEST_F(Gpu, NothingToDo) {
  const Case c({.m = 4, .n = 6, .k = 16});
  const Result<LinearLayer> layer = c.prepare(0);
  ASSERT_TRUE(layer.ok());
  EXPECT_TRUE(layer->run(c.rows(true, 0), c.y(0)).ok());
  const Case none({.m = 4, .n = 0, .k = 16});
  const Result<LinearLayer> empty = none.prepare(0);
  ASSERT_TRUE(empty.ok()) << empty.error().message;
  EXPECT_TRUE(empty->run(none.rows(true, 4), none.y(4)).ok());
  EXPECT_EQ(c.gy.bytes(), std::string(c.gy.size(), '\xA5'));
}

TEST_F(Gpu, AnAlignedWeightIsUsedInPlace) {
  Case c({.m = 20, .n = 80, .k = 256});
  const Result<LinearLayer> layer = c.prepare(0);
  ASSERT_TRUE(layer.ok());
  EXPECT_FALSE(layer->weight_copied());
  EXPECT_EQ(layer->held_bytes(), 0U);
  const Case odd({.m = 20, .n = 80, .k = 250});
  const Result<LinearLayer> copied = odd.prepare(0);
  ASSERT_TRUE(copied.ok());
  EXPECT_TRUE(copied->weight_copied());
  EXPECT_EQ(copied->held_bytes(), 80U * 256U);
}

TEST_F(Gpu, CapturedAndReplayedWithNewInputs) {
  for (const std::int64_t m : {16, 128, 1024}) {
    Case c({.m = m, .n = 512, .k = 512});
    const Result<LinearLayer> layer = c.prepare(0);
    ASSERT_TRUE(layer.ok()) << layer.error().message;
    const std::size_t room = layer->workspace_bytes(m);
    const Memory workspace(room), second(c.gy.size());
    cudaStream_t stream = nullptr;
    MUST(cudaStreamCreate(&stream));
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    MUST(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    const Tensor y2 = matrix(second.at(), c.o.out, m, c.o.n);
    const Status dynamic =
        layer->run_dynamic(c.floats(true, m), c.y(m),
                           {static_cast<std::byte*>(workspace.at()), room}, {.stream = stream});
    const Status plain = layer->run(c.rows(true, m), y2, {.stream = stream});
    MUST(cudaStreamEndCapture(stream, &graph));
    ASSERT_TRUE(dynamic.ok()) << dynamic.error().message;
    ASSERT_TRUE(plain.ok()) << plain.error().message;
    MUST(cudaGraphInstantiate(&executable, graph, 0));
    for (int round = 0; round < 3; ++round) {
      for (float& v : c.x_float) v = v * 1.5F - 0.25F;
      for (auto& v : c.x) v = static_cast<std::int8_t>(v * 5 + round);
      c.gxf.set(c.x_float);
      c.gx.set(c.x);
      MUST(cudaDeviceSynchronize());
      MUST(cudaGraphLaunch(executable, stream));
      MUST(cudaStreamSynchronize(stream));
      EXPECT_EQ(difference(c.gy.bytes(), c.expected(m, true)), "") << m << " dynamic " << round;
      EXPECT_EQ(difference(second.bytes(), c.expected(m)), "") << m << " plain " << round;
    }
    MUST(cudaGraphExecDestroy(executable));
    MUST(cudaGraphDestroy(graph));
    MUST(cudaStreamDestroy(stream));
  }
}

// Products start while the kernel ahead of them still runs. Here that one is a quantiser which
// takes long (few and long rows), and writes what the product before may still be reading.
TEST_F(Gpu, EachProductWaitsForTheKernelAhead) {
  constexpr std::int64_t kLong = 65536, kRows = 4;
  constexpr int kSteps = 16;
  for (const std::int64_t n : {256, 320}) {  // of 320 the next kernel may start at its start
    const Case c({.m = kRows * kSteps, .n = n, .k = kLong});
    const Result<LinearLayer> layer = c.prepare(0);
    ASSERT_TRUE(layer.ok()) << layer.error().message;
    const std::string expected = c.expected(c.o.m, true);
    const std::size_t room = layer->workspace_bytes(kRows);
    const Memory workspace(room), codes(kRows * kLong), scales(kRows * 4);
    const Tensor q = matrix(codes.at(), DataType::int8, kRows, kLong);
    const Tensor s = vector(scales.at(), DataType::float32, kRows);
    cudaStream_t stream = nullptr;
    MUST(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    for (int step = 0; step < kSteps; ++step) {
      const std::int64_t row = step * kRows;
      const ConstTensor x =
          matrix(static_cast<const void*>(static_cast<const float*>(c.gxf.at()) + row * kLong),
                 DataType::float32, kRows, kLong);
      const Tensor y = matrix(static_cast<void*>(static_cast<char*>(c.gy.at()) + row * n * 2),
                              DataType::float16, kRows, n);
      if (step % 4 == 3) {
        ASSERT_TRUE(quantize_rows(x, q, s, {.stream = stream, .device = 0}).ok());
        ASSERT_TRUE(layer->run({.codes = q, .scales = s}, y, {.stream = stream}).ok());
      } else {
        ASSERT_TRUE(layer
                        ->run_dynamic(x, y, {static_cast<std::byte*>(workspace.at()), room},
                                      {.stream = stream})
                        .ok());
      }
    }
    MUST(cudaStreamSynchronize(stream));
    EXPECT_EQ(difference(c.gy.bytes(), expected), "") << n;
    MUST(cudaStreamDestroy(stream));
  }
}

/// Holds a thread, or a stream by way of a host function; ten seconds at most.
struct Gate {
  std::atomic<bool> is_open = false;
  static void wait(void* gate) {
    for (int i = 0; i < 10'000 && !static_cast<Gate*>(gate)->is_open; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
};

// What may be writing the weights is waited for. Here that is a quantiser which lets the next
// kernel start when it starts itself, takes long (long rows), and leaves SMs on which that one
// could.
TEST_F(Gpu, WeightsWrittenJustAheadAreSeen) {
  constexpr std::int64_t kLong = 65536, kRows = 64;
  Case c({.m = 48, .n = kRows, .k = kLong});
  const Case source({.m = kRows, .n = 1, .k = kLong});  // its floats are the weights
  ASSERT_TRUE(quantize_rows(source.floats(false, kRows),
                            matrix(c.w.data(), DataType::int8, kRows, kLong),
                            vector(c.scale_w.data(), DataType::float32, kRows))
                  .ok());
  const std::string expected = c.expected(48);
  const auto write = [&](cudaStream_t on) {
    return cudaMemsetAsync(c.gw.at(), 0xA5, c.gw.size(), on) == cudaSuccess &&
           quantize_rows(source.floats(true, kRows),
                         matrix(c.gw.at(), DataType::int8, kRows, kLong),
                         vector(c.gsw.at(), DataType::float32, kRows), {.stream = on, .device = 0})
               .ok();
  };
  const auto run = [&](const LinearLayer& layer, cudaStream_t on, bool overlap = true) {
    return layer.run(c.rows(true, 48), c.y(48), {.stream = on, .overlap = overlap}).ok();
  };
  const Memory elsewhere(c.gy.size());
  const auto run_elsewhere = [&](const LinearLayer& layer, cudaStream_t on) {
    const Tensor y = matrix(elsewhere.at(), c.o.out, 48, kRows);
    return layer.run(c.rows(true, 48), y, {.stream = on}).ok();
  };
  cudaStream_t stream = nullptr, other = nullptr;
  cudaEvent_t written = nullptr;
  MUST(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  MUST(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking));
  MUST(cudaEventCreateWithFlags(&written, cudaEventDisableTiming));

  {
    SCOPED_TRACE("the layer's first launch");
    const Result<LinearLayer> layer = c.prepare(0);
    ASSERT_TRUE(layer.ok()) << layer.error().message;
    ASSERT_TRUE(write(stream) && run(layer.value(), stream));
    EXPECT_EQ(difference(c.gy.bytes(), expected), "");
    SCOPED_TRACE("no overlap");
    ASSERT_TRUE(write(stream) && run(layer.value(), stream, false));
    EXPECT_EQ(difference(c.gy.bytes(), expected), "");
  }
  {
    SCOPED_TRACE("behind its quantiser");
    const std::string expected_dynamic = c.expected(48, true);
    const Result<LinearLayer> layer = c.prepare(0);
    ASSERT_TRUE(layer.ok()) << layer.error().message;
    const std::size_t room = layer->workspace_bytes(48);
    const Memory workspace(room);
    for (const bool overlap : {true, false}) {  // its first launch; and no overlap
      ASSERT_TRUE(write(stream));
      ASSERT_TRUE(layer
                      ->run_dynamic(c.floats(true, 48), c.y(48),
                                    {static_cast<std::byte*>(workspace.at()), room},
                                    {.stream = stream, .overlap = overlap})
                      .ok());
      EXPECT_EQ(difference(c.gy.bytes(), expected_dynamic), "") << overlap;
    }
  }
  {
    SCOPED_TRACE("its first launch was on another stream, which waits for this one");
    const Result<LinearLayer> layer = c.prepare(0);
    ASSERT_TRUE(layer.ok()) << layer.error().message;
    ASSERT_TRUE(write(stream));
    MUST(cudaEventRecord(written, stream));
    MUST(cudaStreamWaitEvent(other, written));
    ASSERT_TRUE(run_elsewhere(layer.value(), other) && run(layer.value(), stream));
    EXPECT_EQ(difference(c.gy.bytes(), expected), "");
  }
  {
    SCOPED_TRACE("on another thread's default stream, whose handle is the same");
    const Result<LinearLayer> layer = c.prepare(0);
    ASSERT_TRUE(layer.ok()) << layer.error().message;
    Gate other_launched, all_launched;
    MUST(cudaLaunchHostFunc(cudaStreamPerThread, Gate::wait, &all_launched));
    ASSERT_TRUE(write(cudaStreamPerThread));
    MUST(cudaEventRecord(written, cudaStreamPerThread));
    bool launched = false;
    std::thread thread([&] {
      launched = cudaStreamWaitEvent(cudaStreamPerThread, written) == cudaSuccess &&
                 run_elsewhere(layer.value(), cudaStreamPerThread);
      other_launched.is_open = true;
      Gate::wait(&all_launched);  // its stream goes with it
    });
    Gate::wait(&other_launched);
    launched = launched && run(layer.value(), cudaStreamPerThread);
    all_launched.is_open = true;
    thread.join();
    ASSERT_TRUE(launched);
    EXPECT_EQ(difference(c.gy.bytes(), expected), "");
  }
  {
    SCOPED_TRACE("captured, which launches nothing");
    const Result<LinearLayer> layer = c.prepare(0);
    ASSERT_TRUE(layer.ok()) << layer.error().message;
    cudaGraph_t graph = nullptr;
    MUST(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    const bool captured = run_elsewhere(layer.value(), stream);
    MUST(cudaStreamEndCapture(stream, &graph));
    MUST(cudaGraphDestroy(graph));
    ASSERT_TRUE(captured && write(stream) && run(layer.value(), stream));
    EXPECT_EQ(difference(c.gy.bytes(), expected), "");
  }
  {
    SCOPED_TRACE("captured with the weights' writer, never launched before");
    const Result<LinearLayer> layer = c.prepare(0);
    ASSERT_TRUE(layer.ok()) << layer.error().message;
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    MUST(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    const bool captured =
        write(stream) && run_elsewhere(layer.value(), stream) && run(layer.value(), stream);
    MUST(cudaStreamEndCapture(stream, &graph));
    ASSERT_TRUE(captured);
    MUST(cudaGraphInstantiate(&executable, graph, 0));
    c.gy.poison();
    MUST(cudaDeviceSynchronize());
    MUST(cudaGraphLaunch(executable, stream));
    EXPECT_EQ(difference(c.gy.bytes(), expected), "");
    EXPECT_EQ(difference(elsewhere.bytes(), expected), "");
    MUST(cudaGraphExecDestroy(executable));
    MUST(cudaGraphDestroy(graph));
  }
  MUST(cudaEventDestroy(written));
  MUST(cudaStreamDestroy(other));
  MUST(cudaStreamDestroy(stream));
}

// Layer after layer on one stream, each reading what the one before has just written, all of them
// through one workspace: short rows, so that a kernel lets the next one start long before its end.
TEST_F(Gpu, EachLayerReadsWhatTheOneBeforeWrote) {
  constexpr int kSteps = 12;
  struct Size {
    std::int64_t m, n;
  };
  for (const Size& size : {Size{1, 1024}, Size{16, 1024}, Size{64, 1024}, Size{128, 1024},
                           Size{300, 1024}, Size{512, 1024},
                           // More than 16 MiB: the next one starts as soon as they have.
                           Size{1, 4224}, Size{16, 4224}, Size{64, 4224}}) {
    const std::int64_t m = size.m, n = size.n;
    Case c({.m = m, .n = n, .k = n, .has_bias = false});
    const float small = 1.6F / std::sqrt(static_cast<float>(n));  // keeps values in float16's range
    for (float& s : c.scale_w) s *= small;
    c.gsw.set(c.scale_w);
    const Result<LinearLayer> gpu = c.prepare(0), cpu = c.prepare(kCpu);
    ASSERT_TRUE(gpu.ok() && cpu.ok());
    const std::size_t room = gpu->workspace_bytes(m), bytes = c.gy.size();
    const Memory workspace(room), a(bytes), b(bytes);
    std::vector<std::byte> cpu_room(cpu->workspace_bytes(m));
    std::string from(bytes, '\0'), to(bytes, '\0');
    cudaStream_t stream = nullptr;
    MUST(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    const Memory* const buffers[] = {&a, &b};
    const auto on_gpu = [&](const ConstTensor& x, const Memory& y) {
      return gpu
          ->run_dynamic(x, matrix(y.at(), DataType::float16, m, n),
                        {static_cast<std::byte*>(workspace.at()), room}, {.stream = stream})
          .ok();
    };
    ASSERT_TRUE(on_gpu(c.floats(true, m), *buffers[0]));
    for (int step = 1; step < kSteps; ++step) {
      const void* x = buffers[(step + 1) % 2]->at();
      ASSERT_TRUE(on_gpu(matrix(x, DataType::float16, m, n), *buffers[step % 2]));
    }
    MUST(cudaStreamSynchronize(stream));
    const auto y_of = [&](std::string& s) {
      return matrix(static_cast<void*>(s.data()), DataType::float16, m, n);
    };
    ASSERT_TRUE(
        cpu->run_dynamic(c.floats(false, m), y_of(from), cpu_room, {.threads = kThreads}).ok());
    for (int step = 1; step < kSteps; ++step) {
      const void* x = from.data();
      ASSERT_TRUE(cpu->run_dynamic(matrix(x, DataType::float16, m, n), y_of(to), cpu_room,
                                   {.threads = kThreads})
                      .ok());
      std::swap(from, to);
    }
    EXPECT_EQ(difference(buffers[(kSteps - 1) % 2]->bytes(), from), "") << m << " x " << n;
    MUST(cudaStreamDestroy(stream));
  }
}

TEST_F(Gpu, ThreadsAndStreamsShareOneLayer) {
  constexpr int kTeam = 8;
  const Case c({.m = 200, .n = 1024, .k = 768});
  const Result<LinearLayer> layer = c.prepare(0);
  ASSERT_TRUE(layer.ok());
  const std::string all = c.expected(200), all_dynamic = c.expected(200, true);
  std::vector<std::string> problems(kTeam);
  std::vector<std::thread> team;
  for (int t = 0; t < kTeam; ++t) {
    team.emplace_back([&, t] {
      cudaStream_t stream = nullptr;
      if (cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) != cudaSuccess) return;
      const std::size_t room = layer->workspace_bytes(200);
      const Memory y(all.size()), workspace(room);
      std::string host(all.size(), '\0');
      for (int i = 0; i < 60; ++i) {
        const std::int64_t m = 1 + (i * 37 + t * 11) % 200;
        const Tensor out = matrix(y.at(), c.o.out, m, c.o.n);
        const bool dynamic = (i + t) % 2 == 0;
        const RunOptions on{.stream = stream};
        const Status done =
            dynamic ? layer->run_dynamic(c.floats(true, m), out,
                                         {static_cast<std::byte*>(workspace.at()), room}, on)
                    : layer->run(c.rows(true, m), out, on);
        if (!done) problems[static_cast<std::size_t>(t)] = done.error().message;
        const std::size_t bytes = static_cast<std::size_t>(m) * 2048;
        cudaMemcpyAsync(host.data(), y.at(), bytes, cudaMemcpyDeviceToHost, stream);
        cudaStreamSynchronize(stream);
        if (host.compare(0, bytes, dynamic ? all_dynamic : all, 0, bytes) != 0) {
          problems[static_cast<std::size_t>(t)] = "other bits for " + std::to_string(m) + " rows";
        }
      }
      cudaStreamDestroy(stream);
    });
  }
  for (std::thread& thread : team) thread.join();
  for (const std::string& problem : problems) EXPECT_EQ(problem, "");
}

TEST_F(Gpu, OnADeviceThatIsNotTheCurrentOne) {
  if (gpus().size() < 2) GTEST_SKIP() << "needs two CUDA devices";
  MUST(cudaSetDevice(1));
  const Case c({.m = 70, .n = 512, .k = 512});
  const Case odd({.m = 70, .n = 512, .k = 500});
  cudaStream_t stream = nullptr;
  MUST(cudaStreamCreate(&stream));
  MUST(cudaDeviceSynchronize());
  MUST(cudaSetDevice(0));
  for (const Case* each : {&c, &odd}) {
    const Result<LinearLayer> layer = each->prepare(1);
    ASSERT_TRUE(layer.ok()) << layer.error().message;
    for (void* on : {static_cast<void*>(nullptr), static_cast<void*>(stream)}) {
      const Status done = layer->run(each->rows(true, 70), each->y(70), {.stream = on});
      ASSERT_TRUE(done.ok()) << done.error().message;
      int current = -1;
      MUST(cudaGetDevice(&current));
      EXPECT_EQ(current, 0);
      MUST(cudaSetDevice(1));
      EXPECT_EQ(difference(each->gy.bytes(), each->expected(70)), "");
      MUST(cudaSetDevice(0));
    }
    const Result<LinearLayer> elsewhere = each->prepare(0);  // weights of device 1
    ASSERT_FALSE(elsewhere.ok());
    EXPECT_NE(elsewhere.error().message.find("memory of device 1"), std::string::npos);
  }
  MUST(cudaSetDevice(1));
  MUST(cudaStreamDestroy(stream));
  MUST(cudaSetDevice(0));
}

TEST_F(Gpu, RunAllocatesNothing) {
  const Case c({.m = 256, .n = 1024, .k = 1024});
  const Result<LinearLayer> layer = c.prepare(0);
  ASSERT_TRUE(layer.ok());
  const std::size_t room = layer->workspace_bytes(256);
  const Memory workspace(room);
  const auto all = [&] {
    bool ok = true;
    for (std::int64_t m = 1; m <= 256; ++m) {
      ok = layer->run(c.rows(true, m), c.y(m)).ok() && ok;
      ok = layer
               ->run_dynamic(c.floats(true, m), c.y(m),
                             {static_cast<std::byte*>(workspace.at()), room})
               .ok() &&
           ok;
    }
    return ok && cudaDeviceSynchronize() == cudaSuccess;
  };
  ASSERT_TRUE(all());
  std::size_t before = 0, after = 0, total = 0;
  MUST(cudaMemGetInfo(&before, &total));
  const long count = allocations;
  ASSERT_TRUE(all());
  EXPECT_EQ(allocations, count);
  MUST(cudaMemGetInfo(&after, &total));
  EXPECT_EQ(before, after);
}

TEST_F(Gpu, PlansAreThoseOfTheDevice) {
  const Case c({.m = 1, .n = 512, .k = 512});
  const Result<LinearLayer> layer = c.prepare(0);
  ASSERT_TRUE(layer.ok());
  const Result<Plan> plan = layer->plan(100);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  EXPECT_EQ(plan->backend, layer->backend());
  EXPECT_EQ(plan->device, gpus()[0].table_row);
  EXPECT_FALSE(plan->kernel.empty());
}

struct Refusal {
  const char* what;
  Status status;
  ErrorCode code;
  const char* says;
};

TEST_F(Gpu, Refusals) {
  const Case c({.m = 8, .n = 64, .k = 64});
  const Result<LinearLayer> layer = c.prepare(0);
  ASSERT_TRUE(layer.ok());
  const auto made = [&](const LinearWeights& weights, const LinearOptions& options) -> Status {
    const Result<LinearLayer> result = quoin::prepare(weights, options);
    return result ? Status() : Status(result.error());
  };
  LinearWeights mixed = c.weights(true);
  mixed.scale_w = c.weights(false).scale_w;
  LinearWeights shifted = c.weights(true);
  shifted.scale_w->data = static_cast<const char*>(shifted.scale_w->data) + 1;
  Tensor y = c.y(8);
  y.data = static_cast<char*>(y.data) + 1;
  QuantizedRows rows = c.rows(true, 8);
  rows.scales->data = static_cast<const char*>(rows.scales->data) + 2;
  constexpr auto kWrong = ErrorCode::invalid_argument;
  constexpr auto kNone = ErrorCode::unavailable;
  const Refusal refusals[] = {
      {"host weight", made(c.weights(false), {.device = 0}), kWrong, "host memory"},
      {"host scale", made(mixed, {.device = 0}), kWrong, "scale_w"},
      {"scale between floats", made(shifted, {.device = 0}), kWrong, "multiple of 4"},
      {"no such device", made(c.weights(true), {.device = 99}), kNone, "device 99"},
      {"negative device", made(c.weights(true), {.device = -2}), kWrong, "device is -2"},
      {"a CPU's backend", made(c.weights(true), {.backend = "avx2", .device = 0}), kWrong,
       "\"avx2\""},
      {"a GPU's backend", made(c.weights(false), {.backend = "sm80"}), kNone, "sm80"},
      {"a stream of the CPU", made(c.weights(false), {.stream = &y}), kWrong, "stream"},
      {"y between halves", layer->run(c.rows(true, 8), y), kWrong, "multiple of 2"},
      {"scale_x between floats", layer->run(rows, c.y(8)), kWrong, "scale_x"},
      {"another device", layer->run(c.rows(true, 8), c.y(8), {.device = 5}), kWrong, "device is 5"},
      {"no workspace", layer->run_dynamic(c.floats(true, 8), c.y(8), {}), kWrong, "workspace"},
      {"no device to quantise on",
       quantize_rows(c.floats(true, 8), matrix(c.gx.at(), DataType::int8, 8, 64),
                     vector(c.gsx.at(), DataType::float32, 8), {.device = 99}),
       kNone, "device 99"},
  };
  for (const Refusal& r : refusals) {
    ASSERT_FALSE(r.status.ok()) << r.what;
    EXPECT_EQ(r.status.error().code, r.code) << r.what << ": " << r.status.error().message;
    EXPECT_NE(r.status.error().message.find(r.says), std::string::npos)
        << r.what << ": " << r.status.error().message;
  }
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  EXPECT_EQ(c.gy.bytes(), std::string(c.gy.size(), '\xA5'));
}

}  // namespace
}  // namespace quoin::test
