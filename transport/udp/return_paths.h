// At which of our own addresses each peer speaks to us. A server with several must answer from the
// one it was asked at: firewalls and NATs let nothing else back in.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <array>
#include <optional>

#include "transport/address.h"

namespace rushfs::transport {

class ReturnPaths {
 public:
  /// From what the peer proved to have sent: or strangers could turn answers away from it.
  void learn(const Address& peer, const LocalIp& local);
  std::optional<LocalIp> find(const Address& peer) const;
  /// Our address may be gone: leave the choice to the system. False if there was nothing to forget.
  bool forget(const Address& peer) { return paths_.erase(key(peer)) > 0; }

 private:
  /// Peers remembered. All are forgotten when there are too many, since nobody says which are gone;
  /// those who speak again are learnt again.
  static constexpr std::size_t kMost = 4096;

  using Key = std::array<std::uint8_t, 18>;
  static Key key(const Address& peer);

  absl::flat_hash_map<Key, LocalIp> paths_;
};

}  // namespace rushfs::transport
