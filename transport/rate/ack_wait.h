// By how much longer than the round trip packets are in flight until we know of them. A round trip
// is that of the newest packet acknowledged; where packets overtake each other, or their ACKs do,
// most are older than that, and by Little's law a window must last for them, too. Pure; a value.
#pragma once

#include <algorithm>
#include <optional>

#include "transport/recovery/loss_detection.h"
#include "transport/recovery/received_packets.h"
#include "transport/units.h"

namespace rushfs::transport {

class AckWait {
 public:
  void on_outcome(const LossOutcome& outcome, std::optional<Duration> round_trip, TimePoint now) {
    if (round_trip) round_trip_ = *round_trip;
    const auto note = [&](const LossOutcome::Packet& packet) {
      const double longer = seconds(now - packet.sent - round_trip_);
      mean_ += (std::max(longer, 0.0) - mean_) / kMemory;
    };
    std::ranges::for_each(outcome.acknowledged_packets, note);
    std::ranges::for_each(outcome.late_packets, note);
  }
  /// The mean over packets, s, beyond the delay that ACKs have anyway.
  double beyond_ack_delay(Duration base) const {
    return std::max(mean_ - seconds(ack_delay_for(base)), 0.0);
  }

 private:
  static constexpr double kMemory = 256;  // packets
  Duration round_trip_{};  // the latest
  double mean_ = 0;        // s
};

}  // namespace rushfs::transport
