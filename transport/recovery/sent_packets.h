// What was sent in one packet number space and is not resolved yet: O(1) per packet, in a ring
// indexed by packet number, and never a second look at what is resolved.
//
// Holds records only; LossDetection decides. Pure; owner: the connection (through Recovery or,
// for the handshake, LossDetection).
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "transport/range_set.h"
#include "transport/units.h"

namespace rushfs::transport {

/// One thing a packet carried, so that its fate can be acted upon. What `id`, `offset` and
/// `length` mean is up to the kind; the recovery only stores them, except for path_mtu_probe
/// (length: size of the datagram's UDP payload).
struct SentFrame {
  enum class Kind : std::uint8_t {
    handshake_data,  // offset, length within the handshake channel
    handshake_done,
    request_data,  // id: request; offset, length within its message
    reply_data,    // id: request; offset, length within the reply
    cancel,        // id: request
    reset,         // id: request
    credit,        // id: the value granted; offset: class
    rate,          // id: number of the RATE frame
    sending,
    ack,           // id: highest packet number acknowledged
    ping,
    path_mtu_probe,  // length: UDP payload of the probe
    path_challenge,
    path_response,
    connection_id,
    close,
  };
  Kind kind = Kind::ping;
  std::uint32_t offset = 0;
  std::uint64_t id = 0;
  std::uint32_t length = 0;
};

/// State of the delivery-rate estimator when a packet left: delivery_rate.h.
struct DeliverySnapshot {
  std::uint64_t delivered = 0;  // bytes delivered so far
  TimePoint delivered_time{};   // when the last of them was acknowledged
  TimePoint first_sent_time{};  // when the first packet of this sample's flight left
  std::uint32_t in_flight = 0;  // bytes, this packet included
  bool application_limited = false;
};

struct SentPacket {
  TimePoint sent{};
  DeliverySnapshot snapshot;
  std::uint64_t first_frame = 0;  // index in the frame ring
  std::uint32_t epoch = 0;        // of the rate control: which experiment it belongs to
  std::uint16_t frame_count = 0;
  std::uint16_t wire_size = 0;  // UDP payload
  bool ack_eliciting = false;   // and so counts as in flight
  bool path_mtu_probe = false;  // its loss is no congestion signal
  enum class State : std::uint8_t { outstanding, resolved } state = State::outstanding;
};

class SentPackets {
 public:
  SentPackets();

  /// The number the next packet must carry.
  std::uint64_t next_number() const { return end_; }
  /// Leaves out the next number: a peer that acknowledges it did not see what it claims
  /// (RFC 9000, section 21.4).
  void skip_number();
  /// Records the packet next_number(). The reference, for epoch and snapshot, is valid until the
  /// next call.
  SentPacket& add(std::span<const SentFrame> frames, std::uint16_t wire_size, bool ack_eliciting,
                  TimePoint now);

  /// Takes the ranges of an ACK frame, newest first. Fills `newly` with the numbers acknowledged
  /// for the first time, ascending; they stay readable through at() until retire(). Fills `late`
  /// with those that had been declared lost. False: the peer acknowledges what was never sent;
  /// nothing was changed.
  bool acknowledge(std::span<const NumberRange> ranges, std::vector<std::uint64_t>& newly,
                   std::vector<std::uint64_t>& late);
  /// Moves an outstanding packet to the lost ones, where a late ACK is still noticed. Packets are
  /// declared lost in the order of their numbers.
  void mark_lost(std::uint64_t number, TimePoint now);
  /// Forgets all that is outstanding or lost.
  void abandon_all();
  /// Frees what is resolved at the front, and lost packets declared before `lost_before`.
  void retire(TimePoint lost_before);

  /// Numbers from begin_number() to next_number() - 1 are held.
  std::uint64_t begin_number() const { return begin_; }
  const SentPacket& at(std::uint64_t number) const { return ring_[number & mask_]; }
  bool outstanding(std::uint64_t number) const {
    return number >= begin_ && number < end_ && at(number).state == SentPacket::State::outstanding;
  }
  template <typename Visitor>
  void for_each_frame(const SentPacket& packet, Visitor visit) const {
    for (std::uint64_t i = 0; i < packet.frame_count; ++i) {
      visit(frames_[(packet.first_frame + i) & frame_mask_]);
    }
  }

  /// A packet declared lost. Kept for a while.
  struct LostPacket {
    std::uint64_t number = 0;
    TimePoint sent{};
    TimePoint declared{};
    std::uint32_t epoch = 0;
    std::uint16_t wire_size = 0;
    bool ack_eliciting = false;
    bool path_mtu_probe = false;
    bool arrived = false;  // acknowledged after all
    std::vector<SentFrame> frames;
  };
  /// Null if it is not, or no longer, known as lost.
  const LostPacket* find_lost(std::uint64_t number) const;

  std::uint64_t bytes_in_flight() const { return bytes_in_flight_; }
  std::uint64_t ack_eliciting_in_flight() const { return ack_eliciting_in_flight_; }

 private:
  void grow();
  void append(const SentFrame& frame);
  void resolve(SentPacket& packet);
  bool plausible(std::span<const NumberRange> ranges) const;
  void acknowledge_late(const NumberRange& range, std::vector<std::uint64_t>& late);
  void acknowledge_new(std::uint64_t first, std::uint64_t last, std::vector<std::uint64_t>& newly);

  std::vector<SentPacket> ring_;
  std::uint64_t mask_;
  std::uint64_t begin_ = 0;
  std::uint64_t end_ = 0;
  std::vector<SentFrame> frames_;
  std::uint64_t frame_mask_;
  std::uint64_t frame_begin_ = 0;
  std::uint64_t frame_end_ = 0;
  RangeSet acknowledged_;
  std::vector<NumberRange> previous_;  // ranges of the ACK before
  std::vector<NumberRange> fresh_;     // those of this one that are not among them
  std::deque<LostPacket> lost_;
  std::deque<std::uint64_t> skipped_;
  std::uint64_t bytes_in_flight_ = 0;
  std::uint64_t ack_eliciting_in_flight_ = 0;
};

}  // namespace rushfs::transport
