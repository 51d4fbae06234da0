#include "transport/half_open.h"

#include <algorithm>
#include <cassert>

namespace rushfs::transport {
namespace {

constexpr std::array<std::uint8_t, 12> kIpv4Mapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr std::size_t kIpv4NetworkBytes = kIpv4Mapped.size() + 3;
constexpr std::size_t kIpv6NetworkBytes = 7;

}  // namespace

std::array<std::uint8_t, 16> network_of(const Address& address) {
  const bool ipv4 = std::equal(kIpv4Mapped.begin(), kIpv4Mapped.end(), address.ip.begin());
  std::array<std::uint8_t, 16> network{};
  std::copy_n(address.ip.begin(), ipv4 ? kIpv4NetworkBytes : kIpv6NetworkBytes, network.begin());
  return network;
}

bool HalfOpenClients::has_room_for(const Address& address) const {
  if (all_.size() >= kMaxHalfOpen) return false;
  const auto found = of_network_.find(network_of(address));
  return found == of_network_.end() || found->second.size() < kMaxHalfOpenOfNetwork;
}

void HalfOpenClients::begin(const Address& address, ConnectionHandle handle, TimePoint now) {
  all_.emplace(handle, now);
  of_network_[network_of(address)].emplace(handle, now);
}

void HalfOpenClients::end(const Address& address, ConnectionHandle handle) {
  const auto found = of_network_.find(network_of(address));
  assert(found != of_network_.end());
  const std::size_t known = all_.erase(handle) + found->second.erase(handle);
  assert(known == 2);
  if (found->second.empty()) of_network_.erase(found);
}

std::optional<ConnectionHandle> HalfOpenClients::to_give_way(const Address& address,
                                                             TimePoint now) const {
  const auto oldest = [&](const Begun& begun) -> std::optional<ConnectionHandle> {
    if (begun.empty() || now - begun.begin()->second < kHalfOpenWithoutClaim) return std::nullopt;
    return begun.begin()->first;
  };
  const auto found = of_network_.find(network_of(address));
  if (found == of_network_.end()) return oldest(all_);
  const auto neighbour = oldest(found->second);
  const bool full = found->second.size() >= kMaxHalfOpenOfNetwork;
  return neighbour || full ? neighbour : oldest(all_);
}

}  // namespace rushfs::transport
