#include "transport/rate/startup.h"

#include <algorithm>
#include <utility>

namespace rushfs::transport {

namespace {

constexpr double kGain = 2.77;
constexpr double kGrowing = 1.15;    // per quarter to half of a round trip
constexpr int kLossyEpochs = 2;      // full even where the rate still seems to grow
constexpr std::uint32_t kTrips = 8;  // about as many are measured in a round trip

}  // namespace

void Startup::begin() {
  over_ = plateau_ = false;
  delivered_.reset();
  bandwidth_ = 0;
  before_ = {};
  lossy_epochs_ = 0;
  trips_ = {};
}

void Startup::on_ack(std::uint64_t delivered, TimePoint sent, TimePoint now) {
  delivered_.on_ack(delivered, sent, now);
}

void Startup::on_epoch(bool lossy) {
  lossy_epochs_ = lossy ? lossy_epochs_ + 1 : 0;
  if (lossy && (!grows() || lossy_epochs_ >= kLossyEpochs)) plateau_ = true;
}

std::optional<Epoch> Startup::take_round_trips() {
  if (trips_.round_trips < kTrips) return std::nullopt;
  return std::exchange(trips_, {});
}

void Startup::update(Duration window, double measured) {
  bandwidth_ = std::max({bandwidth_, measured, delivered_.rate(window)});
}

void Startup::note(TimePoint now, Duration quarter) {
  if (now - noted_ < quarter) return;
  before_ = {before_[1], bandwidth_};
  noted_ = now;
}

double Startup::rate() const {
  return std::max(bandwidth_ * kGain, initial_rate_);
}

bool Startup::grows() const {
  return bandwidth_ > kGrowing * before_[0];
}

}  // namespace rushfs::transport
