// Peers (bench/peers/) as entrants of a cell.
#pragma once

#include <string>
#include <vector>

#include "bench/cell.h"
#include "bench/peers/peer.h"
#include "quoin/result.h"

namespace quoin::bench {

/// Opens a peer's module for the life of the process.
[[nodiscard]] Result<const QuoinPeer*> open_peer(const std::string& path);

/// "oneDNN 3.2.0"
[[nodiscard]] std::string title(const QuoinPeer& peer);

/// One way of one peer. Ways that the library refuses, or does with a plain reference kernel,
/// refuse.
[[nodiscard]] Entrant peer_entrant(const QuoinPeer& peer, std::size_t way);

/// All ways of one kind, of all peers.
[[nodiscard]] std::vector<Entrant> peer_entrants(const std::vector<const QuoinPeer*>& peers,
                                                 QuoinPeerKind kind);

}  // namespace quoin::bench
