#include "transport/rate/startup_rate.h"

#include <algorithm>

namespace rushfs::transport {

namespace {
constexpr std::uint64_t kLeastBytes = 8 * 1200;  // fewer packets are no rate
}

void StartupRate::on_ack(std::uint64_t delivered, TimePoint sent, TimePoint now) {
  points_[count_++ % kPoints] = {delivered, sent, now};
}

double StartupRate::rate(Duration window) const {
  if (count_ < 2) return 0;
  const Point& newest = points_[(count_ - 1) % kPoints];
  const std::size_t known = std::min(count_, kPoints);
  for (std::size_t back = 2; back <= known; ++back) {
    const Point& point = points_[(count_ - back) % kPoints];
    const Duration time =
        std::max(newest.acknowledged - point.acknowledged, newest.sent - point.sent);
    const std::uint64_t bytes = newest.delivered - point.delivered;
    const bool enough = newest.acknowledged - point.acknowledged >= window && bytes >= kLeastBytes;
    if ((enough || (back == kPoints && bytes >= kLeastBytes)) && time > Duration::zero()) {
      return static_cast<double>(bytes) / seconds(time);
    }
  }
  return 0;
}

}  // namespace rushfs::transport
