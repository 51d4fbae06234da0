// The most a path delivered lately: a maximum over the current and the previous probing cycle
// (draft-ietf-ccwg-bbr, section 4.5.1), and a lower bound for the time being. Bytes per second of
// goodput. Pure; a value.
#pragma once

#include <algorithm>
#include <array>
#include <limits>

namespace rushfs::transport {

class BandwidthFilter {
 public:
  void update(double sample) { cycles_[1] = std::max(cycles_[1], sample); }
  /// A cycle that probed has ended.
  void advance() {
    if (cycles_[1] <= 0) return;
    cycles_ = {cycles_[1], 0};
  }
  double maximum() const { return std::max(cycles_[0], cycles_[1]); }
  double value() const { return std::min(maximum(), short_term_); }

  /// For the time being not more than this: congestion was seen since the last probe.
  void bound(double limit) { short_term_ = limit; }
  void unbound() { short_term_ = std::numeric_limits<double>::infinity(); }
  /// Lifts the bound to probe again. Where it had to go far below the maximum, the maximum is
  /// history, and the probe starts from near the bound.
  void lift() {
    if (short_term_ < kHistory * maximum()) cycles_ = {short_term_ * kRise, 0};
    unbound();
  }
  bool bounded() const { return short_term_ < maximum(); }
  /// Forgets: a new start from what is delivered now.
  void restart(double rate) { cycles_ = {rate, 0}, unbound(); }
  /// Trust only a part of what was measured: it is old.
  void scale(double factor) {
    cycles_ = {maximum() * factor, 0};
    unbound();
  }

 private:
  static constexpr double kHistory = 0.6;
  static constexpr double kRise = 1.25;

  std::array<double, 2> cycles_{0, 0};  // previous, current
  double short_term_ = std::numeric_limits<double>::infinity();
};

}  // namespace rushfs::transport
