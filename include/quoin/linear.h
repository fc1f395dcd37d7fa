// The operator: y = x * w^T in int8, dequantised row by row, with bias.
//
//   acc[m,n] = sum over k of x[m,k] * w[n,k]                                    exact, in int32
//   y[m,n]   = round( ((float(acc[m,n]) * f) * scale_x[m]) * scale_w[n] + float(bias[n]) )
//
// with every product and sum rounded to float32 on its own, in this order, and one last rounding
// to the output type (ties to even, overflow to infinity, a NaN stored as 0x7FFF or 0x7FFFFFFF).
// So the result is the same to the bit on every backend, for every number of threads, and for a
// row computed alone or in any batch.
//
//   auto layer = quoin::prepare({.weight = w, .scale_w = sw, .bias = b});   // once
//   if (!layer) { puts(layer.error().message.c_str()); return 1; }
//   quoin::Status done = layer->run({.codes = x, .scales = sx}, y, {.threads = 2});
//
// where w is int8 [N, K], sw float32 [N], b float16 [N], x int8 [M, K], sx float32 [M], y float16
// [M, N], each a view (quoin/tensor.h). With float activations the whole dynamic layer is one call:
//
//   std::vector<std::byte> room(layer->workspace_bytes(m));
//   quoin::Status done = layer->run_dynamic(x_float, y, room, {.threads = 2});
//
// On a GPU the same calls take pointers of one CUDA device, and launch on the caller's stream:
//
//   auto layer = quoin::prepare({.weight = w, .scale_w = sw, .bias = b}, {.device = 0});
//   quoin::Status launched = layer->run({.codes = x, .scales = sx}, y, {.stream = stream});
//
// `run`, `run_dynamic` and `quantize_rows` return when the work is on the stream. They neither
// synchronise nor allocate, may be captured into a CUDA graph once a layer of that device has been
// prepared, and leave the caller's current device as it was. What the device then reports (an
// address that is not its own) comes with the caller's next synchronisation, not with the result.
// Where it gains, a kernel is launched while the one ahead of it on the stream still runs (CUDA's
// programmatic dependent launch), and waits for that one before it touches memory; only a product
// may fetch its weights at once, unless `RunOptions::overlap` is turned off.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "quoin/plan.h"
#include "quoin/result.h"
#include "quoin/tensor.h"

namespace quoin {

/// The largest inner dimension: 128 * 128 * 131,071 is the last product sum below 2^31.
inline constexpr std::int64_t kMaxK = 131'071;

/// The factor `f`, by what the two scales are. A scale is "absmax" where it is the largest
/// magnitude of its row (`quantize_rows`, LLM.int8()), and "true" where code * scale is the value.
inline constexpr float kBothAbsmax = static_cast<float>(1.0 / (127.0 * 127.0));
inline constexpr float kOneAbsmax = static_cast<float>(1.0 / 127.0);
inline constexpr float kTrueScales = 1.0F;

/// Where pointers point: to host memory, or (0 and up) to that of a CUDA device.
inline constexpr int kCpu = -1;

struct RunOptions {
  /// CPU: threads that share the call, the caller's own included; 1 starts none. At least 1.
  int threads = 1;

  /// GPU: the cudaStream_t (or CUstream) to launch on, of the layer's device (CUDA takes another's
  /// too, and nothing that a capture allows tells); null is the legacy default stream. The CPU
  /// takes none.
  void* stream = nullptr;

  /// GPU: whether a product may fetch its weights before the kernel ahead of it on the stream has
  /// finished, where that gains and the layer's launch before was on the same stream (in a capture:
  /// where there has been one). To be set to false where that kernel may write the weights, which a
  /// layer that has not copied them then sees: the product then waits before it reads anything.
  /// (Behind the quantiser of `run_dynamic`, which has waited by then, it fetches them at once.) A
  /// kernel of yours that is launched dependently behind a call has to wait (griddepcontrol.wait):
  /// quoin's let it start before they have written.
  bool overlap = true;

  /// For `quantize_rows` alone: where its pointers point. A layer knows its own device.
  int device = kCpu;
};

/// Quantises each row of `x` by its largest magnitude (LLM.int8(), Dettmers et al. 2022):
///
///   scales[m] = max over k of |x[m,k]|         codes[m,k] = round_half_even(127 * (x[m,k] /
///   scales[m]))
///
/// in float32. A row of zeros gets scale 0 and codes 0. A row that holds a NaN or an infinity gets
/// scale NaN and codes 0, and no other row is touched.
///
/// x: float16, bfloat16 or float32 [M, K]. codes: int8 [M, K]. scales: float32 [M] or [M, 1].
/// Row strides may be wider than the rows; K is contiguous. Weights, one scale per output channel,
/// are quantised by the same call. No allocation unless it fails; any K. (On a GPU the first call
/// on a device loads quoin's kernels.)
[[nodiscard]] Status quantize_rows(const ConstTensor& x, const Tensor& codes, const Tensor& scales,
                                   const RunOptions& options = {}) noexcept;

/// What a layer is made from. On the CPU everything is copied by `prepare` and may be freed
/// afterwards. On a GPU scale and bias are used in place, and so is a weight whose base and rows
/// lie on 16 bytes (`weight_copied()` is then false): they must outlive the layer and every launch
/// of it. Do not change a weight under a prepared layer: whether later calls see that depends on
/// whether it was copied, and on `RunOptions::overlap`.
struct LinearWeights {
  ConstTensor weight;                  // int8 [N, K], K contiguous
  std::optional<ConstTensor> scale_w;  // float32 [N] or [N, 1]; none for int32 output
  std::optional<ConstTensor> bias;     // float16, bfloat16 or float32 [N] or [N, 1], or none
};

struct LinearOptions {
  /// float16, bfloat16, float32, or int32: the raw accumulator, without scales, factor and bias.
  DataType out_type = DataType::float16;

  /// `f` above.
  float dequant_factor = kBothAbsmax;

  /// A backend's name (`quoin devices` and `backends()` list them), or empty for the fastest one
  /// that this machine has. The environment variable QUOIN_BACKEND, where set, stands in for empty.
  /// On a GPU: `sm90a` (the fastest for Hopper) or `sm80`, where the variable names none of these.
  std::string_view backend = {};

  /// kCpu, or the number of the CUDA device (as the CUDA runtime counts) that holds the weights and
  /// will hold every other operand.
  int device = kCpu;

  /// GPU: the stream that the weights are written on; where `prepare` copies them it waits for it.
  void* stream = nullptr;
};

/// Rows as `quantize_rows` leaves them.
struct QuantizedRows {
  ConstTensor codes;                  // int8 [M, K], K contiguous
  std::optional<ConstTensor> scales;  // float32 [M] or [M, 1]; none for int32 output
};

struct PreparedLayer;  // quoin's own

/// A prepared layer: weights packed for one backend, scales and bias kept beside them. Immutable,
/// so any number of threads may run it at once, on as many streams; a copy shares the weights. The
/// last copy of a layer on a GPU frees what it holds there: not during a capture.
class LinearLayer {
 public:
  /// y[m,n] as above. y: [M, N] of the layer's output type, rows any distance >= N apart, not
  /// overlapping the inputs. M = 0 or N = 0 writes nothing; K = 0 gives the formula at acc = 0.
  /// Does not allocate (unless it fails), throw or keep any state. A failed call writes nothing.
  /// On a GPU scales and y lie on multiples of their element's size; any stride and any base of x
  /// does, those on 16 bytes are fast.
  [[nodiscard]] Status run(const QuantizedRows& x, const Tensor& y,
                           const RunOptions& options = {}) const noexcept;

  /// quantize_rows and run in one call. x: float16, bfloat16 or float32 [M, K]. `workspace` holds
  /// the codes and scales between the two steps: at least `workspace_bytes(M)` bytes, any
  /// alignment, contents irrelevant, not shared with another call in flight (calls on one stream
  /// follow one another and may share it). Bit for bit the result of the two calls. Not for int32
  /// output, which has no scales.
  [[nodiscard]] Status run_dynamic(const ConstTensor& x, const Tensor& y,
                                   std::span<std::byte> workspace,
                                   const RunOptions& options = {}) const noexcept;

  /// Bytes of workspace that `run_dynamic` needs for M rows; 0 for a negative M.
  [[nodiscard]] std::size_t workspace_bytes(std::int64_t m) const noexcept;

  /// How `run` will do M rows: tiles, split over threads, modelled time. For printing and tests.
  [[nodiscard]] Result<Plan> plan(std::int64_t m, const RunOptions& options = {}) const;

  [[nodiscard]] std::int64_t n() const noexcept;
  [[nodiscard]] std::int64_t k() const noexcept;
  [[nodiscard]] DataType out_type() const noexcept;
  [[nodiscard]] std::string_view backend() const noexcept;

  /// kCpu, or the CUDA device that `run` takes pointers of.
  [[nodiscard]] int device() const noexcept;

  /// Whether the layer holds its own copy of the weight (always, on a CPU), and how many bytes of
  /// its device's memory it holds in all.
  [[nodiscard]] bool weight_copied() const noexcept;
  [[nodiscard]] std::size_t held_bytes() const noexcept;

 private:
  explicit LinearLayer(std::shared_ptr<const PreparedLayer> prepared) noexcept;
  friend Result<LinearLayer> prepare(const LinearWeights& weights, const LinearOptions& options);

  std::shared_ptr<const PreparedLayer> prepared_;  // never null, but in a moved-from layer
};

/// Packs the weights for one backend and checks everything that can be checked before the first
/// run. Allocates; errors: a wrong type, rank, size or stride, K over kMaxK, a backend that does
/// not exist or that this machine lacks, a device that it lacks, memory.
[[nodiscard]] Result<LinearLayer> prepare(const LinearWeights& weights,
                                          const LinearOptions& options = {});

}  // namespace quoin
