#include "transport/rate/rate_control.h"

#include <algorithm>
#include <cmath>

#include "transport/recovery/received_packets.h"

namespace rushfs::transport {

namespace {

// Packets sent in the first round trip of an unknown path.
constexpr double kInitialPackets = 256;
constexpr Duration kLeastInitialTime = std::chrono::milliseconds(16);  // that they are spread over
constexpr Duration kAssumedRoundTrip = std::chrono::milliseconds(100);
// Path volumes: a queue of one at most, for that is what a link's buffer often holds, and what it
// drops at the end of startup a short transfer waits for.
constexpr double kStartupWindow = 1.9;
// Of the initial rate. A round trip after its first ACKs their own rate has gone up already, and
// nothing that was sent at that is known of yet.
constexpr double kInitialWindow = 1.3;
constexpr int kVisibleQueue = 10;  // of a round trip: what startup takes for one
constexpr double kDrainGain = 0.5;
constexpr double kGrowthOfStartup = 1.25;
constexpr double kGrowthOfProbe = 1.1;
constexpr double kDownGain = 0.8;
constexpr double kUpGain = 1.25;
constexpr double kFastUpGain = 2.0;  // when up has found more three times in a row
constexpr double kDipGain = 0.5;
constexpr double kLeastResponse = 0.5;  // to a queue, at once
constexpr double kPacingMargin = 0.99;
constexpr double kHeadroom = 0.85;  // of the in-flight limit, outside of probing
constexpr double kMinWindow = 4;    // packets
// An epoch lasts a round trip, in startup a quarter of one, and at least this many packets in
// startup and after it.
constexpr std::uint32_t kEpochPackets = 40;
constexpr std::uint32_t kSteadyEpochPackets = 100;
// The greatest of many rates is that of packets of which few were lost by chance; so many standard
// deviations less is what the path gives. Probes are few.
constexpr double kLuck = 1.75;
constexpr double kLuckOfProbes = 1;
constexpr double kCarriesTarget = 0.95;
// With fewer packets than this in flight for so long a connection counts as idle, pings or not.
constexpr Duration kIdle = std::chrono::seconds(10);
constexpr double kBusyPackets = 8;

}  // namespace

bool RememberedPath::is_of(Duration round_trip) const {
  return round_trip > minimum_round_trip / 2 &&
         round_trip < 2 * minimum_round_trip + kLeastInitialTime;
}

RateControl::RateControl(const RateLimits& limits, const std::optional<RememberedPath>& remembered,
                         std::uint64_t seed)
    : limits_(limits), random_(seed | 1), remembered_(remembered) {
  startup_.set_initial_rate(kInitialPackets * datagram_ / seconds(kAssumedRoundTrip));
  update_rates();
}

void RateControl::on_first_round_trip(Duration sample, TimePoint now) {
  queue_.on_round_trip(sample, now);
  if (bandwidth_.maximum() > 0) return;
  const Duration time = std::max(sample, kLeastInitialTime);
  double rate = std::max(startup_.initial_rate(), kInitialPackets * datagram_ / seconds(time));
  if (remembered_) {
    const double half = remembered_->bandwidth.bits_per_second / 8 / 2;
    if (remembered_->is_of(sample)) rate = std::max(rate, half);
    remembered_.reset();
  }
  startup_.set_initial_rate(rate);
  update_rates();
}

void RateControl::on_path_changed(TimePoint now) {
  queue_.reset();
  wait_ = {};
  loss_.reset();
  epochs_.ignore_all();
  startup_.set_initial_rate(
      std::max(kInitialPackets * datagram_ / seconds(kAssumedRoundTrip), bandwidth_.maximum() / 2));
  bandwidth_ = {};
  carried_ = {};
  inflight_limit_ = std::numeric_limits<double>::infinity();
  competition_.reset();
  suspicious_ = false;
  begin_startup(now);
}

std::uint32_t RateControl::on_sent(std::uint64_t number, std::uint32_t wire_size, bool counts,
                                   std::uint64_t in_flight_before, TimePoint now) {
  sent_ += wire_size;
  if (in_flight_before == 0) {
    epochs_.current().application_limited = round_limited_ = true;
    round_end_ = number;
  }
  if (static_cast<double>(in_flight_before) > kBusyPackets * datagram_) {
    if (last_busy_ != TimePoint{} && now - last_busy_ >= kIdle) restart(now);
    last_busy_ = now;
  }
  if (counts) ++epochs_.current().sent;
  return epochs_.current().id;
}

void RateControl::begin_startup(TimePoint now) {
  startup_.begin();
  growth_.begin(0);
  enter(RatePhase::startup, now);
  update_rates();
}

// What was known may have changed: half of it is a start, and startup finds the rest.
void RateControl::restart(TimePoint now) {
  bandwidth_.scale(0.5);
  begin_startup(now);
}

void RateControl::count(const LossOutcome& outcome) {
  for (const LossOutcome::Packet& packet : outcome.acknowledged_packets) {
    if (packet.ack_eliciting && !packet.path_mtu_probe) epochs_.on_acknowledged(packet.epoch);
    delivered_ += packet.wire_size;
  }
  for (const LossOutcome::Packet& packet : outcome.late_packets) {
    if (packet.ack_eliciting && !packet.path_mtu_probe) epochs_.on_late(packet.epoch);
  }
  for (const LossOutcome::Packet& packet : outcome.lost_packets) {
    if (packet.ack_eliciting && !packet.path_mtu_probe) {
      epochs_.on_lost(packet.epoch, packet.number);
    }
  }
}

void RateControl::on_outcome(const LossOutcome& outcome, const RateSample& sample,
                             std::optional<Duration> round_trip, std::uint64_t in_flight,
                             std::uint64_t next_number, TimePoint now) {
  if (outcome.after_silence) {
    epochs_.ignore_all();
    startup_.forget_round_trips();
  }
  count(outcome);
  wait_.on_outcome(outcome, now);
  if (round_trip) {
    queue_.on_round_trip(*round_trip, now);
    if (Epoch* epoch = epochs_.find(outcome.acknowledged_packets.back().epoch)) {
      epoch->on_round_trip(*round_trip, outcome.acknowledged_packets.back().sent);
    }
    if (phase_ == RatePhase::startup) {
      startup_.on_round_trip(*round_trip, outcome.acknowledged_packets.back().sent);
    }
  }
  if (phase_ == RatePhase::startup && !outcome.acknowledged_packets.empty()) {
    startup_.on_ack(delivered_, outcome.acknowledged_packets.back().sent, now);
    carried_.on_delivered(delivered_, minimum_round_trip(), now);
  }
  const double rate = sample.bytes_per_second;
  if (rate > 0 && !outcome.after_silence &&
      (!sample.application_limited || rate > bandwidth_.maximum())) {
    bandwidth_.update(without_luck(sample));
    competition_.on_delivered(rate, now);
    lately_ += (rate - lately_) * (lately_ > 0 ? 0.1 : 1);
  }
  if (!outcome.acknowledged_packets.empty() &&
      outcome.acknowledged_packets.back().number >= round_end_ &&
      now - round_start_ >= kLeastRound) {
    on_round_end(next_number, now);
  }
  if (phase_ == RatePhase::startup && queue_.known() && epochs_.current().sent >= kEpochPackets &&
      now - epochs_.current().started >= queue_.base() / 4) {
    epochs_.open(phase_, now);
  }
  while (Epoch* epoch = epochs_.next_complete()) judge(*epoch, now);
  judge_early(now);
  advance(in_flight, now);
  if (limits_.policy == RatePolicy::fixed) {
    breaker_.update(sent_, delivered_, minimum_round_trip(), loss_.yield(), now);
    if (breaker_.tripped() &&
        bandwidth_.value() * 8 > kCarriesTarget * limits_.target.bits_per_second) {
      breaker_.close();
    }
  }
  update_rates();
}

double RateControl::without_luck(const RateSample& sample) const {
  const double rate = sample.bytes_per_second;
  // Of what reaches the target no more is sent, whatever luck it had.
  if (!startup_.over() || rate * 8 >= limits_.target.bits_per_second) return rate;
  const bool probe = phase_ == RatePhase::up || phase_ == RatePhase::down;
  const double packets = std::max(rate * seconds(sample.interval) / datagram_, 1.0);
  const double luck = (probe ? kLuckOfProbes : kLuck) * std::sqrt(loss_.value() / packets);
  return rate * (1 - std::min(luck, loss_.value()));
}

void RateControl::on_round_end(std::uint64_t next_number, TimePoint now) {
  round_filled_ = !round_limited_;
  round_end_ = next_number;
  round_start_ = now;
  round_limited_ = false;
  ++phase_rounds_;
  const Epoch& epoch = epochs_.current();
  if (phase_ == RatePhase::startup || phase_ == RatePhase::up) {
    const double factor = phase_ == RatePhase::up ? kGrowthOfProbe : kGrowthOfStartup;
    growth_.on_round(bandwidth_.maximum(), factor, round_filled_, next_number);
  }
  // A dip is one experiment, however many round trips it takes. Startup has epochs of its own.
  if (phase_ == RatePhase::dip || phase_ == RatePhase::startup) return;
  if (epoch.sent >= kSteadyEpochPackets) epochs_.open(phase_, now);
}

double RateControl::gain() const {
  switch (phase_) {
    case RatePhase::startup:
      return 1;  // has a rate of its own
    case RatePhase::drain:
      return kDrainGain;
    case RatePhase::down:
      return kDownGain * kPacingMargin;
    case RatePhase::cruise:
    case RatePhase::refill:
      return kPacingMargin;
    case RatePhase::up:
      if (probe_.sent && growth_.rounds() == 0) return 1;  // waits for what came of it
      return growth_.rounds() > 3 ? kFastUpGain : kUpGain;
    case RatePhase::dip:
      return kDipGain;
  }
  return 1;
}

// As a window of fixed size would: the longer the queue makes the round trip, the slower. It damps
// what back_off_for_queue() learns only a round trip later.
double RateControl::queue_response() const {
  const bool seen = phase_ == RatePhase::cruise && phase_rounds_ >= 0;
  if (!seen || competing() || !queue_.known()) return 1;
  const Duration queue = queue_.recent_queue();
  const double excess = std::max(0.0, seconds(queue - allowed_queue()));
  return std::max(kLeastResponse, 1 - excess / seconds(queue_.base() + queue));
}

double RateControl::path_volume() const {
  return wire_bandwidth() * seconds(queue_.known() ? queue_.base() : kAssumedRoundTrip);
}

Bytes RateControl::sample_bytes() const {
  return {static_cast<std::uint64_t>(startup_.over() ? kEpochPackets / 2 * datagram_ : 0)};
}

bool RateControl::goes_at_target() const {
  return limits_.policy == RatePolicy::fixed && limits_.target < BitRate::infinite() &&
         !breaker_.tripped();
}

// Startup believes what a quarter of a round trip delivers; with a queue, only what a whole one
// does: a host or a radio link that stalls lets go at once what has gathered, and there is room for
// little more.
Duration RateControl::startup_span() const {
  if (!queue_.known()) return kAssumedRoundTrip;
  const bool queued = queue_.recent_queue() > queue_.base() / kVisibleQueue;
  return queued ? queue_.base() : queue_.base() / 4;
}

void RateControl::update_rates() {
  const double target = limits_.target.bits_per_second / 8;
  const double minimum = limits_.minimum.bits_per_second / 8;
  double rate = goodput() * gain() * queue_response();
  if (phase_ == RatePhase::startup) {
    startup_.update(startup_span(), bandwidth_.value());
    rate = startup_.rate();
  }
  if (goes_at_target()) rate = target * (phase_ == RatePhase::dip ? kDipGain : 1);
  rate = std::min(std::max(rate, minimum), target);
  pacing_ = std::max(rate / loss_.yield(), 2 * datagram_);
  update_window();
}

void RateControl::update_window() {
  const double minimum = limits_.minimum.bits_per_second / 8 / loss_.yield();
  double wire = std::max(wire_bandwidth(), minimum);
  double factor = 1;
  if (phase_ == RatePhase::startup) {
    wire = std::max({startup_.bandwidth() / loss_.yield(),
                     kInitialWindow * startup_.initial_rate(), minimum});
    factor = kStartupWindow;
  } else if (phase_ == RatePhase::up) {
    factor = gain();
  }
  if (goes_at_target()) {
    wire = limits_.target.bits_per_second / 8 / loss_.yield();
    factor = kStartupWindow;
  }
  const Duration base = queue_.known() ? queue_.base() : kAssumedRoundTrip;
  const Duration queue = competing() ? base : queue_.allowance(bandwidth_.value(), limits_.policy);
  const double burst = std::min(wire * 0.002, 65536.0) + 3 * datagram_;
  const double jitter = seconds(queue_.jitter()) * (goes_at_target() ? 1 : factor);
  // What startup is let have beside the path's volume would be queue, too.
  const double beside = phase_ == RatePhase::startup
                            ? 0
                            : seconds(queue) + jitter + seconds(ack_delay_for(base));
  double time = (seconds(base) + wait_.beyond_ack_delay(base)) * factor + beside;
  if (phase_ == RatePhase::startup) time = std::max(time, seconds(base + kLeastRound));
  window_ = wire * time + burst;
  if (startup_.over() && !goes_at_target() && !competing()) {
    const bool probing = phase_ == RatePhase::up || phase_ == RatePhase::refill;
    window_ = std::min(window_, inflight_limit_ * (probing ? 1 : kHeadroom));
  }
  window_ = std::max(window_, kMinWindow * datagram_);
}

RememberedPath RateControl::remember() const {
  if (startup_.over()) return {bandwidth(), minimum_round_trip()};
  return {{carried_.most() * 8}, minimum_round_trip(), true};
}

SendLimit RateControl::limit() const {
  if (pacing_ * loss_.yield() >= limits_.target.bits_per_second / 8 * 0.999) {
    return SendLimit::target_rate;
  }
  if (!startup_.over()) return SendLimit::starting;
  return bandwidth_.bounded() ? SendLimit::congestion : SendLimit::network;
}

}  // namespace rushfs::transport
