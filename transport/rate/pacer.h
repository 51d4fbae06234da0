// Spreads datagrams over time: a leaky bucket that lets small bursts pass, sized for GSO, and
// keeps a small reserve for urgent messages. Pure; a value.
#pragma once

#include "transport/units.h"

namespace rushfs::transport {

class Pacer {
 public:
  /// Urgent messages may run this many datagrams ahead of the pacing rate.
  static constexpr int kUrgentBurst = 10;

  void set_rate(BitRate wire_rate, Bytes datagram_size);
  /// How much of what could have left before now may leave at once: longer paths bear more.
  void set_round_trip(Duration round_trip);
  /// May a datagram leave now?
  bool may_send(bool urgent, TimePoint now) const;
  /// When may_send(false) turns true.
  TimePoint next_send() const;
  void on_sent(Bytes wire_size, TimePoint now);
  /// Most that leaves in one burst.
  Bytes burst() const { return burst_; }

 private:
  BitRate rate_ = 10_Mbps;
  Bytes datagram_ = 1200_B;
  Bytes burst_ = 12000_B;
  Duration burst_time_{};
  Duration urgent_time_{};
  Duration lateness_ = std::chrono::milliseconds(1);
  TimePoint due_{};  // when everything sent so far has left at the pacing rate
};

}  // namespace rushfs::transport
