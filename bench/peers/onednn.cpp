// oneDNN as a peer: one source, compiled once for each version of the library (2.x and 3.x) into a
// module of its own.
//
// oneDNN has no fast call for the whole job, so each way is a recipe: which primitive, which types,
// what is fused into it, and what is left to own_pass.h. Everything that can be done once is done
// in `create`: the implementation is chosen with a free weight layout (format_tag::any), the weight
// is reordered into it, the argument list is built. A run sets pointers, executes, and makes the
// passes; it allocates nothing of its own.
#include <omp.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <vector>

#include "own_pass.h"
#include "peer.h"

namespace {

using dnnl::memory;
using Type = memory::data_type;
using Tag = memory::format_tag;
using quoin_peer_pass::Finish;
using quoin_peer_pass::Rest;

constexpr bool kVersion3 = DNNL_VERSION_MAJOR >= 3;

enum class Primitive { kMatmul, kInnerProduct };

// What the primitive does beyond the product.
enum class Fused { kNothing, kColumnScale, kScalesAndBias, kEverything };

// Where its weight comes from.
enum class Weight { kPacked, kConvertedPerCall };

struct Recipe {
  QuoinPeerWay way;
  Primitive primitive = Primitive::kMatmul;
  Type source = Type::s8;
  Type product = Type::s32;
  Fused fused = Fused::kNothing;
  Weight weight = Weight::kPacked;
  int64_t rows = 0;  // rows per call of the primitive, 0 for all of them at once
};

constexpr Recipe kRecipes[] = {
    {.way = {"matmul_s8_s32", "s8 x s8 matmul to s32, own pass for scales, bias and float16",
             QuoinPeerKind::kInt8}},
    {.way = {"matmul_u8_s32",
             "x shifted to u8 in an own pass, u8 x s8 matmul to s32, own pass that also takes the"
             " shift out",
             QuoinPeerKind::kInt8},
     .source = Type::u8},
    {.way = {"matmul_s8_s32_rows",
             "as matmul_s8_s32, 128 rows at a time: the own pass finds the product in cache",
             QuoinPeerKind::kInt8},
     .rows = 128},
    {.way = {"matmul_u8_s32_rows", "as matmul_u8_s32, 128 rows at a time", QuoinPeerKind::kInt8},
     .source = Type::u8,
     .rows = 128},
    {.way = {"matmul_s8_f32_col",
             "s8 x s8 matmul to f32 with the column scales, own pass for row scale, bias and"
             " float16",
             QuoinPeerKind::kInt8},
     .product = Type::f32,
     .fused = Fused::kColumnScale},
    {.way = {"matmul_s8_f32_full",
             "s8 x s8 matmul to f32 with column scales, row scales and bias (binary"
             " post-ops), own pass to float16",
             QuoinPeerKind::kInt8},
     .product = Type::f32,
     .fused = Fused::kScalesAndBias},
    {.way = {"matmul_s8_f16_full", "the whole job in one matmul call, float16 output",
             QuoinPeerKind::kInt8},
     .product = Type::f16,
     .fused = Fused::kEverything},
    {.way = {"inner_s8_s32", "as matmul_s8_s32 with the inner product primitive",
             QuoinPeerKind::kInt8},
     .primitive = Primitive::kInnerProduct},
    {.way = {"inner_u8_s32", "as matmul_u8_s32 with the inner product primitive",
             QuoinPeerKind::kInt8},
     .primitive = Primitive::kInnerProduct,
     .source = Type::u8},
    {.way = {"inner_s8_f32_col", "as matmul_s8_f32_col with the inner product primitive",
             QuoinPeerKind::kInt8},
     .primitive = Primitive::kInnerProduct,
     .product = Type::f32,
     .fused = Fused::kColumnScale},
    {.way = {"float32_packed",
             "float32 matmul on float32 weights packed once; x converted per call",
             QuoinPeerKind::kFloat32Packed},
     .source = Type::f32,
     .product = Type::f32},
    {.way = {"float32_per_call",
             "float32 matmul; x and the weight converted per call, as the reference does",
             QuoinPeerKind::kFloat32PerCall},
     .source = Type::f32,
     .product = Type::f32,
     .weight = Weight::kConvertedPerCall},
};
constexpr size_t kWayCount = std::size(kRecipes);

const dnnl::engine& cpu() {
  static const auto* const engine = new dnnl::engine(dnnl::engine::kind::cpu, 0);
  return *engine;
}

dnnl::stream& queue() {
  static auto* const stream = new dnnl::stream(cpu());
  return *stream;
}

// Memory on huge pages where the system hands them out on request. It grows and is not copied.
class Room {
 public:
  Room() = default;
  Room(const Room&) = delete;
  Room& operator=(const Room&) = delete;
  ~Room() { free(data_); }

  void reserve(size_t bytes) {
    if (bytes <= bytes_) return;
    free(data_);
    bytes_ = (bytes + kHugePage - 1) / kHugePage * kHugePage;
    data_ = aligned_alloc(kHugePage, bytes_);
    if (data_ == nullptr) throw std::bad_alloc();
    madvise(data_, bytes_, MADV_HUGEPAGE);
    memset(data_, 0, bytes_);
  }
  void* data() const { return data_; }

 private:
  static constexpr size_t kHugePage = size_t{1} << 21;
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

// Room that every layer of this module uses in turn; grows in `create` alone and is never given
// back.
struct Rooms {
  Room source, weight, product, scratchpad;
};
Rooms& rooms() {
  static auto* const all = new Rooms;
  return *all;
}

memory::desc plain(memory::dims dims, Type type, Tag tag) { return {std::move(dims), type, tag}; }

// The descriptor of a primitive, whichever it is, and the parts of it that `create` needs.
struct Chosen {
  dnnl::primitive primitive;
  memory::desc weights, scratchpad;
  std::string implementation;
};

template <typename Descriptor, typename Maker>
Chosen choose(const Descriptor& descriptor, Maker make) {
  return {make(descriptor), descriptor.weights_desc(), descriptor.scratchpad_desc(),
          descriptor.impl_info_str()};
}

Chosen choose(const Recipe& recipe, const memory::desc& source, const memory::desc& weight,
              const memory::desc& product, const dnnl::primitive_attr& attr) {
  const auto kind = dnnl::prop_kind::forward_inference;
#if DNNL_VERSION_MAJOR >= 3
  const dnnl::matmul::primitive_desc matmul =
      recipe.primitive == Primitive::kMatmul
          ? dnnl::matmul::primitive_desc(cpu(), source, weight, product, attr)
          : dnnl::matmul::primitive_desc();
  const dnnl::inner_product_forward::primitive_desc inner =
      recipe.primitive == Primitive::kInnerProduct
          ? dnnl::inner_product_forward::primitive_desc(cpu(), kind, source, weight, product, attr)
          : dnnl::inner_product_forward::primitive_desc();
#else
  const dnnl::matmul::primitive_desc matmul =
      recipe.primitive == Primitive::kMatmul
          ? dnnl::matmul::primitive_desc({source, weight, product}, attr, cpu())
          : dnnl::matmul::primitive_desc();
  const dnnl::inner_product_forward::primitive_desc inner =
      recipe.primitive == Primitive::kInnerProduct
          ? dnnl::inner_product_forward::primitive_desc({kind, source, weight, product}, attr,
                                                        cpu())
          : dnnl::inner_product_forward::primitive_desc();
#endif
  if (recipe.primitive == Primitive::kMatmul) {
    return choose(matmul, [](const auto& d) { return dnnl::matmul(d); });
  }
  return choose(inner, [](const auto& d) { return dnnl::inner_product_forward(d); });
}

}  // namespace

struct QuoinPeerLayer {
  Recipe recipe;
  int64_t k = 0;
  int64_t blocks = 1;  // calls of the primitive in a run
  Finish finish;       // of one call: its m is the rows of that call
  Chosen chosen;
  std::vector<int8_t> raw_weight;  // kConvertedPerCall alone
  Room packed_weight;              // the others
  std::vector<int32_t> column_correction;
  std::vector<float> scale_w, column_scale, bias, ones;
  memory source, weight, product, scratchpad;
  memory column_scale_memory, row_scale_memory, bias_memory;
  std::vector<dnnl_exec_arg_t> arguments;
};

namespace {

// The scales that a primitive applies itself, fixed at creation in oneDNN 2 and passed as arguments
// in oneDNN 3.
void add_column_scale(const QuoinPeerLayer& layer, dnnl::primitive_attr& attr) {
#if DNNL_VERSION_MAJOR >= 3
  // In a matmul weight [K,N] the column is dimension 1, in an inner product weight [N,K] dimension
  // 0.
  attr.set_scales_mask(DNNL_ARG_WEIGHTS,
                       layer.recipe.primitive == Primitive::kMatmul ? 1 << 1 : 1 << 0);
#else
  attr.set_output_scales(1 << 1, layer.column_scale);
#endif
}

dnnl::primitive_attr attributes(const QuoinPeerLayer& layer) {
  const memory::dim m = layer.finish.m, n = layer.finish.n;
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (layer.recipe.fused == Fused::kNothing) return attr;
  add_column_scale(layer, attr);
  if (layer.recipe.fused == Fused::kColumnScale) return attr;
  dnnl::post_ops after;
#if DNNL_VERSION_MAJOR >= 3
  // Row scales have a place of their own in oneDNN 3; the way that leaves nothing over uses it.
  if (layer.recipe.fused == Fused::kEverything) {
    attr.set_scales_mask(DNNL_ARG_SRC, 1 << 0);
    after.append_binary(dnnl::algorithm::binary_add, plain({1, n}, Type::f32, Tag::ab));
    attr.set_post_ops(after);
    return attr;
  }
#endif
  after.append_binary(dnnl::algorithm::binary_mul, plain({m, 1}, Type::f32, Tag::ab));
  after.append_binary(dnnl::algorithm::binary_add, plain({1, n}, Type::f32, Tag::ab));
  attr.set_post_ops(after);
  return attr;
}

Rest rest_after(Fused fused) {
  switch (fused) {
    case Fused::kNothing: return Rest::kEverything;
    case Fused::kColumnScale: return Rest::kRow;
    default: return Rest::kConversion;
  }
}

// Everything of a layer that the library has no part in.
void copy_problem(const QuoinPeerProblem& problem, QuoinPeerLayer& layer) {
  const int64_t n = problem.n, k = problem.k;
  layer.k = k;
  layer.scale_w.assign(problem.scale_w, problem.scale_w + n);
  for (const float scale : layer.scale_w) layer.column_scale.push_back(scale * problem.factor);
  layer.bias.assign(n, 0.0f);
  if (problem.bias != nullptr) quoin_peer_pass::widen(problem.bias, n, layer.bias.data());
  if (layer.recipe.source == Type::u8) {
    for (int64_t col = 0; col < n; ++col) {
      int32_t sum = 0;
      for (int64_t i = 0; i < k; ++i) sum += problem.weight[col * k + i];
      layer.column_correction.push_back(128 * sum);
    }
  }
  layer.finish = {.rest = rest_after(layer.recipe.fused),
                  .m = problem.m / layer.blocks,
                  .n = n,
                  .column_correction =
                      layer.column_correction.empty() ? nullptr : layer.column_correction.data(),
                  .scale_x = nullptr,
                  .scale_w = layer.scale_w.data(),
                  .bias = layer.bias.data(),
                  .factor = problem.factor,
                  .threads = problem.threads};
}

// Brings the int8 weight [N,K] into the layout that the primitive chose, converting it where the
// primitive is float.
memory pack(const QuoinPeerProblem& problem, QuoinPeerLayer& layer) {
  const int64_t n = problem.n, k = problem.k;
  const bool is_float = layer.recipe.source == Type::f32;
  std::vector<float> wide(is_float ? n * k : 0);
  if (is_float) {
    quoin_peer_pass::convert_to_float(problem.weight, n * k, problem.threads, wide.data());
  }
  void* const data =
      is_float ? static_cast<void*>(wide.data()) : const_cast<int8_t*>(problem.weight);
  const Type type = is_float ? Type::f32 : Type::s8;
  memory from(layer.recipe.primitive == Primitive::kMatmul ? plain({k, n}, type, Tag::ba)
                                                           : plain({n, k}, type, Tag::ab),
              cpu(), data);
  layer.packed_weight.reserve(layer.chosen.weights.get_size());
  memory to(layer.chosen.weights, cpu(), layer.packed_weight.data());
  dnnl::reorder(from, to).execute(queue(), from, to);
  queue().wait();
  return to;
}

// The argument list, built once: only the pointers inside the memory objects change from run to
// run.
void list_arguments(QuoinPeerLayer& layer) {
  const auto add = [&layer](int index, const memory& value) {
    layer.arguments.push_back({index, value.get()});
  };
  add(DNNL_ARG_SRC, layer.source);
  add(DNNL_ARG_WEIGHTS, layer.weight);
  add(DNNL_ARG_DST, layer.product);
  if (layer.chosen.scratchpad.get_size() > 0) add(DNNL_ARG_SCRATCHPAD, layer.scratchpad);
  if (layer.recipe.fused == Fused::kNothing) return;
#if DNNL_VERSION_MAJOR >= 3
  add(DNNL_ARG_ATTR_SCALES | DNNL_ARG_WEIGHTS, layer.column_scale_memory);
#endif
  if (layer.recipe.fused == Fused::kColumnScale) return;
  const bool row_scale_is_attribute = kVersion3 && layer.recipe.fused == Fused::kEverything;
  int post_op = 0;
#if DNNL_VERSION_MAJOR >= 3
  if (row_scale_is_attribute) add(DNNL_ARG_ATTR_SCALES | DNNL_ARG_SRC, layer.row_scale_memory);
#endif
  if (!row_scale_is_attribute) {
    add(DNNL_ARG_ATTR_MULTIPLE_POST_OP(post_op++) | DNNL_ARG_SRC_1, layer.row_scale_memory);
  }
  add(DNNL_ARG_ATTR_MULTIPLE_POST_OP(post_op) | DNNL_ARG_SRC_1, layer.bias_memory);
}

std::unique_ptr<QuoinPeerLayer> build(const Recipe& recipe, const QuoinPeerProblem& problem) {
  auto layer = std::make_unique<QuoinPeerLayer>();
  layer->recipe = recipe;
  layer->blocks = recipe.rows == 0 ? 1 : problem.m / recipe.rows;
  copy_problem(problem, *layer);
  const int64_t m = layer->finish.m, n = problem.n, k = problem.k;

  const bool per_call = recipe.weight == Weight::kConvertedPerCall;
  const Type weight_type = recipe.source == Type::f32 ? Type::f32 : Type::s8;
  const auto source = plain({m, k}, recipe.source, Tag::ab);
  const auto product = plain({m, n}, recipe.product, Tag::ab);
  const auto weight = recipe.primitive == Primitive::kMatmul
                          ? plain({k, n}, weight_type, per_call ? Tag::ba : Tag::any)
                          : plain({n, k}, weight_type, Tag::any);
  layer->chosen = choose(recipe, source, weight, product, attributes(*layer));

  Rooms& room = rooms();
  room.source.reserve(m * k * memory::data_type_size(recipe.source));
  room.product.reserve(product.get_size());
  room.scratchpad.reserve(layer->chosen.scratchpad.get_size());
  if (per_call) {
    room.weight.reserve(layer->chosen.weights.get_size());
    layer->raw_weight.assign(problem.weight, problem.weight + n * k);
    layer->weight = memory(layer->chosen.weights, cpu(), nullptr);
  } else {
    layer->weight = pack(problem, *layer);
  }
  layer->source = memory(source, cpu(), nullptr);
  layer->product = memory(product, cpu(), nullptr);
  layer->scratchpad = memory(layer->chosen.scratchpad, cpu(), nullptr);
  layer->column_scale_memory =
      memory(plain({n}, Type::f32, Tag::a), cpu(), layer->column_scale.data());
  layer->bias_memory = memory(plain({1, n}, Type::f32, Tag::ab), cpu(), layer->bias.data());
  layer->row_scale_memory =
      memory(kVersion3 && recipe.fused == Fused::kEverything ? plain({m}, Type::f32, Tag::a)
                                                             : plain({m, 1}, Type::f32, Tag::ab),
             cpu(), nullptr);
  list_arguments(*layer);
  return layer;
}

QuoinPeerLayer* create(size_t way, const QuoinPeerProblem* problem, char* reason,
                       size_t reason_bytes) {
  const auto refuse = [&](const char* why) {
    if (reason_bytes > 0) snprintf(reason, reason_bytes, "%s", why);
    return nullptr;
  };
  if (way >= kWayCount) return refuse("no such way");
  if (problem->m < 1 || problem->n < 1 || problem->k < 1) return refuse("an empty problem");
  const int64_t rows = kRecipes[way].rows;
  if (rows != 0 && (problem->m <= rows || problem->m % rows != 0)) {
    return refuse("only for several blocks of rows");
  }
  try {
    omp_set_num_threads(problem->threads);  // the library plans for as many threads as it sees now
    return build(kRecipes[way], *problem).release();
  } catch (const std::exception& error) {
    return refuse(error.what());
  }
}

const char* implementation(const QuoinPeerLayer* layer) {
  return layer->chosen.implementation.c_str();
}

bool is_slow(const QuoinPeerLayer* layer) {
  return layer->chosen.implementation.find("ref") != std::string::npos;
}

// The pointer that the primitive reads its activations from.
void* prepare_source(const QuoinPeerLayer& layer, const int8_t* x) {
  const int64_t count = layer.finish.m * layer.k;
  void* const room = rooms().source.data();
  if (layer.recipe.source == Type::u8) {
    quoin_peer_pass::shift_to_unsigned(x, count, layer.finish.threads, static_cast<uint8_t*>(room));
    return room;
  }
  if (layer.recipe.source == Type::f32) {
    quoin_peer_pass::convert_to_float(x, count, layer.finish.threads, static_cast<float*>(room));
    return room;
  }
  return const_cast<int8_t*>(x);
}

// One call of the primitive, and the passes before and after it.
bool run_block(QuoinPeerLayer& layer, const int8_t* x, const float* scale_x, uint16_t* y) {
  void* const product = layer.recipe.product == Type::f16 ? y : rooms().product.data();
  layer.source.set_data_handle(prepare_source(layer, x));
  layer.product.set_data_handle(product);
  layer.row_scale_memory.set_data_handle(const_cast<float*>(scale_x));
  const dnnl_status_t status =
      dnnl_primitive_execute(layer.chosen.primitive.get(), queue().get(),
                             static_cast<int>(layer.arguments.size()), layer.arguments.data());
  if (status != dnnl_success) return false;
  queue().wait();

  Finish finish = layer.finish;
  finish.scale_x = scale_x;
  if (layer.recipe.product == Type::s32) {
    quoin_peer_pass::finish(finish, static_cast<const int32_t*>(product), y);
  } else if (layer.recipe.product == Type::f32) {
    quoin_peer_pass::finish(finish, static_cast<const float*>(product), y);
  }
  return true;
}

bool run(QuoinPeerLayer* layer, const int8_t* x, const float* scale_x, uint16_t* y) {
  const int64_t m = layer->finish.m, n = layer->finish.n, k = layer->k;
  try {
    omp_set_num_threads(layer->finish.threads);
    // The rooms may have grown, and moved, since this layer was created.
    layer->scratchpad.set_data_handle(rooms().scratchpad.data());
    if (layer->recipe.weight == Weight::kConvertedPerCall) {
      auto* const wide = static_cast<float*>(rooms().weight.data());
      quoin_peer_pass::convert_to_float(layer->raw_weight.data(), n * k, layer->finish.threads,
                                        wide);
      layer->weight.set_data_handle(wide);
    }
    for (int64_t row = 0; row < m * layer->blocks; row += m) {
      if (!run_block(*layer, x + row * k, scale_x + row, y + row * n)) return false;
    }
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

void destroy(QuoinPeerLayer* layer) { delete layer; }

}  // namespace

extern "C" __attribute__((visibility("default"))) const QuoinPeer* quoin_peer() {
  static const std::string version = [] {
    const dnnl_version_t* const v = dnnl_version();
    return std::to_string(v->major) + "." + std::to_string(v->minor) + "." +
           std::to_string(v->patch);
  }();
  static const std::vector<QuoinPeerWay> ways = [] {
    std::vector<QuoinPeerWay> list;
    for (const Recipe& recipe : kRecipes) list.push_back(recipe.way);
    return list;
  }();
  static const QuoinPeer peer = {.abi = kQuoinPeerAbi,
                                 .name = "oneDNN",
                                 .version = version.c_str(),
                                 .way_count = kWayCount,
                                 .ways = ways.data(),
                                 .create = create,
                                 .implementation = implementation,
                                 .is_slow = is_slow,
                                 .run = run,
                                 .destroy = destroy};
  return &peer;
}
