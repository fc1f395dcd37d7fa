// The interface between the benchmark and its peers: libraries that do the operator's job today.
//
// A peer is a shared module that exports one function, `quoin_peer`, and keeps its library to
// itself: the benchmark opens several of them in one process (dlopen with RTLD_NOW | RTLD_LOCAL, so
// that two versions of one library that export the same names do not meet; the benchmark itself
// links neither) and interleaves their runs. A peer offers several *ways* of doing the job
//
//     acc    = sum over k of x[m,k] * w[n,k]
//     y[m,n] = half(((float(acc) * factor) * scale_x[m]) * scale_w[n] + bias[n])
//
// and the benchmark reports the fastest of them per shape. Whatever depends on the weights alone
// happens in `create`; `run` is what is timed, and holds every step from int8 activations to
// float16 output.
#pragma once

#include <cstddef>
#include <cstdint>

constexpr uint32_t kQuoinPeerAbi = 1;

struct QuoinPeerProblem {
  int64_t m = 0;  // rows of every later run
  int64_t n = 0;
  int64_t k = 0;
  const int8_t* weight = nullptr;  // [N,K], read by create alone
  const float* scale_w = nullptr;  // [N], read by create alone
  const uint16_t* bias = nullptr;  // [N] float16 or null, read by create alone
  float factor = 1.0f;
  int threads = 1;
};

// What a way stands for. Only kInt8 ways do the operator's job on its own terms.
enum class QuoinPeerKind : uint32_t {
  kInt8,            // int8 product: the peers to beat
  kFloat32Packed,   // the float32 reference at its best: float32 weights, packed once
  kFloat32PerCall,  // the float32 reference as written: both int8 operands are converted in every
                    // run
};

struct QuoinPeerWay {
  const char* name;     // short, unique within the peer: "matmul_u8_s32"
  const char* summary;  // one line: what the library does, and what is left to a pass of our own
  QuoinPeerKind kind;
};

// One way bound to one weight, one M and one thread count.
struct QuoinPeerLayer;

// No function throws. All layers of a peer share one scratch area, as the layers of a model do: one
// run at a time.
struct QuoinPeer {
  uint32_t abi;
  const char* name;     // "oneDNN"
  const char* version;  // asked of the library that is loaded, not of its headers
  size_t way_count;
  const QuoinPeerWay* ways;

  // Packs the weight. Null where the library refuses; `reason` then says why, cut to
  // `reason_bytes`.
  QuoinPeerLayer* (*create)(size_t way, const QuoinPeerProblem* problem, char* reason,
                            size_t reason_bytes);

  // The library's own name for the kernel that it picked.
  const char* (*implementation)(const QuoinPeerLayer* layer);

  // The library fell back to a plain reference kernel, tens to hundreds of times slower: leave it
  // out of large runs.
  bool (*is_slow)(const QuoinPeerLayer* layer);

  // x [M,K] and y [M,N] contiguous, y as float16 bits. False: the library failed, and y is not to
  // be read.
  bool (*run)(QuoinPeerLayer* layer, const int8_t* x, const float* scale_x, uint16_t* y);

  void (*destroy)(QuoinPeerLayer* layer);
};

extern "C" const QuoinPeer* quoin_peer();
using QuoinPeerEntry = const QuoinPeer* (*)();
