// Bounds the clients that a server has before they are connected, in all and for each network, so
// that hosts of one network can shut out only their neighbours, and those only for a second. Pure;
// owner: Endpoint.
#pragma once

#include <array>
#include <cstddef>
#include <map>
#include <optional>

#include "transport/address.h"
#include "transport/endpoint.h"
#include "transport/units.h"

namespace rushfs::transport {

/// Clients in the middle of their handshake, which takes them a few round trips, and those whose
/// handshake failed, until they are forgotten. Each has shown a cookie, so this bounds what hosts
/// with real addresses can make us keep (about 64 KiB each) and compute (about 1 ms each).
inline constexpr std::size_t kMaxHalfOpen = 512;
/// Of one network: an office behind one address that comes back at once after a restart, and no
/// more than an eighth of all.
inline constexpr std::size_t kMaxHalfOpenOfNetwork = 64;
/// Where there is no room, whoever has had this long gives way: once its cookie was shown an honest
/// client needs a round trip.
inline constexpr Duration kHalfOpenWithoutClaim = std::chrono::seconds(1);

/// What one site can be expected to own: an IPv4 /24 or an IPv6 /56 (RFC 6177, section 2), host
/// bits cleared.
std::array<std::uint8_t, 16> network_of(const Address& address);

class HalfOpenClients {
 public:
  /// Whether one more handshake with this address may begin.
  bool has_room_for(const Address& address) const;
  /// Handles grow, and so does `now`.
  void begin(const Address& address, ConnectionHandle handle, TimePoint now);
  /// The client of this address is connected, or forgotten.
  void end(const Address& address, ConnectionHandle handle);
  /// Who should go so that a handshake with this address may begin: the oldest of its network, or
  /// of all where its network has its share.
  std::optional<ConnectionHandle> to_give_way(const Address& address, TimePoint now) const;
  std::size_t count() const { return all_.size(); }

 private:
  using Begun = std::map<ConnectionHandle, TimePoint>;  // the oldest first

  // Trees: the keys are an attacker's choice. None of the inner is empty.
  std::map<std::array<std::uint8_t, 16>, Begun> of_network_;
  Begun all_;
};

}  // namespace rushfs::transport
