#include "tests/transport/sender.h"

#include <algorithm>

namespace rushfs::transport::simulation {

namespace {
constexpr Bytes kRivalDatagram = 1472_B;
}

Sender::Sender(const Recovery::Config& config, Control control) : recovery_(config) {
  if (control == Control::cubic) rival_ = make_cubic();
  if (control == Control::bbr1) rival_ = make_bbr1(config.seed);
  if (control == Control::bbr3) rival_ = make_bbr3(config.seed);
}

std::uint64_t Sender::next_number() const {
  return rival_ ? loss_.packets().next_number() : recovery_.next_number();
}

Bytes Sender::datagram_size() const {
  return rival_ ? kRivalDatagram : recovery_.datagram_size();
}

bool Sender::may_send(TimePoint now) const {
  if (!rival_) return recovery_.may_send(false, now);
  if (loss_.probes_owed() > 0) return true;
  return loss_.packets().bytes_in_flight() + kRivalDatagram.count <= rival_->window() &&
         pacer_.may_send(false, now);
}

std::optional<Bytes> Sender::path_mtu_probe(TimePoint now) const {
  return rival_ ? std::nullopt : recovery_.path_mtu_probe(now);
}

void Sender::on_sent(Bytes size, const SentFrame& frame, TimePoint now) {
  if (!rival_) return recovery_.on_sent(size, true, {&frame, 1}, now);
  rival_->on_sent(next_number(), size.count, loss_.packets().bytes_in_flight(), now);
  loss_.on_sent(size, true, {&frame, 1}, now);
  pacer_.set_rate(rival_->pacing_rate(), kRivalDatagram);
  pacer_.on_sent(size, now);
}

void Sender::on_nothing_to_send() {
  if (!rival_) return recovery_.on_nothing_to_send(false);
  rival_->on_application_limited(loss_.packets().bytes_in_flight());
}

int Sender::probes_owed() const {
  return rival_ ? loss_.probes_owed() : recovery_.probes_owed();
}

std::span<const SentFrame> Sender::frames_to_probe() const {
  return rival_ ? loss_.frames_to_probe() : recovery_.frames_to_probe();
}

bool Sender::on_ack(std::span<const NumberRange> ranges, Duration delay, TimePoint now,
                    LossOutcome& outcome) {
  if (!rival_) return recovery_.on_ack(ranges, delay, now, outcome);
  if (!loss_.on_ack(ranges, delay, round_trip_, now, outcome)) return false;
  tell_rival(outcome, delay, now);
  return true;
}

void Sender::on_timer(TimePoint now, LossOutcome& outcome) {
  if (!rival_) return recovery_.on_timer(now, outcome);
  loss_.on_timer(round_trip_, now, outcome);
  tell_rival(outcome, Duration::zero(), now);
}

void Sender::tell_rival(const LossOutcome& outcome, Duration ack_delay, TimePoint now) {
  std::optional<Duration> trip = outcome.round_trip;
  if (trip) *trip = std::max(*trip - ack_delay, Duration{1});
  rival_->on_outcome(outcome, trip, loss_.packets().bytes_in_flight(), now);
  pacer_.set_rate(rival_->pacing_rate(), kRivalDatagram);
  pacer_.set_round_trip(round_trip_.minimum());
}

std::optional<TimePoint> Sender::deadline(bool has_data) const {
  if (!rival_) return recovery_.deadline(has_data);
  std::optional<TimePoint> due = loss_.deadline(round_trip_);
  const bool open = loss_.packets().bytes_in_flight() + kRivalDatagram.count <= rival_->window();
  if (has_data && open) due = due ? std::min(*due, pacer_.next_send()) : pacer_.next_send();
  return due;
}

void Sender::on_first_round_trip(Duration sample, TimePoint now) {
  if (!rival_) return recovery_.on_round_trip_sample(sample, Duration::zero(), now);
  round_trip_.update(sample, Duration::zero(), now);
  pacer_.set_rate(rival_->pacing_rate(), kRivalDatagram);
}

bool Sender::knows_round_trip() const {
  return rival_ ? round_trip_.has_sample() : recovery_.round_trip().has_sample();
}

}  // namespace rushfs::transport::simulation
