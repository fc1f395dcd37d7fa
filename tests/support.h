// What the tests of the operator share: operands between unreadable pages, problems with every
// option of the contract, and their comparison with the oracle, bit for bit.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <ostream>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "device/cpu.h"
#include "linear/backends.h"
#include "linear/oracle.h"
#include "linear/select.h"
#include "quoin/quoin.h"

namespace quoin::test {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif
#else
inline constexpr bool kSanitized = false;  // sanitizers take fewer steps of the long sweeps
#endif

using Rng = std::mt19937_64;

inline constexpr DataType kOutTypes[] = {DataType::float16, DataType::bfloat16, DataType::float32,
                                         DataType::int32};
inline constexpr DataType kFloatTypes[] = {DataType::float16, DataType::bfloat16,
                                           DataType::float32};

[[nodiscard]] inline std::uint32_t bits_of_float(float value) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &value, 4);
  return bits;
}

[[nodiscard]] inline float float_of_bits(std::uint32_t bits) {
  float value = 0;
  std::memcpy(&value, &bits, 4);
  return value;
}

/// The value of a binary format's bits, by its definition.
[[nodiscard]] inline double value_of(std::uint32_t bits, DataType type) {
  if (type == DataType::float32) return double{float_of_bits(bits)};
  if (type == DataType::bfloat16) return double{float_of_bits(bits << 16)};
  const int exponent = static_cast<int>(bits >> 10 & 0x1FU);
  const double mantissa = bits & 0x3FFU;
  double magnitude =
      exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(mantissa + 1024, exponent - 25);
  if (exponent == 31) magnitude = mantissa == 0 ? INFINITY : std::nan("");
  return (bits & 0x8000U) != 0 ? -magnitude : magnitude;
}

/// Reads element `i` of an array of `type` as its bits, whatever its alignment.
[[nodiscard]] inline std::uint32_t element_bits(const void* data, DataType type, std::int64_t i) {
  std::uint32_t bits = 0;
  const auto size = static_cast<std::size_t>(size_of(type));
  std::memcpy(&bits, static_cast<const char*>(data) + i * size_of(type), size);
  return bits;
}

/// Where a block lies between its two unreadable pages.
enum class Place : std::uint8_t {
  at_end,    // its last byte is the last one that may be touched
  at_start,  // its first byte is the first one that may be touched
  odd,       // an odd address
};
inline constexpr Place kPlaces[] = {Place::at_end, Place::at_start, Place::odd};

/// Memory between two unreadable pages; the rest of the readable ones holds canaries.
class GuardedBlock {
 public:
  explicit GuardedBlock(std::int64_t bytes, Place place = Place::at_end)
      : bytes_(static_cast<std::size_t>(bytes)) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    inner_bytes_ = (bytes_ + (place == Place::odd ? 1 : 0) + page - 1) / page * page;
    inner_bytes_ = inner_bytes_ == 0 ? page : inner_bytes_;
    mapped_bytes_ = inner_bytes_ + 2 * page;
    void* mapped = mmap(nullptr, mapped_bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) throw std::bad_alloc();
    mapped_ = static_cast<unsigned char*>(mapped);
    inner_ = mapped_ + page;
    protect(PROT_READ | PROT_WRITE);
    std::memset(inner_, kCanary, inner_bytes_);
    data_ = inner_;
    if (place == Place::at_end) data_ += inner_bytes_ - bytes_;
    if (place == Place::odd) data_ += 1;
  }
  ~GuardedBlock() { munmap(mapped_, mapped_bytes_); }
  GuardedBlock(const GuardedBlock&) = delete;
  GuardedBlock& operator=(const GuardedBlock&) = delete;

  [[nodiscard]] unsigned char* data() { return data_; }
  [[nodiscard]] const unsigned char* data() const { return data_; }
  [[nodiscard]] std::size_t size() const { return bytes_; }

  template <class T>
  [[nodiscard]] T* as() {
    return reinterpret_cast<T*>(data_);  // of any alignment: for views, not for use
  }

  void store(const void* from) {
    if (bytes_ > 0) std::memcpy(data_, from, bytes_);
  }
  void reset() { std::memset(inner_, kCanary, inner_bytes_); }

  /// Lets nobody write, or nobody touch, the block from here on; or everybody again.
  void read_only() { protect(PROT_READ); }
  void forbid() { protect(PROT_NONE); }
  void allow() { protect(PROT_READ | PROT_WRITE); }

  /// Whether the bytes around the block are as they were.
  [[nodiscard]] bool canaries_intact() const {
    for (const unsigned char* p = inner_; p < inner_ + inner_bytes_; ++p) {
      if ((p < data_ || p >= data_ + bytes_) && *p != kCanary) return false;
    }
    return true;
  }

  static constexpr unsigned char kCanary = 0xA5;

 private:
  void protect(int what) {
    if (mprotect(inner_, inner_bytes_, what) != 0) throw std::bad_alloc();
  }

  unsigned char* mapped_ = nullptr;
  unsigned char* inner_ = nullptr;
  unsigned char* data_ = nullptr;
  std::size_t bytes_ = 0, inner_bytes_ = 0, mapped_bytes_ = 0;
};

/// One product and everything that the contract lets a caller choose.
struct LinearCase {
  std::int64_t m = 1, n = 1, k = 1;
  DataType out_type = DataType::float16;
  std::optional<DataType> bias_type = {};
  float factor = kBothAbsmax;
  std::int64_t x_gap = 0, w_gap = 0, y_gap = 0;  // elements between one row and the next
  Place place = Place::at_end;
  bool columns = false;      // vectors as [size, 1]
  bool wild_scales = false;  // zeros, NaN, infinities, subnormals among them
  int threads = 1;
};

inline std::ostream& operator<<(std::ostream& to, const LinearCase& c) {
  return to << c.m << " x " << c.n << " x " << c.k << " out " << name(c.out_type) << " bias "
            << (c.bias_type ? name(*c.bias_type) : "none") << " factor " << c.factor << " gaps "
            << c.x_gap << "," << c.w_gap << "," << c.y_gap << " place " << static_cast<int>(c.place)
            << " threads " << c.threads << (c.columns ? " [size, 1]" : "")
            << (c.wild_scales ? " wild" : "");
}

[[nodiscard]] inline float random_scale(Rng& rng, bool wild) {
  constexpr std::uint32_t kWild[] = {0,          0x80000000, 0x7F800000, 0xFF800000, 0x7FC00000,
                                     0xFFFFFFFF, 0x7F800001, 1,          0x007FFFFF, 0x7F7FFFFF,
                                     0x00800000, 0x33000000, 0x47000000, 0xBF800000};
  if (wild && rng() % 4 == 0) return float_of_bits(kWild[rng() % std::size(kWild)]);
  const std::uint32_t exponent = 120 + static_cast<std::uint32_t>(rng() % 10);
  return float_of_bits(exponent << 23 | static_cast<std::uint32_t>(rng() & 0x7FFFFF));
}

inline void fill_random(std::int8_t* data, std::size_t bytes, Rng& rng) {
  for (std::size_t i = 0; i < bytes; i += 8) {
    const std::uint64_t word = rng();
    std::memcpy(data + i, &word, std::min<std::size_t>(8, bytes - i));
  }
}

/// A LinearCase with its operands: random, until a test overwrites them.
class LinearProblem {
 public:
  LinearProblem(const LinearCase& c, Rng& rng)
      : c_(c),
        x_(extent(c.m, c.k, c.x_gap), c.place),
        w_(extent(c.n, c.k, c.w_gap), c.place),
        scale_x_(4 * c.m, c.place),
        scale_w_(4 * c.n, c.place),
        bias_(c.n * (c.bias_type ? size_of(*c.bias_type) : 0), c.place),
        y_(extent(c.m, c.n, c.y_gap) * size_of(c.out_type), c.place) {
    fill_random(x(), x_.size(), rng);
    fill_random(w(), w_.size(), rng);
    scale_x.resize(static_cast<std::size_t>(c.m));
    scale_w.resize(static_cast<std::size_t>(c.n));
    for (float& scale : scale_x) scale = random_scale(rng, c.wild_scales);
    for (float& scale : scale_w) scale = random_scale(rng, c.wild_scales);
    for (std::int64_t i = 0; c.bias_type && i < c.n; ++i) {
      const float value = random_scale(rng, c.wild_scales) * (i % 2 == 0 ? 1.0F : -1.0F);
      bias.push_back(oracle_round(double{value}, *c.bias_type));
    }
  }

  [[nodiscard]] const LinearCase& options() const { return c_; }
  [[nodiscard]] std::int8_t* x() { return x_.as<std::int8_t>(); }
  [[nodiscard]] std::int8_t* w() { return w_.as<std::int8_t>(); }
  [[nodiscard]] std::size_t x_bytes() const { return x_.size(); }
  [[nodiscard]] std::size_t w_bytes() const { return w_.size(); }
  [[nodiscard]] std::int64_t x_stride() const { return c_.k + c_.x_gap; }
  [[nodiscard]] std::int64_t w_stride() const { return c_.k + c_.w_gap; }
  [[nodiscard]] std::int64_t y_stride() const { return c_.n + c_.y_gap; }

  std::vector<float> scale_x, scale_w;
  std::vector<std::uint32_t> bias;  // bits

  /// Prepares for `backend`. The operands may not be touched afterwards: they were copied.
  [[nodiscard]] Result<LinearLayer> prepare(std::string_view backend) {
    w_.read_only();
    scale_w_.store(scale_w.data());
    scale_w_.read_only();
    for (std::int64_t i = 0; c_.bias_type && i < c_.n; ++i) {
      const std::int64_t size = size_of(*c_.bias_type);
      std::memcpy(bias_.data() + i * size, &bias[i], static_cast<std::size_t>(size));
    }
    LinearWeights weights{
        .weight = matrix(std::as_const(w_).data(), DataType::int8, c_.n, c_.k, w_stride())};
    if (c_.out_type != DataType::int32) {
      weights.scale_w = vector_view(scale_w_, DataType::float32, c_.n);
      if (c_.bias_type) weights.bias = vector_view(bias_, *c_.bias_type, c_.n);
    }
    Result<LinearLayer> layer = quoin::prepare(
        weights, {.out_type = c_.out_type, .dequant_factor = c_.factor, .backend = backend});
    w_.allow();
    scale_w_.allow();
    return layer;
  }

  [[nodiscard]] QuantizedRows rows() {
    QuantizedRows rows{matrix(std::as_const(x_).data(), DataType::int8, c_.m, c_.k, x_stride()),
                       {}};
    if (c_.out_type != DataType::int32) {
      rows.scales = vector_view(scale_x_, DataType::float32, c_.m);
    }
    return rows;
  }
  [[nodiscard]] Tensor output() {
    return matrix(static_cast<void*>(y_.data()), c_.out_type, c_.m, c_.n, y_stride());
  }

  /// Runs with the output full of canaries, the inputs read-only and the weights out of reach.
  [[nodiscard]] Status run(const LinearLayer& layer) {
    y_.reset();
    scale_x_.store(scale_x.data());
    scale_x_.read_only();
    x_.read_only();
    w_.forbid();
    scale_w_.forbid();
    bias_.forbid();
    Status done = layer.run(rows(), output(), {.threads = c_.threads});
    for (GuardedBlock* block : {&x_, &w_, &scale_x_, &scale_w_, &bias_}) block->allow();
    return done;
  }

  /// Every element against the oracle, every other byte against its canary.
  void check() {
    std::vector<double> bias_values;
    for (const std::uint32_t bits : bias) bias_values.push_back(value_of(bits, *c_.bias_type));
    const bool raw = c_.out_type == DataType::int32;
    const OracleLinear oracle{.x = x(),
                              .w = w(),
                              .scale_x = raw ? nullptr : scale_x.data(),
                              .scale_w = raw ? nullptr : scale_w.data(),
                              .bias = raw || !c_.bias_type ? nullptr : bias_values.data(),
                              .m = c_.m,
                              .n = c_.n,
                              .k = c_.k,
                              .x_stride = x_stride(),
                              .w_stride = w_stride(),
                              .factor = c_.factor,
                              .out_type = c_.out_type};
    for (std::int64_t row = 0; row < c_.m; ++row) {
      for (std::int64_t col = 0; col < c_.n; ++col) {
        const std::uint32_t want = oracle_output(oracle, row, col);
        const std::uint32_t got = at(row, col);
        if (got == want) continue;
        ADD_FAILURE() << std::hex << "y[" << std::dec << row << ", " << col << "] is 0x" << std::hex
                      << got << ", the oracle says 0x" << want << std::dec << " for " << c_;
        return;
      }
    }
    check_canaries();
  }

  void check_canaries() {
    EXPECT_TRUE(y_.canaries_intact()) << "written outside y: " << c_;
    const std::int64_t size = size_of(c_.out_type);
    for (std::int64_t row = 0; row + 1 < c_.m; ++row) {
      const unsigned char* gap = y_.data() + (row * y_stride() + c_.n) * size;
      for (std::int64_t i = 0; i < c_.y_gap * size; ++i) {
        ASSERT_EQ(gap[i], GuardedBlock::kCanary) << "behind row " << row << ": " << c_;
      }
    }
  }

  [[nodiscard]] std::uint32_t at(std::int64_t row, std::int64_t col) const {
    return element_bits(y_.data(), c_.out_type, row * y_stride() + col);
  }
  [[nodiscard]] std::string bytes() const {
    return {reinterpret_cast<const char*>(y_.data()), y_.size()};
  }

  void prepare_run_check(std::string_view backend) {
    const Result<LinearLayer> layer = prepare(backend);
    ASSERT_TRUE(layer.ok()) << layer.error().message << " for " << c_;
    const Status done = run(layer.value());
    ASSERT_TRUE(done.ok()) << done.error().message << " for " << c_;
    check();
  }

 private:
  static std::int64_t extent(std::int64_t rows, std::int64_t cols, std::int64_t gap) {
    return rows == 0 ? 0 : (rows - 1) * (cols + gap) + cols;
  }
  [[nodiscard]] ConstTensor vector_view(const GuardedBlock& block, DataType type,
                                        std::int64_t size) const {
    return c_.columns ? matrix(block.data(), type, size, 1) : vector(block.data(), type, size);
  }

  LinearCase c_;
  GuardedBlock x_, w_, scale_x_, scale_w_, bias_, y_;
};

/// A test of one backend; skipped, with the reason, where this machine lacks it.
class BackendTest : public testing::TestWithParam<std::size_t> {
 protected:
  void SetUp() override {
    const std::string reason = refusal(backend(), this_cpu());
    if (!reason.empty()) GTEST_SKIP() << backend().name << ": " << reason;
  }
  [[nodiscard]] static const Backend& backend() { return kBackends[GetParam()]; }
};

inline auto every_backend() { return testing::Range<std::size_t>(0, kBackends.size()); }
inline std::string backend_name(const testing::TestParamInfo<std::size_t>& info) {
  return std::string(kBackends[info.param].name);
}

}  // namespace quoin::test
