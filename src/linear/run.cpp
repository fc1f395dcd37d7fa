// run: joins a plan and a kernel. The only place that knows both.
#include <algorithm>
#include <cstring>

#include "linear/check.h"
#include "linear/errors.h"
#include "linear/layer.h"
#include "linear/pack.h"
#include "linear/parallel.h"
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

/// The kernel calls of one thread on one block of rows.
class RowBlock {
 public:
  RowBlock(const PreparedLayer& layer, const Product& product, const Split& split,
           std::int64_t first_row)
      : layer_(layer),
        product_(product),
        first_row_(first_row),
        rows_(std::min(split.row_block, product.m - first_row)),
        tile_rows_(even_tile_rows(*layer.backend, rows_)),
        row_tiles_((rows_ + tile_rows_ - 1) / tile_rows_),
        col_blocks_(split.col_blocks) {}

  void run(int thread, int threads) {
    const auto [begin, end] = share(col_blocks_ * row_tiles_, thread, threads);
    if (begin == end) return;
    const Backend& backend = *layer_.backend;
    if (backend.shift_weight) {
      backend.kernels->row_sums(product_.x + first_row_ * product_.x_stride_elems,
                                product_.x_stride_elems, rows_, layer_.k, row_sums_);
    }
    if (product_.scale_x != nullptr) {
      std::memcpy(scales_, product_.scale_x + first_row_ * 4, static_cast<std::size_t>(rows_) * 4);
    }
    for (std::int64_t call = begin; call < end; ++call) {
      backend.kernels->tile(tile(call / row_tiles_, call % row_tiles_));
    }
  }

 private:
  [[nodiscard]] CpuTile tile(std::int64_t col_block, std::int64_t row_tile) const {
    const Backend& backend = *layer_.backend;
    const std::int64_t row = row_tile * tile_rows_;  // within the block
    const std::int64_t col = col_block * backend.tile_cols;
    CpuTile t;
    t.x = product_.x + (first_row_ + row) * product_.x_stride_elems;
    t.x_stride_elems = product_.x_stride_elems;
    t.k = layer_.k;
    t.rows = static_cast<int>(std::min<std::int64_t>(tile_rows_, rows_ - row));
    t.cols = static_cast<int>(std::min<std::int64_t>(backend.tile_cols, layer_.n - col));
    t.weight = layer_.weight.get() + col * padded_k(backend, layer_.k);
    t.row_sums = row_sums_ + row;
    t.out_type = layer_.out_type;
    if (layer_.out_type != DataType::int32) {
      t.scale_x = scales_ + row;
      t.scale_w = layer_.scale_w() + col;
      t.bias = layer_.bias() + col;
      t.factor = layer_.factor;
    }
    t.y = product_.y + (first_row_ + row) * product_.y_stride_bytes + col * size_of(layer_.out_type);
    t.y_stride_bytes = product_.y_stride_bytes;
    set_prefetch(t, col_block, row_tile);
    return t;
  }

  /// The row tiles of one block of weights share the work of prefetching the next block.
  void set_prefetch(CpuTile& t, std::int64_t col_block, std::int64_t row_tile) const {
    const Backend& backend = *layer_.backend;
    if (!backend.prefetches || row_tiles_ < 2 || col_block + 1 >= col_blocks_) return;
    const std::int64_t lines_per_span = backend.tile_cols * kPrefetchSpan / 64;
    t.prefetch_lines = static_cast<int>((lines_per_span + row_tiles_ - 1) / row_tiles_);
    const std::int64_t slice = t.prefetch_lines * (layer_.k / kPrefetchSpan) * 64;
    t.prefetch = t.weight + backend.tile_cols * padded_k(backend, layer_.k) + row_tile * slice;
  }

  const PreparedLayer& layer_;
  const Product& product_;
  std::int64_t first_row_;
  std::int64_t rows_;
  int tile_rows_;
  std::int64_t row_tiles_;
  std::int64_t col_blocks_;
  std::int32_t row_sums_[kMaxRowBlock];
  float scales_[kMaxRowBlock];
};

void run_product(const PreparedLayer& layer, const Product& product, int threads) noexcept {
  const Split split = split_product(*layer.backend, product.m, layer.n, layer.k);
  if (split.empty()) return;
  const std::int64_t calls =
      split.col_blocks * ((split.row_block + layer.backend->tile_rows - 1) / layer.backend->tile_rows);
  const int useful = static_cast<int>(std::min<std::int64_t>(threads, calls));
  parallel(useful, [&](int thread, int team) {
    for (std::int64_t block = 0; block < split.row_blocks; ++block) {
      RowBlock(layer, product, split, block * split.row_block).run(thread, team);
    }
  });
}

void quantize_product(const Backend& backend, const ConstTensor& x, std::int8_t* codes,
                      std::int64_t codes_stride_elems, char* scales, int threads) noexcept {
  const std::int64_t m = x.shape[0];
  parallel(static_cast<int>(std::clamp<std::int64_t>(m, 1, threads)), [&](int thread, int team) {
    const auto [begin, end] = share(m, thread, team);
    const std::int64_t x_stride_bytes = x.strides[0] * size_of(x.type);
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

Status check_dynamic(const PreparedLayer& layer, const ConstTensor& x, const Tensor& y,
                     std::span<std::byte> workspace, const RunOptions& options) {
  if (layer.out_type == DataType::int32) {
    return fail(ErrorCode::invalid_argument,
                "run_dynamic quantises x and needs its scales in the output, but this layer's "
                "output is int32, which takes none; prepare it with a floating output type");
  }
  if (Status s = check_matrix("x", x, {DataType::float16, DataType::bfloat16, DataType::float32}, -1,
                              layer.k);
      !s) {
    return s;
  }
  if (Status s = check_output(layer, x, y, options); !s) return s;
  const std::optional<std::size_t> needed = Workspace::bytes(x.shape[0], layer.k);
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
    if (Status s = check_matrix(
            "x", x, {DataType::float16, DataType::bfloat16, DataType::float32});
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
    Product product;
    product.x = static_cast<const std::int8_t*>(x.codes.data);
    product.x_stride_elems = x.codes.strides[0];
    product.scale_x = x.scales ? static_cast<const char*>(x.scales->data) : nullptr;
    product.y = static_cast<char*>(y.data);
    product.y_stride_bytes = y.strides[0] * size_of(y.type);
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
    product.y_stride_bytes = y.strides[0] * size_of(y.type);
    product.m = m;
    run_product(layer, product, options.threads);
    return {};
  });
}

std::size_t LinearLayer::workspace_bytes(std::int64_t m) const noexcept {
  if (!prepared_ || m < 0) return 0;
  return Workspace::bytes(m, prepared_->k).value_or(SIZE_MAX);
}

}  // namespace quoin
