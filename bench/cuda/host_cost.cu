// What a call costs on the host: `run` and `run_dynamic` through the public API, beside a bare
// launch of an empty kernel. Microseconds a call, the median of rounds of 200 calls, the device
// idle before each round.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

#include "linear/gpu.h"
#include "quoin/quoin.h"

namespace {

__global__ void nothing() {}

template <class Call>
double microseconds(const Call& call) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> times;
  for (int round = 0; round < 31; ++round) {
    cudaDeviceSynchronize();
    const Clock::time_point start = Clock::now();
    for (int i = 0; i < 200; ++i) call();
    times.push_back(std::chrono::duration<double, std::micro>(Clock::now() - start).count() / 200);
  }
  std::nth_element(times.begin(), times.begin() + 15, times.end());
  return times[15];
}

}  // namespace

int main() {
  cudaStream_t stream = nullptr;
  if (cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) != cudaSuccess) return 2;
  std::printf("an empty kernel %.2f\n", microseconds([&] { nothing<<<1, 32, 0, stream>>>(); }));
  constexpr std::int64_t kN = 512, kK = 512;
  for (const std::int64_t m : {1, 64, 128}) {
    const auto x = quoin::copy_to_gpu(0, nullptr, static_cast<std::size_t>(m * kK * 2));
    const auto w = quoin::copy_to_gpu(0, nullptr, kN * kK),
               s = quoin::copy_to_gpu(0, nullptr, kN * 4);
    const auto y = quoin::copy_to_gpu(0, nullptr, static_cast<std::size_t>(m * kN * 2));
    const auto sx = quoin::copy_to_gpu(0, nullptr, static_cast<std::size_t>(m * 4));
    const quoin::Tensor scale_w = quoin::vector(s.get(), quoin::DataType::float32, kN);
    const auto layer = quoin::prepare(
        {.weight = quoin::matrix(w.get(), quoin::DataType::int8, kN, kK), .scale_w = scale_w},
        {.device = 0});
    if (!layer) {
      std::printf("%s\n", layer.error().message.c_str());
      return 2;
    }
    const std::size_t room = layer->workspace_bytes(m);
    const auto workspace = quoin::copy_to_gpu(0, nullptr, room);
    const quoin::QuantizedRows rows{quoin::matrix(x.get(), quoin::DataType::int8, m, kK),
                                    quoin::vector(sx.get(), quoin::DataType::float32, m)};
    const quoin::Tensor out = quoin::matrix(y.get(), quoin::DataType::float16, m, kN);
    const quoin::ConstTensor halves = quoin::matrix(x.get(), quoin::DataType::float16, m, kK);
    const quoin::RunOptions on{.stream = stream};
    bool ok = true;
    const double run = microseconds([&] { ok = layer->run(rows, out, on).ok() && ok; });
    const double dynamic = microseconds([&] {
      ok = layer->run_dynamic(halves, out, {static_cast<std::byte*>(workspace.get()), room}, on)
               .ok() &&
           ok;
    });
    std::printf("%4lld x 512 x 512: run %.2f, run_dynamic %.2f%s\n", static_cast<long long>(m), run,
                dynamic, ok ? "" : " FAILED");
  }
  return 0;
}
