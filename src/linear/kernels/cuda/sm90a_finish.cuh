// What follows the sums: scales and bias fetched early, the epilogue's arithmetic, and the stores,
// from registers or through shared memory. Straight-line code: with one warp to a scheduler, what
// costs time here is latency and branches, not arithmetic.
#pragma once

#include "linear/epilogue.h"
#include "linear/kernels/cuda/ptx.h"
#include "linear/kernels/cuda/sm90a_layout.h"

namespace quoin::cuda {

/// A math thread's scales and bias: of its rows of A in registers; of the tile's rows of B in
/// registers too where the thread finishes few of them, else in shared memory: a copy a warpgroup,
/// or one for both where the first leads.
template <Config kC>
struct Scales {
  using L = Layout<kC>;
  static constexpr int kRows = L::kWarpgroupRows / 64 * 2;  // a thread's rows of A
  static constexpr bool kShared = L::kSharedScales;
  static constexpr int kFetch = kShared ? (kC.tile_b + 127) / 128 : L::kShareGroups * 2;

  const Params& p;
  struct Loaded {
    float scale_a[kRows], scale_b[kFetch];
    std::uint32_t bias_a[kC.swap ? kRows : 1], bias_b[kC.swap ? 1 : kFetch];
  };
  Loaded next;                // as fetched, the biases' bits
  Loaded now;                 // of the tile that is being finished, the biases float32
  float* shared_b = nullptr;  // [tile_b][2]: scale, bias

  __device__ explicit Scales(const Params& params) : p(params) {}

  __device__ float load_scale(const float* scales, int row, int rows) const {
    return scales != nullptr && row < rows
               ? __uint_as_float(
                     ptx::load_global(reinterpret_cast<const std::uint32_t*>(scales + row)))
               : 0.0F;
  }
  __device__ std::uint32_t load_bias(int n, int n_end) const {
    if (p.bias == nullptr || n >= n_end) return 0;
    return p.bias_type == DataType::float32
               ? ptx::load_global(static_cast<const std::uint32_t*>(p.bias) + n)
               : ptx::load_global(static_cast<const std::uint16_t*>(p.bias) + n);
  }
  template <int kCount>
  __device__ void convert(std::uint32_t (&bits)[kCount]) const {
    if (p.bias_type == DataType::float32) return;
    const bool half = p.bias_type == DataType::float16;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      bits[i] = half ? __float_as_uint(ptx::half_to_float(bits[i])) : bits[i] << 16;
    }
  }

  /// Starts the loads; nothing here needs what they bring, so they land during the multiplication.
  /// `first_group`: the first of the tile's column groups that this thread finishes.
  __device__ void fetch(int row_a, int row_b, int first_group, int thread, int warpgroup) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const int row = row_a + i / 2 * 64 + i % 2 * 8;
      next.scale_a[i] = load_scale(p.scale_a, row, p.rows_a);
      if (kC.swap) next.bias_a[i] = load_bias(row, p.rows_a);
    }
    if (L::kLead > 0 && warpgroup == 1) return;  // the B side is the first's
    const int end = min(p.rows_b, row_b + kC.tile_b);
#pragma unroll
    for (int i = 0; i < kFetch; ++i) {
      const int row =
          row_b + (kShared ? i * 128 + thread : (first_group + i / 2) * 8 + thread % 4 * 2 + i % 2);
      next.scale_b[i] = load_scale(p.scale_b, row, end);
      if (!kC.swap) next.bias_b[i] = load_bias(row, end);
    }
  }
  /// Waits for what `fetch` has started, makes it the current tile's and hands the B side round the
  /// warpgroup; where one leads, its turn hands it on to the other. The first barrier: this
  /// warpgroup no longer reads the last tile's.
  __device__ void settle(int thread, int warpgroup) {
    now = next;
    if (L::kLead > 0 && warpgroup == 1) return;
    kC.swap ? convert(now.bias_a) : convert(now.bias_b);
    if constexpr (kShared) {
      if (kC.persistent) ptx::named_barrier(warpgroup + 1, 128);
#pragma unroll
      for (int i = 0; i < kFetch; ++i) {
        if (kC.tile_b % 128 == 0 || i * 128 + thread < kC.tile_b) {
          const float bias = kC.swap ? 0.0F : __uint_as_float(now.bias_b[i]);
          reinterpret_cast<float2*>(shared_b)[i * 128 + thread] = {now.scale_b[i], bias};
        }
      }
      ptx::named_barrier(warpgroup + 1, 128);
    }
  }
  /// Scale and bias of a thread's two columns of its group g, which start at `column` of the tile.
  __device__ float4 pair_of(int g, int column) const {
    if constexpr (kShared) return reinterpret_cast<const float4*>(shared_b)[column / 2];
    if constexpr (kC.swap) return {now.scale_b[2 * g], 0.0F, now.scale_b[2 * g + 1], 0.0F};
    return {now.scale_b[2 * g], __uint_as_float(now.bias_b[2 * g]), now.scale_b[2 * g + 1],
            __uint_as_float(now.bias_b[2 * g + 1])};
  }
  __device__ float value(int sum, int i, float scale_of_b, float bias_of_b) const {
    if constexpr (kC.swap) {
      return epilogue::dequantise(sum, p.factor, scale_of_b, now.scale_a[i],
                                  __uint_as_float(now.bias_a[i]));
    }
    return epilogue::dequantise(sum, p.factor, now.scale_a[i], scale_of_b, bias_of_b);
  }
  /// The sum in an accumulator.
  __device__ static int sum_of(int register_value) {
    return static_cast<int>(static_cast<std::uint32_t>(register_value) - L::kStart);
  }
  /// Two neighbouring outputs of row i, packed in the 16-bit output type.
  __device__ std::uint32_t packed(const int* sums, int i, float4 b, bool half) const {
    const float low = value(sum_of(sums[0]), i, b.x, b.y);
    const float high = value(sum_of(sums[1]), i, b.z, b.w);
    return half ? ptx::pack_half(low, high) : ptx::pack_bfloat16(low, high);
  }
  /// One 32-bit output: float32, or the sum itself.
  __device__ std::uint32_t word(int register_value, int i, float scale_of_b,
                                float bias_of_b) const {
    const int sum = sum_of(register_value);
    const float y = epilogue::canonical_float(value(sum, i, scale_of_b, bias_of_b));
    return p.out_type == DataType::int32 ? static_cast<std::uint32_t>(sum) : __float_as_uint(y);
  }
};

/// Where a thread's first output lies; the others are constant distances away.
template <class T>
struct Place {
  T* y;
  std::int64_t stride;
  int m_left, n_left;  // rows and columns from there to the end of y

  __device__ Place(const Params& p, int m, int n, int m_end, int n_end)
      : y(static_cast<T*>(p.y) + m * p.y_stride_elems + n),
        stride(p.y_stride_elems),
        m_left(m_end - m),
        n_left(n_end - n) {}
  __device__ bool holds(int m, int n) const { return m < m_left && n < n_left; }
  __device__ T* at(int m, int n) const { return y + m * stride + n; }
};

/// Finishes a warp's sums, kRegisters / 4 column groups from `first_group` on, and stores them from
/// registers: four lanes write 16 neighbouring bytes of a row (32 with 32-bit output).
template <Config kC, bool k16Bit, int kBlocks, int kRegisters>
__device__ __forceinline__ void store_direct(const Params& p, const Scales<kC>& scales,
                                             const int (&sums)[kBlocks][kRegisters], int row_a,
                                             int row_b, int first_group, int lane) {
  constexpr int kGroups = kRegisters / 4;
  const int quad = lane / 4, pair = lane % 4 * 2;
  const int column = first_group * 8 + pair;
  const int m_end = kC.swap ? p.rows_b : p.rows_a;
  const int n_end = kC.swap ? p.rows_a : p.rows_b;
  if constexpr (k16Bit) {
    const bool half = p.out_type == DataType::float16;
    std::uint32_t bits[kBlocks][kGroups][2];
#pragma unroll
    for (int r = 0; r < kBlocks; ++r) {
#pragma unroll
      for (int g = 0; g < kGroups; ++g) {
        const float4 b = scales.pair_of(g, column + g * 8);
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          const std::uint32_t packed = scales.packed(&sums[r][4 * g + 2 * h], 2 * r + h, b, half);
          // Swapped, two neighbours are two tokens: make them two columns of one token.
          bits[r][g][h] = kC.swap ? ptx::transpose_matrix(packed) : packed;
        }
      }
    }
    const Place<std::uint16_t> place(p, kC.swap ? row_b + first_group * 8 + quad : row_a + quad,
                                     kC.swap ? row_a + pair : row_b + column, m_end, n_end);
    const auto each = [&](auto&& store) {
#pragma unroll
      for (int i = 0; i < kBlocks * kGroups * 2; ++i) {
        const int r = i / (kGroups * 2), g = i / 2 % kGroups, h = i % 2;
        store(kC.swap ? g * 8 : r * 64 + h * 8, kC.swap ? r * 64 + h * 8 : g * 8, bits[r][g][h]);
      }
    };
    if (p.store_pairs) {  // outside the loop: a branch at every store took 0.3 us
      each([&](int m, int n, std::uint32_t both) {
        if (place.holds(m, n)) *reinterpret_cast<std::uint32_t*>(place.at(m, n)) = both;
      });
    } else {
      each([&](int m, int n, std::uint32_t both) {
        if (place.holds(m, n)) *place.at(m, n) = static_cast<std::uint16_t>(both);
        if (place.holds(m, n + 1)) *place.at(m, n + 1) = static_cast<std::uint16_t>(both >> 16);
      });
    }
  } else {
    const Place<std::uint32_t> place(p, kC.swap ? row_b + column : row_a + quad,
                                     kC.swap ? row_a + quad : row_b + column, m_end, n_end);
#pragma unroll
    for (int i = 0; i < kBlocks * kGroups * 2; ++i) {
      const int r = i / (kGroups * 2), g = i / 2 % kGroups, h = i % 2;
      const float4 b = scales.pair_of(g, column + g * 8);
      const int* sum = &sums[r][4 * g + 2 * h];
      const int m = kC.swap ? g * 8 : r * 64 + h * 8, n = kC.swap ? r * 64 + h * 8 : g * 8;
      const int next_m = kC.swap ? m + 1 : m, next_n = kC.swap ? n : n + 1;
      if (place.holds(m, n)) *place.at(m, n) = scales.word(sum[0], 2 * r + h, b.x, b.y);
      if (place.holds(next_m, next_n)) {
        *place.at(next_m, next_n) = scales.word(sum[1], 2 * r + h, b.z, b.w);
      }
    }
  }
}

/// A warp's panel to y, element by element.
__device__ __forceinline__ void store_elements(const Params& p, const std::uint8_t* panel, int m,
                                               int n, int lane) {
#pragma unroll 1
  for (int i = lane; i < 128; i += 32) {
    const int row = i / 8, chunk = i % 8;
    const uint4 out = *reinterpret_cast<const uint4*>(panel + row * 128 + (chunk ^ row % 8) * 16);
    const std::uint32_t words[4] = {out.x, out.y, out.z, out.w};
    const int n_left = m + row < p.rows_a ? p.rows_b - (n + chunk * 8) : 0;
    std::uint16_t* target =
        static_cast<std::uint16_t*>(p.y) + (m + row) * p.y_stride_elems + n + chunk * 8;
#pragma unroll
    for (int e = 0; e < 8; ++e) {
      if (e < n_left) target[e] = static_cast<std::uint16_t>(words[e / 2] >> (e % 2 * 16));
    }
  }
}

/// A warp's 16-bit outputs by way of its own shared memory, in panels of 16 rows of 64 columns, so
/// that eight lanes write a row's 128 bytes. Each 16-byte chunk of a row lies at chunk ^ (row % 8),
/// which keeps matrices going in and rows coming out off the same banks. No other warp takes part.
/// All of a step's accesses to shared memory are started together, and the next panel's scales
/// before this one is stored.
template <Config kC, int kBlocks, int kRegisters>
__device__ __forceinline__ void store_panels(const Params& p, const Scales<kC>& scales,
                                             const int (&sums)[kBlocks][kRegisters], int row_a,
                                             int row_b, int lane, std::uint8_t* panels) {
  constexpr int kAtOnce = Layout<kC>::kPanelsAtOnce, kPanels = kRegisters / 32;
  const int pair = lane % 4 * 2;
  const int in_row = lane % 16;                        // the row whose address this lane gives
  const int out_row = lane / 8, out_chunk = lane % 8;  // the first 16 bytes that it stores
  const std::uint32_t in = ptx::shared_address(panels) + in_row * 128;
  const bool half = p.out_type == DataType::float16;
  std::uint16_t* y = static_cast<std::uint16_t*>(p.y) + (row_a + out_row) * p.y_stride_elems +
                     row_b + out_chunk * 8;
  constexpr bool kAhead = kRegisters * kBlocks <= 128;  // registers are left for it
  float4 b[8];
  const auto load_scales = [&](int c) {
#pragma unroll
    for (int g = 0; g < 8; ++g) b[g] = scales.pair_of(c * 8 + g, (c * 8 + g) * 8 + pair);
  };
  if (kAhead) load_scales(0);
#pragma unroll
  for (int step = 0; step < kPanels * kBlocks / kAtOnce; ++step) {
    const int c = step / (kBlocks / kAtOnce), first = step % (kBlocks / kAtOnce) * kAtOnce;
    std::uint32_t packed[kAtOnce][8][2];
    const auto pack = [&](int r, int g) {
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const int group = c * 8 + g;
        packed[r][g][h] =
            scales.packed(&sums[first + r][4 * group + 2 * h], 2 * (first + r) + h,
                          kAhead ? b[g] : scales.pair_of(group, group * 8 + pair), half);
      }
    };
    if (kAhead) {
#pragma unroll
      for (int i = 0; i < kAtOnce * 8; ++i) pack(i / 8, i % 8);
      if (first + kAtOnce == kBlocks && c + 1 < kPanels) load_scales(c + 1);
    }
    __syncwarp();  // the last panels have been read
#pragma unroll
    for (int i = 0; i < kAtOnce * 4; ++i) {  // two column groups to a stmatrix
      const int r = i / 4, g = i % 4 * 2, chunk = (g + lane / 16) ^ (in_row % 8);
      if (!kAhead) pack(r, g), pack(r, g + 1);
      ptx::store_matrices(in + r * kPanelBytes + chunk * 16, packed[r][g][0], packed[r][g][1],
                          packed[r][g + 1][0], packed[r][g + 1][1]);
    }
    __syncwarp();
    uint4 out[kAtOnce * 4];
#pragma unroll
    for (int i = 0; i < kAtOnce * 4; ++i) {
      const int row = out_row + i % 4 * 4, chunk = out_chunk ^ (row % 8);
      out[i] =
          *reinterpret_cast<const uint4*>(panels + i / 4 * kPanelBytes + row * 128 + chunk * 16);
    }
    const int n_left = p.rows_b - (row_b + c * kPanelCols + out_chunk * 8);
#pragma unroll
    for (int i = 0; i < kAtOnce * 4; ++i) {
      const int row = (first + i / 4) * 64 + i % 4 * 4;
      const int m_left = p.rows_a - (row_a + row + out_row);
      std::uint16_t* target = y + row * p.y_stride_elems + c * kPanelCols;
      if (p.store_eights) {
        if (m_left > 0 && n_left > 0) *reinterpret_cast<uint4*>(target) = out[i];
      } else if (m_left > 0) {
        const std::uint32_t words[4] = {out[i].x, out[i].y, out[i].z, out[i].w};
#pragma unroll
        for (int n = 0; n < 8; ++n) {
          if (n < n_left) target[n] = static_cast<std::uint16_t>(words[n / 2] >> (n % 2 * 16));
        }
      }
    }
  }
}

/// The same for a persistent kernel: each panel leaves by the copy engine (TMA), in a box of 64
/// columns by 16 rows, and the warp goes on: about half of what brought 82,400 cycles down to
/// 77,000 at 8192x2048x2048, 128x128 (the rest: descriptors). A panel is used again once the copy
/// engine has read it. The map of y clips rows to 16 bytes: others, and those of another alignment,
/// are stored by element.
///
/// While the other warpgroup multiplies, an access to shared memory takes 300 to 500 cycles: scales
/// one after the other took 8,700 cycles a 128x128 tile, more than its multiplication.
template <Config kC, int kBlocks, int kRegisters>
__device__ __forceinline__ void store_boxes(const Params& p, const CUtensorMap* map_y,
                                            const Scales<kC>& scales,
                                            int (&sums)[kBlocks][kRegisters], int row_a, int row_b,
                                            int lane, std::uint8_t* panels) {
  constexpr int kAtOnce = Layout<kC>::kPanelsAtOnce, kPanels = (kRegisters + 31) / 32;
  constexpr int kSteps = kPanels * kBlocks;
  constexpr int kLast = kRegisters / 4 - 8;  // first group of the last panel, which may overlap
  static_assert(kLast >= 0);
  constexpr bool kAhead = kRegisters * kBlocks <= 128;  // registers are left for it
  constexpr bool kDefer = Layout<kC>::kDefersPanels;
  const int pair = lane % 4 * 2, in_row = lane % 16;
  const bool half = p.out_type == DataType::float16;
  const auto first_group = [](int c) { return min(c * 8, kLast); };
  const auto panel_of = [&](int step) { return panels + step % kAtOnce * kPanelBytes; };
  float4 b[8];
  const auto load_scales = [&](int c) {
#pragma unroll
    for (int g = 0; g < 8; ++g) {
      const int group = first_group(c) + g;
      b[g] = scales.pair_of(group, group * 8 + pair);
    }
  };
  const auto send = [&](int step) {  // a panel to the copy engine
    std::uint8_t* panel = panel_of(step);
    ptx::fence_before_copy_engine();
    __syncwarp();
    const int m = row_a + step % kBlocks * 64, n = row_b + first_group(step / kBlocks) * 8;
    if (!p.store_eights) {
      store_elements(p, panel, m, n, lane);
    } else if (ptx::elected()) {
      ptx::store_tile(map_y, ptx::shared_address(panel), n, m);
    }
  };
  if (kAhead) load_scales(0);
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    const int c = step / kBlocks, r = step % kBlocks;
    std::uint32_t packed[8][2];
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      const int g = i / 2, group = first_group(c) + g;
      packed[g][i % 2] =
          scales.packed(&sums[r][4 * group + 2 * (i % 2)], 2 * r + i % 2,
                        kAhead ? b[g] : scales.pair_of(group, group * 8 + pair), half);
    }
    if constexpr (Layout<kC>::kLifted) {  // among the epilogue's waits this takes no time
#pragma unroll
      for (int i = 0; i < 32; ++i) {
        const int group = first_group(c) + i / 4;
        if (c + 1 == kPanels || group < kLast)
          ptx::set<Layout<kC>::kStart>(sums[r][4 * group + i % 4]);
      }
    }
    if (kAhead && r + 1 == kBlocks && c + 1 < kPanels) load_scales(c + 1);
    if (kDefer && step > 0) send(step - 1);
    ptx::wait_for_stores<kAtOnce - 1>();
    __syncwarp();
    const std::uint32_t address = ptx::shared_address(panel_of(step)) + in_row * 128;
#pragma unroll
    for (int g = 0; g < 8; g += 2) {  // two column groups to a stmatrix
      const int chunk = (g + lane / 16) ^ (in_row % 8);
      ptx::store_matrices(address + chunk * 16, packed[g][0], packed[g][1], packed[g + 1][0],
                          packed[g + 1][1]);
    }
    if (!kDefer) send(step);
  }
  if (kDefer) send(kSteps - 1);
}

}  // namespace quoin::cuda
