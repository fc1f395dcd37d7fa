// The CUTLASS choices of cutlass_peers.cu as the benchmark's peers; apart from it, because that
// file takes minutes to compile. CUTLASS_CHOICES: how many of them are built.
#include "peers.h"

#ifndef CUTLASS_CHOICES
#define CUTLASS_CHOICES 14
#endif

#define DECLARE(i) Peer cutlass_peer_##i();
DECLARE(0) DECLARE(1) DECLARE(2) DECLARE(3) DECLARE(4) DECLARE(5) DECLARE(6)
DECLARE(7) DECLARE(8) DECLARE(9)
#if CUTLASS_CHOICES > 10
DECLARE(10) DECLARE(11) DECLARE(12) DECLARE(13)
#endif

std::vector<Peer> peers() {
  std::vector<Peer> list = {cutlass_peer_0(), cutlass_peer_1(), cutlass_peer_2(), cutlass_peer_3(),
                            cutlass_peer_4(), cutlass_peer_5(), cutlass_peer_6(), cutlass_peer_7(),
                            cutlass_peer_8(), cutlass_peer_9()};
#if CUTLASS_CHOICES > 10
  for (const Peer& peer : {cutlass_peer_10(), cutlass_peer_11(), cutlass_peer_12(),
                           cutlass_peer_13()}) {
    list.push_back(peer);
  }
#endif
  return list;
}
