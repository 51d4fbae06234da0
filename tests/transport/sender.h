// A sender of the simulation: what Recovery offers, with the rate control chosen. Rivals get the
// production loss detection and pacer.
#pragma once

#include <memory>

#include "tests/transport/rival.h"
#include "transport/recovery/recovery.h"

namespace rushfs::transport::simulation {

class Sender {
 public:
  Sender(const Recovery::Config& config, Control control);

  std::uint64_t next_number() const;
  Bytes datagram_size() const;
  bool may_send(TimePoint now) const;
  std::optional<Bytes> path_mtu_probe(TimePoint now) const;
  void on_sent(Bytes size, const SentFrame& frame, TimePoint now);
  void on_nothing_to_send();
  int probes_owed() const;
  std::span<const SentFrame> frames_to_probe() const;
  bool on_ack(std::span<const NumberRange> ranges, Duration delay, TimePoint now,
              LossOutcome& outcome);
  void on_timer(TimePoint now, LossOutcome& outcome);
  std::optional<TimePoint> deadline(bool has_data) const;
  void on_first_round_trip(Duration sample, TimePoint now);
  bool knows_round_trip() const;

  /// Ours only; of a rival all is zero.
  const Recovery& recovery() const { return recovery_; }

 private:
  void tell_rival(const LossOutcome& outcome, Duration ack_delay, TimePoint now);

  Recovery recovery_;
  std::unique_ptr<Rival> rival_;
  LossDetection loss_;
  RoundTrip round_trip_;
  Pacer pacer_;
};

}  // namespace rushfs::transport::simulation
