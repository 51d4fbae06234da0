// The search for the rate of a path of which nothing is known: several times what is delivered, so
// that it grows more than twofold in each round trip, until it no longer grows or too much is lost.
// Rates in bytes per second of goodput. Pure; a value.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "transport/rate/rate_epochs.h"
#include "transport/rate/startup_rate.h"
#include "transport/units.h"

namespace rushfs::transport {

class Startup {
 public:
  /// Begins again, and forgets what was delivered.
  void begin();
  /// The rate to begin at.
  void set_initial_rate(double rate) { initial_rate_ = rate; }
  void end() { over_ = true; }
  bool over() const { return over_; }

  /// `delivered` bytes so far; the newest of them was sent at `sent`.
  void on_ack(std::uint64_t delivered, TimePoint sent, TimePoint now);
  void on_round_trip(Duration sample, TimePoint sent) { trips_.on_round_trip(sample, sent); }
  void forget_round_trips() { trips_ = {}; }
  /// An epoch's outcome; `lossy`: far more was lost than before.
  void on_epoch(bool lossy);
  /// Where enough are known to show how round trips spread: one epoch of startup is too short.
  std::optional<Epoch> take_round_trips();
  /// How much is delivered by now: over the last `window`, or by another measure.
  void update(Duration window, double measured);
  /// About once in a quarter of a round trip.
  void note(TimePoint now, Duration quarter);

  /// At which to send.
  double rate() const;
  double initial_rate() const { return initial_rate_; }
  /// Most delivered over a quarter of a round trip.
  double bandwidth() const { return bandwidth_; }
  /// From one quarter of a round trip to the next.
  bool grows() const;
  /// It lost so much that more is not to be had.
  bool plateau() const { return plateau_; }

 private:
  bool over_ = false;
  bool plateau_ = false;
  double initial_rate_ = 0;
  StartupRate delivered_;
  double bandwidth_ = 0;
  std::array<double, 2> before_{};  // the same, two quarters of a round trip ago and one
  TimePoint noted_{};
  int lossy_epochs_ = 0;  // in a row
  Epoch trips_;           // the round trips of several of its epochs
};

}  // namespace rushfs::transport
