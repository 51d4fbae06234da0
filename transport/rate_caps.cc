#include "transport/rate_caps.h"

#include <cmath>

namespace rushfs::transport {
namespace {

// The cap counts payload that arrives; the policer sees datagrams with their headers, and a sender
// that bursts. What is beyond this was not meant to be heeded.
constexpr double kAllowance = 1.25;
constexpr double kBucketSeconds = 1;
constexpr double kSmallestBucket = 1 << 20;  // bytes
// How long an honest peer may take to slow down: a lost RATE frame is repeated within it.
constexpr Duration kNotice = std::chrono::seconds(3);
// A change smaller than this share is not worth a frame.
constexpr double kNoticeable = 0.05;

bool differ_noticeably(BitRate a, BitRate b) {
  if (std::isinf(a.bits_per_second) || std::isinf(b.bits_per_second)) return a != b;
  return std::abs(a.bits_per_second - b.bits_per_second) > kNoticeable * b.bits_per_second;
}

}  // namespace

void RatePolicer::set_rate(BitRate rate, TimePoint now) {
  refill(now);
  const double wanted = std::isinf(rate.bits_per_second)
                            ? 0
                            : std::max(1.0, rate.bits_per_second / 8 * kAllowance);
  const bool lower = wanted != 0 && (rate_ == 0 || wanted < rate_);
  next_rate_ = wanted;
  next_from_ = lower ? now + kNotice : now;
}

void RatePolicer::refill(TimePoint now) {
  const auto full = [](double rate) { return std::max(kSmallestBucket, rate * kBucketSeconds); };
  if (rate_ != next_rate_ && next_from_ <= now) {
    if (rate_ == 0) {
      tokens_ = full(next_rate_);
      filled_ = now;
    }
    rate_ = next_rate_;
  }
  tokens_ = std::min(full(rate_), tokens_ + rate_ * seconds(now - filled_));
  filled_ = now;
}

bool RatePolicer::admit(std::size_t size, TimePoint now) {
  if (rate_ == 0 && next_rate_ == 0) return true;
  refill(now);
  if (rate_ == 0) return true;
  const auto needed = static_cast<double>(size);
  if (tokens_ < needed) return false;
  tokens_ -= needed;
  return true;
}

void RateCaps::cap_receiving(BitRate rate, TimePoint now) {
  if (!differ_noticeably(rate, announced_)) return;
  announced_ = rate;
  ++number_;
  news_ = true;
  policer_.set_rate(rate, now);
}

bool RateCaps::on_frame(const RateFrame& frame) {
  if (frame.number <= peer_number_) return false;
  peer_number_ = frame.number;
  of_peer_ = frame.rate == 0 ? BitRate::infinite() : BitRate{static_cast<double>(frame.rate)};
  return true;
}

RateLimits RateCaps::effective() const {
  RateLimits result = limits_;
  result.target = std::min({limits_.target, sending_, of_peer_});
  result.minimum = std::min(limits_.minimum, result.target);
  return result;
}

RateFrame RateCaps::take_news() {
  news_ = false;
  const double rate = announced_.bits_per_second;
  return {number_, std::isinf(rate) ? 0 : static_cast<std::uint64_t>(std::max(1.0, rate))};
}

void RateCaps::on_lost(std::uint64_t number) {
  if (number == number_) news_ = true;
}

}  // namespace rushfs::transport
