// How long the path takes empty (the base round trip), how much of what we see is jitter, and how
// long the queue is that stands at the bottleneck. Pure; a value.
#pragma once

#include <array>
#include <cstddef>

#include "transport/rate_epochs.h"
#include "transport/rate_limits.h"
#include "transport/units.h"

namespace rushfs::transport {

class QueueModel {
 public:
  /// A round trip without the peer's ACK delay.
  void on_round_trip(Duration sample, TimePoint now);
  /// Any other epoch: learns the spread of round trips.
  void on_epoch(const Epoch& epoch);
  /// A dip: learns the base round trip, also when it became longer; but not where `lossy`, which
  /// speaks for a full buffer.
  void on_dip(const Epoch& epoch, bool lossy, TimePoint now);

  bool known() const { return base_ < Duration::max(); }
  Duration base() const { return base_; }
  /// What packets take beyond the least of their epoch: jitter and waiting ACKs, not a queue.
  Duration jitter() const { return jitter_; }
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
  /// When a round trip near the base was last seen.
  TimePoint base_seen() const { return base_seen_; }
  void reset() { *this = QueueModel(); }

 private:
  static constexpr std::size_t kRecent = 8;

  Duration base_ = Duration::max();
  std::array<Duration, 2> least_{Duration::max(), Duration::max()};  // of the last minute, this one
  TimePoint minute_{};
  std::array<Duration, kRecent> recent_{};  // zero: none yet
  std::size_t next_recent_ = 0;
  Duration jitter_{};
  Duration step_{};        // mean change from one cruise epoch's least to the next
  Duration last_least_{};  // of the epoch before, if that was a cruise
  Duration standing_{};
  TimePoint base_seen_{};
  Duration last_dip_{};
  int longer_dips_ = 0;
};

}  // namespace rushfs::transport
