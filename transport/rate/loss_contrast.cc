#include "transport/rate/loss_contrast.h"

#include <algorithm>
#include <cmath>

namespace rushfs::transport {

namespace {

constexpr double kUsualMemory = 10000;  // packets
constexpr double kEnough = 20;          // packets of a probe, and of what lies between probes
constexpr double kExcess = 0.03;        // of a probe's packets
constexpr double kRatio = 2;            // at least so many times the usual loss
constexpr double kDeviations = 3;
constexpr int kLossyProbes = 2;  // one may have been a burst, or the end of a large queue

}  // namespace

void LossContrast::on_sent(std::uint32_t epoch, RatePhase phase) {
  if (phase == RatePhase::up && phase_ != phase) {
    probe_ = static_cast<std::uint8_t>((probe_ + 1) % kProbes);
    probes_[probe_] = {};
  }
  phase_ = phase;
  const bool usual =
      phase == RatePhase::cruise || phase == RatePhase::refill || phase == RatePhase::dip;
  const Kind kind = phase == RatePhase::up ? Kind::probe : usual ? Kind::usual : Kind::neither;
  epochs_[epoch % kEpochs] = {kind, probe_};
}

void LossContrast::add(const LossOutcome::Packet& packet, bool lost) {
  if (!packet.ack_eliciting || packet.path_mtu_probe) return;
  const Sent& sent = epochs_[packet.epoch % kEpochs];
  if (sent.kind == Kind::neither) return;
  Share& share = sent.kind == Kind::probe ? probes_[sent.probe] : usual_;
  ++share.resolved;
  share.lost += lost;
  if (usual_.resolved < kUsualMemory) return;
  usual_.resolved /= 2;
  usual_.lost /= 2;
}

void LossContrast::on_outcome(const LossOutcome& outcome) {
  if (outcome.after_silence) return;
  for (const LossOutcome::Packet& packet : outcome.acknowledged_packets) add(packet, false);
  for (const LossOutcome::Packet& packet : outcome.lost_packets) add(packet, true);
}

bool LossContrast::is_lossy(const Share& probe) const {
  if (probe.resolved < kEnough) return false;
  const double usual = std::max(usual_.lost, 1.0) / usual_.resolved;
  const double chance = kDeviations * std::sqrt(usual * (1 - usual) / probe.resolved);
  const double loss = probe.lost / probe.resolved;
  return loss > usual + std::max(kExcess, chance) && loss > kRatio * usual;
}

bool LossContrast::shows() const {
  if (usual_.resolved < kEnough) return false;
  return std::count_if(probes_.begin(), probes_.end(),
                       [this](const Share& probe) { return is_lossy(probe); }) >= kLossyProbes;
}

}  // namespace rushfs::transport
