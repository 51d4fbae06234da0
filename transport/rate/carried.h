// What a path carried, where its capacity was never found since the application gave less: a lower
// bound of that. Averages over several round trips, and of many packets, so that neither a short
// exchange nor ACKs in a lump make a rate. Bytes per second. Pure; a value.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "transport/units.h"

namespace rushfs::transport {

class Carried {
 public:
  /// `delivered` bytes so far; `base`: the round trip without a queue.
  void on_delivered(std::uint64_t delivered, Duration base, TimePoint now);
  /// The most; 0 if there was too little to tell.
  double most() const { return most_; }

 private:
  static constexpr int kRoundTrips = 4;
  static constexpr Duration kLeastTime = std::chrono::milliseconds(100);
  static constexpr std::uint64_t kLeastBytes = 1 << 20;

  double most_ = 0;
  std::uint64_t begun_delivered_ = 0;
  TimePoint begun_{};
  TimePoint newest_{};
};

inline void Carried::on_delivered(std::uint64_t delivered, Duration base, TimePoint now) {
  const Duration span = std::max<Duration>(kRoundTrips * base, kLeastTime);
  const std::uint64_t bytes = delivered - begun_delivered_;
  const bool paused = now - newest_ > span;
  newest_ = now;
  if (!paused && (now - begun_ < span || bytes < kLeastBytes)) return;
  if (!paused) most_ = std::max(most_, static_cast<double>(bytes) / seconds(now - begun_));
  begun_delivered_ = delivered;
  begun_ = now;
}

}  // namespace rushfs::transport
