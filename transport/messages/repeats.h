// Sends small urgent messages a second time where the path loses packets, spaced beyond a short
// burst of losses: a lost one costs its asker that space, not another round trip. Remembers what is
// to be repeated, and when. Pure; a value; owner: Exchange.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>

#include "transport/recovery/sent_packets.h"
#include "transport/units.h"

namespace rushfs::transport {

/// Larger messages are not repeated.
inline constexpr std::uint32_t kMaxRepeated = 1024;

class Repeats {
 public:
  /// Between a message and its repetition; none: the path is good, nothing is repeated.
  void set_spacing(std::optional<Duration> spacing) { spacing_ = spacing; }
  /// A whole small message was sent for the first time.
  void on_sent(const SentFrame& frame, TimePoint now);
  std::optional<TimePoint> deadline() const;
  /// The next frame whose time has come.
  std::optional<SentFrame> take_due(TimePoint now);

 private:
  // A connection that asks more than this within the spacing moves bulk in small pieces.
  static constexpr std::size_t kMaxPending = 64;
  struct Pending {
    SentFrame frame;
    TimePoint due{};
  };
  std::optional<Duration> spacing_;
  std::deque<Pending> pending_;  // by time
};

}  // namespace rushfs::transport
