#include "tests/transport/rival_samples.h"

#include <algorithm>

namespace rushfs::transport::simulation {

void RivalSamples::on_sent(std::uint64_t number, std::uint64_t size, std::uint64_t in_flight_before,
                           TimePoint now) {
  if (in_flight_before == 0) first_sent_ = delivered_time_ = now;
  at(number) = {.sent = now,
                .first_sent = first_sent_,
                .delivered_time = delivered_time_,
                .delivered = delivered_,
                .lost = lost_,
                .in_flight = static_cast<double>(in_flight_before + size),
                .size = static_cast<double>(size),
                .limited = limited()};
}

RivalSamples::Sample RivalSamples::on_acknowledged(const LossOutcome& outcome,
                                                   std::optional<Duration> round_trip,
                                                   Duration min_round_trip, TimePoint now) {
  const double before = delivered_;
  for (const auto& packet : outcome.acknowledged_packets) delivered_ += at(packet.number).size;
  const Packet& newest = at(outcome.acknowledged_packets.back().number);
  delivered_time_ = now;
  if (limited() && delivered_ > limited_until_) limited_until_ = 0;
  Sample sample;
  sample.round_trip = round_trip;
  sample.newly = delivered_ - before;
  sample.prior_delivered = newest.delivered;
  sample.limited = newest.limited;
  sample.in_flight = newest.in_flight;
  sample.lost = lost_ - newest.lost;
  sample.delivered = delivered_ - newest.delivered;
  const Duration interval = std::max(newest.sent - newest.first_sent, now - newest.delivered_time);
  first_sent_ = newest.sent;
  const bool reliable = min_round_trip == Duration::max() || interval >= min_round_trip;
  if (reliable && interval > Duration::zero()) sample.rate = sample.delivered / seconds(interval);
  return sample;
}

const RivalSamples::Packet& RivalSamples::on_lost(std::uint64_t number) {
  lost_ += at(number).size;
  return at(number);
}

void RivalSamples::on_application_limited(double in_flight) {
  limited_until_ = std::max(delivered_ + in_flight, 1.0);
}

}  // namespace rushfs::transport::simulation
