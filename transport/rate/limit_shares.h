// What held a sender back lately: of all causes the one it spent most of its time with. A moment's
// cause says little, since between two packets of a full link there is always another.
//
// Pure; owner: Connection.
#pragma once

#include <array>

#include "transport/path_report.h"
#include "transport/units.h"

namespace rushfs::transport {

class LimitShares {
 public:
  /// Time until the next call is spent with `limit`.
  void note(SendLimit limit, TimePoint now);
  /// The largest share, as of `now`.
  SendLimit largest(TimePoint now) const;

 private:
  /// What was so long ago weighs 1/e of what is.
  static constexpr Duration kMemory = std::chrono::seconds(1);

  SendLimit current_ = SendLimit::application;
  TimePoint since_{};
  std::array<double, kSendLimits> shares_{};
};

}  // namespace rushfs::transport
