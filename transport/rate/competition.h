// Whether others keep the queue of the bottleneck full whatever we do, and the rate to hold beside
// them. Delay says nothing then, and whoever yields to it is left with nothing. A full queue does
// not show how much of the path is ours: we hold a share of the capacity that the queue's answers
// tell (queue_answers.h, docs/decisions/0001-rate-control.md).
// Bytes per second of goodput. Pure; a value.
#pragma once

#include <array>
#include <optional>

#include "transport/rate/queue_answers.h"
#include "transport/rate/rate_epochs.h"
#include "transport/units.h"

namespace rushfs::transport {

class Competition {
 public:
  /// What a cruise epoch showed.
  struct Sight {
    Duration queue{};
    Duration allowed{};      // of it
    Duration base{};         // round trip
    double rate = 0;         // that we go at
    double lost = 0;         // share of packets beyond the floor
    bool excessive = false;  // was that
  };

  void on_delivered(double rate, TimePoint now);
  /// As QueueAnswers has it.
  void on_epoch(const Epoch& epoch, double packet, double floor) {
    answers_.on_epoch(epoch, packet, floor);
  }
  /// A dip after we yielded much, or one that found the queue `gone`: how long it was before, and
  /// at the shortest in the dip. Flows of our own kind dip together, and their queue goes.
  void on_dip(Duration before, Duration seen, bool gone) {
    vain_dips_ = gone || 2 * seen < before ? 0 : vain_dips_ + 1;
    gone_dips_ = gone ? gone_dips_ + 1 : 0;
  }
  void on_cruise(const Sight& sight, TimePoint now);
  void reset() { *this = Competition(); }

  bool on() const { return on_; }
  /// To hold while on.
  double rate() const { return rate_; }
  /// What the path carries for all together, where the queue's answers tell it.
  std::optional<double> answered_capacity() const { return answers_.capacity(); }

 private:
  void look_for_others(const Sight& sight, TimePoint now);
  double capacity() const;

  std::array<double, 2> delivered_{};  // most: in the memory before this one, in this one
  TimePoint delivered_since_{};
  QueueAnswers answers_;

  int vain_dips_ = 0;   // in a row: left a queue
  int gone_dips_ = 0;   // in a row: did not
  TimePoint judged_{};  // last

  bool on_ = false;
  double rate_ = 0;
  Duration hold_{};  // until we try to yield again
  TimePoint begun_{};
  TimePoint left_{};
  TimePoint queued_{};  // last
};

}  // namespace rushfs::transport
