// By how much round trips vary for reasons other than a queue that we fill: radio links, waiting
// ACKs, pauses of a host. Within an epoch it is how far they spread about a line: what the line
// fits may be a queue that grows or shrinks. From epoch to epoch a queue may come and go, too; but
// it grows no faster than we send. So a spread between epochs counts as far as there were leaps.
// Pure; a value.
#pragma once

#include "transport/rate/rate_epochs.h"
#include "transport/units.h"

namespace rushfs::transport {

class Jitter {
 public:
  /// Of a time when we sent steadily.
  void on_epoch(const Epoch& epoch);
  /// The range over which round trips spread; smoothed, at most kMost.
  Duration range() const { return from_seconds(range_); }

  static constexpr Duration kMost = std::chrono::milliseconds(200);

 private:
  double epochs_ = 0;   // seen
  double mean_ = 0;     // of an epoch's round trips, s; this and the following smoothed
  double within_ = 0;   // their variance about a line, s²
  double between_ = 0;  // variance of epochs' means, s²
  double leap_ = 0;     // the longest of an epoch, s
  double range_ = 0;    // s
};

}  // namespace rushfs::transport
