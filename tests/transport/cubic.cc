#include <algorithm>
#include <cmath>

#include "tests/transport/rival.h"

namespace rushfs::transport::simulation {

namespace {

// RFC 9438, sections 4.6 and 5.1.
constexpr double kBeta = 0.7;
constexpr double kC = 0.4;
constexpr double kSegment = 1472;
// net.ipv4.tcp_pacing_ss_ratio and tcp_pacing_ca_ratio.
constexpr double kSlowStartPacing = 2;
constexpr double kPacing = 1.2;

class Cubic : public Rival {
 public:
  void on_sent(std::uint64_t number, std::uint64_t, std::uint64_t, TimePoint) override {
    newest_ = number;
  }

  void on_outcome(const LossOutcome& outcome, std::optional<Duration> round_trip,
                  std::uint64_t in_flight, TimePoint now) override {
    if (round_trip) {
      smoothed_ = smoothed_ == Duration::zero() ? *round_trip : (7 * smoothed_ + *round_trip) / 8;
    }
    for (const LossOutcome::Packet& packet : outcome.lost_packets) {
      if (packet.number >= recovery_until_) reduce();
    }
    double acknowledged = 0;
    for (const LossOutcome::Packet& packet : outcome.acknowledged_packets) {
      if (packet.number >= recovery_until_) acknowledged += packet.wire_size / kSegment;
    }
    // RFC 9002, section 7.8: a window that is not used does not grow.
    if (static_cast<double>(in_flight) / kSegment + acknowledged < 0.5 * window_) return;
    if (acknowledged > 0) grow(acknowledged, now);
  }

  void on_application_limited(std::uint64_t) override {}
  BitRate pacing_rate() const override {
    const Duration trip = std::max<Duration>(smoothed_, std::chrono::milliseconds(1));
    const double gain = window_ < threshold_ / 2 ? kSlowStartPacing : kPacing;
    return {window_ * kSegment * 8 / seconds(trip) * gain};
  }
  std::uint64_t window() const override { return static_cast<std::uint64_t>(window_ * kSegment); }

 private:
  void reduce() {
    // Fast convergence, section 4.7.
    most_ = window_ < most_ ? window_ * (1 + kBeta) / 2 : window_;
    window_ = threshold_ = std::max(2.0, window_ * kBeta);
    recovery_until_ = newest_ + 1;
    epoch_ = TimePoint{};
  }

  void grow(double acknowledged, TimePoint now) {
    if (window_ < threshold_) {
      window_ += acknowledged;
      return;
    }
    if (epoch_ == TimePoint{}) {
      epoch_ = now;
      origin_ = std::max(most_, window_);
      estimate_ = window_;
      k_ = std::cbrt((origin_ - window_) / kC);
    }
    const double t = seconds(now - epoch_ + smoothed_);
    const double target = std::clamp(origin_ + kC * std::pow(t - k_, 3), window_, 1.5 * window_);
    // The window of a Reno flow with the same mean, section 4.3.
    const double alpha = estimate_ >= origin_ ? 1 : 3 * (1 - kBeta) / (1 + kBeta);
    estimate_ += alpha * acknowledged / window_;
    window_ += (target - window_) / window_ * acknowledged;
    window_ = std::max(window_, estimate_);
  }

  double window_ = 10;  // segments
  double threshold_ = 1e12;
  double most_ = 0;
  double origin_ = 0;
  double estimate_ = 0;
  double k_ = 0;
  TimePoint epoch_{};
  Duration smoothed_{};
  std::uint64_t newest_ = 0;
  std::uint64_t recovery_until_ = 0;
};

}  // namespace

std::unique_ptr<Rival> make_cubic() {
  return std::make_unique<Cubic>();
}

}  // namespace rushfs::transport::simulation
