// Delivery rate of a path, from when packets left and when they were acknowledged:
// draft-cheng-iccrg-delivery-rate-estimation, as in draft-ietf-ccwg-bbr, section 4.1.
// Pure; a value.
#pragma once

#include <cstdint>

#include "transport/recovery/loss_detection.h"
#include "transport/recovery/sent_packets.h"
#include "transport/units.h"

namespace rushfs::transport {

/// What one ACK says about the path.
struct RateSample {
  double bytes_per_second = 0;  // 0: no valid sample
  bool application_limited = false;
  Duration interval{};
};

class DeliveryRate {
 public:
  /// Samples reach back at least this many bytes and this long beyond a round trip, so that few
  /// packets or jittery ACKs do not make a rate out of noise.
  void set_span(Bytes amount, Duration time) { span_bytes_ = amount.count, span_time_ = time; }

  /// Stamps a packet; `in_flight_before` does not include it.
  void on_sent(DeliverySnapshot& snapshot, std::uint64_t in_flight_before, std::uint32_t wire_size,
               TimePoint now);
  /// The sample of one ACK. `minimum_round_trip` rejects intervals too short to mean anything.
  RateSample on_ack(const std::vector<LossOutcome::Packet>& acknowledged,
                    const std::vector<LossOutcome::Packet>& late, Duration minimum_round_trip,
                    TimePoint now);
  /// Nothing to send: samples of what is now in flight say less than the path can do.
  void on_application_limited(std::uint64_t bytes_in_flight);
  std::uint64_t delivered() const { return delivered_; }

 private:
  // A state of the estimator to measure from; packets carry the older of two.
  struct Anchor {
    std::uint64_t delivered = 0;
    TimePoint delivered_time{};
    TimePoint first_sent_time{};
    std::uint64_t sent = 0;
    TimePoint set{};
  };
  Anchor current(TimePoint now) const;
  void restart(TimePoint now);

  std::uint64_t span_bytes_ = 0;
  Duration span_time_{};
  std::uint64_t sent_ = 0;
  std::uint64_t delivered_ = 0;
  TimePoint delivered_time_{};
  TimePoint first_sent_time_{};
  Anchor older_;
  Anchor newer_;
  std::uint64_t limited_until_ = 0;  // delivered count that ends the limited phase; 0: none
};

}  // namespace rushfs::transport
