// Times the CUDA kernels: every candidate that makes sense for a shape, cold and hot, beside the
// card's own read speed, and beside peers where they are compiled in.
//
//   nvcc -std=c++20 -O3 -gencode=arch=compute_90a,code=sm_90a -Isrc -Iinclude \
//       bench/cuda/bench.cu bench/cuda/no_peers.cu src/linear/kernels/cuda/*.cu \
//       src/linear/quantize/cuda.cu src/linear/plan/cuda_plan.cpp src/cost/devices.cpp \
//       -DFMT_HEADER_ONLY -o bench
//   ./bench [--json FILE] [--all] [--rounds R] [--rasters 4,8] [--picked] [--ours] [--sm80]
//           [--normal] [--chained] [--waiting] [--top T] [--only SUBSTRING,...] [--every-m NxKxM]
//           [MxNxK ...]
//
// --picked: the planner's pick alone. --ours: no peers. --only: of ours, those whose names hold one
// of these, and all of them as dependent launches too. --normal: codes as a quantiser makes them of
// normal values, which take less power than random ones. --chained: dependent launches of more than
// 512 rows too. --waiting: ours read nothing before the launch ahead has finished, dependent ones
// too. --every-m: M from 1 to the last number, for one N and K. What is published: all.py.
//
// CUDA-graph replays. Cold: the launches of a graph walk through operand sets that together exceed
// twice the L2 cache. Hot: one set again and again. Candidates are interleaved round by round, in
// another order each round and for each shape, and the median over the rounds is reported. Large
// products run into the card's power limit, and then a kernel's clock depends on what ran before
// it: there each timing follows 50 ms of the same kernel, and only cold is measured, in six rounds,
// each of which is written down (the least of many medians is too small by their noise: table.py
// takes the fastest by three rounds and its time from the others). Every result is first compared
// with any_shape's, bit for bit (peers round otherwise: within 1/512). The fastest are timed once
// more as dependent launches ("NAME >"): each may fetch weights (CUTLASS: set itself up) before the
// one ahead has finished, and waits for it.
#include <cuda_fp16.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "linear/kernels/cuda/kernels.h"
#include "linear/kernels/cuda/sm90a_configs.h"
#include "linear/plan/cuda_plan.h"
#include "linear/quantize/cuda.h"
#include "peers.h"

namespace {

using namespace quoin::cuda;

void must(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::printf("%s: %s\n", what, cudaGetErrorString(error));
  std::exit(2);
}

/// 32 random bits for each i.
__device__ std::uint32_t random_word(std::size_t i, std::uint32_t seed) {
  std::uint32_t v = static_cast<std::uint32_t>(i) * 2654435761U + seed;
  v = (v ^ (v >> 16)) * 0x7FEB352DU;
  v = (v ^ (v >> 15)) * 0x846CA68BU;
  return v ^ (v >> 16);
}
/// The sum of four random codes: nearly normal, its largest 3.5 standard deviations away, as the
/// largest of a row of some thousand values is.
__device__ int random_sum(std::size_t i, std::uint32_t seed) {
  const std::uint32_t v = random_word(i, seed);
  int sum = 0;
  for (int byte = 0; byte < 4; ++byte) sum += static_cast<std::int8_t>(v >> (8 * byte));
  return sum;
}

/// Codes: each of the 256 as often as the others, or as a quantiser makes them of normal values,
/// with a standard deviation of 37.
__global__ void fill_codes(std::uint32_t* data, std::size_t words, std::uint32_t seed,
                           bool normal) {
  const std::size_t step = std::size_t{gridDim.x} * blockDim.x;
  for (std::size_t i = blockIdx.x * std::size_t{blockDim.x} + threadIdx.x; i < words; i += step) {
    std::uint32_t codes = random_word(i, seed);
    if (normal) {
      codes = 0;
      for (int byte = 0; byte < 4; ++byte) {
        codes |= (static_cast<std::uint32_t>((random_sum(4 * i + byte, seed) + 2) >> 2) & 0xFF)
                 << (8 * byte);
      }
    }
    data[i] = codes;
  }
}

/// Nearly normal values.
__global__ void fill_halves(__half* data, std::size_t count) {
  const std::size_t step = std::size_t{gridDim.x} * blockDim.x;
  for (std::size_t i = blockIdx.x * std::size_t{blockDim.x} + threadIdx.x; i < count; i += step) {
    data[i] = __float2half(static_cast<float>(random_sum(i, 3)) / 128);
  }
}

__global__ void fill_scales(float* data, int count, float base) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) data[i] = base * (1.0F + static_cast<float>(i % 97) / 97.0F);
}

/// How results of a peer may differ: another rounding, not another value.
struct Differences {
  unsigned long long other_bits, far;
};

__global__ void compare(const __half* a, const __half* b, std::size_t count, Differences* found) {
  const std::size_t step = std::size_t{gridDim.x} * blockDim.x;
  for (std::size_t i = blockIdx.x * std::size_t{blockDim.x} + threadIdx.x; i < count; i += step) {
    if (__half_as_ushort(a[i]) == __half_as_ushort(b[i])) continue;
    atomicAdd(&found->other_bits, 1ULL);
    const float expected = __half2float(b[i]);
    const bool is_near = fabsf(__half2float(a[i]) - expected) <= fmaxf(fabsf(expected), 1) / 512;
    if (!is_near) atomicAdd(&found->far, 1ULL);
  }
}

/// The read-only limit loop: 16-byte loads, eight in flight a thread.
__global__ void __launch_bounds__(512) read_all(const int4* data, std::size_t count, int* sink) {
  const std::size_t step = std::size_t{gridDim.x} * blockDim.x;
  int mix = 0;
  std::size_t i = blockIdx.x * std::size_t{blockDim.x} + threadIdx.x;
  for (; i + 7 * step < count; i += 8 * step) {
    int4 v[8];
#pragma unroll
    for (int j = 0; j < 8; ++j) v[j] = __ldg(data + i + j * step);
#pragma unroll
    for (int j = 0; j < 8; ++j) mix ^= v[j].x ^ v[j].y ^ v[j].z ^ v[j].w;
  }
  for (; i < count; i += step) mix ^= __ldg(data + i).x;
  if (mix == 0x5EED1234) *sink = mix;
}

__global__ void nothing() {}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
}

/// A captured run of `launches` calls, timed per call.
struct Timed {
  std::string name;
  cudaGraphExec_t graph = nullptr;
  int launches = 0;
  std::vector<double> microseconds = {};
  bool rival = false;  // timed no more once it is far behind
  [[nodiscard]] double time() const { return median(microseconds); }
};

struct Bench {
  cudaStream_t stream = nullptr;
  cudaEvent_t begin = nullptr, end = nullptr;
  int rounds = 15;
  bool picked = false;             // only the planner's pick
  bool sm80 = false;               // that kernel too
  bool ours = false;               // no peers, no dynamic layer
  bool normal = false;             // codes of normal values, not all alike
  bool chained = false;            // dependent launches of more than 512 rows too
  Start dependent = Start::early;  // what ours do where they are launched dependently
  std::vector<std::string> only;   // empty: all of ours
  std::vector<int> rasters;  // to try for persistent kernels on large shapes, beside the default

  Bench() {
    must(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "stream");
    must(cudaEventCreate(&begin), "event");
    must(cudaEventCreate(&end), "event");
  }
  Timed capture(const std::string& name, int launches,
                const std::function<cudaError_t(int)>& call) const {
    Timed t{name, nullptr, launches, {}};
    cudaGraph_t graph = nullptr;
    must(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capture");
    for (int i = 0; i < launches; ++i) must(call(i), name.c_str());
    must(cudaStreamEndCapture(stream, &graph), "end capture");
    must(cudaGraphInstantiate(&t.graph, graph, 0), "instantiate");
    must(cudaGraphDestroy(graph), "destroy graph");
    return t;
  }
  void once(Timed& t, bool record) const {
    must(cudaEventRecord(begin, stream), "record");
    must(cudaGraphLaunch(t.graph, stream), "graph launch");
    must(cudaEventRecord(end, stream), "record");
    must(cudaEventSynchronize(end), t.name.c_str());
    float milliseconds = 0;
    must(cudaEventElapsedTime(&milliseconds, begin, end), "elapsed");
    if (record) t.microseconds.push_back(milliseconds * 1e3 / t.launches);
  }
  [[nodiscard]] int rounds_of(double settle) const { return settle > 0 ? 6 : rounds; }
  /// `settle`: each timing follows that many milliseconds of the same graph, the first four times
  /// as many; then a rival that takes 1.3 times as long as the fastest in the first round, or 1.15
  /// times as long in two, is timed no more. `seed`: of the orders; with one for all shapes the
  /// same kernels would follow each other on each, and a kernel runs up to 10% faster after one
  /// that takes less power.
  void run(std::vector<Timed>& all, double settle = 0, unsigned seed = 20261121) const {
    if (all.empty()) return;
    for (auto& t : all) once(t, true);
    std::vector<std::size_t> order(all.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::mt19937 random(seed);
    std::vector<int> before(all.size());
    for (std::size_t i = 0; i < all.size(); ++i) {
      before[i] = static_cast<int>(settle * 1e3 / (all[i].time() * all[i].launches));
      all[i].microseconds.clear();
    }
    const int count = rounds_of(settle);
    for (int round = 0; round < count; ++round) {
      std::shuffle(order.begin(), order.end(), random);
      for (int j = 0; round == 0 && j < 3 * before[order[0]]; ++j) {
        must(cudaGraphLaunch(all[order[0]].graph, stream), "settle");
      }
      for (const std::size_t i : order) {
        for (int j = 0; j < before[i]; ++j) must(cudaGraphLaunch(all[i].graph, stream), "settle");
        once(all[i], true);
      }
      if (settle == 0 || round > 1) continue;
      const double most = round == 0 ? 1.3 : 1.15;
      double least = all[0].time();
      for (const Timed& t : all) least = std::min(least, t.time());
      std::erase_if(order,
                    [&](std::size_t i) { return all[i].rival && all[i].time() > most * least; });
    }
    for (auto& t : all) must(cudaGraphExecDestroy(t.graph), "destroy");
  }
};

struct Shape {
  std::int64_t m, n, k;
};

double work_of(const Shape& s) {
  return 2.0 * static_cast<double>(s.m) * static_cast<double>(s.n * s.k);
}
/// Whether the power limit is likely to be reached.
bool is_large(const Shape& s) { return work_of(s) > 1.5e10; }
double settle_of(const Shape& s) { return is_large(s) ? 50 : 0; }
unsigned seed_of(const Shape& s) { return static_cast<unsigned>(s.m * 7919 + s.n * 31 + s.k); }

/// Launches in a cold graph: whole walks through the sets, about 5 ms of a large product.
int cold_launches(const Shape& s, int sets) {
  const int enough =
      is_large(s) ? static_cast<int>(std::clamp(5e-3 * 1.2e15 / work_of(s), 2.0, 100.0)) : 20;
  return (enough + sets - 1) / sets * sets;
}

struct Row {
  std::string name;
  double cold = 0, hot = 0;
  bool ours = true, right = true;
  std::vector<double> rounds = {};  // of cold, where power decides
};

constexpr float kFactor = static_cast<float>(1.0 / (127.0 * 127.0));

struct Operands {
  int sets = 0;
  std::int64_t bytes_x = 0, bytes_w = 0, bytes_y = 0;
  std::int8_t *x = nullptr, *w = nullptr;
  std::uint8_t *y = nullptr, *expected = nullptr;
  float *scale_x = nullptr, *scale_w = nullptr;
  float* folded = nullptr;  // scale_w with the factor, for peers that know none
  std::uint16_t* bias = nullptr;
  Differences* found = nullptr;

  Operands(const Shape& s, bool normal) {
    bytes_x = s.m * s.k, bytes_w = s.n * s.k, bytes_y = s.m * s.n * 2;
    sets = static_cast<int>(
        std::max<std::int64_t>(2, (std::int64_t{120} << 20) / (bytes_x + bytes_w + bytes_y) + 1));
    must(cudaMalloc(&x, bytes_x * sets), "x");
    must(cudaMalloc(&w, bytes_w * sets), "w");
    must(cudaMalloc(&y, bytes_y * sets), "y");
    must(cudaMalloc(&expected, bytes_y), "expected");
    must(cudaMalloc(&scale_x, s.m * 4), "scale_x");
    must(cudaMalloc(&scale_w, s.n * 4), "scale_w");
    must(cudaMalloc(&folded, s.n * 4), "folded");
    must(cudaMalloc(&bias, s.n * 2), "bias");
    must(cudaMalloc(&found, sizeof(Differences)), "found");
    fill(normal);
    fill_scales<<<static_cast<unsigned>(s.m / 256 + 1), 256>>>(scale_x, static_cast<int>(s.m), 1);
    const auto blocks_n = static_cast<unsigned>(s.n / 256 + 1);
    fill_scales<<<blocks_n, 256>>>(scale_w, static_cast<int>(s.n), 1);
    fill_scales<<<blocks_n, 256>>>(folded, static_cast<int>(s.n), kFactor);
    must(cudaMemset(bias, 0x3C, s.n * 2), "bias");  // 0x3C3C: 1.06
    must(cudaDeviceSynchronize(), "fill");
  }
  void fill(bool normal) const {
    fill_codes<<<1024, 256>>>(reinterpret_cast<std::uint32_t*>(x), bytes_x * sets / 4, 1, normal);
    fill_codes<<<1024, 256>>>(reinterpret_cast<std::uint32_t*>(w), bytes_w * sets / 4, 2, normal);
  }
  Operands(const Operands&) = delete;
  Operands& operator=(const Operands&) = delete;
  ~Operands() {
    for (void* p :
         {static_cast<void*>(x), static_cast<void*>(w), static_cast<void*>(y),
          static_cast<void*>(expected), static_cast<void*>(scale_x), static_cast<void*>(scale_w),
          static_cast<void*>(folded), static_cast<void*>(bias), static_cast<void*>(found)}) {
      cudaFree(p);
    }
  }
  [[nodiscard]] Problem problem(const Shape& s, int set) const {
    Problem p;
    p.x = x + set * bytes_x, p.w = w + set * bytes_w, p.y = y + set * bytes_y;
    p.scale_x = scale_x, p.scale_w = scale_w, p.bias = bias;
    p.m = s.m, p.n = s.n, p.k = s.k;
    p.x_stride_elems = p.w_stride_elems = s.k, p.y_stride_elems = s.n;
    p.factor = kFactor;
    return p;
  }
  [[nodiscard]] Differences differences() const {
    must(cudaMemset(found, 0, sizeof(Differences)), "memset");
    compare<<<512, 256>>>(reinterpret_cast<const __half*>(y),
                          reinterpret_cast<const __half*>(expected), bytes_y / 2, found);
    Differences host{};
    must(cudaMemcpy(&host, found, sizeof host, cudaMemcpyDeviceToHost), "copy");
    return host;
  }
};

using Call = std::function<cudaError_t(const Problem&, cudaStream_t, bool dependent)>;

struct Contender {
  std::string name;
  bool ours;
  Call call;
  LaunchPlan plan{};
};

const quoin::cost::GpuDevice& planned_device() { return *quoin::cost::find_gpu("h200"); }

/// The name of the planner's pick; empty where all are refused.
std::string pick_name(const Shape& s) {
  const int kernel = pick_cuda(planned_device(), {s.m, s.n, s.k});
  return kernel < 0 ? "" : name(config_at(kernel));
}

std::vector<Contender> contenders(const Bench& bench, const Shape& s, const Operands& operands,
                                  bool all) {
  const auto start_of = [on_dependent = bench.dependent](bool dependent) {
    return dependent ? on_dependent : Start::after;
  };
  const Problem p = operands.problem(s, 0);
  std::vector<Contender> list;
  const std::string pick = pick_name(s);
  for (const Candidate& c : sm90a_candidates()) {
    if (refusal(c.config, p) != nullptr || !(all || cuda_in_range(c.config, {s.m, s.n, s.k})))
      continue;
    const auto wanted = [&](const std::string& part) {
      return name(c.config).find(part) != std::string::npos;
    };
    if (bench.picked && name(c.config) != pick) continue;
    if (!bench.only.empty() && std::none_of(bench.only.begin(), bench.only.end(), wanted)) continue;
    LaunchPlan plan;
    must(make_launch_plan(c, p, &plan), "plan");
    list.push_back({name(c.config), true,
                    [plan, start_of](const Problem& q, cudaStream_t stream, bool dependent) {
                      return launch(plan, q, stream, start_of(dependent));
                    },
                    plan});
    for (const int raster : bench.rasters) {
      if (!c.config.persistent || c.config.swap || s.m < 2048) continue;
      plan.raster = raster / c.config.cluster_a;
      list.push_back({name(c.config) + " g" + std::to_string(raster), true,
                      [plan, start_of](const Problem& q, cudaStream_t stream, bool dependent) {
                        return launch(plan, q, stream, start_of(dependent));
                      },
                      plan});
    }
  }
  if (bench.sm80) {
    list.push_back({"sm80", true, [](const Problem& q, cudaStream_t stream, bool) {
                      return launch_sm80(q, stream);
                    }});
  }
  if (bench.picked || bench.ours) return list;
  for (const Peer& peer : peers()) {
    int rows = 0, cols = 0;  // of its tile, where its name tells
    if (s.m >= 1024 && std::sscanf(peer.name.c_str(), "%*s %dx%d", &rows, &cols) == 2 &&
        rows * cols < 128 * 128) {
      continue;
    }
    if (!peer.applies(p)) continue;
    list.push_back({peer.name,
                    false,
                    [call = peer.call, folded = operands.folded](Problem q, cudaStream_t stream,
                                                                 bool dependent) {
                      q.scale_w = folded;
                      return call(q, stream, dependent);
                    },
                    {}});
  }
  return list;
}

const Row* row_named(const std::string& name, const std::vector<Row>& rows) {
  for (const Row& r : rows) {
    if (r.name == name) return &r;
  }
  return nullptr;
}

/// A dynamic layer's row, by how its quantiser is launched.
std::string dynamic_name(Start start, const std::string& product) {
  const char* how = start == Start::after ? "+ " : start == Start::waiting ? "~ " : "> ";
  return std::string("quantise ") + how + product;
}

/// The dynamic layer: float16 activations quantised, then multiplied by the planner's pick: each
/// launch after the one before ("+"); the quantiser waiting first ("~") or not (">"), and the
/// product early behind it; from 1,024 rows on, where that does not gain (1.02), the first way
/// only. And the first step alone. Only cold.
std::vector<Row> measure_dynamic(const Bench& bench, const Shape& s, const Operands& operands,
                                 const Contender& pick) {
  std::uint16_t* halves = nullptr;
  const std::int64_t count = s.m * s.k;
  must(cudaMalloc(&halves, count * 2 * operands.sets), "halves");
  fill_halves<<<1024, 256>>>(reinterpret_cast<__half*>(halves), count * operands.sets);
  operands.fill(true);  // as the other types' peers: normal activations, normal weights
  must(cudaDeviceSynchronize(), "fill");
  const auto quantise = [&](int set, cudaStream_t stream, Start start) {
    QuantizeProblem q;
    q.x = halves + set * count, q.codes = operands.x + set * count, q.scale = operands.scale_x;
    q.m = s.m, q.k = s.k, q.x_stride_elems = q.codes_stride_elems = s.k;
    return launch_quantize(q, stream, start);
  };
  std::vector<Timed> quantisers, timed;
  const int cold = cold_launches(s, operands.sets);
  for (const Start start : {Start::after, Start::waiting}) {
    quantisers.push_back(
        bench.capture(start == Start::after ? "quantise" : "quantise ~", cold,
                      [&](int i) { return quantise(i % operands.sets, bench.stream, start); }));
  }
  bench.run(quantisers);  // memory decides, not power
  for (const Start start : {Start::after, Start::waiting, Start::early}) {
    if (start != Start::after && s.m > 512 && !bench.chained) continue;
    timed.push_back(bench.capture(dynamic_name(start, pick.name), cold, [&](int i) {
      const int set = i % operands.sets;
      const cudaError_t error = quantise(set, bench.stream, start);
      if (error != cudaSuccess) return error;
      return launch(pick.plan, operands.problem(s, set), bench.stream,
                    start == Start::after ? Start::after : Start::early);
    }));
  }
  bench.run(timed, settle_of(s), seed_of(s));
  cudaFree(halves);
  std::vector<Row> rows;
  for (const auto* of : {&quantisers, &timed}) {
    for (const Timed& t : *of) rows.push_back({t.name, t.time(), 0, true, true});
  }
  return rows;
}

/// Cold, and hot where power does not decide, into rows of their names.
void time_rows(const Bench& bench, const Shape& s, const Operands& operands,
               const std::vector<const Contender*>& list, bool dependent, std::vector<Row>& rows) {
  const std::string pick = pick_name(s), serving = serving_pick(s.m, s.n);
  std::vector<Timed> timed;
  for (const Contender* c : list) {
    timed.push_back(bench.capture(c->name, cold_launches(s, operands.sets), [&](int i) {
      return c->call(operands.problem(s, i % operands.sets), bench.stream, dependent);
    }));
    timed.back().rival = c->name != pick && c->name != serving;
    if (is_large(s)) continue;
    timed.push_back(bench.capture(c->name, 20, [&](int) {
      return c->call(operands.problem(s, 0), bench.stream, dependent);
    }));
  }
  bench.run(timed, settle_of(s), seed_of(s));
  const std::size_t kinds = is_large(s) ? 1 : 2;
  for (std::size_t i = 0; i < list.size(); ++i) {
    rows[i].cold = timed[kinds * i].time();
    if (kinds == 1 &&
        static_cast<int>(timed[i].microseconds.size()) == bench.rounds_of(settle_of(s))) {
      rows[i].rounds = timed[i].microseconds;
    }
    if (kinds == 2) rows[i].hot = timed[kinds * i + 1].time();
  }
}

std::vector<Row> measure(const Bench& bench, const Shape& s, bool all) {
  const Operands operands(s, bench.normal);
  Problem reference = operands.problem(s, 0);
  reference.y = operands.expected;
  must(launch_any(reference, nullptr), "reference");
  must(cudaDeviceSynchronize(), "reference");

  // sm80's kernel, slow and cool, in a group apart: it would lend the one after it a clock.
  std::vector<Row> rows_of[2];
  std::vector<const Contender*> runs_of[2];
  const std::vector<Contender> list = contenders(bench, s, operands, all);
  for (const Contender& c : list) {
    must(cudaMemset(operands.y, 0xA5, operands.bytes_y), "memset");
    const cudaError_t error = c.call(operands.problem(s, 0), nullptr, false);
    if (error != cudaSuccess) {
      std::printf("  %s: %s\n", c.name.c_str(), cudaGetErrorString(error));
      static_cast<void>(cudaGetLastError());
      continue;
    }
    must(cudaDeviceSynchronize(), c.name.c_str());
    const Differences found = operands.differences();
    if (!c.ours && found.far > 0) {  // a peer that computes something else is no peer
      std::printf("  %s: %llu values are far off, not timed\n", c.name.c_str(), found.far);
      continue;
    }
    const std::size_t group = c.name == "sm80" ? 1 : 0;
    rows_of[group].push_back({c.name, 0, 0, c.ours, found.other_bits == 0});
    runs_of[group].push_back(&c);
  }
  for (std::size_t group : {0, 1})
    time_rows(bench, s, operands, runs_of[group], false, rows_of[group]);
  std::vector<Row> rows = std::move(rows_of[0]);
  rows.insert(rows.end(), rows_of[1].begin(), rows_of[1].end());
  std::stable_sort(rows.begin(), rows.end(),
                   [](const Row& a, const Row& b) { return a.cold < b.cold; });
  const auto contender_of = [&](const Row& r) {
    return &*std::find_if(list.begin(), list.end(),
                          [&](const Contender& c) { return c.name == r.name; });
  };

  // The fastest of each side, the pick and the serving engines' choice once more, as dependent
  // launches. (Large products do not gain from it: 0.99 to 1.17 of their time.)
  std::vector<Row> chained;
  std::vector<const Contender*> runs;
  int left[] = {3, bench.ours ? 1 : 2};  // of others, of ours
  const std::string pick = pick_name(s), serving = serving_pick(s.m, s.n);
  for (const Row& r : rows) {
    if ((s.m > 512 && !bench.chained) || r.name == "sm80" ||
        (bench.only.empty() && --left[r.ours ? 1 : 0] < 0 && r.name != pick && r.name != serving)) {
      continue;
    }
    runs.push_back(contender_of(r));
    must(cudaMemset(operands.y, 0xA5, operands.bytes_y), "memset");
    must(cudaDeviceSynchronize(), "memset");
    for (const int set : {1, 0}) {
      must(runs.back()->call(operands.problem(s, set), bench.stream, true), r.name.c_str());
    }
    must(cudaStreamSynchronize(bench.stream), r.name.c_str());
    const bool right = operands.differences().other_bits == 0;
    chained.push_back({r.name + " >", 0, 0, r.ours, right});
  }
  time_rows(bench, s, operands, runs, true, chained);

  if (row_named(pick, rows) != nullptr && !bench.picked && !bench.ours) {
    const std::vector<Row> dynamic =
        measure_dynamic(bench, s, operands, *contender_of(*row_named(pick, rows)));
    chained.insert(chained.end(), dynamic.begin(), dynamic.end());
  }
  rows.insert(rows.end(), chained.begin(), chained.end());
  return rows;
}

/// TB/s of the read loop over buffers of `bytes`, cold, and the best of a few grids.
double read_speed(const Bench& bench, std::int64_t bytes) {
  const int sets = static_cast<int>(std::max<std::int64_t>(2, (std::int64_t{200} << 20) / bytes));
  std::uint8_t* data = nullptr;
  must(cudaMalloc(&data, bytes * sets), "read buffer");
  fill_codes<<<1024, 256>>>(reinterpret_cast<std::uint32_t*>(data), bytes * sets / 4, 3, false);
  must(cudaDeviceSynchronize(), "fill");
  std::vector<Timed> timed;
  for (const int blocks : {132, 264, 528, 1056}) {
    timed.push_back(bench.capture("read", sets, [&](int i) {
      read_all<<<blocks, 512, 0, bench.stream>>>(reinterpret_cast<const int4*>(data + i * bytes),
                                                 bytes / 16, reinterpret_cast<int*>(data));
      return cudaGetLastError();
    }));
  }
  bench.run(timed);
  cudaFree(data);
  double best = 1e30;
  for (const Timed& t : timed) best = std::min(best, t.time());
  return static_cast<double>(bytes) / best * 1e-6;
}

/// What a call of the library does: the planner's pick, as a dependent launch where that gains.
const Row* run_of(const Shape& s, const std::vector<Row>& rows) {
  const CudaShape shape{s.m, s.n, s.k};
  const int kernel = pick_cuda(planned_device(), shape);
  if (kernel < 0) return nullptr;
  const Config& c = config_at(kernel);
  const bool early = product_start(c, shape, planned_device(), true) == Start::early;
  return row_named(name(c) + (early ? " >" : ""), rows);
}

/// What a dynamic call does: the same after the quantiser.
const Row* run_dynamic_of(const Shape& s, const std::vector<Row>& rows) {
  return row_named(dynamic_name(quantiser_start({s.m, s.n, s.k}, true), pick_name(s)), rows);
}

/// One line: the fastest of ours and of the peers and their ratio, the same as dependent launches,
/// what the library runs and its regret, the serving engines' choice, the dynamic layer.
void print_summary(const Shape& s, const std::vector<Row>& rows) {
  const auto fastest = [&](bool ours, bool dependent) {
    const Row* found = nullptr;
    for (const Row& r : rows) {
      if (r.ours != ours || r.name.ends_with(" >") != dependent) continue;
      if (r.name.starts_with("quantise")) continue;
      if (found == nullptr || r.cold < found->cold) found = &r;
    }
    return found;
  };
  std::printf("%lldx%lldx%lld", static_cast<long long>(s.m), static_cast<long long>(s.n),
              static_cast<long long>(s.k));
  for (const bool dependent : {false, true}) {
    const Row *ours = fastest(true, dependent), *peer = fastest(false, dependent);
    for (const Row* r : {ours, peer}) {
      if (r != nullptr) std::printf(" | %s %.2f (%.2f)", r->name.c_str(), r->cold, r->hot);
    }
    if (ours != nullptr && peer != nullptr) std::printf(" | %.3f", ours->cold / peer->cold);
  }
  if (const Row* run = run_of(s, rows)) {
    double best = run->cold;  // of ours, launched either way
    for (const bool dependent : {false, true}) {
      if (const Row* r = fastest(true, dependent)) best = std::min(best, r->cold);
    }
    std::printf(" | %s | regret %.3f", run->name.c_str(), run->cold / best);
  }
  if (const Row* r = row_named(serving_pick(s.m, s.n), rows))
    std::printf(" | serving %.2f", r->cold);
  if (const Row* r = run_dynamic_of(s, rows)) std::printf(" | dynamic %.2f", r->cold);
  std::printf("\n");
}

}  // namespace

int main(int argc, char** argv) {
  Bench bench;
  must(ready_sm80(), "ready_sm80");
  must(ready_quantize(), "ready_quantize");
  std::vector<Shape> shapes;
  std::string json_path;
  bool all = false;
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  std::size_t top = 0;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    long long m = 0, n = 0, k = 0;
    if (argument == "--json" && i + 1 < argc) {
      json_path = argv[++i];
    } else if (argument == "--rounds" && i + 1 < argc) {
      bench.rounds = std::atoi(argv[++i]);
    } else if (argument == "--top" && i + 1 < argc) {
      top = static_cast<std::size_t>(std::atoi(argv[++i]));
    } else if (argument == "--rasters" && i + 1 < argc) {  // in tiles: 4,8,16
      for (const char* at = argv[++i]; *at != 0; at += *at == ',') {
        bench.rasters.push_back(static_cast<int>(std::strtol(at, const_cast<char**>(&at), 10)));
      }
    } else if (argument == "--picked") {
      bench.picked = true;
    } else if (argument == "--ours") {
      bench.ours = true;
    } else if (argument == "--normal") {
      bench.normal = true;
    } else if (argument == "--chained") {
      bench.chained = true;
    } else if (argument == "--waiting") {
      bench.dependent = Start::waiting;
    } else if (argument == "--sm80") {
      bench.sm80 = true;
    } else if (argument == "--only" && i + 1 < argc) {
      std::string names = argv[++i];
      for (std::size_t at = 0; at != std::string::npos;) {
        const std::size_t end = names.find(',', at);
        bench.only.push_back(names.substr(at, end == std::string::npos ? end : end - at));
        at = end == std::string::npos ? end : end + 1;
      }
    } else if (argument == "--every-m" && i + 1 < argc &&
               std::sscanf(argv[++i], "%lldx%lldx%lld", &n, &k, &m) == 3) {
      for (long long rows = 1; rows <= m; ++rows) shapes.push_back({rows, n, k});
    } else if (argument == "--all") {
      all = true;
    } else if (std::sscanf(argv[i], "%lldx%lldx%lld", &m, &n, &k) == 3) {
      shapes.push_back({m, n, k});
    }
  }
  if (shapes.empty()) {
    shapes = {{128, 2048, 2048}, {16, 4096, 4096}, {128, 4096, 4096}, {2048, 4096, 4096}};
  }
  cudaDeviceProp device{};
  must(cudaGetDeviceProperties(&device, 0), "device");
  int driver = 0;
  must(cudaDriverGetVersion(&driver), "driver");
  const std::int64_t sizes[] = {16 << 20, 117'440'512, 1 << 30};
  double speeds[3];
  for (int i = 0; i < 3; ++i) speeds[i] = read_speed(bench, sizes[i]);
  std::vector<Timed> empty{bench.capture("nothing", 100, [&](int) {
    nothing<<<1, 32, 0, bench.stream>>>();
    return cudaGetLastError();
  })};
  bench.run(empty);
  std::printf(
      "%s, %d SMs; read %.2f / %.2f / %.2f TB/s on 16 MiB / 117 MB / 1 GiB; "
      "empty %.2f us\n",
      device.name, device.multiProcessorCount, speeds[0], speeds[1], speeds[2], empty[0].time());

  FILE* json = json_path.empty() ? nullptr : std::fopen(json_path.c_str(), "w");
  if (json != nullptr) {
    const std::time_t now = std::time(nullptr);
    char date[16] = "";
    std::strftime(date, sizeof date, "%Y-%m-%d", std::gmtime(&now));
    std::fprintf(json,
                 "{\"device\": \"%s\", \"driver\": %d, \"date\": \"%s\", "
                 "\"read_tb_s\": [%.3f, %.3f, %.3f],\n \"rows\": [",
                 device.name, driver, date, speeds[0], speeds[1], speeds[2]);
  }
  bool first = true, right = true;
  for (const Shape& s : shapes) {
    const std::vector<Row> rows = measure(bench, s, all);
    print_summary(s, rows);
    const Row *run = run_of(s, rows), *dynamic = run_dynamic_of(s, rows);
    const std::string serving = serving_pick(s.m, s.n);
    std::size_t shown = 0;
    for (const Row& r : rows) {
      const bool wrong = r.ours && !r.right;
      right = right && !wrong;
      if (shown++ < top || wrong) {
        std::printf("  %-26s %9.2f  hot %9.2f  %s%s\n", r.name.c_str(), r.cold, r.hot,
                    r.ours ? "" : "peer",
                    wrong     ? "WRONG"
                    : r.right ? ""
                              : " (other bits)");
      }
      if (json != nullptr) {
        std::fprintf(json,
                     "%s\n  {\"m\": %lld, \"n\": %lld, \"k\": %lld, \"kernel\": \"%s\", "
                     "\"ours\": %s, \"right\": %s, \"cold_us\": %.3f, \"hot_us\": %.3f%s",
                     first ? "" : ",", static_cast<long long>(s.m), static_cast<long long>(s.n),
                     static_cast<long long>(s.k), r.name.c_str(), r.ours ? "true" : "false",
                     r.right ? "true" : "false", r.cold, r.hot,
                     &r == run           ? ", \"pick\": true"
                     : &r == dynamic     ? ", \"dynamic\": true"
                     : r.name == serving ? ", \"serving\": true"
                                         : "");
        const char* between = ", \"rounds_us\": [";
        for (const double t : r.rounds) {
          std::fprintf(json, "%s%.3f", between, t);
          between = ", ";
        }
        std::fprintf(json, r.rounds.empty() ? "}" : "]}");
      }
      first = false;
    }
    std::fflush(stdout);
  }
  if (json != nullptr) {
    std::fprintf(json, "\n]}\n");
    std::fclose(json);
  }
  return right ? 0 : 1;
}
