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
  if (count_ >= kMaxHalfOpen) return false;
  const auto found = of_network_.find(network_of(address));
  return found == of_network_.end() || found->second < kMaxHalfOpenOfNetwork;
}

void HalfOpenClients::begin(const Address& address) {
  ++count_;
  ++of_network_[network_of(address)];
}

void HalfOpenClients::end(const Address& address) {
  const auto found = of_network_.find(network_of(address));
  assert(found != of_network_.end() && count_ > 0);
  --count_;
  if (--found->second == 0) of_network_.erase(found);
}

}  // namespace rushfs::transport
