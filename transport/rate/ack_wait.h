// By how much longer than the round trip packets are in flight until we know of them. A round trip
// is that of the newest packet acknowledged; where packets overtake each other, or their ACKs do,
// most are older than that, and by Little's law a window must last for them, too. Pure; a value.
#pragma once

#include <algorithm>
#include <cmath>
#include <optional>

#include "transport/recovery/loss_detection.h"
#include "transport/recovery/received_packets.h"
#include "transport/units.h"

namespace rushfs::transport {

class AckWait {
 public:
  /// Packets that were silence's do not count.
  void on_outcome(const LossOutcome& outcome, TimePoint now) {
    if (outcome.round_trip) round_trip_ = *outcome.round_trip;
    if (outcome.after_silence || !round_trip_) return;
    double sum = 0;
    const auto add = [&](const LossOutcome::Packet& packet) {
      sum += seconds(std::clamp(now - packet.sent - *round_trip_, Duration::zero(), kMost));
    };
    std::ranges::for_each(outcome.acknowledged_packets, add);
    std::ranges::for_each(outcome.late_packets, add);
    const auto count = static_cast<double>(outcome.acknowledged_packets.size() +
                                           outcome.late_packets.size());
    if (count > 0) mean_ += (sum / count - mean_) * -std::expm1(-count / kMemory);
  }
  /// The mean over packets, s, beyond the delay that ACKs have anyway.
  double beyond_ack_delay(Duration base) const {
    return std::max(mean_ - seconds(ack_delay_for(base)), 0.0);
  }

  /// No path reorders by more, and a peer that keeps ACKs back opens the window by no more.
  static constexpr Duration kMost = std::chrono::milliseconds(200);

 private:
  static constexpr double kMemory = 256;  // packets
  std::optional<Duration> round_trip_;    // the latest, ACK delay included
  double mean_ = 0;                       // s
};

}  // namespace rushfs::transport
