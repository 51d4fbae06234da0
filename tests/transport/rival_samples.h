// The delivery rate of BBR's draft (draft-ietf-ccwg-bbr, section 4.1), with what was lost
// meanwhile. Bytes, seconds.
#pragma once

#include <optional>
#include <vector>

#include "transport/recovery/loss_detection.h"
#include "transport/units.h"

namespace rushfs::transport::simulation {

class RivalSamples {
 public:
  /// The connection when a packet left.
  struct Packet {
    TimePoint sent;
    TimePoint first_sent;
    TimePoint delivered_time;
    double delivered = 0;
    double lost = 0;
    double in_flight = 0;  // the packet included
    double size = 0;
    bool limited = false;  // by the application
  };
  /// What an ACK tells.
  struct Sample {
    double rate = 0;  // 0: none
    double delivered = 0;
    double prior_delivered = 0;
    double newly = 0;
    double in_flight = 0;
    double lost = 0;
    bool limited = false;
    std::optional<Duration> round_trip;
  };

  RivalSamples() : sent_(1 << 18) {}
  void on_sent(std::uint64_t number, std::uint64_t size, std::uint64_t in_flight_before,
               TimePoint now);
  Sample on_acknowledged(const LossOutcome& outcome, std::optional<Duration> round_trip,
                         Duration min_round_trip, TimePoint now);
  const Packet& on_lost(std::uint64_t number);
  void on_application_limited(double in_flight);

  bool limited() const { return limited_until_ > 0; }
  double delivered() const { return delivered_; }
  double lost() const { return lost_; }

 private:
  Packet& at(std::uint64_t number) { return sent_[number % sent_.size()]; }

  std::vector<Packet> sent_;  // more than are ever in flight
  double delivered_ = 0;
  double lost_ = 0;
  double limited_until_ = 0;
  TimePoint delivered_time_{};
  TimePoint first_sent_{};
};

}  // namespace rushfs::transport::simulation
