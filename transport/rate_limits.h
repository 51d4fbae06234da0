// What the user may say about a connection's sending rate.
#pragma once

#include <cstdint>

#include "transport/units.h"

namespace rushfs::transport {

/// How a connection behaves beside other traffic (docs/decisions/0001-rate-control.md). The numbers
/// are on the wire (RATE):
/// fixed goes at its target, high takes more than its share, fair takes its share, low takes only
/// what others leave.
enum class RatePolicy : std::uint8_t { fixed = 0, high = 1, fair = 2, low = 3 };

/// Rates are goodput: payload that arrives, not datagrams that leave.
struct RateLimits {
  RatePolicy policy = RatePolicy::fair;
  BitRate target = BitRate::infinite();  // never faster than this
  BitRate minimum{0};                    // never slower, unless the receiver's credit says so
  bool operator==(const RateLimits&) const = default;
};

}  // namespace rushfs::transport
