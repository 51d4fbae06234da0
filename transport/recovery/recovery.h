// Everything one path's data packets need on the sending side, composed: what is in flight, what
// was lost, how long the trip takes, how fast to send, when the next packet may leave and how
// large it may be. Connection talks to this; the parts are readable and tested alone.
//
// Pure; owner: the connection.
//
//   send:   while (something to send && recovery.may_send(urgent, now)) {
//             build packet recovery.next_number() of at most recovery.datagram_size();
//             recovery.on_sent(...);
//           }
//           nothing left to send while may_send: recovery.on_nothing_to_send(...)
//   ack:    recovery.on_ack(...)   then act on outcome.acknowledged and outcome.lost
//   timer:  at recovery.deadline(): recovery.on_timer(...), then act on outcome.lost and
//           recovery.probes_owed()
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "transport/path/path_mtu.h"
#include "transport/path_report.h"
#include "transport/rate/loss_contrast.h"
#include "transport/rate/pacer.h"
#include "transport/rate/rate_control.h"
#include "transport/rate_limits.h"
#include "transport/recovery/delivery_rate.h"
#include "transport/recovery/loss_detection.h"
#include "transport/recovery/round_trip.h"
#include "transport/units.h"

namespace rushfs::transport {

class Recovery {
 public:
  struct Config {
    RateLimits limits;
    Bytes largest_datagram = 1472_B;
    std::uint64_t seed = 1;  // spreads probe times of connections that share a bottleneck
    std::optional<RememberedPath> remembered;
  };
  explicit Recovery(const Config& config);

  // Sending.

  std::uint64_t next_number() const { return loss_.packets().next_number(); }
  void skip_number() { loss_.skip_number(); }
  /// The size every full datagram should have now (UDP payload).
  Bytes datagram_size() const;
  /// May one more datagram of data leave now? Covers pacing, window and owed probes. Urgent data
  /// may use a small reserve beyond the pacer's. Packets that only acknowledge need not ask.
  bool may_send(bool urgent, TimePoint now) const;
  /// A path MTU probe is due: send a packet padded to exactly this UDP payload with
  /// SentFrame{path_mtu_probe, .length = size}. Ask only when may_send() and connected.
  std::optional<Bytes> path_mtu_probe(TimePoint now) const;
  /// The packet next_number() left with `wire_size` bytes of UDP payload.
  void on_sent(Bytes wire_size, bool ack_eliciting, std::span<const SentFrame> frames,
               TimePoint now);
  /// Nothing more to send although may_send() allows it; `by_credit` if there is data that the
  /// receiver's credit holds back. Rate samples taken meanwhile say little of the path.
  void on_nothing_to_send(bool by_credit);
  /// Ack-eliciting packets to send now whatever the window: new data if there is, else what
  /// frames_to_probe() says, else a ping.
  int probes_owed() const { return loss_.probes_owed(); }
  /// Content of the oldest outstanding packet that has any: worth sending again as a probe.
  /// Empty if there is none. Valid until the next call.
  std::span<const SentFrame> frames_to_probe() const { return loss_.frames_to_probe(); }

  // What comes back.

  /// Takes the ranges of an ACK frame, newest first. False: the peer acknowledges what was never
  /// sent, a protocol violation. Frames of packets that arrive after they were declared lost are
  /// among `acknowledged` too: do not send them again.
  bool on_ack(std::span<const NumberRange> ranges, Duration ack_delay, TimePoint now,
              LossOutcome& outcome);
  /// Call at deadline(). Clears and fills `outcome`.
  void on_timer(TimePoint now, LossOutcome& outcome);
  /// When on_timer() or the next may_send() is due. `has_data`: something waits to be sent.
  std::optional<TimePoint> deadline(bool has_data) const;

  /// Sends failed with EMSGSIZE: datagrams of this size do not leave the host.
  void on_datagram_too_large(Bytes size, TimePoint now);
  /// The peer is now reached over another path: model, round trip and datagram size start anew.
  void on_path_changed(TimePoint now);
  /// A sample from another packet number space (the handshake).
  void on_round_trip_sample(Duration sample, Duration ack_delay, TimePoint now);

  /// How long after a small urgent message its repetition should leave, beyond a short burst of
  /// losses; none where so little is lost that repeating it is a waste.
  std::optional<Duration> repeat_spacing() const;

  void set_limits(const RateLimits& limits);
  const RoundTrip& round_trip() const { return round_trip_; }
  std::uint64_t bytes_in_flight() const { return loss_.packets().bytes_in_flight(); }
  const RateControl& control() const { return control_; }
  /// All but what Connection fills in.
  PathReport report() const;

 private:
  void account(const LossOutcome& outcome, Duration ack_delay, TimePoint now);
  void apply_rates();

  Config config_;
  RoundTrip round_trip_;
  LossDetection loss_;
  DeliveryRate delivery_;
  RateControl control_;
  LossContrast contrast_;
  Pacer pacer_;
  PathMtu mtu_;
  std::optional<SendLimit> limit_;  // why nothing was sent although the path would permit
  std::uint64_t packets_sent_ = 0;
  std::uint64_t bytes_sent_ = 0;
  std::uint64_t bytes_acknowledged_ = 0;
  std::uint64_t packets_lost_ = 0;
  std::uint64_t bytes_lost_ = 0;
  std::uint64_t packets_spurious_ = 0;
  double lately_resolved_ = 0;  // packets, the older the less they count
  double lately_lost_ = 0;      // of them
};

}  // namespace rushfs::transport
