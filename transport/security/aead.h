// One key of an AEAD (RFC 5116) at work on packets, in place: AES-GCM by Intel's multi-buffer
// library where the build and this processor have it, everything else by OpenSSL. Both make the
// same bytes (docs/decisions/0005). Nothing is allocated per packet. One owner.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "transport/security/key_schedule.h"

namespace rushfs::transport {

/// Bytes that the AEAD adds to a packet.
inline constexpr std::size_t kTagLength = 16;

class Aead {
 public:
  using Nonce = std::array<std::uint8_t, 12>;
  using Tag = std::span<std::uint8_t, kTagLength>;
  enum class Direction : std::uint8_t { seal, open };

  Aead() = default;
  Aead(const Aead&) = delete;
  Aead& operator=(const Aead&) = delete;
  virtual ~Aead() = default;

  /// Encrypts `payload`; `tag` vouches for it and for `header`.
  virtual void seal(const Nonce&, std::span<const std::uint8_t> header,
                    std::span<std::uint8_t> payload, Tag tag) = 0;
  /// Decrypts `payload`. False: not authentic, and the payload is destroyed.
  [[nodiscard]] virtual bool open(const Nonce&, std::span<const std::uint8_t> header,
                                  std::span<std::uint8_t> payload, Tag tag) = 0;
};

/// For one direction.
std::unique_ptr<Aead> make_aead(const PacketKeys& keys, Aead::Direction direction);

// Which it chooses from.

std::unique_ptr<Aead> make_openssl_aead(const PacketKeys& keys, Aead::Direction direction);
/// None: not AES, or not on this machine.
std::unique_ptr<Aead> make_multi_buffer_aead(const PacketKeys& keys);

}  // namespace rushfs::transport
