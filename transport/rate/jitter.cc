#include "transport/rate/jitter.h"

#include <algorithm>
#include <cmath>

namespace rushfs::transport {

namespace {

// Of standard deviations; an even spread has 3.5. What a line fits is not seen in short epochs.
constexpr double kRange = 4.2;
// The longest leap of an epoch that sees few changes of the delay is a fraction of their range.
constexpr double kLeaps = 5;
// A host that wakes up late lets a burst go: a queue of ours may leap by so much, s.
constexpr double kBurst = 0.005;
// Epochs to average over. Delays of a radio link are held for as long as an epoch, so few of them
// show little of what is between them.
constexpr double kFew = 8;
constexpr double kMany = 32;

}  // namespace

void Jitter::on_epoch(const Epoch& epoch) {
  if (!epoch.shows_round_trips()) return;
  const double most = seconds(kMost);
  const double deviation = std::min(epoch.round_trip_line.deviation(), most / kRange);
  narrow_ += (kRange * deviation - narrow_) / kFew;
  if (epoch.phase != RatePhase::cruise) return;
  const double mean = seconds(epoch.first_round_trip) + epoch.round_trip_line.mean();
  if (epochs_++ == 0) mean_ = mean;
  const double weight = 1 / std::min(epochs_, kMany);
  const double away = std::clamp(mean - mean_, -most, most);
  const double leap = std::min(seconds(epoch.leap), most);
  mean_ += away * weight;
  within_ += (deviation * deviation - within_) * weight;
  between_ += (away * away - between_) * weight;
  leap_ += ((leap > kBurst ? leap : 0) - leap_) * weight;
}

Duration Jitter::range() const {
  const double wide = std::min(kRange * std::sqrt(within_ + between_), kLeaps * leap_);
  return std::min(from_seconds(std::max(narrow_, wide)), kMost);
}

}  // namespace rushfs::transport
