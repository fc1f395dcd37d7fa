// run: joins a plan and a kernel. The only place that knows both.
#include <algorithm>
#include <cstring>

#include "cost/devices.h"
#include "device/cpu.h"
#include "linear/check.h"
#include "linear/errors.h"
#include "linear/layer.h"
#include "linear/pack.h"
#include "linear/parallel.h"
#include "linear/plan/price.h"
#include "linear/plan/split.h"
#include "linear/select.h"

namespace quoin {
namespace {

/// x [m, k] with its scales and where the output goes, checked.
struct Product {
  const std::int8_t* x = nullptr;
  std::int64_t x_stride_elems = 0;
  const char* scale_x = nullptr;  // float32 [m], of any alignment; null for int32 output
  char* y = nullptr;
  std::int64_t y_stride_bytes = 0;
  std::int64_t m = 0;
};

/// The kernel calls of one thread. Lives on the stack of that thread: about 50 KiB.
class Worker {
 public:
  Worker(const PreparedLayer& layer, const cost::CpuDevice& cpu, const Product& product,
         const Split& split)
      : layer_(layer), backend_(*layer.backend), cpu_(cpu), product_(product), split_(split) {}

  /// This thread's share of the rows from `first_row` on, at most split.row_block of them.
  void run_rows(std::int64_t first_row, int thread, int threads) {
    first_row_ = first_row;
    rows_ = std::min(split_.row_block, product_.m - first_row);
    tile_rows_ = even_tile_rows(backend_, rows_);
    const std::int64_t row_tiles = (rows_ + tile_rows_ - 1) / tile_rows_;
    lone_stream_ = lone_stream(backend_, cpu_, tile_rows_);
    const auto [begin, end] = share(split_.col_blocks * row_tiles, thread, threads);
    if (begin == end) return;
    const std::int8_t* x = product_.x + first_row * product_.x_stride_elems;
    if (backend_.shift_weight) {
      backend_.kernels->row_sums(x, product_.x_stride_elems, rows_, layer_.k, row_sums_);
    }
    if (product_.scale_x != nullptr) {
      std::memcpy(scales_, product_.scale_x + first_row * 4, static_cast<std::size_t>(rows_) * 4);
    }
    // Whole blocks of weights, but for the first and the last of this thread.
    for (std::int64_t call = begin; call < end;) {
      const std::int64_t first = call % row_tiles;
      const std::int64_t count = std::min(end - call, row_tiles - first);
      run_block(call / row_tiles, first, first + count);
      call += count;
    }
  }

 private:
  /// One block of weights against row tiles [first, last), chunk of k by chunk.
  void run_block(std::int64_t col_block, std::int64_t first, std::int64_t last) {
    std::int64_t k = 0;
    do {  // once even where K is 0
      const std::int64_t k_count = std::min(split_.k_block, layer_.k - k);
      const Prefetch prefetch = plan_prefetch(backend_, last - first, k_count, lone_stream_);
      CpuTile t = columns_tile(col_block, k, k_count);
      t.prefetch = t.weight + prefetch.distance;
      t.prefetch_lines = prefetch.lines_per_span;
      t.prefetch_to_l1 = prefetch.to_l1;
      for (std::int64_t row_tile = first; row_tile < last; ++row_tile) {
        set_rows(t, col_block, row_tile * tile_rows_, k);
        // The sums of a whole K live for one call; those of a chunk wait for the next chunk.
        const std::int64_t slot = k_count < layer_.k ? row_tile - first : 0;
        t.sums = sums_ + slot * backend_.tile_rows * backend_.tile_cols;
        backend_.kernels->tile(t);
        t.prefetch += prefetch.bytes_per_tile;
      }
      k += k_count;
    } while (k < layer_.k);
  }

  /// What the calls on one chunk of one block of weights have in common.
  [[nodiscard]] CpuTile columns_tile(std::int64_t col_block, std::int64_t k,
                                     std::int64_t k_count) const {
    const std::int64_t col = col_block * backend_.tile_cols;
    CpuTile t;
    t.x_stride_elems = product_.x_stride_elems;
    t.k = k_count;
    t.first_chunk = k == 0;
    t.last_chunk = k + k_count == layer_.k;
    t.cols = static_cast<int>(std::min<std::int64_t>(backend_.tile_cols, layer_.n - col));
    t.weight = layer_.weight.get() + col * padded_k(backend_, layer_.k) +
               k * padded_cols(backend_, t.cols);
    t.out_type = layer_.out_type;
    if (layer_.out_type != DataType::int32) {
      t.scale_w = layer_.scale_w() + col;
      t.bias = layer_.bias() + col;
      t.factor = layer_.factor;
    }
    t.y_stride_bytes = product_.y_stride_bytes;
    return t;
  }

  /// Points a tile at the rows from `row` (of this block of rows) on.
  void set_rows(CpuTile& t, std::int64_t col_block, std::int64_t row, std::int64_t k) const {
    t.rows = static_cast<int>(std::min<std::int64_t>(tile_rows_, rows_ - row));
    t.x = product_.x + (first_row_ + row) * product_.x_stride_elems + k;
    t.row_sums = row_sums_ + row;
    t.scale_x = scales_ + row;
    t.y = product_.y + (first_row_ + row) * product_.y_stride_bytes +
          col_block * backend_.tile_cols * size_of(layer_.out_type);
  }

  const PreparedLayer& layer_;
  const Backend& backend_;
  const cost::CpuDevice& cpu_;
  const Product& product_;
  const Split& split_;
  std::int64_t first_row_ = 0;
  std::int64_t rows_ = 0;
  int tile_rows_ = 1;
  LoneStream lone_stream_;
  std::int32_t row_sums_[kMaxRowBlock];
  float scales_[kMaxRowBlock];
  alignas(64) std::int32_t sums_[kMaxSums];
};

/// The stride of a single row is never used and may be anything.
std::int64_t row_stride_elems(const ConstTensor& t) { return t.shape[0] > 1 ? t.strides[0] : 0; }
std::int64_t row_stride_bytes(const ConstTensor& t) {
  return row_stride_elems(t) * size_of(t.type);
}

void run_product(const PreparedLayer& layer, const Product& product, int threads) noexcept {
  const Split split = split_product(*layer.backend, product.m, layer.n, layer.k);
  if (split.empty()) return;
  const cost::CpuDevice& cpu =
      cost::match_cpu(this_cpu().vendor, this_cpu().family, this_cpu().model);
  const int useful = static_cast<int>(std::min<std::int64_t>(threads, split.calls_per_pass));
  parallel(useful, [&](int thread, int team) {
    Worker worker(layer, cpu, product, split);
    for (std::int64_t row = 0; row < product.m; row += split.row_block) {
      worker.run_rows(row, thread, team);
    }
  });
}

void quantize_product(const Backend& backend, const ConstTensor& x, std::int8_t* codes,
                      std::int64_t codes_stride_elems, char* scales, int threads) noexcept {
  const std::int64_t m = x.shape[0];
  parallel(static_cast<int>(std::clamp<std::int64_t>(m, 1, threads)), [&](int thread, int team) {
    const auto [begin, end] = share(m, thread, team);
    const std::int64_t x_stride_bytes = row_stride_bytes(x);
    for (std::int64_t row = begin; row < end; ++row) {
      float scale = 0;
      backend.kernels->quantize_row(static_cast<const char*>(x.data) + row * x_stride_bytes, x.type,
                                    x.shape[1], codes + row * codes_stride_elems, &scale);
      std::memcpy(scales + row * 4, &scale, 4);
    }
  });
}

/// The output and what all forms of x have in common.
Status check_output(const PreparedLayer& layer, const ConstTensor& x, const Tensor& y,
                    const RunOptions& options) {
  if (Status status = check_threads(options.threads); !status) return status;
  if (Status status = check_place(layer.device, options.stream); !status) return status;
  if (options.device != kCpu && options.device != layer.device) {
    return fail(ErrorCode::invalid_argument, "device is {}, but this layer was prepared for {}",
                options.device, layer.device);
  }
  if (Status status = check_matrix("y", y, {layer.out_type}, x.shape[0], layer.n); !status) {
    return status;
  }
  return check_apart("y", y, "x", x);
}

Status check_run(const PreparedLayer& layer, const QuantizedRows& x, const Tensor& y,
                 const RunOptions& options) {
  if (Status s = check_matrix("x", x.codes, {DataType::int8}, -1, layer.k); !s) return s;
  if (Status s = check_output(layer, x.codes, y, options); !s) return s;
  if (layer.out_type == DataType::int32) {
    if (!x.scales) return {};
    return fail(ErrorCode::invalid_argument, "an int32 output takes no scale_x; leave it out");
  }
  const std::int64_t m = x.codes.shape[0];
  if (!x.scales) {
    return fail(ErrorCode::invalid_argument, "scale_x is missing; a {} output needs float32 [{}]",
                name(layer.out_type), m);
  }
  if (Status s = check_vector("scale_x", *x.scales, {DataType::float32}, m); !s) return s;
  return check_apart("y", y, "scale_x", *x.scales);
}

/// Where the dynamic layer keeps its codes and scales.
struct Workspace {
  // A row more than a multiple of 4 KiB apart would put the rows of a tile into the same sets of
  // the first-level cache; one line more spreads them.
  static std::int64_t codes_stride(std::int64_t k) { return (k + 63) / 64 * 64 + 64; }

  /// Bytes for m rows of k, with room to align the start; nothing where that overflows.
  static std::optional<std::size_t> bytes(std::int64_t m, std::int64_t k) {
    std::int64_t total = 0;
    if (__builtin_mul_overflow(m, codes_stride(k) + 4, &total) ||
        __builtin_add_overflow(total, 64, &total)) {
      return {};
    }
    return static_cast<std::size_t>(total);
  }
};

std::optional<std::size_t> workspace_needed(const PreparedLayer& layer, std::int64_t m) {
  return layer.gpu ? GpuWorkspace::bytes(m, layer.k) : Workspace::bytes(m, layer.k);
}

Status check_dynamic(const PreparedLayer& layer, const ConstTensor& x, const Tensor& y,
                     std::span<std::byte> workspace, const RunOptions& options) {
  if (layer.out_type == DataType::int32) {
    return fail(ErrorCode::invalid_argument,
                "run_dynamic quantises x and needs its scales in the output, but this layer's "
                "output is int32, which takes none; prepare it with a floating output type");
  }
  if (Status s = check_matrix("x", x, {DataType::float16, DataType::bfloat16, DataType::float32},
                              -1, layer.k);
      !s) {
    return s;
  }
  if (Status s = check_output(layer, x, y, options); !s) return s;
  const std::optional<std::size_t> needed = workspace_needed(layer, x.shape[0]);
  if (!needed || workspace.size() < *needed || (workspace.data() == nullptr && *needed > 0)) {
    return fail(ErrorCode::invalid_argument,
                "workspace has {} bytes; {} rows need workspace_bytes({}) = {}", workspace.size(),
                x.shape[0], x.shape[0], needed.value_or(SIZE_MAX));
  }
  const ConstTensor room = vector(reinterpret_cast<const std::int8_t*>(workspace.data()),
                                  static_cast<std::int64_t>(*needed));
  if (Status s = check_apart("workspace", room, "x", x); !s) return s;
  return check_apart("workspace", room, "y", y);
}

Status moved_from() {
  return fail(ErrorCode::invalid_argument,
              "this layer was moved from; use the one it was moved to");
}

}  // namespace

Status quantize_rows(const ConstTensor& x, const Tensor& codes, const Tensor& scales,
                     const RunOptions& options) noexcept {
  return guarded([&]() -> Status {
    if (Status s = check_matrix("x", x, {DataType::float16, DataType::bfloat16, DataType::float32});
        !s) {
      return s;
    }
    const std::int64_t m = x.shape[0];
    if (Status s = check_matrix("codes", codes, {DataType::int8}, m, x.shape[1]); !s) return s;
    if (Status s = check_vector("scales", scales, {DataType::float32}, m); !s) return s;
    if (Status s = check_threads(options.threads); !s) return s;
    if (Status s = check_apart("codes", codes, "x", x); !s) return s;
    if (Status s = check_apart("scales", scales, "x", x); !s) return s;
    if (Status s = check_apart("codes", codes, "scales", scales); !s) return s;
    if (Status s = check_place(options.device, options.stream); !s) return s;
    if (options.device != kCpu) return quantize_on_gpu(x, codes, scales, options);
    Result<const Backend*> backend = select_backend({});
    if (!backend) return backend.error();
    quantize_product(*backend.value(), x, static_cast<std::int8_t*>(codes.data), codes.strides[0],
                     static_cast<char*>(scales.data), options.threads);
    return {};
  });
}

Status LinearLayer::run(const QuantizedRows& x, const Tensor& y,
                        const RunOptions& options) const noexcept {
  return guarded([&]() -> Status {
    if (!prepared_) return moved_from();
    const PreparedLayer& layer = *prepared_;
    if (Status s = check_run(layer, x, y, options); !s) return s;
    if (layer.gpu) return layer.gpu->run(x, y, options);
    Product product;
    product.x = static_cast<const std::int8_t*>(x.codes.data);
    product.x_stride_elems = row_stride_elems(x.codes);
    product.scale_x = x.scales ? static_cast<const char*>(x.scales->data) : nullptr;
    product.y = static_cast<char*>(y.data);
    product.y_stride_bytes = row_stride_bytes(y);
    product.m = x.codes.shape[0];
    run_product(layer, product, options.threads);
    return {};
  });
}

Status LinearLayer::run_dynamic(const ConstTensor& x, const Tensor& y,
                                std::span<std::byte> workspace,
                                const RunOptions& options) const noexcept {
  return guarded([&]() -> Status {
    if (!prepared_) return moved_from();
    const PreparedLayer& layer = *prepared_;
    if (Status s = check_dynamic(layer, x, y, workspace, options); !s) return s;
    if (layer.gpu) return layer.gpu->run_dynamic(x, y, workspace.data(), options);
    const std::int64_t m = x.shape[0];
    const std::int64_t stride = Workspace::codes_stride(layer.k);
    const auto start = reinterpret_cast<std::uintptr_t>(workspace.data());
    auto* codes = reinterpret_cast<std::int8_t*>(workspace.data() + (-start & 63U));
    auto* scales = reinterpret_cast<char*>(codes + m * stride);
    quantize_product(*layer.backend, x, codes, stride, scales, options.threads);
    Product product;
    product.x = codes;
    product.x_stride_elems = stride;
    product.scale_x = scales;
    product.y = static_cast<char*>(y.data);
    product.y_stride_bytes = row_stride_bytes(y);
    product.m = m;
    run_product(layer, product, options.threads);
    return {};
  });
}

std::size_t LinearLayer::workspace_bytes(std::int64_t m) const noexcept {
  if (!prepared_ || m < 0) return 0;
  return workspace_needed(*prepared_, m).value_or(SIZE_MAX);
}

}  // namespace quoin
