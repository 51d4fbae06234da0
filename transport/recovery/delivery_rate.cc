#include "transport/recovery/delivery_rate.h"

#include <algorithm>

namespace rushfs::transport {

DeliveryRate::Anchor DeliveryRate::current(TimePoint now) const {
  return {delivered_, delivered_time_, first_sent_time_, sent_, now};
}

void DeliveryRate::restart(TimePoint now) {
  older_ = newer_ = current(now);
}

void DeliveryRate::on_sent(DeliverySnapshot& snapshot, std::uint64_t in_flight_before,
                           std::uint32_t wire_size, TimePoint now) {
  if (in_flight_before == 0) {  // after a pause the clock of the path starts anew
    first_sent_time_ = now;
    delivered_time_ = now;
    restart(now);
  } else if (sent_ - newer_.sent >= span_bytes_ && now - newer_.set >= span_time_) {
    older_ = newer_;
    newer_ = current(now);
  }
  sent_ += wire_size;
  snapshot.delivered = older_.delivered;
  snapshot.delivered_time = older_.delivered_time;
  snapshot.first_sent_time = older_.first_sent_time;
  snapshot.in_flight = static_cast<std::uint32_t>(in_flight_before + wire_size);
  snapshot.application_limited = limited_until_ != 0;
}

RateSample DeliveryRate::on_ack(const std::vector<LossOutcome::Packet>& acknowledged,
                                const std::vector<LossOutcome::Packet>& late,
                                Duration minimum_round_trip, TimePoint now) {
  const LossOutcome::Packet* newest = nullptr;
  for (const LossOutcome::Packet& packet : acknowledged) {
    if (!packet.ack_eliciting) continue;
    delivered_ += packet.wire_size;
    newest = &packet;
  }
  for (const LossOutcome::Packet& packet : late) delivered_ += packet.wire_size;
  if (newest == nullptr) return {};
  delivered_time_ = now;
  first_sent_time_ = std::max(first_sent_time_, newest->sent);
  if (limited_until_ != 0 && delivered_ > limited_until_) {
    limited_until_ = 0;
    restart(now);
  }
  RateSample sample;
  sample.application_limited = newest->snapshot.application_limited;
  sample.interval = std::max(newest->sent - newest->snapshot.first_sent_time,
                             now - newest->snapshot.delivered_time);
  if (sample.interval < minimum_round_trip || sample.interval <= Duration::zero()) return sample;
  sample.bytes_per_second =
      static_cast<double>(delivered_ - newest->snapshot.delivered) / seconds(sample.interval);
  return sample;
}

void DeliveryRate::on_application_limited(std::uint64_t bytes_in_flight) {
  limited_until_ = std::max<std::uint64_t>(delivered_ + bytes_in_flight, 1);
}

}  // namespace rushfs::transport
