#include "bench/peer_entrants.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <array>
#include <cstdlib>
#include <memory>

namespace quoin::bench {

Result<const QuoinPeer*> open_peer(const std::string& path) {
  // Not global: two versions of one library in one process must not see each other's names.
  void* module = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (module == nullptr) {
    return Error{ErrorCode::unavailable, fmt::format("peer {}: {}", path, dlerror())};
  }
  const auto entry = reinterpret_cast<QuoinPeerEntry>(dlsym(module, "quoin_peer"));
  const QuoinPeer* peer = entry != nullptr ? entry() : nullptr;
  if (peer == nullptr || peer->abi != kQuoinPeerAbi) {
    return Error{ErrorCode::unavailable,
                 fmt::format("peer {}: no quoin_peer() of interface {}", path, kQuoinPeerAbi)};
  }
  return peer;
}

std::string title(const QuoinPeer& peer) {
  return fmt::format("{} {}", peer.name, peer.version);
}

Entrant peer_entrant(const QuoinPeer& peer, std::size_t way) {
  const auto prepare_job = [&peer, way](const Problem& p, int threads, Float16* y) -> Result<Job> {
    QuoinPeerProblem problem;
    problem.m = p.m;
    problem.n = p.n;
    problem.k = p.k;
    problem.weight = p.weight.data();
    problem.scale_w = p.scale_w.data();
    problem.bias = &p.bias.data()->bits;
    problem.factor = kBothAbsmax;
    problem.threads = threads;
    std::array<char, 200> reason{};
    const std::shared_ptr<QuoinPeerLayer> layer(
        peer.create(way, &problem, reason.data(), reason.size()), [&peer](QuoinPeerLayer* l) {
          if (l != nullptr) peer.destroy(l);
        });
    if (!layer) return Error{ErrorCode::unsupported, reason.data()};
    if (peer.is_slow(layer.get())) {
      return Error{ErrorCode::unsupported, fmt::format("falls back to a reference kernel ({})",
                                                       peer.implementation(layer.get()))};
    }
    return Job([&peer, layer, x = p.x.data(), scale_x = p.scale_x.data(), y] {
      if (!peer.run(layer.get(), x, scale_x, &y->bits)) std::abort();
    });
  };
  return {fmt::format("{} {}", title(peer), peer.ways[way].name), prepare_job, count_far};
}

std::vector<Entrant> peer_entrants(const std::vector<const QuoinPeer*>& peers, QuoinPeerKind kind) {
  std::vector<Entrant> entrants;
  for (const QuoinPeer* peer : peers) {
    for (std::size_t way = 0; way < peer->way_count; ++way) {
      if (peer->ways[way].kind == kind) entrants.push_back(peer_entrant(*peer, way));
    }
  }
  return entrants;
}

}  // namespace quoin::bench
