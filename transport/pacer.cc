#include "transport/pacer.h"

#include <algorithm>

namespace rushfs::transport {

namespace {

// Timers wake late. What could have left meanwhile may leave at once, up to this much time's worth.
constexpr Duration kLateness = std::chrono::milliseconds(1);
// draft-ietf-ccwg-bbr, section 4.6.3 (send quantum), and smaller on slow links, whose rate limiters
// are known to hold only a few packets.
constexpr Duration kBurstTime = std::chrono::milliseconds(1);
constexpr Bytes kMaxBurst = 64_KiB;
constexpr BitRate kSinglePackets = 25_Mbps;
constexpr BitRate kSmallBursts = 200_Mbps;
constexpr double kSmallBurst = 16;

}  // namespace

void Pacer::set_rate(BitRate wire_rate, Bytes datagram_size) {
  rate_ = wire_rate;
  datagram_ = datagram_size;
  Bytes burst = std::min(wire_rate * kBurstTime, kMaxBurst);
  if (wire_rate < kSmallBursts) burst = std::min(burst, datagram_size * kSmallBurst);
  if (wire_rate < kSinglePackets) burst = datagram_size;
  burst_ = std::max(burst, datagram_size);
  burst_time_ = burst_ / rate_;
  urgent_time_ = datagram_ * kUrgentBurst / rate_;
}

bool Pacer::may_send(bool urgent, TimePoint now) const {
  return due_ <= (urgent ? now + urgent_time_ : now);
}

TimePoint Pacer::next_send() const {
  // Once nothing more may leave, wait for a whole burst's worth.
  return due_ + burst_time_ - datagram_ / rate_;
}

void Pacer::on_sent(Bytes wire_size, TimePoint now) {
  due_ = std::max(due_, now - burst_time_ - kLateness) + wire_size / rate_;
}

}  // namespace rushfs::transport
