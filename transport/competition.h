// Whether others keep the queue of the bottleneck full whatever we do, and the rate to hold beside
// them. Delay says nothing then, and whoever yields to it is left with nothing. A full queue does
// not show how much of the path is ours; but it grows when we send more and shrinks when we send
// less, the slower the larger the path is: so its capacity is learned from how the queue answers
// us (docs/decisions/0001-rate-control.md), and beside others we hold a share of that.
// Bytes per second of goodput. Pure; a value.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "transport/rate_epochs.h"
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
  /// Every epoch, in order; `packet` is the size of one in bytes.
  void on_epoch(const Epoch& epoch, double packet);
  /// A dip after we yielded much, or one that found the queue `gone`: how long it was before, and
  /// at the shortest in the dip. Flows of our own kind dip together, and their queue goes.
  void on_dip(Duration before, Duration seen, bool gone) {
    vain_dips_ = gone || 2 * seen < before ? 0 : vain_dips_ + 1;
    gone_dips_ = gone ? gone_dips_ + 1 : 0;
  }
  /// A cruise epoch, sent at `sent`.
  void on_cruise(const Sight& sight, TimePoint sent, TimePoint now);
  void reset() { *this = Competition(); }

  bool on() const { return on_; }
  /// To hold while on.
  double rate() const { return rate_; }
  /// What the path carries for all together, as the queue's answers tell; none where they do not.
  std::optional<double> answered_capacity() const;

 private:
  void look_for_others(const Sight& sight, TimePoint now);
  double capacity() const;

  std::array<double, 2> delivered_{};  // most: in the memory before this one, in this one
  TimePoint delivered_since_{};
  // Epochs that followed each other at different rates: the sums of a least-squares fit of the
  // queue's growth to the rate.
  std::uint32_t last_epoch_ = 0;
  double last_rate_ = 0;
  std::optional<double> last_growth_;
  double squares_ = 0;
  double products_ = 0;
  int answers_ = 0;

  int vain_dips_ = 0;   // in a row: left a queue
  int gone_dips_ = 0;   // in a row: did not
  TimePoint judged_{};  // last

  bool on_ = false;
  double rate_ = 0;
  Duration hold_{};  // until we try to yield again
  TimePoint begun_{};
  TimePoint left_{};
  TimePoint queued_{};  // last
  TimePoint cut_{};     // last
};

}  // namespace rushfs::transport
