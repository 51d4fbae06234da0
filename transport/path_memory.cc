#include "transport/path_memory.h"

#include <algorithm>

namespace rushfs::transport {

void PathMemory::remember(const Address& host, const RememberedPath& path, TimePoint now) {
  if (path.bandwidth.bits_per_second <= 0 || path.minimum_round_trip <= Duration::zero()) return;
  hosts_[host.ip] = {path, now};
  if (hosts_.size() <= kMaxHosts) return;
  hosts_.erase(std::min_element(hosts_.begin(), hosts_.end(), [](const auto& a, const auto& b) {
    return a.second.learned < b.second.learned;
  }));
}

std::optional<RememberedPath> PathMemory::recall(const Address& host, TimePoint now) const {
  const auto found = hosts_.find(host.ip);
  if (found == hosts_.end() || now - found->second.learned > kLife) return std::nullopt;
  return found->second.path;
}

}  // namespace rushfs::transport
