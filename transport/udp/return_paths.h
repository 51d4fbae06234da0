// At which of our own addresses each peer speaks to us. A server with several must answer from the
// one it was asked at: firewalls and NATs let nothing else back in.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <array>
#include <cstdint>
#include <optional>

#include "transport/address.h"

namespace rushfs::transport {

using LocalIp = std::array<std::uint8_t, 16>;  // as Address::ip

class ReturnPaths {
 public:
  void learn(const Address& peer, const LocalIp& local);
  std::optional<LocalIp> find(const Address& peer) const;
  /// Our address may be gone: leave the choice to the system. False if there was nothing to forget.
  bool forget(const Address& peer) { return paths_.erase(key(peer)) > 0; }

 private:
  /// Peers remembered. Anyone can make us learn by sending a datagram, so that all are forgotten
  /// when there are too many; those who speak again are learnt again.
  static constexpr std::size_t kMost = 4096;

  using Key = std::array<std::uint8_t, 18>;
  static Key key(const Address& peer);

  absl::flat_hash_map<Key, LocalIp> paths_;
};

}  // namespace rushfs::transport
