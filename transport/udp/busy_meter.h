// How much of its time a loop spends at work, or waiting for a processor: the share over the last
// quarter of a second. Pure; a value.
#pragma once

#include <algorithm>

#include "transport/units.h"

namespace rushfs::transport {

class BusyMeter {
 public:
  /// The loop worked without a pause from `from` to `until`. True: there is a new share.
  bool worked(TimePoint from, TimePoint until) {
    busy_ += until - from;
    period_ = until - start_;
    if (period_ < kPeriod) return false;
    share_ = seconds(busy_) / seconds(period_);
    start_ = until;
    busy_ = {};
    return true;
  }
  /// After worked() was true: how long the loop's thread has waited for a processor in all.
  void waited(Duration in_all) {
    if (waited_ == Duration::zero()) waited_ = in_all;  // before this was asked
    share_ = std::min(1.0, share_ + seconds(in_all - waited_) / seconds(period_));
    waited_ = in_all;
  }
  double share() const { return share_; }

 private:
  static constexpr Duration kPeriod = std::chrono::milliseconds(250);
  TimePoint start_{};
  Duration busy_{}, period_{}, waited_{};
  double share_ = 0;
};

}  // namespace rushfs::transport
