#include "transport/rate/pacer.h"

#include <algorithm>

namespace rushfs::transport {

namespace {

// Timers wake late. What could have left meanwhile may leave at once, up to this much time's worth:
// a thirty-second of the round trip, within limits.
constexpr Duration kMinLateness = std::chrono::milliseconds(1);
constexpr Duration kMaxLateness = std::chrono::milliseconds(4);
// draft-ietf-ccwg-bbr, section 4.6.3 (send quantum), and smaller on slow links, whose rate limiters
// are known to hold only a few packets.
constexpr Duration kBurstTime = std::chrono::milliseconds(1);
constexpr Bytes kMaxBurst = 64_KiB;
// Beyond 2 Gbit/s that would be a timer for every super-packet: wake-ups cost more than sending.
constexpr Duration kFastBurstTime = std::chrono::microseconds(250);
constexpr BitRate kSinglePackets = 25_Mbps;
constexpr BitRate kSmallBursts = 200_Mbps;
constexpr double kSmallBurst = 16;

}  // namespace

void Pacer::set_rate(BitRate wire_rate, Bytes datagram_size) {
  rate_ = wire_rate;
  datagram_ = datagram_size;
  Bytes burst = std::min(wire_rate * kBurstTime, std::max(kMaxBurst, wire_rate * kFastBurstTime));
  if (wire_rate < kSmallBursts) burst = std::min(burst, datagram_size * kSmallBurst);
  if (wire_rate < kSinglePackets) burst = datagram_size;
  burst_ = std::max(burst, datagram_size);
  burst_time_ = burst_ / rate_;
  urgent_time_ = datagram_ * kUrgentBurst / rate_;
}

void Pacer::set_round_trip(Duration round_trip) {
  lateness_ = std::clamp(round_trip / 32, kMinLateness, kMaxLateness);
}

bool Pacer::may_send(bool urgent, TimePoint now) const {
  return due_ <= (urgent ? now + urgent_time_ : now);
}

TimePoint Pacer::next_send() const {
  // Once nothing more may leave, wait for a whole burst's worth.
  return due_ + burst_time_ - datagram_ / rate_;
}

void Pacer::on_sent(Bytes wire_size, TimePoint now) {
  due_ = std::max(due_, now - burst_time_ - lateness_) + wire_size / rate_;
}

}  // namespace rushfs::transport
