// What each end tells the other about itself inside the TLS handshake, and so under its protection:
// a list of (id, length, value). docs/protocol.md, "Transport parameters".
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "transport/message.h"
#include "transport/units.h"
#include "transport/wire/packet_header.h"

namespace rushfs::transport {

/// Longest parameter list accepted, in bytes; ours take about 60.
inline constexpr std::size_t kMaxTransportParameters = 1024;

struct TransportParameters {
  /// The version in use. Each end checks that it is the one of the packets it got.
  std::uint32_t version = kVersion;
  /// Destination of the client's very first packet. Both send it; each checks the other's.
  ConnectionId original_destination;
  /// The connection id the sender chose for itself: the source of its handshake packets.
  ConnectionId source;
  Duration idle_timeout = std::chrono::seconds(30);  // sent in ms; the smaller of the two counts
  std::uint64_t max_datagram = 1472;                 // largest UDP payload taken, at least 1200
  /// Bytes of messages that the peer may send before it is granted more, by class.
  std::array<Bytes, kPriorities> initial_credit{};

  bool operator==(const TransportParameters&) const = default;
};

std::vector<std::uint8_t> encode(const TransportParameters& parameters);

/// Unknown ids are skipped, so that later versions may add some. None: malformed, a parameter twice
/// or missing, or a value out of range.
std::optional<TransportParameters> decode_transport_parameters(
    std::span<const std::uint8_t> encoded);

}  // namespace rushfs::transport
