// What arrived in one packet number space: finds duplicates and replays, and says when an ACK is
// due and which ranges it carries. The acknowledging half of RFC 9000, section 13.2, with times
// instead of packet counts because a bulk receiver must not answer every second packet.
//
// Pure; owner: the connection.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "transport/range_set.h"
#include "transport/units.h"
#include "transport/wire/packet_number.h"

namespace rushfs::transport {

/// An acknowledgement waits for company between these, at an eighth of the round trip.
inline constexpr Duration kMinAckDelay = std::chrono::milliseconds(1);
inline constexpr Duration kMaxAckDelay = std::chrono::milliseconds(10);
constexpr Duration ack_delay_for(Duration smoothed_round_trip) {
  const Duration eighth = smoothed_round_trip / 8;
  return eighth < kMinAckDelay ? kMinAckDelay : eighth > kMaxAckDelay ? kMaxAckDelay : eighth;
}

class ReceivedPackets {
 public:
  /// `always_at_once`: every ack-eliciting packet is answered immediately (handshake space).
  explicit ReceivedPackets(bool always_at_once = false);

  /// True if a packet of this number was already taken or is too old to tell. Ask after the packet
  /// was authenticated, before its content is believed.
  bool is_duplicate(std::uint64_t number) const;
  /// Takes an authenticated packet that is no duplicate. `smoothed_round_trip` sets the ACK delay.
  void on_received(std::uint64_t number, bool ack_eliciting, Duration smoothed_round_trip,
                   TimePoint now);

  /// When an ACK must be sent at the latest; none: nothing to acknowledge.
  std::optional<TimePoint> ack_deadline() const { return deadline_; }
  bool ack_due(TimePoint now) const { return deadline_ && *deadline_ <= now; }
  /// True if an ACK would tell the peer something new: worth adding to a packet that goes anyway.
  bool has_news() const { return news_; }

  /// The ranges for an ACK frame, newest first, at most `limit`: where there are more, up to
  /// half of them those of what arrived late last. Valid until the next call.
  std::span<const NumberRange> ack_ranges(std::size_t limit);
  /// How long the highest number has been here: the ACK frame's delay.
  Duration ack_delay(TimePoint now) const;
  /// An ACK frame with ack_ranges() was sent.
  void on_ack_sent();
  /// True if an otherwise empty ACK packet should carry a ping, so that it is itself acknowledged
  /// and old ranges can be forgotten: once per round trip while there are gaps.
  bool wants_ping(Duration smoothed_round_trip, TimePoint now) const;
  void on_ping_sent(TimePoint now) { last_ping_ = now; }
  /// The peer acknowledged a packet of ours that carried an ACK frame of which the highest number
  /// was `largest`: what lies below need not be repeated.
  void on_ack_acknowledged(std::uint64_t largest);

  std::uint64_t largest() const { return largest_; }  // 0 before the first
  bool empty() const { return packets_ == 0; }

 private:
  bool test(std::uint64_t number) const;
  void mark(std::uint64_t number);
  void remember_late(std::uint64_t number);
  void add_late_ranges(std::uint64_t below, std::size_t most);
  void clear(std::uint64_t begin, std::uint64_t end);

  bool always_at_once_;
  RangeSet ranges_;
  std::vector<std::uint64_t> window_;  // one bit per number, indexed modulo kDuplicateWindow
  std::vector<NumberRange> newest_first_;
  // Those that arrived late, the last ones in a ring.
  static constexpr std::size_t kLateKept = 1024;
  std::vector<std::uint64_t> late_;
  std::size_t next_late_ = 0;
  std::uint64_t largest_ = 0;
  TimePoint largest_time_{};
  std::uint64_t packets_ = 0;
  std::uint64_t eliciting_since_ack_ = 0;
  std::uint64_t gaps_since_ack_ = 0;
  static constexpr std::uint64_t kNone = ~std::uint64_t{0};
  std::uint64_t lowest_unreported_ = kNone;  // arrived out of order since the last ACK
  std::optional<TimePoint> deadline_;
  std::optional<TimePoint> last_ping_;
  bool news_ = false;
};

}  // namespace rushfs::transport
