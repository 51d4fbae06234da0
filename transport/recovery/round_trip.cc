#include "transport/recovery/round_trip.h"

#include <algorithm>

namespace rushfs::transport {

namespace {
constexpr Duration kGranularity = std::chrono::milliseconds(1);  // RFC 9002, section 6.1.2
}

void RoundTrip::update(Duration sample, Duration ack_delay, TimePoint now) {
  latest_ = sample;
  if (now - window_start_ >= kMinimumWindow) {
    window_[0] = window_[1];
    window_[1] = Duration::max();
    window_start_ = now;
  }
  window_[1] = std::min(window_[1], sample);
  minimum_ = std::min(window_[0], window_[1]);
  // A peer's claim may not push the sample below the minimum: RFC 9002, section 5.3.
  const Duration adjusted = sample - ack_delay >= minimum_ ? sample - ack_delay : sample;
  if (!has_sample_) {
    has_sample_ = true;
    smoothed_ = sample;
    variation_ = sample / 2;
    return;
  }
  const Duration deviation = smoothed_ > adjusted ? smoothed_ - adjusted : adjusted - smoothed_;
  variation_ = (3 * variation_ + deviation) / 4;
  smoothed_ = (7 * smoothed_ + adjusted) / 8;
}

void RoundTrip::reset() {
  has_sample_ = false;
  minimum_ = Duration::max();
  window_ = {Duration::max(), Duration::max()};
  window_start_ = {};
  variation_ = std::max(variation_, smoothed_ / 2);
}

Duration RoundTrip::probe_timeout() const {
  return smoothed_ + std::max(4 * variation_, kGranularity);
}

}  // namespace rushfs::transport
