// Whether more and more is delivered, round trip by round trip, while RateControl sends more and
// more: in startup, and in a probe. Pure; a value.
#pragma once

#include <cstdint>

namespace rushfs::transport {

class Growth {
 public:
  /// Measured from `bandwidth` on.
  void begin(double bandwidth) { reference_ = bandwidth, rounds_without_ = 0; }
  /// Another phase: what grew in a row did so in the last one.
  void on_phase() { rounds_ = 0; }
  /// A round trip has ended, before packet `next` was sent. Growth is `factor` times the reference;
  /// a round that the application did not fill (`filled`), or of too few packets, has none to show.
  void on_round(double bandwidth, double factor, bool filled, std::uint64_t next);

  /// In a row.
  int rounds() const { return rounds_; }
  int rounds_without() const { return rounds_without_; }

 private:
  static constexpr std::uint64_t kLeastPackets = 20;  // fewer tell nothing

  double reference_ = 0;
  int rounds_ = 0;
  int rounds_without_ = 0;
  std::uint64_t judged_ = 0;  // packets up to this number were
};

inline void Growth::on_round(double bandwidth, double factor, bool filled, std::uint64_t next) {
  if (bandwidth >= reference_ * factor) {
    reference_ = bandwidth;
    rounds_without_ = 0;
    ++rounds_;
  } else if (filled) {
    if (next - judged_ < kLeastPackets) return;
    ++rounds_without_;
    rounds_ = 0;
  }
  judged_ = next;
}

}  // namespace rushfs::transport
