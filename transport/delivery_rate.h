// Delivery rate of a path, from when packets left and when they were acknowledged:
// draft-cheng-iccrg-delivery-rate-estimation, as in draft-ietf-ccwg-bbr, section 4.1.
// Pure; a value.
#pragma once

#include <cstdint>

#include "transport/loss_detection.h"
#include "transport/sent_packets.h"
#include "transport/units.h"

namespace rushfs::transport {

/// What one ACK says about the path.
struct RateSample {
  double bytes_per_second = 0;      // 0: no valid sample
  bool application_limited = false;
  Duration interval{};
  std::uint64_t delivered = 0;      // bytes over the interval
  std::uint64_t prior_delivered = 0;  // total delivered when the newest acked packet was sent
  std::uint64_t in_flight_at_send = 0;
};

class DeliveryRate {
 public:
  /// Call before the packet counts as in flight; `in_flight` includes it.
  void on_sent(DeliverySnapshot& snapshot, std::uint64_t in_flight_before,
               std::uint32_t wire_size, TimePoint now);
  /// The sample of one ACK. `minimum_round_trip` rejects intervals too short to mean anything.
  RateSample on_ack(const std::vector<LossOutcome::Packet>& acknowledged,
                    const std::vector<LossOutcome::Packet>& late, Duration minimum_round_trip,
                    TimePoint now);
  /// Nothing to send: samples of what is now in flight say less than the path can do.
  void on_application_limited(std::uint64_t bytes_in_flight);
  bool application_limited() const { return limited_until_ != 0; }
  std::uint64_t delivered() const { return delivered_; }

 private:
  std::uint64_t delivered_ = 0;
  TimePoint delivered_time_{};
  TimePoint first_sent_time_{};
  std::uint64_t limited_until_ = 0;  // delivered count that ends the limited phase; 0: none
};

}  // namespace rushfs::transport
