#include "transport/rate/circuit_breaker.h"

namespace rushfs::transport {

namespace {
constexpr Duration kWindow = std::chrono::seconds(2);
constexpr double kLeastShare = 0.77;  // so that never 1.3 times the capacity is sent for long
}  // namespace

void CircuitBreaker::update(std::uint64_t sent, std::uint64_t delivered, Duration round_trip,
                            double yield, TimePoint now) {
  if (!start_) {
    start_ = now;
    sent_at_start_ = sent;
    delivered_at_start_.reset();
    sent_at_end_.reset();
    return;
  }
  const Duration passed = now - *start_;
  if (!delivered_at_start_ && passed >= round_trip) delivered_at_start_ = delivered;
  if (!sent_at_end_ && passed >= kWindow) sent_at_end_ = sent;
  if (!delivered_at_start_ || !sent_at_end_ || passed < kWindow + round_trip) return;
  const auto share = static_cast<double>(delivered - *delivered_at_start_);
  if (share < kLeastShare * yield * static_cast<double>(*sent_at_end_ - sent_at_start_)) {
    tripped_ = true;
  }
  start_.reset();
}

void CircuitBreaker::close() {
  *this = CircuitBreaker();
}

}  // namespace rushfs::transport
