// Seals and opens the packets of one number space: AEAD and header protection of RFC 9001 section
// 5, key update of section 6. It owns both keys and the next packet number, so that a nonce cannot
// be used twice. One owner: its connection, on the network loop. Nothing is allocated per packet.
//
// Cost: docs/protocol.md, "Packet protection".
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "transport/security/key_schedule.h"
#include "transport/security/packet_cipher.h"
#include "transport/units.h"
#include "transport/wire/packet_header.h"

namespace rushfs::transport {

/// A packet needs this much from the start of its packet number on (tag included) to have a sample
/// for header protection: number and payload together take at least 4 bytes.
inline constexpr std::size_t kMinProtectedLength = 4 + kTagLength;

/// A key is replaced after this many packets or this much time, whichever comes first. RFC 9001
/// section 6.6 allows 2^23 packets with AES-GCM.
inline constexpr std::uint64_t kKeyUpdatePackets = std::uint64_t{1} << 22;
inline constexpr Duration kKeyUpdateAge = std::chrono::minutes(2);
inline constexpr std::uint64_t kConfidentialityLimit = std::uint64_t{1} << 23;

/// Packets that fail to open over the life of a connection, all keys together, before it must end:
/// RFC 9001 section 6.6.
inline constexpr std::uint64_t kIntegrityLimitAes = std::uint64_t{1} << 52;
inline constexpr std::uint64_t kIntegrityLimitChaCha20 = std::uint64_t{1} << 36;

class PacketProtection {
 public:
  /// Handshake packets: keys that anyone who saw the client's first packet has; never updated.
  static PacketProtection for_handshake(const ConnectionId& original_destination, Role role,
                                        std::span<const std::uint8_t> salt = kHandshakeSalt);
  /// Data packets. Keys are updated as they age.
  static PacketProtection for_data(CipherSuite suite, const TrafficSecrets& secrets, Role role,
                                   TimePoint now);

  PacketProtection(PacketProtection&&) noexcept;
  PacketProtection& operator=(PacketProtection&&) noexcept;
  ~PacketProtection();

  /// The number that the next sealed packet will carry.
  std::uint64_t next_packet_number() const;
  /// Leaves the next number out: an acknowledgement of it proves a lying peer. Returns it.
  std::uint64_t skip_packet_number();

  /// Protects a packet in place and returns its number. `packet` is header (as left by
  /// write_data_header() or write_handshake_header()), payload and kTagLength bytes of room.
  /// First updates the key if that is due and allowed.
  std::uint64_t seal(std::span<std::uint8_t> packet, const PacketLayout& layout, TimePoint now);

  struct Opened {
    std::uint64_t packet_number = 0;
    std::span<std::uint8_t> payload;  // within the packet
  };
  /// Opens a packet in place. None: not made by the peer, damaged, or under a key long gone; the
  /// packet is then unusable (half decrypted) and must be dropped without an answer.
  /// Replayed packets do open: received_packets.h tells them apart.
  std::optional<Opened> open(std::span<std::uint8_t> packet, std::size_t packet_number_offset,
                             TimePoint now);

  /// The peer acknowledged this packet of ours. `probe_timeout` (RFC 9002, section 6.2.1) sets for
  /// how long old keys stay usable.
  void on_acknowledged(std::uint64_t packet_number, Duration probe_timeout, TimePoint now);

  /// The handshake is confirmed: from now on keys may be updated.
  void allow_key_updates();
  /// Updates the sending key now. False: not allowed yet (handshake not confirmed, or the peer has
  /// not yet acknowledged a packet under the present key).
  bool update_key(TimePoint now);

  /// More packets were sent under one key, or failed to open, than is safe: close the connection.
  bool is_worn_out() const;

  struct Counters {
    std::uint64_t sealed = 0;
    std::uint64_t opened = 0;
    std::uint64_t failed = 0;  // did not open
    std::uint64_t key_updates = 0;
  };
  const Counters& counters() const;

 private:
  struct State;
  explicit PacketProtection(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace rushfs::transport
