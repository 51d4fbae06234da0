// Notices that a fixed rate is more than the path carries: of what was sent over two seconds, less
// than about three quarters arrived beyond what the path loses anyway. Pure; a value.
#pragma once

#include <cstdint>
#include <optional>

#include "transport/units.h"

namespace rushfs::transport {

class CircuitBreaker {
 public:
  /// `sent` and `delivered`: bytes so far. `yield`: the share that arrives when the path is not
  /// overloaded. What was sent is compared with what was delivered a round trip later.
  void update(std::uint64_t sent, std::uint64_t delivered, Duration round_trip, double yield,
              TimePoint now);
  bool tripped() const { return tripped_; }
  /// The path carries the rate now.
  void close();

 private:
  bool tripped_ = false;
  std::optional<TimePoint> start_;
  std::uint64_t sent_at_start_ = 0;
  std::optional<std::uint64_t> delivered_at_start_;
  std::optional<std::uint64_t> sent_at_end_;
};

}  // namespace rushfs::transport
