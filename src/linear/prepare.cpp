// prepare: checks a layer once and packs its weights for one backend.
#include <cstring>
#include <memory>
#include <utility>

#include "linear/check.h"
#include "linear/epilogue.h"
#include "linear/errors.h"
#include "linear/layer.h"
#include "linear/pack.h"
#include "linear/select.h"

namespace quoin {
namespace {

Status check_weights(const LinearWeights& weights, const LinearOptions& options) {
  const ConstTensor& weight = weights.weight;
  if (Status status = check_matrix("weight", weight, {DataType::int8}); !status) return status;
  if (weight.shape[1] > kMaxK) {
    return fail(ErrorCode::unsupported,
                "weight is {}: K may be at most {}, or a sum of products no longer fits int32 "
                "(128 * 128 * K < 2^31)",
                to_string(weight), kMaxK);
  }
  const std::int64_t n = weight.shape[0];
  if (n > std::int64_t{1} << 40) {  // so that no size computed from N and K overflows
    return fail(ErrorCode::unsupported, "weight is {}: N may be at most 2^40", to_string(weight));
  }
  switch (options.out_type) {
    case DataType::int32:
      if (!weights.scale_w && !weights.bias) return {};
      return fail(ErrorCode::invalid_argument,
                  "an int32 output is the raw sum and takes no {}; leave it out",
                  weights.scale_w ? "scale_w" : "bias");
    case DataType::int8:
      return fail(ErrorCode::invalid_argument,
                  "out_type is int8; it must be float16, bfloat16, float32 or int32");
    default: break;
  }
  if (!weights.scale_w) {
    return fail(ErrorCode::invalid_argument, "scale_w is missing; a {} output needs float32 [{}]",
                name(options.out_type), n);
  }
  if (Status s = check_vector("scale_w", *weights.scale_w, {DataType::float32}, n); !s) return s;
  if (!weights.bias) return {};
  return check_vector("bias", *weights.bias,
                      {DataType::float16, DataType::bfloat16, DataType::float32}, n);
}

float load_float(const ConstTensor& vector, std::int64_t i) {
  std::uint32_t bits = 0;
  const std::int64_t size = size_of(vector.type);
  std::memcpy(&bits, static_cast<const char*>(vector.data) + i * size,
              static_cast<std::size_t>(size));
  switch (vector.type) {
    case DataType::float16: return epilogue::float_from_half(static_cast<std::uint16_t>(bits));
    case DataType::bfloat16: return epilogue::float_from_bfloat16(static_cast<std::uint16_t>(bits));
    default: return epilogue::float_of(bits);
  }
}

}  // namespace

Result<LinearLayer> prepare(const LinearWeights& weights, const LinearOptions& options) try {
  if (Status status = check_weights(weights, options); !status) return status.error();
  if (Status status = check_place(options.device, options.stream); !status) return status.error();

  auto prepared = std::make_shared<PreparedLayer>();
  PreparedLayer& p = *prepared;
  p.n = weights.weight.shape[0];
  p.k = weights.weight.shape[1];
  p.out_type = options.out_type;
  p.factor = options.dequant_factor;
  p.device = options.device;
  if (options.device != kCpu) {
    Result<std::unique_ptr<GpuLayer>> gpu = prepare_on_gpu(weights, options);
    if (!gpu) return gpu.error();
    p.held_bytes = gpu.value()->held_bytes;
    p.gpu = std::move(gpu).value();
    return LinearLayer(std::move(prepared));
  }
  Result<const Backend*> backend = select_backend(options.backend);
  if (!backend) return backend.error();
  p.backend = backend.value();

  const std::int64_t packed = packed_bytes(*p.backend, p.n, p.k);
  p.padded_n = (p.n + p.backend->tile_cols - 1) / p.backend->tile_cols * p.backend->tile_cols;
  const bool has_columns = p.out_type != DataType::int32;
  const std::size_t columns_bytes = has_columns ? sizeof(float) * 2 * p.padded_n : 0;
  p.held_bytes = static_cast<std::size_t>(packed) + columns_bytes;
  p.weight = allocate_aligned(static_cast<std::size_t>(packed));
  p.columns = allocate_aligned(columns_bytes);
  if (!p.weight || !p.columns) {
    return fail(ErrorCode::out_of_memory, "no memory for {} bytes of packed weights [{}, {}]",
                p.held_bytes, p.n, p.k);
  }
  pack_weight(*p.backend, static_cast<const std::int8_t*>(weights.weight.data),
              weights.weight.strides[0], p.n, p.k, p.weight.get());
  if (has_columns) {
    auto* columns = reinterpret_cast<float*>(p.columns.get());
    std::memset(columns, 0, columns_bytes);
    for (std::int64_t i = 0; i < p.n; ++i) {
      columns[i] = load_float(*weights.scale_w, i);
      if (weights.bias) columns[p.padded_n + i] = load_float(*weights.bias, i);
    }
  }
  return LinearLayer(std::move(prepared));
} catch (const std::bad_alloc&) {
  return Error{ErrorCode::out_of_memory, "no memory for the prepared layer"};
}

LinearLayer::LinearLayer(std::shared_ptr<const PreparedLayer> prepared) noexcept
    : prepared_(std::move(prepared)) {}

std::int64_t LinearLayer::n() const noexcept { return prepared_ ? prepared_->n : 0; }
std::int64_t LinearLayer::k() const noexcept { return prepared_ ? prepared_->k : 0; }
DataType LinearLayer::out_type() const noexcept {
  return prepared_ ? prepared_->out_type : DataType::float16;
}
std::string_view LinearLayer::backend() const noexcept {
  if (!prepared_) return {};
  return prepared_->gpu ? prepared_->gpu->backend : prepared_->backend->name;
}
int LinearLayer::device() const noexcept { return prepared_ ? prepared_->device : kCpu; }
bool LinearLayer::weight_copied() const noexcept {
  return !prepared_ || !prepared_->gpu || prepared_->gpu->weight_copied;
}
std::size_t LinearLayer::held_bytes() const noexcept {
  return prepared_ ? prepared_->held_bytes : 0;
}

}  // namespace quoin
