#include "transport/udp/return_paths.h"

#include <algorithm>

namespace rushfs::transport {

ReturnPaths::Key ReturnPaths::key(const Address& peer) {
  Key result{};
  std::copy(peer.ip.begin(), peer.ip.end(), result.begin());
  result[16] = static_cast<std::uint8_t>(peer.port >> 8);
  result[17] = static_cast<std::uint8_t>(peer.port);
  return result;
}

void ReturnPaths::learn(const Address& peer, const LocalIp& local) {
  if (paths_.size() >= kMost && !paths_.contains(key(peer))) paths_.clear();
  paths_.insert_or_assign(key(peer), local);
}

std::optional<LocalIp> ReturnPaths::find(const Address& peer) const {
  const auto found = paths_.find(key(peer));
  return found == paths_.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace rushfs::transport
