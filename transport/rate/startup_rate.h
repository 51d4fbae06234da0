// The delivery rate of a quarter of a round trip, where startup asks for no more. There the rate
// grows several times per round trip, and a sample over a whole one (delivery_rate.h) is late by
// half of that. Bounded by the rate at which the same packets were sent, so that ACKs that arrive
// in a lump do not inflate it. Pure; a value.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "transport/units.h"

namespace rushfs::transport {

class StartupRate {
 public:
  /// `delivered` bytes so far; the newest of them was sent at `sent`.
  void on_ack(std::uint64_t delivered, TimePoint sent, TimePoint now);
  /// Bytes per second over the last `window` or a little more; 0 if too little is known.
  double rate(Duration window) const;
  void reset() { count_ = 0; }

 private:
  struct Point {
    std::uint64_t delivered = 0;
    TimePoint sent{};
    TimePoint acknowledged{};
  };
  // ACKs come at least 1 ms or an eighth of a round trip apart, but up to one per 256 packets.
  static constexpr std::size_t kPoints = 64;

  std::array<Point, kPoints> points_;
  std::size_t count_ = 0;  // ever
};

}  // namespace rushfs::transport
