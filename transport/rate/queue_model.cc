#include "transport/rate/queue_model.h"

#include <algorithm>
#include <cmath>

namespace rushfs::transport {

namespace {

// The same for near and far: of two who share a queue, the one who allows less of it yields until
// it has little.
constexpr Duration kAllowance = std::chrono::milliseconds(4);
// However slow a flow is, so much or a tenth of a round trip is the most; and on a short path less,
// for a buffer that is full shows only as long a queue as it holds.
constexpr Duration kMostAllowed = std::chrono::milliseconds(5);
constexpr Duration kMostAllowedNear = std::chrono::milliseconds(3);  // and that tenth
// For flows of this bandwidth; others scale by the square root, as in Swift (SIGCOMM 2020,
// section 3.2).
constexpr double kReferenceBandwidth = 50e6 / 8;
constexpr double kMinScale = 0.25;
constexpr double kMaxScale = 4;
constexpr double kLowScale = 0.2;
constexpr Duration kMuchJitter = std::chrono::milliseconds(10);
constexpr Duration kMinute = std::chrono::seconds(60);

}  // namespace

Duration QueueModel::nothing(Duration round_trip) {
  return round_trip / 50 + std::chrono::microseconds(500);
}

void QueueModel::on_round_trip(Duration sample, TimePoint now) {
  base_ = std::min(base_, sample);
  if (now - minute_ > kMinute) {
    least_ = {least_[1], Duration::max()};
    minute_ = now;
  }
  least_[1] = std::min(least_[1], sample);
  recent_[next_recent_++ % kRecent] = sample;
  const Duration same = nothing(base_);
  if (sample <= base_ + same || sample < lowest_ - same) lowest_seen_ = now;
  lowest_ = std::min(lowest_, sample);
}

Duration QueueModel::recent_queue() const {
  const Duration least = *std::min_element(recent_.begin(), recent_.end());
  return std::max(least - base_, Duration::zero());
}

bool QueueModel::emptied(const Epoch& epoch, Duration allowed) const {
  return epoch.least_round_trip <= std::min(least_[0], least_[1]) + allowed;
}

bool QueueModel::gone(const Epoch& epoch) const {
  return standing(epoch) <= std::max(nothing(base_), jitter());
}

Duration QueueModel::standing(const Epoch& epoch) const {
  if (epoch.round_trips == 0) return Duration::zero();
  return std::max(epoch.least_round_trip - base_, Duration::zero());
}

void QueueModel::on_epoch(const Epoch& epoch) {
  jitter_.on_epoch(epoch);
  if (epoch.shows_round_trips()) standing_ = standing(epoch);
}

bool QueueModel::on_dip(const Epoch& epoch, bool lossy, TimePoint now) {
  if (epoch.round_trips == 0) return false;
  const Duration least = epoch.least_round_trip;
  // Jitter hides the base; what several flows do to a queue looks like a little of it.
  const bool hidden =
      jitter() > std::max(base_ / 4, kMuchJitter) && least <= base_ + 3 * jitter() / 2;
  if (least <= base_ || hidden) {
    longer_dips_ = 0;
    base_ = last_dip_ = least;
    if (hidden) lowest_seen_ = now;
    return false;
  }
  // A queue that fell meanwhile is no route.
  if (epoch.first_round_trip - epoch.last_round_trip > nothing(least)) return false;
  // Longer than before although we sent half: others' queue, or a longer route. A route is steady.
  const Duration difference = least > last_dip_ ? least - last_dip_ : last_dip_ - least;
  const bool same = difference < std::max(least / 50, jitter() / 2);
  longer_dips_ = same ? longer_dips_ + 1 : 1;
  last_dip_ = least;
  if (longer_dips_ < 4 || lossy) return false;
  const bool much = least > base_ + base_ / 4;
  base_ = least;
  lowest_seen_ = now;
  longer_dips_ = 0;
  return much;
}

Duration QueueModel::allowance(double bandwidth, RatePolicy policy) const {
  const Duration tenth = known() ? base_ / 10 : Duration::zero();
  const double plain = seconds(kAllowance);
  if (policy == RatePolicy::low) return from_seconds(plain * kLowScale);  // however little it gets
  const double scale =
      bandwidth > 0 ? std::clamp(std::sqrt(kReferenceBandwidth / bandwidth), kMinScale, kMaxScale)
                    : 1.0;
  const Duration most = std::min(kMostAllowedNear + tenth, std::max(kMostAllowed, tenth));
  const Duration fair = std::min(from_seconds(plain * scale), most);
  // On a short path no more than a tenth on top: a buffer that is full must show as a queue.
  return policy == RatePolicy::high ? fair + std::min(fair, tenth) : fair;
}

}  // namespace rushfs::transport
