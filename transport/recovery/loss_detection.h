// Decides which packets are lost, by time (RFC 8985 RACK, RFC 9002 probe timeout): a packet is
// lost when one sent at least a reordering window later was acknowledged. Numbers are never
// reused, so an ACK is never ambiguous and a wrong verdict is noticed: it widens the window.
//
// One per packet number space; the handshake uses it alone, data through Recovery. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "transport/recovery/round_trip.h"
#include "transport/recovery/sent_packets.h"
#include "transport/units.h"

namespace rushfs::transport {

/// What became of packets in one call. Reused between calls so that it allocates nothing.
struct LossOutcome {
  std::vector<SentFrame> acknowledged;  // frames that arrived
  std::vector<SentFrame> lost;          // frames to send again where still wanted

  // For the rate control.
  struct Packet {
    std::uint64_t number = 0;
    TimePoint sent{};
    DeliverySnapshot snapshot;
    std::uint32_t epoch = 0;
    std::uint16_t wire_size = 0;
    bool ack_eliciting = false;
    bool path_mtu_probe = false;
  };
  std::vector<Packet> acknowledged_packets;
  std::vector<Packet> lost_packets;
  std::vector<Packet> late_packets;    // had been declared lost
  std::optional<Duration> round_trip;  // sample of the highest packet, if newly acknowledged
  bool after_silence = false;          // the path was silent before: losses say nothing of rate

  void clear();
};

/// Longest pause between probes on a silent path unless its round trip is longer: a cut line is
/// found alive within a quarter of a second, at the price of four packets a second.
inline constexpr Duration kMaxProbeInterval = std::chrono::milliseconds(250);

class LossDetection {
 public:
  /// `peer_ack_delay_applies`: false in the handshake, where ACKs come at once.
  explicit LossDetection(bool peer_ack_delay_applies = true);

  void skip_number() { packets_.skip_number(); }
  /// The packet packets().next_number() left. The reference is for the caller to fill in epoch
  /// and delivery snapshot; valid until the next call.
  SentPacket& on_sent(Bytes wire_size, bool ack_eliciting, std::span<const SentFrame> frames,
                      TimePoint now);
  /// Updates `round_trip` with the sample of this ACK, then finds losses. Clears and fills
  /// `outcome`. False: acknowledges what was never sent.
  bool on_ack(std::span<const NumberRange> ranges, Duration ack_delay, RoundTrip& round_trip,
              TimePoint now, LossOutcome& outcome);
  /// Call at deadline(): declares packets lost or owes probes, two at a time. Clears and fills
  /// `outcome`.
  void on_timer(const RoundTrip& round_trip, TimePoint now, LossOutcome& outcome);
  std::optional<TimePoint> deadline(const RoundTrip& round_trip) const;

  int probes_owed() const { return probes_owed_; }
  std::span<const SentFrame> frames_to_probe() const;
  /// Forgets everything in flight, as when keys of a space are discarded.
  void discard_all();

  const SentPackets& packets() const { return packets_; }
  /// How much later a packet must have been sent for an earlier one to count as lost.
  Duration reordering_window(const RoundTrip& round_trip) const;
  /// Consecutive probe timeouts without an ACK.
  int probe_count() const { return probe_count_; }

 private:
  void collect_acknowledged(LossOutcome& outcome);
  void collect_late(LossOutcome& outcome);
  void note_reordering(TimePoint sent, TimePoint newest_before, const RoundTrip& round_trip,
                       TimePoint now);
  void detect(const RoundTrip& round_trip, TimePoint now, LossOutcome& outcome);
  Duration probe_interval(const RoundTrip& round_trip) const;

  bool peer_ack_delay_applies_;
  SentPackets packets_;
  std::vector<std::uint64_t> newly_;
  std::vector<std::uint64_t> late_;
  std::optional<std::uint64_t> newest_acknowledged_;  // number; later-sent ones are unresolved
  TimePoint newest_acknowledged_sent_{};
  std::optional<TimePoint> loss_time_;  // when the oldest suspect becomes lost
  TimePoint last_eliciting_sent_{};
  // Largest reordering seen, in the previous and the current window of time.
  std::array<Duration, 2> reordering_{};
  TimePoint reordering_since_{};
  int probe_count_ = 0;
  int probes_owed_ = 0;
  mutable std::vector<SentFrame> probe_frames_;
};

}  // namespace rushfs::transport
