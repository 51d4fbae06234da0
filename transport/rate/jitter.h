// By how much round trips vary for reasons other than a queue that we fill: radio links, waiting
// ACKs, pauses of a host. Within an epoch it is how far they spread about a line: what the line
// fits may be a queue that grows or shrinks. From epoch to epoch a queue may come and go, too; but
// while we send steadily, it does not leap. So a spread between epochs counts as far as there were
// leaps. Pure; a value.
#pragma once

#include "transport/rate/rate_epochs.h"
#include "transport/units.h"

namespace rushfs::transport {

class Jitter {
 public:
  /// Cruising, or of startup: of that, when rates change, only the spread about a line counts.
  void on_epoch(const Epoch& epoch);
  /// The range over which round trips spread; smoothed, at most kMost.
  Duration range() const;

  /// More is no jitter but an outage.
  static constexpr Duration kMost = std::chrono::milliseconds(200);

 private:
  double narrow_ = 0;   // the range within an epoch, s; all here are smoothed
  double epochs_ = 0;   // cruised through
  double mean_ = 0;     // of their round trips, s
  double within_ = 0;   // the variance about a line, s²
  double between_ = 0;  // the variance of their means, s²
  double leap_ = 0;     // the longest of each, s
};

}  // namespace rushfs::transport
