// A client as an export knows it.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>

namespace rushfs::fs {

/// From a client's public key and the id of its mount, so that none can speak for another. Those of
/// one key begin alike: what one person may take of a server is counted by that.
struct ClientTag {
  static constexpr std::size_t kKeyBytes = 6;

  std::array<std::uint8_t, 16> bytes{};
  auto operator<=>(const ClientTag&) const = default;

  std::uint64_t key() const {
    std::uint64_t number = 0;
    std::memcpy(&number, bytes.data(), kKeyBytes);
    return number;
  }
};

}  // namespace rushfs::fs
