// A client as an export knows it.
#pragma once

#include <array>
#include <compare>
#include <cstdint>

namespace rushfs::fs {

/// From a client's public key and the id of its mount, so that none can speak for another.
struct ClientTag {
  std::array<std::uint8_t, 16> bytes{};
  auto operator<=>(const ClientTag&) const = default;
};

}  // namespace rushfs::fs
