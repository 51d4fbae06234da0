// The fate of packets by experiment: each packet belongs to the epoch in which it was sent, and an
// epoch is judged when all its packets are resolved. So a loss counts against the rate that caused
// it, however late it is noticed. Pure; a value.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

#include "transport/rate/line_fit.h"
#include "transport/units.h"

namespace rushfs::transport {

/// What the rate control was doing: see rate_control.h.
enum class RatePhase : std::uint8_t { startup, drain, down, cruise, refill, up, dip };

struct Epoch {
  std::uint32_t id = 0;
  RatePhase phase = RatePhase::startup;
  bool closed = false;               // no packet will be added
  bool application_limited = false;  // we did not send as fast as we might have
  bool ignored = false;              // the path was silent meanwhile: says nothing
  TimePoint started{};
  TimePoint ended{};
  std::uint32_t sent = 0;  // packets; path MTU probes do not count
  std::uint32_t acknowledged = 0;
  std::uint32_t lost = 0;
  std::uint32_t loss_runs = 0;  // groups of consecutive losses
  Duration least_round_trip = Duration::max();
  std::uint32_t round_trips = 0;
  LineFit round_trip_line;  // over when they were sent; seconds since the first
  // The first and the last packet whose round trip is known: when it was sent, how long it took.
  TimePoint first_sent{};
  Duration first_round_trip{};
  TimePoint last_sent{};
  Duration last_round_trip{};
  // The most by which a round trip was longer than the one before, beyond the time between them: no
  // queue of who sends at less than twice a link's rate grows so fast.
  Duration leap{};

  void on_round_trip(Duration sample, TimePoint when_sent);
  /// Packets per second.
  double rate() const { return sent / std::max(seconds(ended - started), 1e-6); }
  /// By how much the queue grew, seconds per second; none where that cannot be told.
  std::optional<double> queue_growth() const;
  std::uint32_t resolved() const { return acknowledged + lost; }
  /// Enough to say how they spread.
  bool shows_round_trips() const { return round_trips >= 4; }
  bool complete() const { return closed && resolved() >= sent; }
  double loss() const { return resolved() == 0 ? 0 : static_cast<double>(lost) / resolved(); }
};

class RateEpochs {
 public:
  RateEpochs();

  Epoch& current() { return slot(newest_); }
  const Epoch& current() const { return epochs_[newest_ % kKept]; }
  /// Closes the current epoch and begins another.
  void open(RatePhase phase, TimePoint now);

  /// Null if it is too old to be known.
  Epoch* find(std::uint32_t id);
  void on_acknowledged(std::uint32_t id);
  void on_lost(std::uint32_t id, std::uint64_t number);
  /// A packet counted as lost has arrived.
  void on_late(std::uint32_t id);
  /// The oldest epoch that is complete and was not handed out yet; null if there is none. Epochs
  /// are handed out in the order of their ids.
  Epoch* next_complete();
  /// Nothing that is under way may be judged.
  void ignore_all();

 private:
  // Epochs last at least a round trip or 40 packets, and all of a round trip's are resolved within
  // two: 64 leaves room for phases that change quickly.
  static constexpr std::uint32_t kKept = 64;
  Epoch& slot(std::uint32_t id) { return epochs_[id % kKept]; }

  std::array<Epoch, kKept> epochs_;
  std::uint32_t newest_ = 0;
  std::uint32_t next_to_judge_ = 0;
  std::uint64_t last_lost_ = 0;
};

}  // namespace rushfs::transport
