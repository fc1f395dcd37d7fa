// CUTLASS as a peer: its sm90 INT8 GEMM with scale_x * (scale_w * acc) + bias fused into the
// epilogue, over 18 choices of tile, cluster and schedule, those of vLLM's static table among them.
// Needs CUTLASS's headers (include/ and tools/util/include/; nvidia-cutlass on PyPI has them, 4.2
// was used) and
//   -DNDEBUG -DCUTLASS_ENABLE_GDC_FOR_SM90 --expt-relaxed-constexpr
// (without NDEBUG ptxas serialises wgmma and the peer looks slower than it is; without the second
// its kernels cannot be launched as dependent ones).
#include <map>
#include <memory>
#include <mutex>

#include "cutlass/cutlass.h"
#include "cutlass/epilogue/collective/collective_builder.hpp"
#include "cutlass/epilogue/fusion/operations.hpp"
#include "cutlass/gemm/collective/collective_builder.hpp"
#include "cutlass/gemm/device/gemm_universal_adapter.h"
#include "cutlass/gemm/kernel/gemm_universal.hpp"
#include "cutlass/util/packed_stride.hpp"
#include "peers.h"

namespace {

using namespace cute;
namespace fusion = cutlass::epilogue::fusion;
using Cooperative = cutlass::gemm::KernelTmaWarpSpecializedCooperative;
using PingPong = cutlass::gemm::KernelTmaWarpSpecializedPingpong;
using Plain = cutlass::gemm::KernelTmaWarpSpecialized;
using CooperativeEnd = cutlass::epilogue::TmaWarpSpecializedCooperative;
using PlainEnd = cutlass::epilogue::TmaWarpSpecialized;

template <class Tile, class Cluster, class Schedule, class EpilogueSchedule>
struct Choice {
  static constexpr auto kRound = cutlass::FloatRoundStyle::round_to_nearest;
  using ScaleX = fusion::Sm90ColBroadcast<0, Tile, float>;
  using ScaleW = fusion::Sm90RowBroadcast<0, Tile, float>;
  using Bias = fusion::Sm90RowBroadcast<0, Tile, cutlass::half_t>;
  using Scaled = fusion::Sm90EVT<fusion::Sm90Compute<cutlass::multiplies, float, float, kRound>,
                                 ScaleW, fusion::Sm90AccFetch>;
  using Output = fusion::Sm90EVT<
      fusion::Sm90Compute<cutlass::homogeneous_multiply_add, cutlass::half_t, float, kRound>,
      ScaleX, Scaled, Bias>;
  using Epilogue = typename cutlass::epilogue::collective::CollectiveBuilder<
      cutlass::arch::Sm90, cutlass::arch::OpClassTensorOp, Tile, Cluster,
      cutlass::epilogue::collective::EpilogueTileAuto, std::int32_t, float, void,
      cutlass::layout::RowMajor, 8, cutlass::half_t, cutlass::layout::RowMajor, 8, EpilogueSchedule,
      Output>::CollectiveOp;
  using Mainloop = typename cutlass::gemm::collective::CollectiveBuilder<
      cutlass::arch::Sm90, cutlass::arch::OpClassTensorOp, std::int8_t, cutlass::layout::RowMajor,
      16, std::int8_t, cutlass::layout::ColumnMajor, 16, std::int32_t, Tile, Cluster,
      cutlass::gemm::collective::StageCountAutoCarveout<static_cast<int>(
          sizeof(typename Epilogue::SharedStorage))>,
      Schedule>::CollectiveOp;
  using Kernel = cutlass::gemm::kernel::GemmUniversal<Shape<int, int, int, int>, Mainloop, Epilogue,
                                                      cutlass::gemm::PersistentScheduler>;
  using Gemm = cutlass::gemm::device::GemmUniversalAdapter<Kernel>;

  static cudaError_t run(const quoin::cuda::Problem& p, cudaStream_t stream, bool dependent) {
    const int m = static_cast<int>(p.m), n = static_cast<int>(p.n), k = static_cast<int>(p.k);
    const auto stride_x =
        cutlass::make_cute_packed_stride(typename Kernel::StrideA{}, make_shape(m, k, 1));
    const auto stride_w =
        cutlass::make_cute_packed_stride(typename Kernel::StrideB{}, make_shape(n, k, 1));
    const auto stride_y =
        cutlass::make_cute_packed_stride(typename Kernel::StrideD{}, make_shape(m, n, 1));
    typename Gemm::Arguments arguments{
        cutlass::gemm::GemmUniversalMode::kGemm,
        {m, n, k, 1},
        {p.x, stride_x, p.w, stride_w},
        {{}, nullptr, stride_y, static_cast<cutlass::half_t*>(p.y), stride_y}};
    arguments.epilogue.thread = {
        {p.scale_x}, {{p.scale_w}, {}, {}}, {static_cast<const cutlass::half_t*>(p.bias)}, {}};
    static const int sm_count = cutlass::KernelHardwareInfo::query_device_multiprocessor_count(0);
    arguments.hw_info.device_id = 0;
    arguments.hw_info.sm_count = sm_count;
    Gemm gemm;
    if (gemm.can_implement(arguments) != cutlass::Status::kSuccess) return cudaErrorInvalidValue;
    if (gemm.initialize(arguments, nullptr, stream) != cutlass::Status::kSuccess) {
      return cudaErrorInvalidConfiguration;
    }
    return gemm.run(stream, nullptr, dependent) == cutlass::Status::kSuccess
               ? cudaSuccess
               : cudaErrorLaunchFailure;
  }
  static Peer peer(const char* name) {
    return {std::string("cutlass ") + name,
            [](const quoin::cuda::Problem& p) { return p.k % 16 == 0 && p.n % 8 == 0; }, &run};
  }
};

template <int kM, int kN, int kK = 128>
using Tiles = Shape<Int<kM>, Int<kN>, Int<kK>>;
template <int kM, int kN>
using Clusters = Shape<Int<kM>, Int<kN>, _1>;

}  // namespace

#ifndef CUTLASS_PART
#define CUTLASS_PART -1
#endif
#define PART(i) (CUTLASS_PART == -1 || CUTLASS_PART == (i))

// One function a choice, so that a build may compile them side by side (-DCUTLASS_PART=i);
// bench/cuda/cutlass_list.cu lists them.
#define CHOICE(i, name, ...) \
  Peer cutlass_peer_##i() { return Choice<__VA_ARGS__>::peer(name); }

#if PART(0)
CHOICE(0, "64x64 c1x1", Tiles<64, 64>, Clusters<1, 1>, Plain, PlainEnd)
CHOICE(1, "64x128 c1x1", Tiles<64, 128>, Clusters<1, 1>, PingPong, PlainEnd)
#endif
#if PART(1)
CHOICE(2, "64x64 c1x8", Tiles<64, 64>, Clusters<1, 8>, PingPong, PlainEnd)
CHOICE(3, "64x128 c1x4", Tiles<64, 128>, Clusters<1, 4>, PingPong, PlainEnd)
#endif
#if PART(2)
CHOICE(4, "64x64 c2x1", Tiles<64, 64>, Clusters<2, 1>, PingPong, PlainEnd)
CHOICE(5, "128x64 c1x1", Tiles<128, 64>, Clusters<1, 1>, Plain, PlainEnd)
#endif
#if PART(3)
CHOICE(6, "128x128 c1x1 pp", Tiles<128, 128>, Clusters<1, 1>, PingPong, PlainEnd)
CHOICE(7, "128x128 c2x1 pp", Tiles<128, 128>, Clusters<2, 1>, PingPong, PlainEnd)
#endif
#if PART(4)
CHOICE(8, "128x256 c2x1 co", Tiles<128, 256>, Clusters<2, 1>, Cooperative, CooperativeEnd)
CHOICE(9, "128x256 c1x2 co", Tiles<128, 256>, Clusters<1, 2>, Cooperative, CooperativeEnd)
#endif
#if PART(5)
CHOICE(10, "256x128 c2x1 co", Tiles<256, 128>, Clusters<2, 1>, Cooperative, CooperativeEnd)
CHOICE(11, "256x128 c1x2 co", Tiles<256, 128>, Clusters<1, 2>, Cooperative, CooperativeEnd)
#endif
#if PART(6)
CHOICE(12, "64x256 c2x1 pp", Tiles<64, 256>, Clusters<2, 1>, PingPong, PlainEnd)
CHOICE(13, "128x128 c1x2 pp", Tiles<128, 128>, Clusters<1, 2>, PingPong, PlainEnd)
#endif
#if PART(7)
CHOICE(14, "64x64k256 c1x8", Tiles<64, 64, 256>, Clusters<1, 8>, Plain, PlainEnd)
CHOICE(15, "64x128k256 c1x4", Tiles<64, 128, 256>, Clusters<1, 4>, Plain, PlainEnd)
#endif
#if PART(8)
CHOICE(16, "64x64k256 c1x1", Tiles<64, 64, 256>, Clusters<1, 1>, Plain, PlainEnd)
CHOICE(17, "64x128 c2x1 pp", Tiles<64, 128>, Clusters<2, 1>, PingPong, PlainEnd)
#endif
