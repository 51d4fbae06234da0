// A UDP address as a plain value, so that pure code can compare and hash peers without sockets.
#pragma once

#include <array>
#include <compare>
#include <cstdint>

namespace rushfs::transport {

/// IPv6 address and port; IPv4 is kept as ::ffff:a.b.c.d (RFC 4291, section 2.5.5.2).
struct Address {
  std::array<std::uint8_t, 16> ip{};
  std::uint16_t port = 0;
  std::uint32_t scope = 0;  // interface index of a link-local address, else 0
  auto operator<=>(const Address&) const = default;
};

/// One of our own addresses, as Address::ip.
using LocalIp = std::array<std::uint8_t, 16>;

}  // namespace rushfs::transport
