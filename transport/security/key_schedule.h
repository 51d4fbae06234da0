// From secrets to packet keys: HKDF-Expand-Label of TLS 1.3 (RFC 8446, section 7.1) with the labels
// of RFC 9001. docs/protocol.md, "Key schedule".
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "transport/wire/packet_header.h"

namespace rushfs::transport {

/// How packets are protected. Handshake packets always use aes_128_gcm.
enum class CipherSuite : std::uint8_t { aes_128_gcm, aes_256_gcm, chacha20_poly1305 };

/// Which end of the connection we are.
enum class Role : std::uint8_t { client, server };

/// Up to 64 bytes that are wiped when they die.
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::size_t size);  // zeroes; at most kMaxSize
  explicit Secret(std::span<const std::uint8_t> bytes);
  Secret(const Secret&) = default;
  Secret& operator=(const Secret&) = default;
  ~Secret();

  std::span<const std::uint8_t> bytes() const { return {bytes_.data(), size_}; }
  std::span<std::uint8_t> bytes() { return {bytes_.data(), size_}; }
  std::size_t size() const { return size_; }

  static constexpr std::size_t kMaxSize = 64;

 private:
  std::array<std::uint8_t, kMaxSize> bytes_{};
  std::size_t size_ = 0;
};

/// The two secrets of a connection, one per direction.
struct TrafficSecrets {
  Secret client;  // protects what the client sends
  Secret server;
};

/// Key, IV and header protection key that follow from one traffic secret (RFC 9001, section 5.1).
struct PacketKeys {
  CipherSuite suite = CipherSuite::aes_128_gcm;
  Secret key;
  Secret iv;                 // 12 bytes
  Secret header_protection;  // as long as the key
};

/// Length of the suite's hash, and so of its secrets: 48 for aes_256_gcm (SHA-384), else 32.
std::size_t secret_length(CipherSuite suite);

Secret hkdf_extract(std::span<const std::uint8_t> salt, std::span<const std::uint8_t> key);
/// With the hash of `suite`.
Secret hkdf_expand_label(CipherSuite suite, const Secret& secret, std::string_view label,
                         std::size_t length);

/// SHA-256("rushfs v1 salt"), first 20 bytes, made as in RFC 9369, section 3.3.1.
extern const std::array<std::uint8_t, 20> kHandshakeSalt;

/// The secrets of handshake packets: they keep out garbage and senders who saw nothing of the
/// handshake, and hide nothing (RFC 9001, section 5.2). `original_destination` is the destination
/// of the client's first packet, for the whole handshake.
TrafficSecrets handshake_secrets(std::span<const std::uint8_t> original_destination,
                                 std::span<const std::uint8_t> salt = kHandshakeSalt);

/// The secrets of data packets, from what the TLS exporter gave.
TrafficSecrets data_secrets(CipherSuite suite, const Secret& exported);

PacketKeys packet_keys(CipherSuite suite, const Secret& traffic_secret);

/// The traffic secret after a key update (RFC 9001, section 6.1).
Secret next_secret(CipherSuite suite, const Secret& traffic_secret);

}  // namespace rushfs::transport
