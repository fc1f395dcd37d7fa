// The CUTLASS choices of cutlass_peers.cu as the benchmark's peers; apart from it, because that
// file takes minutes to compile.
#include "peers.h"

#define QUOIN_CHOICES(f) \
  f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11) f(12) f(13) f(14) f(15) f(16) f(17)

#define DECLARE(i) Peer cutlass_peer_##i();
QUOIN_CHOICES(DECLARE)

std::vector<Peer> peers() {
#define CALL(i) cutlass_peer_##i(),
  return {QUOIN_CHOICES(CALL)};
}

// vLLM's table for sm90 and int8 (scaled_mm_sm90_int8_dispatch.cuh, 2025): by M, and N for few
// rows, whatever K.
std::string serving_pick(std::int64_t m, std::int64_t n) {
  if (m <= 32) return n < 8192 ? "cutlass 64x64k256 c1x8" : "cutlass 64x128k256 c1x4";
  if (m <= 64) return "cutlass 64x64k256 c1x1";
  if (m <= 128) return "cutlass 64x128 c2x1 pp";
  return "cutlass 128x128 c2x1 pp";
}
