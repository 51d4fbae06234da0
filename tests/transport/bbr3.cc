// BBRv3 as draft-ietf-ccwg-bbr describes it, without ECN. Names follow the draft's sections: the
// delivery rate (4.1), the state machine (5.3), the model (5.5), the controls (5.6). Bytes,
// seconds.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <random>

#include "tests/transport/rival.h"
#include "tests/transport/rival_samples.h"

namespace rushfs::transport::simulation {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kSegment = 1472;
constexpr double kStartupGain = 2.77;
constexpr double kDrainGain = 0.5;
constexpr double kDownGain = 0.9;
constexpr double kUpGain = 1.25;
constexpr double kWindowGain = 2;
constexpr double kUpWindowGain = 2.25;
constexpr double kProbeRttGain = 0.5;
constexpr double kLossThreshold = 0.02;
constexpr double kBeta = 0.7;
constexpr double kHeadroom = 0.15;
constexpr double kMargin = 0.99;
constexpr double kMinWindow = 4 * kSegment;
constexpr double kInitialWindow = 10 * kSegment;
constexpr int kStartupLossRuns = 6;
constexpr Duration kMinRttFilter = std::chrono::seconds(10);
constexpr Duration kProbeRttInterval = std::chrono::seconds(5);
constexpr Duration kProbeRttDuration = std::chrono::milliseconds(200);
constexpr std::uint64_t kExtraAckedRounds = 10;

class Bbr3 : public Rival {
 public:
  explicit Bbr3(std::uint64_t seed) : random_(seed) {}

  void on_sent(std::uint64_t number, std::uint64_t size, std::uint64_t in_flight_before,
               TimePoint now) override {
    if (in_flight_before == 0 && samples_.limited()) {
      idle_restart_ = true;
      extra_start_ = now;
      if (probing_bandwidth_state()) set_pacing(1);
    }
    samples_.on_sent(number, size, in_flight_before, now);
  }

  void on_outcome(const LossOutcome& outcome, std::optional<Duration> round_trip,
                  std::uint64_t in_flight, TimePoint now) override {
    now_ = now;
    in_flight_ = static_cast<double>(in_flight);
    for (const auto& packet : outcome.lost_packets) on_lost(packet);
    if (outcome.acknowledged_packets.empty()) return;
    if (outcome.lost_packets.empty() && !outcome.late_packets.empty()) undo();
    sample_ = samples_.on_acknowledged(outcome, round_trip, min_rtt_, now);
    update_model();
    set_pacing(pacing_gain());
    set_window();
  }

  void on_application_limited(std::uint64_t in_flight) override {
    samples_.on_application_limited(static_cast<double>(in_flight));
  }
  BitRate pacing_rate() const override { return {pacing_ * 8}; }
  std::uint64_t window() const override { return static_cast<std::uint64_t>(window_); }

 private:
  enum class State { startup, drain, down, cruise, refill, up, probe_rtt };
  enum class AckPhase { init, refilling, starting, feedback, stopping };
  bool probing_bandwidth_state() const {
    return state_ == State::down || state_ == State::cruise || state_ == State::refill ||
           state_ == State::up;
  }
  bool accelerating() const {
    return state_ == State::startup || state_ == State::refill || state_ == State::up;
  }
  double pacing_gain() const {
    switch (state_) {
      case State::startup:
        return kStartupGain;
      case State::drain:
        return kDrainGain;
      case State::down:
        return kDownGain;
      case State::up:
        return kUpGain;
      default:
        return 1;
    }
  }

  void update_model() {
    // 5.5.10.3: latest delivery signals, 5.5.1: rounds, 5.5.5: maximum bandwidth.
    loss_round_start_ = false;
    bw_latest_ = std::max(bw_latest_, sample_.rate);
    inflight_latest_ = std::max(inflight_latest_, sample_.delivered);
    if (sample_.prior_delivered >= loss_round_delivered_) {
      loss_round_delivered_ = samples_.delivered();
      loss_round_start_ = true;
    }
    round_start_ = sample_.prior_delivered >= next_round_delivered_;
    if (round_start_) {
      start_round();
      ++round_count_;
      ++rounds_since_probe_;
    }
    if (sample_.rate > 0 && (sample_.rate >= max_bw() || !sample_.limited)) {
      bandwidths_[1] = std::max(bandwidths_[1], sample_.rate);
    }
    if (loss_round_start_) adapt_lower_bounds();
    update_aggregation();
    check_full();
    check_startup();
    if (state_ == State::drain &&
        (in_flight_ <= inflight(1, bw_) || round_count_ > drain_round_ + 3)) {
      start_down();
    }
    update_cycle();
    update_min_rtt();
    check_probe_rtt();
    if (loss_round_start_) {
      bw_latest_ = sample_.rate;
      inflight_latest_ = sample_.delivered;
    }
    bw_ = std::min(max_bw(), bw_short_);
  }

  double max_bw() const { return std::max(bandwidths_[0], bandwidths_[1]); }
  void start_round() { next_round_delivered_ = samples_.delivered(); }
  void reset_congestion() {
    loss_in_round_ = false;
    bw_latest_ = inflight_latest_ = 0;
  }
  void reset_short_term() { bw_short_ = inflight_short_ = kInfinity; }
  void reset_full() {
    full_bw_ = 0;
    full_count_ = 0;
    full_now_ = false;
  }

  void adapt_lower_bounds() {
    const bool lossy = loss_in_round_;
    loss_in_round_ = false;
    startup_loss_round_ = lossy;
    if (accelerating() || !lossy) return;
    if (bw_short_ == kInfinity) bw_short_ = max_bw();
    if (inflight_short_ == kInfinity) inflight_short_ = window_;
    bw_short_ = std::max(bw_latest_, kBeta * bw_short_);
    inflight_short_ = std::max(inflight_latest_, kBeta * inflight_short_);
  }

  void update_aggregation() {
    double expected = bw_ * seconds(now_ - extra_start_);
    if (extra_delivered_ <= expected) {
      extra_delivered_ = expected = 0;
      extra_start_ = now_;
    }
    extra_delivered_ += sample_.newly;
    const double extra = std::min(extra_delivered_ - expected, window_);
    const std::uint64_t length = full_reached_ ? kExtraAckedRounds : 1;
    // A maximum over `length` rounds in two halves.
    if (round_count_ >= extra_since_ + length) {
      extra_ = {extra_[1], 0};
      extra_since_ = round_count_;
    }
    extra_[1] = std::max(extra_[1], extra);
  }

  void check_full() {
    if (full_now_ || !round_start_ || sample_.limited) return;
    if (sample_.rate >= full_bw_ * 1.25) {
      reset_full();
      full_bw_ = sample_.rate;
      return;
    }
    full_now_ = ++full_count_ >= 3;
    if (full_now_) full_reached_ = true;
  }

  void check_startup() {
    if (state_ != State::startup) return;
    // 5.3.1.3: loss of more than 2 % in at least six runs over a round.
    if (loss_round_start_) {
      const double share =
          round_lost_ / std::max(round_lost_ + samples_.delivered() - round_from_, 1.0);
      if (startup_loss_round_ && loss_runs_ >= kStartupLossRuns && share > kLossThreshold) {
        full_reached_ = true;
        inflight_long_ = std::max(bdp(1, max_bw()), inflight_latest_);
      }
      round_lost_ = 0;
      round_from_ = samples_.delivered();
      loss_runs_ = 0;
    }
    if (!full_reached_) return;
    state_ = State::drain;
    drain_round_ = round_count_;
  }

  void start_down() {
    reset_congestion();
    up_per_increment_ = kInfinity;
    rounds_since_probe_ = random_() % 2;
    probe_wait_ = from_seconds(2 + std::uniform_real_distribution<double>(0, 1)(random_));
    cycle_start_ = now_;
    ack_phase_ = AckPhase::stopping;
    start_round();
    state_ = State::down;
  }
  void start_refill() {
    reset_short_term();
    up_rounds_ = 0;
    up_acked_ = 0;
    precautionary_ = false;
    ack_phase_ = AckPhase::refilling;
    start_round();
    state_ = State::refill;
  }
  void start_up() {
    ack_phase_ = AckPhase::starting;
    start_round();
    reset_full();
    full_bw_ = sample_.rate;
    state_ = State::up;
    raise_slope();
  }

  bool time_to_probe() {
    const double reno_rounds = std::min(bdp(1, bw_), window_) / kSegment;
    if (now_ <= cycle_start_ + probe_wait_ &&
        static_cast<double>(rounds_since_probe_) < std::min(reno_rounds, 63.0)) {
      return false;
    }
    start_refill();
    return true;
  }

  void update_cycle() {
    if (!full_reached_ || adapt_long_term() || !probing_bandwidth_state()) return;
    switch (state_) {
      case State::down:
        if (!time_to_probe() && in_flight_ <= with_headroom() &&
            in_flight_ <= inflight(1, max_bw())) {
          state_ = State::cruise;
        }
        break;
      case State::cruise:
        time_to_probe();
        break;
      case State::refill:
        if (round_start_) {
          probe_sample_ = true;
          start_up();
        }
        break;
      case State::up:
        if (time_to_go_down()) {
          too_high_ = false;
          start_down();
        }
        break;
      default:
        break;
    }
  }

  bool time_to_go_down() {
    if (too_high_ && in_flight_ >= inflight_long_) {
      precautionary_ = true;
      return true;
    }
    if (window_limited() && window_ >= inflight_long_) {
      reset_full();
      full_bw_ = sample_.rate;
      return false;
    }
    return full_now_;
  }
  bool window_limited() const { return in_flight_ + sample_.newly + kSegment >= window_; }
  double with_headroom() const {
    if (inflight_long_ == kInfinity) return kInfinity;
    return std::max(inflight_long_ - std::max(kSegment, kHeadroom * inflight_long_), kMinWindow);
  }
  void raise_slope() {
    const double growth = std::exp2(up_rounds_);
    up_rounds_ = std::min(up_rounds_ + 1, 30);
    up_per_increment_ = std::max(window_ / growth, kSegment);
  }
  void probe_upward() {
    if (!window_limited() || window_ < inflight_long_) return;
    up_acked_ += sample_.newly;
    if (up_acked_ >= up_per_increment_) {
      const double delta = std::floor(up_acked_ / up_per_increment_);
      up_acked_ -= delta * up_per_increment_;
      inflight_long_ += delta * kSegment;
    }
    if (round_start_) raise_slope();
  }

  bool adapt_long_term() {
    if (ack_phase_ == AckPhase::starting && round_start_) ack_phase_ = AckPhase::feedback;
    if (ack_phase_ == AckPhase::stopping && round_start_) {
      probe_sample_ = false;
      ack_phase_ = AckPhase::init;
      if (probing_bandwidth_state() && !sample_.limited) bandwidths_ = {bandwidths_[1], 0};
      if (probing_bandwidth_state() && precautionary_ && !too_high_) {
        start_refill();
        return true;
      }
    }
    if (sample_.lost > sample_.in_flight * kLossThreshold || inflight_long_ == kInfinity) {
      return false;
    }
    inflight_long_ = std::max(inflight_long_, sample_.in_flight);
    if (state_ == State::up) probe_upward();
    return false;
  }

  // 5.5.10.2: losses.
  void on_lost(const LossOutcome::Packet& lost) {
    const RivalSamples::Packet& packet = samples_.on_lost(lost.number);
    round_lost_ += packet.size;
    if (lost.number != last_lost_ + 1) ++loss_runs_;
    last_lost_ = lost.number;
    if (!loss_in_round_) {
      loss_round_delivered_ = samples_.delivered();
      prior_window_ = std::max(window_, state_ == State::probe_rtt ? prior_window_ : 0);
      undo_ = {bw_short_, inflight_short_, inflight_long_};
    }
    loss_in_round_ = true;
    if (!probe_sample_) return;
    const double since = samples_.lost() - packet.lost;
    if (since <= packet.in_flight * kLossThreshold) return;
    const double before = packet.in_flight - packet.size;
    const double prefix = (kLossThreshold * before - (since - packet.size)) / (1 - kLossThreshold);
    too_high_ = true;
    probe_sample_ = false;
    if (!packet.limited) {
      inflight_long_ = std::max(before + prefix, std::min(bdp(1, bw_), window_) * kBeta);
    }
    if (state_ == State::up) start_down();
  }
  void undo() {
    loss_in_round_ = false;
    window_ = std::max(window_, prior_window_);
    reset_full();
    bw_short_ = std::max(bw_short_, undo_[0]);
    inflight_short_ = std::max(inflight_short_, undo_[1]);
    inflight_long_ = std::max(inflight_long_, undo_[2]);
  }

  // 5.3.4: ProbeRTT.
  void update_min_rtt() {
    probe_rtt_expired_ = now_ > probe_min_stamp_ + kProbeRttInterval;
    if (sample_.round_trip && (*sample_.round_trip < probe_min_ || probe_rtt_expired_)) {
      probe_min_ = *sample_.round_trip;
      probe_min_stamp_ = now_;
    }
    if (probe_min_ < min_rtt_ || now_ > min_rtt_stamp_ + kMinRttFilter) {
      min_rtt_ = probe_min_;
      min_rtt_stamp_ = probe_min_stamp_;
    }
  }
  void check_probe_rtt() {
    if (state_ != State::probe_rtt && probe_rtt_expired_ && !idle_restart_) {
      prior_window_ = window_;
      state_ = State::probe_rtt;
      probe_rtt_done_.reset();
      ack_phase_ = AckPhase::stopping;
      start_round();
    }
    if (state_ == State::probe_rtt) {
      on_application_limited(static_cast<std::uint64_t>(in_flight_));
      if (!probe_rtt_done_ && in_flight_ <= probe_rtt_window()) {
        probe_rtt_done_ = now_ + kProbeRttDuration;
        probe_rtt_round_ = false;
        start_round();
      } else if (probe_rtt_done_) {
        probe_rtt_round_ |= round_start_;
        if (probe_rtt_round_ && now_ > *probe_rtt_done_) leave_probe_rtt();
      }
    }
    if (sample_.delivered > 0) idle_restart_ = false;
  }
  void leave_probe_rtt() {
    probe_min_stamp_ = now_;
    window_ = std::max(window_, prior_window_);
    reset_short_term();
    if (full_reached_) {
      start_down();
      state_ = State::cruise;
    } else {
      state_ = State::startup;
    }
  }

  // 5.6: controls.
  double bdp(double gain, double bandwidth) const {
    return min_rtt_ == Duration::max() ? kInitialWindow : gain * bandwidth * seconds(min_rtt_);
  }
  double quantised(double cap) const {
    const double quantum = std::clamp(pacing_ * 1e-3, 2 * kSegment, 65536.0);
    cap = std::max({cap, 3 * quantum, kMinWindow});
    return state_ == State::up ? cap + 2 * kSegment : cap;
  }
  double inflight(double gain, double bandwidth) const { return quantised(bdp(gain, bandwidth)); }
  double probe_rtt_window() const { return std::max(bdp(kProbeRttGain, bw_), kMinWindow); }

  void set_pacing(double gain) {
    const double rate = gain * bw_ * kMargin;
    if (full_reached_ || rate > pacing_) pacing_ = std::max(rate, 2 * kSegment);
  }
  void set_window() {
    const double gain = state_ == State::up          ? kUpWindowGain
                        : state_ == State::probe_rtt ? kProbeRttGain
                                                     : kWindowGain;
    const double most = quantised(bdp(gain, bw_) + std::max(extra_[0], extra_[1]));
    if (full_reached_) {
      window_ = std::min(window_ + sample_.newly, most);
    } else if (window_ < most || samples_.delivered() < kInitialWindow) {
      window_ += sample_.newly;
    }
    window_ = std::max(window_, kMinWindow);
    if (state_ == State::probe_rtt) window_ = std::min(window_, probe_rtt_window());
    double cap = kInfinity;
    if (probing_bandwidth_state() && state_ != State::cruise) {
      cap = inflight_long_;
    } else if (state_ == State::probe_rtt || state_ == State::cruise) {
      cap = with_headroom();
    }
    window_ = std::min(window_, std::max(std::min(cap, inflight_short_), kMinWindow));
  }

  std::mt19937_64 random_;
  RivalSamples samples_;
  RivalSamples::Sample sample_;
  TimePoint now_{};
  double in_flight_ = 0;
  State state_ = State::startup;
  AckPhase ack_phase_ = AckPhase::init;
  double pacing_ = kStartupGain * kInitialWindow / 1e-3;
  double window_ = kInitialWindow;
  double prior_window_ = 0;
  std::array<double, 2> bandwidths_{};
  double bw_ = 0;
  double bw_short_ = kInfinity;
  double bw_latest_ = 0;
  double inflight_short_ = kInfinity;
  double inflight_long_ = kInfinity;
  double inflight_latest_ = 0;
  std::array<double, 3> undo_{};
  double next_round_delivered_ = 0;
  std::uint64_t round_count_ = 0;
  bool round_start_ = false;
  double loss_round_delivered_ = 0;
  bool loss_round_start_ = false;
  bool loss_in_round_ = false;
  bool startup_loss_round_ = false;
  double round_lost_ = 0;
  double round_from_ = 0;
  int loss_runs_ = 0;
  std::uint64_t last_lost_ = 0;
  double full_bw_ = 0;
  int full_count_ = 0;
  bool full_now_ = false;
  bool full_reached_ = false;
  std::uint64_t drain_round_ = 0;
  TimePoint cycle_start_{};
  Duration probe_wait_{};
  std::uint64_t rounds_since_probe_ = 0;
  bool probe_sample_ = false;
  bool too_high_ = false;
  bool precautionary_ = false;
  int up_rounds_ = 0;
  double up_acked_ = 0;
  double up_per_increment_ = kInfinity;
  Duration min_rtt_ = Duration::max();
  TimePoint min_rtt_stamp_{};
  Duration probe_min_ = Duration::max();
  TimePoint probe_min_stamp_{};
  bool probe_rtt_expired_ = false;
  std::optional<TimePoint> probe_rtt_done_;
  bool probe_rtt_round_ = false;
  bool idle_restart_ = false;
  TimePoint extra_start_{};
  double extra_delivered_ = 0;
  std::array<double, 2> extra_{};
  std::uint64_t extra_since_ = 0;
};

}  // namespace

std::unique_ptr<Rival> make_bbr3(std::uint64_t seed) {
  return std::make_unique<Bbr3>(seed);
}

}  // namespace rushfs::transport::simulation
