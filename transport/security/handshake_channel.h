// The handshake channel: a reliable byte stream in each direction over handshake packets, which TLS
// speaks through. It has its own keys, packet numbers, acknowledgements and retransmissions, and is
// discarded once data packets flow. docs/protocol.md, "Handshake".
//
// Pure; owner: Connection.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "transport/range_set.h"
#include "transport/recovery/loss_detection.h"
#include "transport/recovery/received_packets.h"
#include "transport/recovery/round_trip.h"
#include "transport/security/packet_protection.h"
#include "transport/units.h"
#include "transport/wire/frames.h"
#include "transport/wire/packet_header.h"

namespace rushfs::transport {

class HandshakeChannel {
 public:
  /// `original_destination`: of the client's very first packet; its keys follow from it.
  HandshakeChannel(const ConnectionId& original_destination, Role role);

  /// Appends to our stream.
  void send(std::span<const std::uint8_t> bytes);
  /// The server wants to see a cookie first: everything goes again.
  void start_over();
  /// Owes the peer a CLOSE; sent after what is left of the stream, once per call.
  void send_close(const CloseReason& reason) { close_ = reason; }

  /// What one packet brought.
  struct Received {
    bool authentic = false;             // opened, and not seen before
    Violation violation;
    std::vector<std::uint8_t> stream;   // the next bytes of the peer's stream, in order
    std::optional<CloseCode> close;     // its text is not to be believed: the keys are public
  };
  /// Opens one packet in place.
  Received receive(std::span<std::uint8_t> packet, std::size_t packet_number_offset, TimePoint now);

  /// Writes the next packet into `space` (at least kMinInitialDatagram bytes). Its size, 0 if there
  /// is nothing to send now.
  std::size_t transmit(std::span<std::uint8_t> space, const ConnectionId& destination,
                       const ConnectionId& source, std::span<const std::uint8_t> token,
                       TimePoint now);

  std::optional<TimePoint> deadline() const;
  void tick(TimePoint now);

  /// A round trip measured without packet numbers: our first packet and the retry it caused.
  void on_round_trip_sample(Duration sample, TimePoint now);
  const RoundTrip& round_trip() const { return round_trip_; }

 private:
  struct Part {
    std::uint32_t offset;
    std::uint32_t length;
  };
  void resend(std::span<const SentFrame> frames);
  void act_on(const LossOutcome& outcome);
  bool something_to_send(TimePoint now) const;
  void write_frames(FrameWriter& writer, std::vector<SentFrame>& sent, TimePoint now);
  void write_stream(FrameWriter& writer, std::vector<SentFrame>& sent);
  Violation on_handshake_data(const HandshakeDataFrame& frame, Received& received);
  Violation on_frame(const Frame& frame, Received& received, TimePoint now);

  Role role_;
  PacketProtection protection_;
  RoundTrip round_trip_;
  LossDetection loss_{false};
  ReceivedPackets received_{true};

  std::vector<std::uint8_t> out_;      // our whole stream: never more than a few KB
  std::vector<Part> to_send_;          // parts of it, in order; lost ones again
  RangeSet acknowledged_{64};
  std::vector<std::uint8_t> in_;       // the peer's stream as far as it is known
  RangeSet in_ranges_{64};
  std::size_t delivered_ = 0;          // of in_
  std::optional<CloseReason> close_;

  std::vector<NumberRange> ack_scratch_;
  LossOutcome outcome_;
};

}  // namespace rushfs::transport
