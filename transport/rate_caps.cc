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

RateCaps::RateCaps(Role role, const RateLimits& limits, TimePoint now) : role_(role) {
  set_limits(limits, now);
}

void RateCaps::set_limits(const RateLimits& limits, TimePoint now) {
  limits_ = limits;
  if (role_ == Role::client && limits != announced_) announce(limits, now);
}

void RateCaps::cap_receiving(BitRate rate, TimePoint now) {
  if (differ_noticeably(rate, announced_.target)) announce({.target = rate}, now);
}

void RateCaps::announce(const RateLimits& wanted, TimePoint now) {
  announced_ = wanted;
  ++number_;
  news_ = true;
  policer_.set_rate(wanted.target, now);
}

bool RateCaps::on_frame(const RateFrame& frame) {
  if (frame.number <= peer_number_) return false;
  peer_number_ = frame.number;
  of_peer_ = frame.rate == 0 ? BitRate::infinite() : BitRate{static_cast<double>(frame.rate)};
  if (role_ == Role::server) {
    asked_ = {frame.policy, of_peer_, {static_cast<double>(frame.minimum)}};
    // At which rate, a client that asks for a fixed one must say.
    if (frame.rate == 0 && frame.policy == RatePolicy::fixed) asked_->policy = RatePolicy::fair;
  }
  return true;
}

RateLimits RateCaps::effective() const {
  RateLimits result = asked_.value_or(limits_);
  result.target = std::min({limits_.target, sending_, of_peer_});
  result.minimum = std::min(result.minimum, result.target);
  return result;
}

RateFrame RateCaps::take_news() {
  news_ = false;
  const auto number_of = [](BitRate rate) {
    const double bits = rate.bits_per_second;
    return std::isinf(bits) ? 0 : static_cast<std::uint64_t>(std::max(1.0, bits));
  };
  const bool bounded = announced_.minimum.bits_per_second > 0;
  return {number_, announced_.policy, number_of(announced_.target),
          bounded ? number_of(announced_.minimum) : 0};
}

void RateCaps::on_lost(std::uint64_t number) {
  if (number == number_) news_ = true;
}

}  // namespace rushfs::transport
