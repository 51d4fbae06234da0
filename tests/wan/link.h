// One direction of an emulated link: a drop-tail queue before a transmitter of some rate, then a
// wire that delays, loses, repeats, reorders and damages. Pure: time and randomness are arguments,
// so a test can state exactly what must come out when.
//
//   arrive() -> policer -> queue (drop-tail) -> transmitter (rate) -> loss -> delay -> pop_due()
//
// Loss is behind the transmitter: what is lost has used its share of the rate, as on a real path.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <queue>
#include <random>
#include <vector>

#include "tests/wan/packet.h"

namespace rushfs::wan {

using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;
using Duration = Clock::duration;

struct LinkOptions {
  double rate = 0;                          // bit/s of IP packets; 0: no limit
  Duration buffer = std::chrono::milliseconds(100);  // queue, in time at `rate`
  Duration delay{0};                        // one way
  double loss = 0;                          // share of packets, 0..1
  double burst = 1;                         // mean length of a loss burst, packets; 1: independent
  Duration jitter{0};                       // delay varies by up to +- this
  bool jitter_reorders = false;  // drawn for each packet (as netem); else for each `jitter` of
                                 // time, and packets keep their order (as Wi-Fi)
  double reorder = 0;                                   // share held back by reorder_by
  Duration reorder_by = std::chrono::milliseconds(5);
  double duplicate = 0;
  double corrupt = 0;            // share with a flipped bit; the checksum tells
  bool corrupt_silently = false; // the checksum is made to fit the damage
  double policer = 0;            // bit/s of a token bucket that drops; 0: none
  Duration policer_burst = std::chrono::milliseconds(50);  // bucket depth, in time at `policer`
};

struct LinkCounters {
  std::uint64_t arrived = 0, arrived_bytes = 0;
  std::uint64_t delivered = 0, delivered_bytes = 0;  // with duplicates
  std::uint64_t transmitted_bytes = 0;               // through the transmitter, lost or not
  std::uint64_t dropped_by_queue = 0, dropped_by_policer = 0, dropped_by_loss = 0,
                dropped_by_cut = 0;
  std::uint64_t duplicated = 0, reordered = 0, corrupted = 0;
  Duration queue_max{0};
  double queue_sum_seconds = 0;  // over `transmitted` packets
  std::uint64_t transmitted = 0;
};

class Link {
 public:
  Link(LinkOptions options, std::uint64_t seed);

  void set_options(const LinkOptions& options, TimePoint now);
  const LinkOptions& options() const { return options_; }
  /// While cut nothing gets in and nothing gets out; what was under way is lost.
  void set_cut(bool cut) { cut_ = cut; }

  void arrive(Segment segment, TimePoint now);
  /// The next packet that has reached the far end by `now`, in order of arrival there.
  std::optional<Segment> pop_due(TimePoint now);
  /// When pop_due() will next have something to do; none when the link is empty.
  std::optional<TimePoint> next_event() const;

  const LinkCounters& counters() const { return counters_; }
  /// Share of the rate that was used between the first arrival and `now`; 0 before that.
  double utilisation(TimePoint now) const;
  Duration queue_delay() const;

 private:
  struct Waiting {
    Segment segment;
    TimePoint arrived;
  };
  struct Flying {
    Segment segment;
    TimePoint due;
    bool operator>(const Flying& other) const { return due > other.due; }
  };

  double random() { return uniform_(generator_); }
  bool policed(std::uint32_t size, TimePoint now);
  void transmit(TimePoint now);
  void fly(Segment segment, TimePoint sent);
  bool lost();
  Duration jitter(TimePoint now);
  Duration transmission_time(std::uint32_t size) const;
  double capacity(TimePoint now) const;  // bytes

  LinkOptions options_;
  std::mt19937_64 generator_;
  std::uniform_real_distribution<double> uniform_{0.0, 1.0};
  LinkCounters counters_;
  bool cut_ = false;

  std::deque<Waiting> queue_;
  std::uint64_t queued_bytes_ = 0;
  TimePoint transmitter_free_{};
  std::deque<Flying> in_order_;
  std::priority_queue<Flying, std::vector<Flying>, std::greater<>> stragglers_;

  bool in_burst_ = false;
  Duration jitter_now_{0};
  TimePoint jitter_until_{};
  double tokens_ = 0;  // bytes
  TimePoint tokens_at_{};
  double earlier_capacity_ = 0;  // bytes the rate allowed from the first arrival to rate_since_
  TimePoint rate_since_{};
  bool started_ = false;
};

}  // namespace rushfs::wan
