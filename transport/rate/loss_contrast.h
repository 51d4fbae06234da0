// Whether a path loses more of what is sent faster than usual: the mark of a policer where there is
// no queue. Random loss takes the same share at any rate. Pure; a value.
#pragma once

#include <array>
#include <cstdint>

#include "transport/rate/rate_epochs.h"
#include "transport/recovery/loss_detection.h"

namespace rushfs::transport {

class LossContrast {
 public:
  /// A packet of this epoch was sent in this phase.
  void on_sent(std::uint32_t epoch, RatePhase phase);
  void on_outcome(const LossOutcome& outcome);
  void reset() { *this = LossContrast(); }

  /// Several of the latest probes for more bandwidth clearly lost more than was lost between them.
  bool shows() const;

 private:
  struct Share {
    double resolved = 0;  // packets
    double lost = 0;      // of them
  };
  enum class Kind : std::uint8_t { neither, probe, usual };
  struct Sent {
    Kind kind = Kind::neither;
    std::uint8_t probe = 0;  // index into probes_
  };
  void add(const LossOutcome::Packet& packet, bool lost);
  bool is_lossy(const Share& probe) const;

  static constexpr std::size_t kEpochs = 256;  // a slot is used again long after its packets
  static constexpr std::size_t kProbes = 8;
  std::array<Sent, kEpochs> epochs_{};
  std::array<Share, kProbes> probes_{};
  std::uint8_t probe_ = 0;
  RatePhase phase_ = RatePhase::startup;
  Share usual_;  // the older the less it counts
};

}  // namespace rushfs::transport
