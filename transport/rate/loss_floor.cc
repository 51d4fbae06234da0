#include "transport/rate/loss_floor.h"

#include <algorithm>
#include <cmath>

namespace rushfs::transport {

namespace {

constexpr double kMaxFloor = 0.4;          // beyond, sending more to make up for loss is futile
constexpr double kLeastLoss = 0.005;       // for standard errors: nothing is free of loss
constexpr double kDeviations = 3;          // beyond chance: an hour has many thousand epochs
constexpr double kMemory = 1500;           // packets that the recent loss is averaged over
constexpr std::uint32_t kFewPackets = 10;  // no verdict on fewer
constexpr std::uint32_t kDipPackets = 30;  // no floor from fewer
constexpr std::uint32_t kStartupPackets = 100;  // nor a lower one from fewer in startup

}  // namespace

double LossFloor::uncertainty(double loss, double packets) const {
  const double p = std::clamp(loss, kLeastLoss, 0.5);
  // Losses in groups of mean length L vary like 2 L - 1 times fewer independent ones.
  return kDeviations * std::sqrt(p * (1 - p) / std::max(packets, 1.0) * (2 * cluster_ - 1));
}

bool LossFloor::excessive(const Epoch& epoch) const {
  if (epoch.resolved() < kFewPackets) return false;
  return epoch.loss() > floor_ + kTolerance + uncertainty(floor_, epoch.resolved());
}

void LossFloor::note(const Epoch& epoch) {
  const double packets = epoch.resolved();
  if (packets == 0) return;
  recent_packets_ = std::min(recent_packets_ + packets, kMemory);
  recent_ += (epoch.loss() - recent_) * std::min(1.0, packets / recent_packets_);
  if (epoch.lost >= 3) {
    // Independent losses form groups of mean length 1 / (1 - p), too.
    const double length = static_cast<double>(epoch.lost) / epoch.loss_runs * (1 - epoch.loss());
    cluster_ += (std::clamp(length, 1.0, 20.0) - cluster_) * 0.1;
  }
}

void LossFloor::on_startup(const Epoch& epoch) {
  startup_packets_ += epoch.resolved();
  startup_lost_ += epoch.lost;
  if (startup_packets_ < (startup_seen_ ? kStartupPackets : kDipPackets)) return;
  // The least of several looks is too low by chance; the more so the fewer packets it saw.
  const double p = startup_lost_ / startup_packets_;
  const double floor = std::min(p + uncertainty(p, startup_packets_) / 3, kMaxFloor);
  floor_ = startup_seen_ ? std::min(floor_, floor) : floor;
  startup_seen_ = true;
  startup_packets_ = startup_lost_ = 0;
}

void LossFloor::on_cruise(const Epoch& epoch) {
  note(epoch);
  // Less loss at full rate than the floor says needs no dip to be believed.
  if (recent_ + uncertainty(recent_, recent_packets_) < floor_) floor_ = recent_;
}

bool LossFloor::on_dip(const Epoch& epoch, bool queued) {
  const double n = epoch.resolved();
  if (n < kDipPackets) return false;
  const double dip = epoch.loss();
  const bool own = dip > recent_ - kTolerance / 2 - uncertainty(recent_, n) * 2 / 3;
  // The same loss at half the rate is random, and the longer average knows it better.
  const double floor = own ? (recent_ * recent_packets_ + dip * n) / (recent_packets_ + n) : dip;
  if (queued && floor > floor_) return false;
  floor_ = std::min(floor, kMaxFloor);
  return own;
}

}  // namespace rushfs::transport
