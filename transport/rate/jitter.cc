#include "transport/rate/jitter.h"

#include <algorithm>
#include <cmath>

namespace rushfs::transport {

namespace {

// Of standard deviations; an even spread has 3.5. What a line fits is not seen in short epochs.
constexpr double kRange = 4.2;
// The longest leap of an epoch that sees few changes of the delay is a fraction of their range.
constexpr double kLeaps = 4;
// Epochs that the spread between them is averaged over, and the range. Delays of a radio link are
// held for as long as an epoch, so few of them show little of it.
constexpr double kMany = 32;
constexpr double kSome = 8;
constexpr std::uint32_t kFewRoundTrips = 4;

}  // namespace

void Jitter::on_epoch(const Epoch& epoch) {
  if (epoch.round_trips < kFewRoundTrips) return;
  ++epochs_;
  const double deviation = epoch.round_trip_line.deviation();
  const double mean = seconds(epoch.first_round_trip) + epoch.round_trip_line.mean();
  const double away = epochs_ > 1 ? mean - mean_ : 0;
  const double weight = 1 / std::min(epochs_, kMany);
  mean_ += (mean - mean_) * weight;
  within_ += (deviation * deviation - within_) * weight;
  between_ += (away * away - between_) * weight;
  leap_ += (seconds(epoch.leap) - leap_) * weight;
  const double wide = std::min(kRange * std::sqrt(within_ + between_), kLeaps * leap_);
  const double range = std::min(std::max(kRange * deviation, wide), seconds(kMost));
  range_ += (range - range_) / std::min(epochs_, kSome);
}

}  // namespace rushfs::transport
