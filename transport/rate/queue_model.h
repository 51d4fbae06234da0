// How long the path takes empty (the base round trip), how much of what we see is jitter, and how
// long the queue is that stands at the bottleneck. Pure; a value.
#pragma once

#include <array>
#include <cstddef>

#include "transport/rate/jitter.h"
#include "transport/rate/rate_epochs.h"
#include "transport/rate_limits.h"
#include "transport/units.h"

namespace rushfs::transport {

class QueueModel {
 public:
  /// A round trip without the peer's ACK delay.
  void on_round_trip(Duration sample, TimePoint now);
  /// Any other epoch: learns how round trips spread.
  void on_epoch(const Epoch& epoch);
  /// A dip: learns the base round trip, also when it became longer; but not where `lossy`, which
  /// speaks for a full buffer. True: much longer, so what was taken for a queue was none.
  bool on_dip(const Epoch& epoch, bool lossy, TimePoint now);

  bool known() const { return base_ < Duration::max(); }
  Duration base() const { return base_; }
  /// What round trips spread over although the queue is the same.
  Duration jitter() const { return jitter_.range(); }
  /// The queue that stood throughout the epoch.
  Duration standing(const Epoch& epoch) const;
  Duration standing() const { return standing_; }
  /// The queue that the last kRecent round trips all saw: known sooner than an epoch's.
  Duration recent_queue() const;
  /// The queue we allow ourselves at this bandwidth (bytes per second): smaller for faster flows,
  /// so that flows sharing a bottleneck draw near each other.
  Duration allowance(double bandwidth, RatePolicy policy) const;
  /// Did the epoch see the path as empty as anyone did in the last minute? The base may have risen
  /// with a queue that many flows keep; this does not.
  bool emptied(const Epoch& epoch, Duration allowed) const;
  /// Was there no queue at some time of the epoch, as far as jitter lets us see?
  bool gone(const Epoch& epoch) const;
  /// When the queue was last gone, or shorter than ever since forget_lowest(). All who share it saw
  /// that at that time.
  TimePoint lowest_seen() const { return lowest_seen_; }
  void forget_lowest() { lowest_ = Duration::max(); }
  void reset() { *this = QueueModel(); }

 private:
  static constexpr std::size_t kRecent = 8;
  /// Round trips that differ by less are the same.
  static Duration nothing(Duration round_trip);

  Duration base_ = Duration::max();
  std::array<Duration, 2> least_{Duration::max(), Duration::max()};  // of the last minute, this one
  TimePoint minute_{};
  std::array<Duration, kRecent> recent_{};  // zero: none yet
  std::size_t next_recent_ = 0;
  Jitter jitter_;
  Duration standing_{};
  Duration lowest_ = Duration::max();  // round trip since forget_lowest()
  TimePoint lowest_seen_{};
  Duration last_dip_{};
  int longer_dips_ = 0;
};

}  // namespace rushfs::transport
