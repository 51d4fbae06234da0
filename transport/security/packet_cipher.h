// One key at work: the AEAD of RFC 9001, section 5.3, and the header protection of section 5.4.
// Contexts are set up once and reused for every packet. PacketProtection decides which key it is.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "transport/security/aead.h"
#include "transport/security/cipher_context.h"
#include "transport/security/key_schedule.h"
#include "transport/wire/packet_header.h"

namespace rushfs::transport {

/// Encrypts or decrypts, one of the two.
class PacketCipher {
 public:
  using Direction = Aead::Direction;
  PacketCipher(const PacketKeys& keys, Direction direction);

  /// `packet` is header, payload and room for the tag; the last two are filled in.
  void seal(std::uint64_t number, std::span<std::uint8_t> packet, std::size_t header_length);
  /// `packet` is header, ciphertext and tag. False: not authentic, and the ciphertext is destroyed.
  [[nodiscard]] bool open(std::uint64_t number, std::span<std::uint8_t> packet,
                          std::size_t header_length);

 private:
  Aead::Nonce nonce(std::uint64_t number) const;

  std::unique_ptr<Aead> aead_;
  Secret iv_;
};

/// Masks packet numbers and the low bits of the first byte.
class HeaderCipher {
 public:
  explicit HeaderCipher(const PacketKeys& keys);

  std::array<std::uint8_t, 5> mask(std::span<const std::uint8_t, 16> sample);

  /// Masks a sealed packet.
  void protect(std::span<std::uint8_t> packet, const PacketLayout& layout);
  /// Unmasks a packet of at least kMinProtectedLength bytes from its number on; finds the length
  /// of the number.
  PacketLayout unprotect(std::span<std::uint8_t> packet, std::size_t packet_number_offset);

 private:
  CipherContext context_;
  bool is_chacha20_;
};

}  // namespace rushfs::transport
