// How much loss the path has of its own, whatever we send (the floor), and whether a stretch of
// packets lost significantly more than that. Learned by experiment: a dip to half the rate that
// loses no less than before shows loss to be random. Pure; a value.
#pragma once

#include "transport/rate/rate_epochs.h"
#include "transport/units.h"

namespace rushfs::transport {

class LossFloor {
 public:
  /// Loss beyond the floor by this much is nobody's fault (draft-ietf-ccwg-bbr, LossThresh).
  static constexpr double kTolerance = 0.02;

  /// The floor as a share of packets, at most kMaxFloor.
  double value() const { return floor_; }
  /// Recent loss, smoothed.
  double recent() const { return recent_; }
  /// The goodput of a wire rate r is r × (1 − loss): what to divide a goodput by.
  double yield() const { return 1 - floor_; }

  /// True if the epoch lost more than the floor explains: by kTolerance and three standard errors,
  /// widened by how losses cluster on this path.
  bool excessive(const Epoch& epoch) const;
  /// The rise above the floor that `packets` packets can tell from chance.
  double uncertainty(double loss, double packets) const;

  /// A startup epoch at moderate rate.
  void on_startup(const Epoch& epoch);
  /// An epoch at about the full rate (cruise).
  void on_cruise(const Epoch& epoch);
  /// The verdict of a dip. True if it shows the recent loss to be the path's own. `queued`: the
  /// queue did not empty, so what was lost may have been lost there and the floor does not rise.
  bool on_dip(const Epoch& epoch, bool queued);
  bool startup_seen() const { return startup_seen_; }
  void reset() { *this = LossFloor(); }

 private:
  void note(const Epoch& epoch);

  double floor_ = 0;
  double recent_ = 0;
  double recent_packets_ = 0;  // weight behind recent_
  double cluster_ = 1;         // mean length of a group of losses, beyond chance
  double startup_packets_ = 0;  // looked at together, and
  double startup_lost_ = 0;     // lost of them
  bool startup_seen_ = false;
};

}  // namespace rushfs::transport
