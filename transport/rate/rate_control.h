// How fast to send: "rate-response control", a model of the path on the skeleton of BBRv3
// (draft-ietf-ccwg-bbr) in which loss is judged by experiment. Congestion loss disappears when we
// slow down, random loss does not. docs/decisions/0001-rate-control.md has the reasons and figures.
//
//   startup  2.77 × what is delivered, until that stops growing or a queue shows
//   drain    0.5, until the queue of startup is gone
//   cruise   1.0 for two to three seconds, less on a short path at first, longer while there is a
//            queue; bounded when delay or excess loss shows
//   refill   1.0 for a round trip, with all in flight that up may have
//   up       1.25, bounds lifted, while more is delivered and neither queue nor excess loss shows
//   down     0.8 until the queue of up is gone, then cruise
//   dip      0.5 for long enough to see the empty path and the loss that is not ours; all who share
//            a queue dip together
//
// Rates within are goodput in bytes per second; the wire rate is goodput / (1 - loss floor).
// Pure; a value.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>

#include "transport/path_report.h"
#include "transport/rate/ack_wait.h"
#include "transport/rate/bandwidth_filter.h"
#include "transport/rate/carried.h"
#include "transport/rate/circuit_breaker.h"
#include "transport/rate/competition.h"
#include "transport/rate/growth.h"
#include "transport/rate/loss_floor.h"
#include "transport/rate/queue_model.h"
#include "transport/rate/rate_epochs.h"
#include "transport/rate/startup.h"
#include "transport/rate_limits.h"
#include "transport/recovery/delivery_rate.h"
#include "transport/recovery/loss_detection.h"
#include "transport/units.h"

namespace rushfs::transport {

/// What a connection learned of a path, to start from when it sees that path again
/// (Careful Resume, draft-ietf-tsvwg-careful-resume).
struct RememberedPath {
  BitRate bandwidth{0};
  Duration minimum_round_trip{};
  bool at_least = false;  // the application gave no more: the path may carry more

  /// Another round trip is another path, of which nothing is known.
  bool is_of(Duration round_trip) const;
};

class RateControl {
 public:
  RateControl(const RateLimits& limits, const std::optional<RememberedPath>& remembered,
              std::uint64_t seed);

  /// A packet leaves: the epoch it belongs to. `counts`: it may say something about the path's
  /// loss (path MTU probes and mere ACKs do not).
  std::uint32_t on_sent(std::uint64_t number, std::uint32_t wire_size, bool counts,
                        std::uint64_t in_flight_before, TimePoint now);
  /// What an ACK or the loss timer told. `in_flight` is after it; `round_trip` without ACK delay.
  void on_outcome(const LossOutcome& outcome, const RateSample& sample,
                  std::optional<Duration> round_trip, std::uint64_t in_flight,
                  std::uint64_t next_number, TimePoint now);
  /// There is nothing to send for now.
  void on_application_limited() { epochs_.current().application_limited = round_limited_ = true; }
  void on_path_changed(TimePoint now);
  /// A first idea of the round trip, from the handshake.
  void on_first_round_trip(Duration sample, TimePoint now);

  void set_limits(const RateLimits& limits) { limits_ = limits, update_rates(); }
  void set_datagram_size(Bytes size) { datagram_ = static_cast<double>(size.count); }

  /// At which datagrams may leave.
  BitRate pacing_rate() const { return {pacing_ * 8}; }
  /// Most bytes in flight.
  std::uint64_t window() const { return static_cast<std::uint64_t>(window_); }
  /// Goodput the path can give, as estimated.
  BitRate bandwidth() const { return {goodput() * 8}; }
  /// What to start from next time; of no bandwidth where nothing was learned.
  RememberedPath remember() const;
  const LossFloor& loss() const { return loss_; }
  const QueueModel& queue() const { return queue_; }
  RatePhase phase() const { return phase_; }
  const Competition& competition() const { return competition_; }
  /// Others fill the queue, and we hold our share beside them.
  bool competing() const { return limits_.policy != RatePolicy::low && competition_.on(); }
  /// Zero until known.
  Duration minimum_round_trip() const { return queue_.known() ? queue_.base() : Duration::zero(); }
  /// Why it is not faster, when the application and the receiver would permit.
  SendLimit limit() const;
  /// Time and bytes a bandwidth sample should span at least, beyond a round trip.
  Duration sample_span() const { return startup_.over() ? queue_.jitter() : Duration::zero(); }
  Bytes sample_bytes() const;

 private:
  /// A shorter round trip tells nothing: at either end a thread may have to wait for its processor,
  /// for longer than that.
  static constexpr Duration kLeastRound = std::chrono::milliseconds(2);

  void count(const LossOutcome& outcome);
  double without_luck(const RateSample& sample) const;
  void on_round_end(std::uint64_t next_number, TimePoint now);
  void judge(const Epoch& epoch, TimePoint now);
  void judge_startup(const Epoch& epoch);
  void begin_startup(TimePoint now);
  void judge_up(const Epoch& epoch, TimePoint now);
  void judge_cruise(const Epoch& epoch, TimePoint now);
  void judge_dip(const Epoch& epoch, TimePoint now);
  void judge_early(TimePoint now);
  bool watch_others(const Epoch& epoch, bool excess, TimePoint now);
  void back_off_for_queue(const Epoch& epoch);
  void enter(RatePhase phase, TimePoint now);
  bool startup_full(TimePoint now);
  void leave_startup(TimePoint now);
  void advance(std::uint64_t in_flight, TimePoint now);
  void restart(TimePoint now);
  Duration allowed_queue() const;
  bool dip_due(TimePoint now) const;
  Duration dip_duration() const;
  Duration dip_interval() const;
  void note_probe();
  Duration cruise_duration();
  double gain() const;
  double queue_response() const;
  Duration startup_span() const;
  double goodput() const { return competing() ? competition_.rate() : bandwidth_.value(); }
  double wire_bandwidth() const { return goodput() / loss_.yield(); }
  double path_volume() const;
  bool goes_at_target() const;
  void update_rates();
  void update_window();

  RateLimits limits_;
  double datagram_ = 1200;
  std::uint64_t random_;

  BandwidthFilter bandwidth_;
  double lately_ = 0;      // delivery rate, smoothed over about a round trip
  double before_cut_ = 0;  // what was delivered when a queue made us back off; 0: it did not
  RateEpochs epochs_;
  LossFloor loss_;
  QueueModel queue_;
  AckWait wait_;
  Competition competition_;

  RatePhase phase_ = RatePhase::startup;
  TimePoint phase_start_{};
  int phase_rounds_ = 0;         // round trips since the phase's first packet was sent
  Duration cruise_{};            // length of this cruise
  std::uint64_t round_end_ = 0;  // the round ends when this packet is acknowledged
  TimePoint round_start_{};
  bool round_limited_ = false;   // by the application, in this round
  bool round_filled_ = false;    // the last one was not
  TimePoint last_busy_{};
  TimePoint last_dip_{};
  TimePoint last_cut_{};  // epochs begun before say nothing new
  std::optional<RememberedPath> remembered_;  // until the first round trip confirms it
  Startup startup_;
  Carried carried_;  // in startup
  Growth growth_;  // in startup and up
  struct Probe {
    double before = 0;        // the rate, and
    double most_before = 0;   // the most it might have been
    bool sent = false;        // up has sent a round trip's worth
    bool lost = false;        // more than the path's own
    bool found_more = false;  // the last one did: probe again soon
    int count = 0;            // since startup
  } probe_;
  std::uint64_t sent_ = 0;       // bytes
  std::uint64_t delivered_ = 0;  // bytes
  CircuitBreaker breaker_;       // of policy fixed
  double inflight_limit_ = std::numeric_limits<double>::infinity();  // up lost beyond this
  int bad_epochs_ = 0;         // cruise epochs of excess loss in a row
  bool cut_for_loss_ = false;  // since the last probe
  bool dipped_ = false;        // since startup
  double yielded_ = 1;         // to this share of a rate, while a queue stayed
  bool suspicious_ = false;    // a dip should tell loss or queue apart soon

  double pacing_ = 0;
  double window_ = 0;
};

}  // namespace rushfs::transport
