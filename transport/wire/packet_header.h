// Packet headers, shaped like QUIC version 1 (RFC 8999, RFC 9000 section 17) under our own version
// number. docs/protocol.md, "Packets".
//
// Parsing looks only at what is in the clear; packet numbers and the low bits of the first byte are
// under header protection (packet_protection.h).
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <span>
#include <variant>
#include <vector>

namespace rushfs::transport {

/// "rus", 1. Other versions are answered with a version negotiation packet.
inline constexpr std::uint32_t kVersion = 0x72757301;

/// Datagrams that start a handshake, and every datagram with a handshake packet that asks for an
/// answer, are at least this long (UDP payload), so that answers are not amplified.
inline constexpr std::size_t kMinInitialDatagram = 1200;

/// Longest token accepted in a handshake packet or a retry, in bytes. Ours take 40.
inline constexpr std::size_t kMaxToken = 256;

/// Longest connection id of any version that is worth an answer (RFC 8999 allows 255; 20 is the
/// limit of QUIC version 1).
inline constexpr std::size_t kMaxForeignConnectionId = 20;

/// Names a connection at one of its ends; chosen at random by that end.
struct ConnectionId {
  static constexpr std::size_t kLength = 8;
  std::array<std::uint8_t, kLength> bytes{};
  auto operator<=>(const ConnectionId&) const = default;
};

/// Each kind of packet as found at the start of a datagram. Offsets count from there; spans point
/// into it.
struct HandshakeHeader {
  ConnectionId destination;
  ConnectionId source;
  std::span<const std::uint8_t> token;  // the cookie; empty if none
  std::size_t packet_number_offset = 0;
  std::size_t packet_end = 0;  // another packet may follow in the datagram
};
struct RetryHeader {
  ConnectionId destination;
  ConnectionId source;
  std::span<const std::uint8_t> token;
  std::span<const std::uint8_t, 16> integrity_tag;
};
struct VersionNegotiationHeader {
  ConnectionId destination;
  ConnectionId source;
  std::vector<std::uint32_t> versions;  // what the server speaks, at most kMaxVersions
};
/// A long header of a version we do not speak: all that RFC 8999 promises.
struct UnknownVersionHeader {
  std::uint32_t version = 0;
  std::span<const std::uint8_t> destination;
  std::span<const std::uint8_t> source;
};
struct DataHeader {
  ConnectionId destination;
  std::size_t packet_number_offset = 0;  // the packet runs to the end of the datagram
};
using PacketHeader = std::variant<DataHeader, HandshakeHeader, RetryHeader,
                                  VersionNegotiationHeader, UnknownVersionHeader>;

/// Versions of a version negotiation packet that are looked at; more are ignored.
inline constexpr std::size_t kMaxVersions = 16;

/// Reads the header at the start of a datagram (or of what is left of one). None: garbage.
std::optional<PacketHeader> parse_packet_header(std::span<const std::uint8_t> datagram);

/// Where protection finds its parts in a packet that is being written.
struct PacketLayout {
  std::size_t packet_number_offset = 0;
  std::size_t packet_number_length = 0;  // 1 to 4
  std::size_t payload_offset() const { return packet_number_offset + packet_number_length; }
};

/// Bytes that the headers below take before the payload.
constexpr std::size_t data_header_length(std::size_t packet_number_length) {
  return 1 + ConnectionId::kLength + packet_number_length;
}
std::size_t handshake_header_length(std::size_t token_length, std::size_t packet_number_length);

/// Writes all of a header except packet number and key phase, which PacketProtection::seal() fills
/// in. `packet` starts where the packet starts and must have room (assert).
PacketLayout write_data_header(std::span<std::uint8_t> packet, const ConnectionId& destination,
                               std::size_t packet_number_length);
/// `payload_length` is without the tag. The length field always takes 2 bytes.
PacketLayout write_handshake_header(std::span<std::uint8_t> packet, const ConnectionId& destination,
                                    const ConnectionId& source, std::span<const std::uint8_t> token,
                                    std::size_t packet_number_length, std::size_t payload_length);

/// A whole retry packet (RFC 9000, section 17.2.5) with its integrity tag (RFC 9001, section 5.8).
/// `original_destination` is the destination of the packet it answers; it is also its source.
std::vector<std::uint8_t> make_retry(const ConnectionId& client,
                                     const ConnectionId& original_destination,
                                     std::span<const std::uint8_t> token);

/// Whether a retry was made by someone who saw our packet to `original_destination`.
bool is_retry_intact(std::span<const std::uint8_t> datagram,
                     const ConnectionId& original_destination);

/// The integrity tag of RFC 9001, section 5.8, under a given key and nonce.
std::array<std::uint8_t, 16> retry_integrity_tag(std::span<const std::uint8_t> original_destination,
                                                 std::span<const std::uint8_t> retry_without_tag,
                                                 std::span<const std::uint8_t, 16> key,
                                                 std::span<const std::uint8_t, 12> nonce);

/// The answer to a datagram of an unknown version; at most 51 bytes.
std::vector<std::uint8_t> make_version_negotiation(const UnknownVersionHeader& asked);

}  // namespace rushfs::transport

template <>
struct std::hash<rushfs::transport::ConnectionId> {
  /// Connection ids are random, so their bytes are their hash. Ids that a peer chose must not be
  /// used as keys of a hash table.
  std::size_t operator()(const rushfs::transport::ConnectionId& id) const noexcept {
    std::uint64_t value;
    std::memcpy(&value, id.bytes.data(), sizeof(value));
    return value;
  }
};
