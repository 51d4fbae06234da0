// Bounds the clients that a server has before they are connected, in all and for each network, so
// that hosts of one network can shut out only their neighbours. Pure; owner: Endpoint.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>

#include "transport/address.h"

namespace rushfs::transport {

/// Clients in the middle of their handshake, which takes them a few round trips, and those whose
/// handshake failed, until they are forgotten. More are turned away; each has shown a cookie, so
/// this bounds what hosts with real addresses can make us keep (about 64 KiB each) and compute
/// (about 1 ms each).
inline constexpr std::size_t kMaxHalfOpen = 512;
/// Of one network: an office behind one address that comes back at once after a restart, and no
/// more than an eighth of all.
inline constexpr std::size_t kMaxHalfOpenOfNetwork = 64;

/// What one site can be expected to own: an IPv4 /24 or an IPv6 /56 (RFC 6177, section 2), host
/// bits cleared.
std::array<std::uint8_t, 16> network_of(const Address& address);

class HalfOpenClients {
 public:
  /// Whether one more handshake with this address may begin.
  bool has_room_for(const Address& address) const;
  void begin(const Address& address);
  /// The client of this address is connected, or forgotten.
  void end(const Address& address);
  std::size_t count() const { return count_; }

 private:
  // A tree: the keys are an attacker's choice. Entries at zero are removed.
  std::map<std::array<std::uint8_t, 16>, std::size_t> of_network_;
  std::size_t count_ = 0;
};

}  // namespace rushfs::transport
