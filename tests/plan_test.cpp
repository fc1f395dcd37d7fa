// The planner: how a product is cut, what it should cost and what a plan says, with invented
// backends and machines; the device table; the units. Nothing here runs a product.
#include "quoin/plan.h"

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <set>
#include <string>
#include <type_traits>

#include "cost/devices.h"
#include "cost/roofline.h"
#include "cost/units.h"
#include "linear/plan/price.h"
#include "linear/plan/split.h"
#include "tests/support.h"

namespace quoin::test {
namespace {

using cost::Bytes;
using cost::BytesPerSecond;
using cost::Hertz;
using cost::Ops;
using cost::OpsPerSecond;
using cost::Seconds;

// Quantities of different kinds do not mix, and quotients have the right kind.
template <class A, class B>
concept Adds = requires(A a, B b) {
  a + b;
};
template <class A, class B>
concept Divides = requires(A a, B b) {
  a / b;
};
template <class A, class B>
concept Compares = requires(A a, B b) {
  a < b;
};

static_assert(Adds<Bytes, Bytes> && !Adds<Bytes, Ops> && !Adds<Seconds, Bytes>);
static_assert(!Compares<Seconds, Bytes> && Compares<Seconds, Seconds>);
static_assert(!std::is_convertible_v<double, Seconds> && !std::is_convertible_v<Seconds, Bytes>);
static_assert(std::same_as<decltype(Ops{} / OpsPerSecond{}), Seconds>);
static_assert(std::same_as<decltype(Bytes{} / BytesPerSecond{}), Seconds>);
static_assert(std::same_as<decltype(Bytes{} / Seconds{}), BytesPerSecond>);
static_assert(std::same_as<decltype(Ops{} / Seconds{}), OpsPerSecond>);
static_assert(std::same_as<decltype(Bytes{} / Bytes{}), double>);
static_assert(!Divides<Bytes, OpsPerSecond> && !Divides<Ops, BytesPerSecond>);
static_assert(!Divides<Seconds, Bytes>);
static_assert((Ops{6} / OpsPerSecond{2}).value == 3);
static_assert(cost::kibibytes(2).value == 2048 && cost::mebibytes(1).value == 1048576);
static_assert(cost::gops(2).value == 2e9 && cost::microseconds(3).value == 3e-6);
static_assert(cost::max(Seconds{1}, Seconds{2}).value == 2);
static_assert(cost::roofline({Ops{10}, Bytes{10}}, {{5}, {1}}).value == 10);
static_assert(cost::linear_work(2, 3, 4).ops.value == 48);
static_assert(cost::linear_work(2, 3, 4).bytes.value == 12);

constexpr Backend kToy{.name = "toy",
                       .tile_rows = 4,
                       .tile_cols = 10,
                       .panel_cols = 10,
                       .round_cols = 5,
                       .k_group = 4,
                       .max_k_block = 96,
                       .prefetches = true,
                       .prefetches_alone = true,
                       .vector_bits = 256,
                       .ops_per_cycle = 100};

constexpr cost::CpuDevice kInvented{.name = "invented",
                                    .cores = 4,
                                    .clock = {1e9},
                                    .l2 = {1000},
                                    .l3 = {10000},
                                    .from_l2 = {{1e9}, {4e9}},
                                    .from_l3 = {{1e8}, {2e8}},
                                    .from_memory = {{1e7}, {1.5e7}},
                                    .stream_ahead = {{1000}, {5000}}};

struct SplitCase {
  std::int64_t m, n, k;
  std::int64_t row_block, col_blocks, k_block, calls;
};

TEST(Split, Golden) {
  for (const SplitCase& c :
       {SplitCase{1, 1, 1, 4, 1, 1, 1}, SplitCase{10, 25, 200, 12, 3, 80, 9},
        SplitCase{9, 10, 96, 12, 1, 96, 3}, SplitCase{9, 10, 97, 12, 1, 64, 3},
        SplitCase{256, 11, 0, 256, 2, 0, 128}, SplitCase{257, 11, 5, 132, 2, 5, 66},
        SplitCase{300, 30, 5, 152, 3, 5, 114}}) {
    SCOPED_TRACE(testing::Message() << c.m << " x " << c.n << " x " << c.k);
    const Split split = split_product(kToy, c.m, c.n, c.k);
    EXPECT_EQ(split.row_block, c.row_block);
    EXPECT_EQ(split.col_blocks, c.col_blocks);
    EXPECT_EQ(split.k_block, c.k_block);
    EXPECT_EQ(split.calls_per_pass, c.calls);
    EXPECT_FALSE(split.empty());
  }
  EXPECT_TRUE(split_product(kToy, 0, 5, 5).empty());
  EXPECT_TRUE(split_product(kToy, 5, 0, 5).empty());
  Backend whole = kToy;
  whole.max_k_block = 0;
  EXPECT_EQ(split_product(whole, 3, 3, 5000).k_block, 5000);
}

TEST(Split, RowsAreSpreadEvenly) {
  EXPECT_EQ(even_tile_rows(kToy, 1), 1);
  EXPECT_EQ(even_tile_rows(kToy, 4), 4);
  EXPECT_EQ(even_tile_rows(kToy, 5), 3);  // 3 + 2, not 4 + 1
  EXPECT_EQ(even_tile_rows(kToy, 9), 3);
  EXPECT_EQ(even_tile_rows(kToy, 10), 4);
}

TEST(Split, PrefetchGolden) {
  const Prefetch alone = plan_prefetch(kToy, 1, 80, {12345, true});
  EXPECT_EQ(alone.distance, 12345);
  EXPECT_EQ(alone.lines_per_span, 2);
  EXPECT_EQ(alone.bytes_per_tile, 0);
  EXPECT_TRUE(alone.to_l1);
  EXPECT_FALSE(plan_prefetch(kToy, 1, 80, {12345, false}).to_l1);
  const Prefetch shared = plan_prefetch(kToy, 3, 80, {12345, true});
  EXPECT_EQ(shared.distance, 800);
  EXPECT_EQ(shared.lines_per_span, 1);
  EXPECT_EQ(shared.bytes_per_tile, 320);
  EXPECT_FALSE(shared.to_l1);
  Backend without = kToy;
  without.prefetches_alone = false;
  EXPECT_EQ(plan_prefetch(without, 1, 80, {12345, true}).lines_per_span, 0);
  EXPECT_EQ(plan_prefetch(without, 3, 80, {12345, true}).lines_per_span, 1);
  without.prefetches = false;
  EXPECT_EQ(plan_prefetch(without, 3, 80, {12345, true}).lines_per_span, 0);
}

// What run() relies on: its arrays on the stack are large enough for every split.
TEST(Split, FitsTheStackOfRun) {
  for (const Backend& b : kBackends) {
    for (std::int64_t m = 1; m <= 1100; ++m) {
      for (const std::int64_t k : {std::int64_t{100}, b.max_k_block + 1, kMaxK}) {
        const Split split = split_product(b, m, 100, k);
        ASSERT_LE(split.row_block, kMaxRowBlock);
        const std::int64_t rows = std::min(m, split.row_block);
        const int tile_rows = even_tile_rows(b, rows);
        ASSERT_GE(tile_rows, 1);
        ASSERT_LE(tile_rows, b.tile_rows);
        const std::int64_t row_tiles = (rows + tile_rows - 1) / tile_rows;
        ASSERT_EQ(split.calls_per_pass, split.col_blocks * row_tiles);
        const std::int64_t parked = split.k_block < k ? row_tiles : 1;
        ASSERT_LE(parked * b.tile_rows * b.tile_cols, kMaxSums) << b.name << " " << m;
        ASSERT_TRUE(split.k_block == k || split.k_block % kPrefetchSpan == 0);
        ASSERT_TRUE(b.max_k_block == 0 || split.k_block <= b.max_k_block);
      }
    }
  }
}

TEST(Price, Golden) {
  // 400 bytes in the second-level cache: bound by reading them.
  Price price = price_product(kToy, kInvented, 8, 10, 40, 1);
  EXPECT_DOUBLE_EQ(price.compute_limit.value, 6.4e-8);
  EXPECT_DOUBLE_EQ(price.memory_limit.value, 4e-7);
  EXPECT_DOUBLE_EQ(price.total.value, 4e-7 / 0.95);
  // Two threads: a third of the way to all four, and 3 us to wake the other.
  price = price_product(kToy, kInvented, 8, 10, 40, 2);
  EXPECT_DOUBLE_EQ(price.compute_limit.value, 3.2e-8);
  EXPECT_DOUBLE_EQ(price.memory_limit.value, 2e-7);
  EXPECT_DOUBLE_EQ(price.total.value, 2e-7 / 0.95 + 3e-6);
  // More threads than cores gain nothing.
  price = price_product(kToy, kInvented, 8, 10, 40, 8);
  EXPECT_DOUBLE_EQ(price.compute_limit.value, 1.6e-8);
  EXPECT_DOUBLE_EQ(price.memory_limit.value, 1e-7);
  // 11 channels are computed as 15: bound by computing.
  price = price_product(kToy, kInvented, 10000, 11, 40, 1);
  EXPECT_DOUBLE_EQ(price.compute_limit.value, 8.8e-5);
  EXPECT_DOUBLE_EQ(price.total.value, 1.2e-4 / 0.94);
  // From the third-level cache, and from memory.
  EXPECT_DOUBLE_EQ(price_product(kToy, kInvented, 1, 100, 40, 1).memory_limit.value, 4e-5);
  EXPECT_DOUBLE_EQ(price_product(kToy, kInvented, 1, 1000, 40, 1).memory_limit.value, 4e-3);
  EXPECT_EQ(price_product(kToy, kInvented, 0, 0, 0, 1).total.value, 0);
}

TEST(Price, WideRegistersTakeTurnsOnNarrowMultipliers) {
  EXPECT_EQ(peak_rate(kToy, kInvented).value, 1e11);
  cost::CpuDevice narrow = kInvented;
  narrow.vector_bits = 128;
  EXPECT_EQ(peak_rate(kToy, narrow).value, 0.5e11);
  narrow.vector_bits = 512;
  EXPECT_EQ(peak_rate(kToy, narrow).value, 1e11);
}

// A weight takes 2e-11 s a row to multiply and 1e-7 s, or 1e-10, to read.
TEST(Price, ALoneTileStreamsByWhatHoldsItBack) {
  EXPECT_EQ(lone_stream(kToy, kInvented, 8).ahead_bytes, 1000);
  EXPECT_TRUE(lone_stream(kToy, kInvented, 8).memory_bound);
  cost::CpuDevice fast = kInvented;
  fast.from_memory.one = {1e10};
  EXPECT_EQ(lone_stream(kToy, fast, 3).ahead_bytes, 1000);
  EXPECT_EQ(lone_stream(kToy, fast, 6).ahead_bytes, 5000);
  EXPECT_FALSE(lone_stream(kToy, fast, 6).memory_bound);
  fast.from_memory.one = {9.5e9};  // 5 rows compute as fast as 1.05 of it
  EXPECT_FALSE(lone_stream(kToy, fast, 5).memory_bound);
}

TEST(Plan, OfATabulatedDevice) {
  const Result<Plan> plan = make_plan(128, 2048, 2048, 1, {}, "zen5-server");
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  EXPECT_EQ(plan->m, 128);
  EXPECT_EQ(plan->n, 2048);
  EXPECT_EQ(plan->k, 2048);
  EXPECT_EQ(plan->threads, 1);
  EXPECT_EQ(plan->device, "zen5-server");
  EXPECT_EQ(plan->backend, "avx512_vnni");
  EXPECT_EQ(plan->tile_rows, 8);
  EXPECT_EQ(plan->tile_cols, 48);
  EXPECT_EQ(plan->row_block, 128);
  EXPECT_EQ(plan->k_block, 2048);
  EXPECT_EQ(plan->tiles, 43 * 16);
  ASSERT_EQ(plan->candidates.size(), kBackends.size());
  EXPECT_EQ(plan->candidates[0].backend, "avx512_vnni");
  EXPECT_EQ(plan->candidates[0].tile, "8x48");
  EXPECT_EQ(plan->candidates[3].backend, "portable");
  EXPECT_EQ(plan->candidates[0].modelled_seconds, plan->modelled_seconds);
  EXPECT_GE(plan->modelled_seconds, plan->compute_limit_seconds);
  EXPECT_GT(plan->compute_limit_seconds, plan->memory_limit_seconds);
  for (std::size_t i = 1; i < plan->candidates.size(); ++i) {
    EXPECT_LE(plan->candidates[i - 1].modelled_seconds, plan->candidates[i].modelled_seconds);
  }
}

// Needs neither a GPU nor a toolkit.
TEST(Plan, OfAGpuListsItsKernels) {
  const Result<Plan> plan = make_plan(128, 2048, 2048, 1, {}, "h100-sxm");
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  EXPECT_EQ(plan->device, "h100-sxm");
  EXPECT_EQ(plan->backend, "sm90a");
  EXPECT_EQ(plan->kernel, "x64 w64 s12");
  EXPECT_EQ(plan->tile_rows, 64);
  EXPECT_EQ(plan->tile_cols, 64);
  EXPECT_EQ(plan->tiles, 2 * 32);
  EXPECT_EQ(plan->candidates.front().tile, plan->kernel);
  EXPECT_EQ(plan->candidates.front().modelled_seconds, plan->modelled_seconds);
  EXPECT_GT(plan->modelled_seconds, plan->memory_limit_seconds);
  bool refused = false, sm80 = false;
  for (const PlanCandidate& c : plan->candidates) {
    EXPECT_TRUE(!refused || !c.refused_because.empty()) << c.tile << " after a refused one";
    refused = refused || !c.refused_because.empty();
    sm80 = sm80 || (c.backend == "sm80" && c.refused_because.empty());
  }
  EXPECT_TRUE(refused);
  EXPECT_TRUE(sm80);
  const std::string text = to_string(plan.value());
  EXPECT_NE(text.find("kernel x64 w64 s12: 64 tiles of 64 x 64"), std::string::npos) << text;
  EXPECT_NE(text.find("out: 128 tokens, made for 16"), std::string::npos) << text;

  const Result<Plan> ada = make_plan(128, 2048, 2048, 1, {}, "l4");
  ASSERT_TRUE(ada.ok());
  EXPECT_EQ(ada->backend, "sm80");
  EXPECT_EQ(ada->candidates.back().refused_because,
            "l4 has compute capability 8.9; sm90a needs 9.0");
  EXPECT_EQ(make_plan(1, 2048, 2048, 1, "sm80", "h200")->kernel, "32x64");
  EXPECT_EQ(make_plan(0, 5, 5, 1, {}, "h200")->backend, "sm80");  // it takes everything
}

TEST(Plan, TilesAreCounted) {
  EXPECT_EQ(make_plan(0, 5, 5, 1, "avx2", "zen5-server")->tiles, 0);
  EXPECT_EQ(make_plan(0, 5, 5, 1, "avx2", "zen5-server")->tile_rows, 0);
  EXPECT_EQ(make_plan(9, 49, 5, 1, "avx512_vnni", "zen5-server")->tiles, 2 * 2);
  EXPECT_EQ(make_plan(9, 49, 5, 1, "avx512_vnni", "zen5-server")->tile_rows, 5);
  EXPECT_EQ(make_plan(257, 48, 5, 1, "avx512_vnni", "zen5-server")->tiles, 17 + 16);
  const Result<Plan> deep = make_plan(16, 48, 10000, 1, "avx512_vnni", "zen5-server");
  EXPECT_EQ(deep->k_block, 3344);  // three chunks, each a multiple of 16
}

// Weights are packed once for every M: without a wish it is always the table's first.
TEST(Plan, TheFastestBackendIsChosenWhateverTheSize) {
  for (const std::int64_t m : {1, 8, 128}) {
    for (const std::int64_t n : {1, 40, 2048}) {
      const Result<Plan> plan = make_plan(m, n, 64, 1, {}, "zen5-server");
      ASSERT_TRUE(plan.ok());
      EXPECT_EQ(plan->backend, kBackends.front().name) << m << " x " << n;
      EXPECT_GT(plan->modelled_seconds, 0);
    }
  }
}

TEST(Plan, RefusalsComeLastWithTheirReason) {
  const Result<Plan> plan = make_plan(64, 64, 64, 2, "avx2", "zen5-server");
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->backend, "avx2");
  EXPECT_EQ(plan->candidates.front().backend, "avx2");
  EXPECT_EQ(plan->candidates.front().refused_because, "");
  for (std::size_t i = 1; i < plan->candidates.size(); ++i) {
    EXPECT_EQ(plan->candidates[i].refused_because, "backend avx2 was asked for");
  }
  const Result<Plan> here = make_plan(64, 64, 64);
  ASSERT_TRUE(here.ok()) << here.error().message;
  for (const PlanCandidate& candidate : here->candidates) {
    const auto info = backends();
    const auto found = std::find_if(info.begin(), info.end(), [&](const BackendInfo& b) {
      return b.name == candidate.backend;
    });
    ASSERT_NE(found, info.end());
    EXPECT_EQ(candidate.refused_because, found->reason);
  }
}

TEST(Plan, Refused) {
  struct Case {
    std::int64_t m, n, k;
    int threads;
    const char* backend;
    const char* device;
    ErrorCode code;
    const char* says;
  };
  constexpr auto kWrong = ErrorCode::invalid_argument;
  for (const Case& c : {
           Case{-1, 2, 3, 1, "", "", kWrong, "-1 x 2 x 3"},
           Case{1, -2, 3, 1, "", "", kWrong, "1 x -2 x 3"},
           Case{1, 2, -3, 1, "", "", kWrong, "1 x 2 x -3"},
           Case{1, 2, 131072, 1, "", "", ErrorCode::unsupported, "K is 131072"},
           Case{INT64_MAX, 2, 3, 1, "", "", ErrorCode::unsupported, "9223372036854775807 x 2"},
           Case{1, 2, 3, 0, "", "", kWrong, "threads is 0"},
           Case{1, 2, 3, 2000, "", "", kWrong, "threads is 2000"},
           Case{1, 2, 3, 1, "mmx", "", kWrong, "\"mmx\""},
           Case{1, 2, 3, 1, "mmx", "zen5-server", kWrong, "\"mmx\""},
           Case{1, 2, 3, 1, "", "cray-1", kWrong, "device \"cray-1\""},
           Case{1, 2, 3, 1, "", "mi300x", ErrorCode::unavailable, "mi300x has no CUDA"},
           Case{1, 2, 3, 1, "avx2", "h100-sxm", kWrong, "\"avx2\" is not for GPUs"},
           Case{1, 2, 3, 1, "sm90a", "l4", ErrorCode::unavailable, "sm90a was asked for"},
           Case{1, 2, 3, 1, "sm90a", "zen5-server", ErrorCode::unavailable, "backend sm90a"},
       }) {
    const Result<Plan> plan = make_plan(c.m, c.n, c.k, c.threads, c.backend, c.device);
    ASSERT_FALSE(plan.ok()) << c.says;
    EXPECT_EQ(plan.error().code, c.code) << plan.error().message;
    EXPECT_NE(plan.error().message.find(c.says), std::string::npos) << plan.error().message;
  }
  const std::string unknown = make_plan(1, 2, 3, 1, "", "cray-1").error().message;
  EXPECT_NE(unknown.find("zen5-server"), std::string::npos) << unknown;
  EXPECT_NE(unknown.find("h100-sxm"), std::string::npos) << unknown;
  EXPECT_EQ(unknown.find("mi300x"), std::string::npos) << unknown;
}

TEST(Plan, OfEnormousSizesIsImmediate) {
  constexpr std::int64_t kMost = std::int64_t{1} << 40;
  const auto start = std::chrono::steady_clock::now();
  for (const Backend& b : kBackends) {
    const Result<Plan> tall = make_plan(kMost, 1000, kMaxK, 2, b.name, "zen5-server");
    ASSERT_TRUE(tall.ok()) << tall.error().message;
    EXPECT_GT(tall->tiles, kMost / 10);
    ASSERT_TRUE(make_plan(1000, kMost, kMaxK, 2, b.name, "zen5-server").ok());
    // Both: more tiles than 64 bits count.
    const Result<Plan> both = make_plan(kMost, kMost, 1, 1, b.name, "zen5-server");
    ASSERT_FALSE(both.ok()) << b.name << " counts " << both->tiles << " tiles";
    EXPECT_NE(both.error().message.find("1099511627776 x 1099511627776"), std::string::npos);
    const Result<Plan> most = make_plan(kMost, kMost >> 18, 1, 1, b.name, "zen5-server");
    ASSERT_TRUE(most.ok()) << most.error().message;
    EXPECT_GT(most->tiles, 0);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
}

TEST(Plan, OfALayerIsThatOfItsBackend) {
  Rng rng(1);
  LinearProblem problem({.m = 0, .n = 70, .k = 33}, rng);
  const Result<LinearLayer> layer = problem.prepare("portable");
  ASSERT_TRUE(layer.ok());
  const Result<Plan> plan = layer->plan(10, {.threads = 2});
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  EXPECT_EQ(plan->backend, "portable");
  EXPECT_EQ(plan->m, 10);
  EXPECT_EQ(plan->n, 70);
  EXPECT_EQ(plan->k, 33);
  EXPECT_EQ(plan->threads, 2);
  EXPECT_FALSE(layer->plan(-1).ok());
  EXPECT_FALSE(layer->plan(1, {.threads = 0}).ok());
}

TEST(Plan, TextIsStable) {
  Plan plan;
  plan.m = 16;
  plan.n = 4096;
  plan.k = 14336;
  plan.threads = 2;
  plan.device = "invented";
  plan.backend = "toy";
  plan.tile_rows = 4;
  plan.tile_cols = 10;
  plan.row_block = 16;
  plan.k_block = 96;
  plan.tiles = 1640;
  plan.modelled_seconds = 1.5e-3;
  plan.compute_limit_seconds = 1e-3;
  plan.memory_limit_seconds = 2.5e-4;
  plan.candidates = {{"toy", "4x10", 1.5e-3, ""}, {"other", "1x1", 7e-6, "it is invented"}};
  EXPECT_EQ(to_string(plan),
            "16 x 4096 x 14336 (M x N x K) on invented with 2 threads\n"
            "  backend toy: 1640 tiles of 4 x 10, 16 rows per pass over the weights\n"
            "  modelled 1500.0 us; at the compute limit 1000.0 us, reading the weights 250.0 us\n"
            "  candidate toy          tile 4x10       1500.0 us\n"
            "  candidate other        tile 1x1           7.0 us  out: it is invented\n");
}

TEST(Devices, TableIsSane) {
  std::set<std::string> names;
  for (const cost::CpuDevice& cpu : cost::cpu_devices()) {
    SCOPED_TRACE(cpu.name);
    EXPECT_TRUE(names.emplace(cpu.name).second);
    EXPECT_EQ(cost::find_cpu(cpu.name), &cpu);
    EXPECT_EQ(&cost::match_cpu(cpu.vendor, cpu.family, cpu.last_model), &cpu);
    EXPECT_FALSE(cpu.title.empty());
    EXPECT_FALSE(cpu.source.empty());
    EXPECT_GE(cpu.cores, 1);
    EXPECT_TRUE(cpu.clock.value > 1e9 && cpu.clock.value < 1e10);
    EXPECT_TRUE(cpu.l2.value > 0 && cpu.l2 < cpu.l3);
    for (const cost::ReadRate& rate : {cpu.from_l2, cpu.from_l3, cpu.from_memory}) {
      EXPECT_TRUE(rate.one.value > 0 && rate.one <= rate.all);
      EXPECT_LE(rate.all.value, rate.one.value * cpu.cores);
    }
    EXPECT_TRUE(cpu.from_memory.one < cpu.from_l3.one && cpu.from_l3.one < cpu.from_l2.one);
  }
  for (const cost::GpuDevice& gpu : cost::gpu_devices()) {
    SCOPED_TRACE(gpu.name);
    EXPECT_TRUE(names.emplace(gpu.name).second);
    EXPECT_EQ(cost::find_gpu(gpu.name), &gpu);
    EXPECT_FALSE(gpu.title.empty());
    EXPECT_FALSE(gpu.source.empty());
    EXPECT_GT(gpu.sms, 0);
    EXPECT_TRUE(gpu.fp32.value > 0 && gpu.fp32 <= gpu.tf32 && gpu.tf32 < gpu.fp16);
    EXPECT_LT(gpu.fp16, gpu.int8);
    EXPECT_TRUE(gpu.fp8.value == 0 || gpu.fp16 < gpu.fp8);
    EXPECT_TRUE(gpu.memory.value > 1e11 && gpu.memory.value < 1e13);
    EXPECT_TRUE(gpu.smem_per_sm.value > 0 && gpu.smem_per_sm < gpu.l2);
  }
  EXPECT_EQ(cost::find_cpu("h100-sxm"), nullptr);
  EXPECT_EQ(cost::find_gpu(""), nullptr);
  EXPECT_EQ(cost::match_cpu("SomebodyElse", 1, 1).name, "cpu-generic");
  EXPECT_EQ(cost::match_cpu("AuthenticAMD", 26, 2).name, "zen5-server");
  EXPECT_EQ(cost::match_cpu("AuthenticAMD", 25, 0x11).name, "zen4-server");
  EXPECT_EQ(cost::match_cpu("AuthenticAMD", 25, 1).name, "cpu-generic");  // Zen 3
}

}  // namespace
}  // namespace quoin::test
