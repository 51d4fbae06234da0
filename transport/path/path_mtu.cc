#include "transport/path/path_mtu.h"

#include <algorithm>
#include <array>

namespace rushfs::transport {

namespace {

// UDP payloads worth trying, largest last: IPv6 minimum, common tunnels, Ethernet over IPv6 and
// IPv4, jumbo frames. In between, bisection would cost round trips for a few bytes.
constexpr std::array<std::uint64_t, 10> kSizes{1232, 1280, 1350, 1392, 1420,
                                               1452, 1472, 4052, 8952, 8972};
constexpr int kMaxAttempts = 3;  // MAX_PROBES of RFC 8899, section 5.1.2
constexpr Duration kSearchAgain = std::chrono::minutes(10);  // PMTU_RAISE_TIMER, same section
// A black hole is declared after so many large packets in a row vanished, sent over at least this
// long, while as many small ones arrived: at 20 % random loss once in 10^11 times.
constexpr int kLargeLost = 16;
constexpr int kSmallArrived = 3;

}  // namespace

PathMtu::PathMtu(Bytes largest) : largest_(largest.count), known_bad_(largest.count + 1) {
  next_candidate();
}

void PathMtu::next_candidate() {
  attempts_ = 0;
  candidate_ = 0;
  // Ethernet's first, which most paths carry, then at once the largest.
  const auto try_first = [this](std::uint64_t size) {
    if (candidate_ == 0 && current_ < size && size < known_bad_ && size <= largest_) {
      candidate_ = size;
    }
  };
  try_first(kEthernetDatagram.count);
  try_first(largest_);
  for (auto size = kSizes.rbegin(); size != kSizes.rend() && candidate_ == 0; ++size) {
    if (*size > current_ && *size < known_bad_ && *size <= largest_) candidate_ = *size;
  }
}

std::optional<Bytes> PathMtu::probe(TimePoint now) const {
  if (candidate_ == 0 || in_flight_ || now < next_probe_) return std::nullopt;
  return Bytes{candidate_};
}

void PathMtu::on_probe_sent() {
  in_flight_ = true;
}

void PathMtu::on_probe_acknowledged(Bytes size, TimePoint now) {
  in_flight_ = false;
  if (size.count <= current_ || size.count >= known_bad_) return;
  current_ = size.count;
  large_lost_in_a_row_ = 0;
  next_candidate();
  if (candidate_ == 0) finish(now);
}

void PathMtu::on_probe_lost(Bytes size, TimePoint now) {
  if (size.count != candidate_) return;  // given up already
  in_flight_ = false;
  if (++attempts_ < kMaxAttempts) return;
  known_bad_ = std::min(known_bad_, size.count);
  next_candidate();
  if (candidate_ == 0) finish(now);
}

void PathMtu::finish(TimePoint now) {
  if (current_ == largest_) return;
  // Paths grow, too: try again after a while.
  known_bad_ = largest_ + 1;
  next_candidate();
  next_probe_ = now + kSearchAgain;
}

void PathMtu::on_acknowledged(Bytes size) {
  if (size <= kBaseDatagram) {
    ++small_acknowledged_meanwhile_;
  } else {
    large_lost_in_a_row_ = 0;
    small_acknowledged_meanwhile_ = 0;
  }
}

void PathMtu::on_lost(Bytes size, TimePoint now) {
  if (size <= kBaseDatagram) return;
  ++large_lost_in_a_row_;
  if (large_lost_in_a_row_ >= kLargeLost && small_acknowledged_meanwhile_ >= kSmallArrived) {
    black_hole(now);
  }
}

void PathMtu::on_too_large(Bytes size, TimePoint now) {
  if (size <= kBaseDatagram) return;
  in_flight_ = false;
  known_bad_ = std::min(known_bad_, size.count);
  if (size.count <= current_) {  // the path became narrower
    current_ = kBaseDatagram.count;
    next_probe_ = now;
  }
  next_candidate();
  if (candidate_ == 0) finish(now);
}

void PathMtu::black_hole(TimePoint now) {
  known_bad_ = largest_ + 1;  // probes will tell which sizes still pass
  current_ = kBaseDatagram.count;
  large_lost_in_a_row_ = 0;
  small_acknowledged_meanwhile_ = 0;
  in_flight_ = false;
  next_probe_ = now + std::chrono::seconds(1);
  next_candidate();
}

void PathMtu::reset() {
  *this = PathMtu(Bytes{largest_});
}

}  // namespace rushfs::transport
