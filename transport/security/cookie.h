// Stateless proof that a client receives at the address it sends from: the server's retry packet
// carries a cookie, and only a packet that brings it back makes the server keep state.
// docs/protocol.md, "Cookie".
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "transport/address.h"
#include "transport/random_source.h"
#include "transport/security/key_schedule.h"
#include "transport/units.h"
#include "transport/wire/packet_header.h"

namespace rushfs::transport {

/// Time (8 bytes) and HMAC-SHA256 (32 bytes).
inline constexpr std::size_t kCookieLength = 40;
using Cookie = std::array<std::uint8_t, kCookieLength>;

/// How long a cookie is good for: far longer than a round trip, too short to hoard.
inline constexpr Duration kCookieLife = std::chrono::seconds(20);

/// Makes and checks the cookies of one server under a secret that changes every kCookieLife; the
/// one before stays good for checking. Owner: the server's endpoint.
class CookieJar {
 public:
  explicit CookieJar(RandomSource random, TimePoint now);

  /// For a client at `from` that calls itself `client` and sent to `original_destination`.
  Cookie make(const Address& from, const ConnectionId& client,
              const ConnectionId& original_destination, TimePoint now);

  /// Whether make() made this cookie for the same client, at most kCookieLife ago.
  bool check(std::span<const std::uint8_t> cookie, const Address& from, const ConnectionId& client,
             const ConnectionId& original_destination, TimePoint now);

 private:
  void rotate(TimePoint now);

  RandomSource random_;
  TimePoint start_;
  TimePoint rotated_;
  Secret current_{32};
  std::optional<Secret> previous_;
};

}  // namespace rushfs::transport
