#include "transport/rate/rate_epochs.h"

namespace rushfs::transport {

void Epoch::on_round_trip(Duration sample, TimePoint when_sent) {
  if (round_trips++ == 0) {
    first_sent = when_sent;
    first_round_trip = sample;
  } else {
    const Duration between = std::max(when_sent - last_sent, Duration::zero());
    leap = std::max(leap, sample - last_round_trip - between);
  }
  last_sent = when_sent;
  last_round_trip = sample;
  least_round_trip = std::min(least_round_trip, sample);
  round_trip_line.add(seconds(when_sent - first_sent), seconds(sample - first_round_trip));
}

std::optional<double> Epoch::queue_growth() const {
  if (round_trips < 3 || 2 * (last_sent - first_sent) < ended - started) return std::nullopt;
  return seconds(last_round_trip - first_round_trip) / seconds(last_sent - first_sent);
}

RateEpochs::RateEpochs() {
  epochs_[0] = {};
}

void RateEpochs::open(RatePhase phase, TimePoint now) {
  current().closed = true;
  current().ended = now;
  ++newest_;
  if (newest_ - next_to_judge_ >= kKept) next_to_judge_ = newest_ - kKept + 1;
  current() = {};
  current().id = newest_;
  current().phase = phase;
  current().started = now;
}

Epoch* RateEpochs::find(std::uint32_t id) {
  Epoch& epoch = slot(id);
  return epoch.id == id ? &epoch : nullptr;
}

void RateEpochs::on_acknowledged(std::uint32_t id) {
  if (Epoch* epoch = find(id)) ++epoch->acknowledged;
}

void RateEpochs::on_lost(std::uint32_t id, std::uint64_t number) {
  if (Epoch* epoch = find(id)) {
    ++epoch->lost;
    if (epoch->lost == 1 || number != last_lost_ + 1) ++epoch->loss_runs;
  }
  last_lost_ = number;
}

void RateEpochs::on_late(std::uint32_t id) {
  Epoch* epoch = find(id);
  if (epoch == nullptr || epoch->lost == 0) return;
  --epoch->lost;
  ++epoch->acknowledged;
}

Epoch* RateEpochs::next_complete() {
  if (next_to_judge_ == newest_ || !slot(next_to_judge_).complete()) return nullptr;
  return &slot(next_to_judge_++);
}

void RateEpochs::ignore_all() {
  for (std::uint32_t id = next_to_judge_; id != newest_ + 1; ++id) slot(id).ignored = true;
}

}  // namespace rushfs::transport
