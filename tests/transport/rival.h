// Congestion controls of others, to share a simulated bottleneck with ours or to be measured in its
// place. They see what RateControl sees: packets as they leave, and what became of them.
#pragma once

#include <memory>
#include <optional>

#include "transport/recovery/loss_detection.h"
#include "transport/units.h"

namespace rushfs::transport::simulation {

enum class Control : std::uint8_t { ours, cubic, bbr1, bbr3 };

class Rival {
 public:
  virtual ~Rival() = default;
  virtual void on_sent(std::uint64_t number, std::uint64_t size, std::uint64_t in_flight_before,
                       TimePoint now) = 0;
  /// `in_flight` is after the outcome.
  virtual void on_outcome(const LossOutcome& outcome, std::optional<Duration> round_trip,
                          std::uint64_t in_flight, TimePoint now) = 0;
  virtual void on_application_limited(std::uint64_t in_flight) = 0;
  virtual BitRate pacing_rate() const = 0;
  virtual std::uint64_t window() const = 0;
};

/// CUBIC, RFC 9438, with slow start to the first loss, paced as Linux does it.
std::unique_ptr<Rival> make_cubic();
/// BBR as in Linux: version 1.
std::unique_ptr<Rival> make_bbr1(std::uint64_t seed);
/// BBRv3, draft-ietf-ccwg-bbr.
std::unique_ptr<Rival> make_bbr3(std::uint64_t seed);

}  // namespace rushfs::transport::simulation
