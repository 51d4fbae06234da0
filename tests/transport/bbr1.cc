// BBR as Linux has it (net/ipv4/tcp_bbr.c, draft-cardwell-iccrg-bbr-congestion-control-00): no
// reaction to loss but a round of packet conservation at its beginning, so what competes hardest in
// a short buffer. Without its detection of policers. Bytes, seconds.
#include <algorithm>
#include <array>
#include <deque>
#include <random>
#include <set>

#include "tests/transport/rival.h"
#include "tests/transport/rival_samples.h"

namespace rushfs::transport::simulation {

namespace {

constexpr double kSegment = 1472;
constexpr double kHighGain = 2.885;
constexpr double kWindowGain = 2;
constexpr std::array<double, 8> kCycle{1.25, 0.75, 1, 1, 1, 1, 1, 1};
constexpr double kMargin = 0.99;
constexpr std::uint64_t kBandwidthRounds = 10;
constexpr std::uint64_t kExtraRounds = 5;  // each of two halves
constexpr double kMostExtra = 0.1;         // seconds
constexpr double kMinWindow = 4 * kSegment;
constexpr Duration kMinRttFilter = std::chrono::seconds(10);
constexpr Duration kProbeRttDuration = std::chrono::milliseconds(200);

class Bbr1 : public Rival {
 public:
  explicit Bbr1(std::uint64_t seed) : random_(seed) {}

  void on_sent(std::uint64_t number, std::uint64_t size, std::uint64_t in_flight_before,
               TimePoint now) override {
    newest_ = number;
    samples_.on_sent(number, size, in_flight_before, now);
  }

  void on_outcome(const LossOutcome& outcome, std::optional<Duration> round_trip,
                  std::uint64_t in_flight, TimePoint now) override {
    now_ = now;
    in_flight_ = static_cast<double>(in_flight);
    double lost = 0;
    for (const auto& packet : outcome.lost_packets) lost += samples_.on_lost(packet.number).size;
    for (const SentFrame& frame : outcome.lost) missing_.insert(frame.id);
    for (const SentFrame& frame : outcome.acknowledged) missing_.erase(frame.id);
    if (outcome.acknowledged_packets.empty()) return;
    sample_ = samples_.on_acknowledged(outcome, round_trip, min_rtt_, now);
    lossy_ = lost > 0;
    round_start_ = sample_.prior_delivered >= next_round_delivered_;
    if (round_start_) {
      next_round_delivered_ = samples_.delivered();
      ++round_;
      conserving_ = false;
    }
    update_bandwidth();
    update_extra();
    update_cycle();
    update_full();
    update_min_rtt();
    recover(outcome.acknowledged_packets.back().number, lost);
    set_pacing();
    set_window();
  }

  void on_application_limited(std::uint64_t in_flight) override {
    samples_.on_application_limited(static_cast<double>(in_flight));
  }
  BitRate pacing_rate() const override { return {pacing_ * 8}; }
  std::uint64_t window() const override { return static_cast<std::uint64_t>(window_); }

 private:
  enum class State { startup, drain, probe_bandwidth, probe_rtt };

  void update_bandwidth() {
    if (sample_.rate <= 0 || (sample_.limited && sample_.rate < bandwidth())) return;
    while (!bandwidths_.empty() && bandwidths_.back().second <= sample_.rate) {
      bandwidths_.pop_back();
    }
    bandwidths_.emplace_back(round_, sample_.rate);
    while (bandwidths_.front().first + kBandwidthRounds < round_) bandwidths_.pop_front();
  }
  double bandwidth() const { return bandwidths_.empty() ? 0 : bandwidths_.front().second; }

  void update_extra() {
    double expected = bandwidth() * seconds(now_ - extra_start_);
    if (extra_delivered_ <= expected) {
      extra_delivered_ = expected = 0;
      extra_start_ = now_;
    }
    extra_delivered_ += sample_.newly;
    if (round_ >= extra_since_ + kExtraRounds) {
      extra_ = {extra_[1], 0};
      extra_since_ = round_;
    }
    extra_[1] = std::max(extra_[1], std::min(extra_delivered_ - expected, window_));
  }

  double volume(double gain) const {
    if (min_rtt_ == Duration::max()) return 10 * kSegment;
    const double quantum = std::clamp(pacing_ * 1e-3, 2 * kSegment, 65536.0);
    const double more = state_ == State::probe_bandwidth && phase_ == 0 ? 2 * kSegment : 0;
    return gain * bandwidth() * seconds(min_rtt_) + 3 * quantum + more;
  }

  void update_cycle() {
    if (state_ != State::probe_bandwidth) return;
    const double gain = kCycle[phase_];
    const bool full_length = now_ - cycle_start_ > min_rtt_;
    bool next = full_length;
    if (gain > 1) next = full_length && (lossy_ || sample_.in_flight >= volume(gain));
    if (gain < 1) next = full_length || in_flight_ <= volume(1);
    if (!next) return;
    phase_ = (phase_ + 1) % kCycle.size();
    cycle_start_ = now_;
  }

  void update_full() {
    if (!full_ && round_start_ && !sample_.limited) {
      if (bandwidth() >= full_bandwidth_ * 1.25) {
        full_bandwidth_ = bandwidth();
        full_count_ = 0;
      } else {
        full_ = ++full_count_ >= 3;
      }
    }
    if (state_ == State::startup && full_) state_ = State::drain;
    if (state_ == State::drain && in_flight_ <= volume(1)) start_probing();
  }
  void start_probing() {
    state_ = State::probe_bandwidth;
    phase_ = (kCycle.size() - random_() % 7) % kCycle.size();  // any but the one that drains
    cycle_start_ = now_;
  }

  void update_min_rtt() {
    const bool expired = now_ > min_rtt_stamp_ + kMinRttFilter;
    if (sample_.round_trip && (*sample_.round_trip < min_rtt_ || expired)) {
      min_rtt_ = *sample_.round_trip;
      min_rtt_stamp_ = now_;
    }
    if (expired && state_ != State::probe_rtt) {
      state_ = State::probe_rtt;
      prior_window_ = std::max(prior_window_, window_);
      done_.reset();
    }
    if (state_ != State::probe_rtt) return;
    samples_.on_application_limited(in_flight_);
    if (!done_ && in_flight_ <= kMinWindow) {
      done_ = now_ + kProbeRttDuration;
      probed_round_ = false;
      next_round_delivered_ = samples_.delivered();
    } else if (done_) {
      probed_round_ |= round_start_;
      if (!probed_round_ || now_ <= *done_) return;
      min_rtt_stamp_ = now_;
      window_ = std::max(window_, prior_window_);
      prior_window_ = 0;
      if (full_)
        start_probing();
      else
        state_ = State::startup;
    }
  }

  // tcp_bbr.c, bbr_set_cwnd_to_recover_or_restore. TCP recovers until all is repaired. Where more
  // is lost meanwhile that goes on, and packets are conserved in its first round only.
  void recover(std::uint64_t acknowledged, double lost) {
    window_ = std::max(window_ - lost, kSegment);
    if (recovering_ && acknowledged >= recovery_until_ && missing_.empty()) {
      recovering_ = conserving_ = false;
      window_ = std::max(window_, prior_window_);
      if (state_ != State::probe_rtt) prior_window_ = 0;
    }
    if (!recovering_ && !missing_.empty()) {
      if (state_ != State::probe_rtt) prior_window_ = window_ + lost;
      recovering_ = conserving_ = true;
      recovery_until_ = newest_ + 1;
      next_round_delivered_ = samples_.delivered();
      window_ = in_flight_ + sample_.newly;
    }
  }

  void set_pacing() {
    const double gain = state_ == State::startup           ? kHighGain
                        : state_ == State::drain           ? 1 / kHighGain
                        : state_ == State::probe_bandwidth ? kCycle[phase_]
                                                           : 1;
    const double rate = gain * bandwidth() * kMargin;
    if (full_ || rate > pacing_) pacing_ = std::max(rate, 2 * kSegment);
  }

  void set_window() {
    if (conserving_) {
      window_ = std::max(window_, in_flight_ + sample_.newly);
    } else {
      const double gain =
          state_ == State::startup || state_ == State::drain ? kHighGain : kWindowGain;
      const double extra =
          full_ ? std::min(std::max(extra_[0], extra_[1]), bandwidth() * kMostExtra) : 0;
      const double target = volume(gain) + extra;
      if (full_)
        window_ = std::min(window_ + sample_.newly, target);
      else if (window_ < target || samples_.delivered() < 10 * kSegment)
        window_ += sample_.newly;
    }
    window_ = std::max(window_, kMinWindow);
    if (state_ == State::probe_rtt) window_ = std::min(window_, kMinWindow);
  }

  std::mt19937_64 random_;
  RivalSamples samples_;
  RivalSamples::Sample sample_;
  TimePoint now_{};
  double in_flight_ = 0;
  State state_ = State::startup;
  double pacing_ = kHighGain * 10 * kSegment / 1e-3;
  double window_ = 10 * kSegment;
  double prior_window_ = 0;
  std::deque<std::pair<std::uint64_t, double>> bandwidths_;  // round, maximum since; falling
  std::uint64_t round_ = 0;
  double next_round_delivered_ = 0;
  bool round_start_ = false;
  bool lossy_ = false;
  bool full_ = false;
  double full_bandwidth_ = 0;
  int full_count_ = 0;
  std::size_t phase_ = 0;
  TimePoint cycle_start_{};
  Duration min_rtt_ = Duration::max();
  TimePoint min_rtt_stamp_{};
  std::optional<TimePoint> done_;
  bool probed_round_ = false;
  TimePoint extra_start_{};
  double extra_delivered_ = 0;
  std::array<double, 2> extra_{};
  std::uint64_t extra_since_ = 0;
  std::uint64_t newest_ = 0;
  std::set<std::uint64_t> missing_;  // payload that was lost and has not come again
  std::uint64_t recovery_until_ = 0;
  bool recovering_ = false;
  bool conserving_ = false;
};

}  // namespace

std::unique_ptr<Rival> make_bbr1(std::uint64_t seed) {
  return std::make_unique<Bbr1>(seed);
}

}  // namespace rushfs::transport::simulation
