// How much of its time a loop spends at work: the share over the last quarter of a second.
// Pure; a value.
#pragma once

#include "transport/units.h"

namespace rushfs::transport {

class BusyMeter {
 public:
  /// The loop worked without a pause from `from` to `until`. True: there is a new share.
  bool worked(TimePoint from, TimePoint until) {
    busy_ += until - from;
    if (until - start_ < kPeriod) return false;
    share_ = seconds(busy_) / seconds(until - start_);
    start_ = until;
    busy_ = {};
    return true;
  }
  double share() const { return share_; }

 private:
  static constexpr Duration kPeriod = std::chrono::milliseconds(250);
  TimePoint start_{};
  Duration busy_{};
  double share_ = 0;
};

}  // namespace rushfs::transport
