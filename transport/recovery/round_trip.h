// Round-trip time of a path: RFC 9002, section 5, with a windowed minimum (RFC 9002, 5.2 permits
// re-establishing it) so that a longer route is believed in the end.
#pragma once

#include <array>

#include "transport/units.h"

namespace rushfs::transport {

/// Assumed before the first sample: RFC 9002, section 6.2.2.
inline constexpr Duration kInitialRoundTrip = std::chrono::milliseconds(333);

class RoundTrip {
 public:
  /// A packet sent `sample` ago was acknowledged; the peer says it held the ACK for `ack_delay`.
  void update(Duration sample, Duration ack_delay, TimePoint now);
  /// Begins anew on another path; the old estimate serves until the first sample.
  void reset();

  bool has_sample() const { return has_sample_; }
  Duration smoothed() const { return smoothed_; }
  Duration variation() const { return variation_; }
  Duration latest() const { return latest_; }
  /// Smallest raw sample of the last kMinimumWindow to 2 kMinimumWindow.
  Duration minimum() const { return has_sample_ ? minimum_ : smoothed_; }
  /// Probe timeout without back-off and without the peer's ACK delay: RFC 9002, section 6.2.1.
  Duration probe_timeout() const;

  static constexpr Duration kMinimumWindow = std::chrono::seconds(60);

 private:
  bool has_sample_ = false;
  Duration smoothed_ = kInitialRoundTrip;
  Duration variation_ = kInitialRoundTrip / 2;
  Duration latest_ = kInitialRoundTrip;
  Duration minimum_ = Duration::max();
  std::array<Duration, 2> window_{Duration::max(), Duration::max()};  // previous, current
  TimePoint window_start_{};
};

}  // namespace rushfs::transport
