// Frames: what a decrypted packet carries. docs/protocol.md, "Frames", is the layout; this is the
// only place that reads or writes it. Parsing is strict: whatever a correct peer does not write is
// an error, and the connection is closed with its sentence.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

#include "transport/message.h"
#include "transport/path_report.h"
#include "transport/range_set.h"
#include "transport/rate_limits.h"
#include "transport/units.h"

namespace rushfs::transport {

/// What the peer did that no correct peer does, as a sentence that continues "the peer sent ...";
/// none: all is well. The connection is closed with it.
using Violation = std::optional<std::string_view>;

enum class MessageKind : std::uint8_t { request = 0, reply = 1 };

/// A request's id says whose it is and how urgent: bit 0 is 0 for the client's requests and 1 for
/// the server's, bits 1 and 2 are the priority, the rest counts the requests of that side and
/// priority, in the order in which they are started.
constexpr RequestId make_request_id(bool of_server, Priority priority, std::uint64_t count) {
  return {count << 3 | static_cast<std::uint64_t>(priority) << 1 | (of_server ? 1 : 0)};
}
constexpr bool is_of_server(RequestId id) { return (id.value & 1) != 0; }
constexpr Priority priority_of(RequestId id) { return static_cast<Priority>(id.value >> 1 & 3); }
constexpr std::uint64_t count_of(RequestId id) { return id.value >> 3; }

/// What a message takes of its sender's credit: its body and a share for its bookkeeping, so that
/// empty messages are bounded too.
inline constexpr std::uint32_t kMessageOverhead = 256;
inline constexpr std::uint32_t kMaxCharge =
    static_cast<std::uint32_t>(kMaxMessage.count) + kMessageOverhead;

/// One credit account of one direction. Requests and replies are apart so that two ends full of
/// requests can still answer each other.
struct CreditWindow {
  MessageKind kind = MessageKind::request;
  Priority priority = Priority::urgent;
  constexpr std::size_t index() const {
    return static_cast<std::size_t>(priority) * 2 + static_cast<std::size_t>(kind);
  }
  static constexpr CreditWindow from_index(std::size_t i) {
    return {static_cast<MessageKind>(i % 2), static_cast<Priority>(i / 2)};
  }
  auto operator<=>(const CreditWindow&) const = default;
};
inline constexpr std::size_t kCreditWindows = kPriorities * 2;

/// Most ranges in one ACK: what fits a 1200-byte packet, and a bound on the work a packet causes.
inline constexpr std::size_t kMaxAckRanges = 256;
/// Longest sentence in a CLOSE.
inline constexpr std::size_t kMaxCloseText = 256;

/// What a server that forgot a connection shows instead of its keys: RFC 9000, section 10.3.
using ResetToken = std::array<std::uint8_t, 16>;

/// The first byte of each frame.
namespace frame_type {
inline constexpr std::uint8_t kPadding = 0x00;
inline constexpr std::uint8_t kPing = 0x01;
inline constexpr std::uint8_t kAck = 0x02;
inline constexpr std::uint8_t kHandshakeData = 0x06;
inline constexpr std::uint8_t kPathChallenge = 0x1a;
inline constexpr std::uint8_t kPathResponse = 0x1b;
inline constexpr std::uint8_t kClose = 0x1c;
inline constexpr std::uint8_t kHandshakeDone = 0x1e;
inline constexpr std::uint8_t kRequest = 0x30;
inline constexpr std::uint8_t kReply = 0x31;
inline constexpr std::uint8_t kCancel = 0x32;
inline constexpr std::uint8_t kReset = 0x33;
inline constexpr std::uint8_t kCredit = 0x34;
inline constexpr std::uint8_t kRate = 0x35;
inline constexpr std::uint8_t kSending = 0x36;
}  // namespace frame_type

struct PaddingFrame {};  // a run of zero bytes
struct PingFrame {};
struct AckFrame {
  Duration delay{};                     // between the newest packet's arrival and this ACK
  std::span<const NumberRange> ranges;   // newest first, never empty, valid until the next frame
};
struct HandshakeDataFrame {
  std::uint64_t offset = 0;
  std::span<const std::uint8_t> data;
};
struct PathChallengeFrame { std::array<std::uint8_t, 8> data; };
struct PathResponseFrame { std::array<std::uint8_t, 8> data; };
struct CloseFrame {
  CloseCode code = CloseCode::none;
  std::string_view text;
};
struct HandshakeDoneFrame { ResetToken token; };
struct MessageFrame {
  MessageKind kind = MessageKind::request;
  RequestId id;  // of the request, also in its reply
  std::uint32_t total = 0;
  std::uint32_t offset = 0;
  std::span<const std::uint8_t> data;
};
/// The requester wants no reply. `charged` is the credit the request took, 0 when it had not
/// started: the receiver may have seen none of it, and must account for it all the same.
struct CancelFrame {
  RequestId id;
  std::uint32_t charged = 0;
};
/// The answer to CANCEL: no more of the reply comes. `charged` is the credit the reply took.
struct ResetFrame {
  RequestId id;
  std::uint32_t charged = 0;
};
struct CreditFrame {
  CreditWindow window;
  std::uint64_t limit = 0;  // cumulative bytes since the connection began
};

/// How the sender of this frame wants to be sent to. A later number replaces an earlier.
struct RateFrame {
  std::uint64_t number = 0;   // from 1
  RatePolicy policy = RatePolicy::fair;  // what a client asks of its server; a server says fair
  std::uint64_t rate = 0;     // at most, in bits per second; 0: no cap
  std::uint64_t minimum = 0;  // at least, what a client asks
};
/// What holds back the sender of this frame, for the receiver's user. Not repeated when lost.
struct SendingFrame {
  SendLimit limit = SendLimit::application;
  std::uint64_t bandwidth = 0;     // bits per second of goodput, as the sender estimates
  std::uint32_t loss = 0;          // of what it sent lately, in 1/10,000
};

using Frame = std::variant<PaddingFrame, PingFrame, AckFrame, HandshakeDataFrame,
                           PathChallengeFrame, PathResponseFrame, CloseFrame, HandshakeDoneFrame,
                           MessageFrame, CancelFrame, ResetFrame, CreditFrame, RateFrame,
                           SendingFrame>;

/// Whether the peer answers a packet with this frame by an ACK (RFC 9000, section 13.2).
bool is_ack_eliciting(const Frame& frame);

/// Takes a decrypted payload apart, frame by frame. Spans point into the payload.
class FrameReader {
 public:
  /// `scratch` holds the ranges of an ACK; hand in the same one again to save the allocation.
  FrameReader(std::span<const std::uint8_t> payload, std::vector<NumberRange>& scratch);

  /// The next frame; none at the end or at the first error.
  std::optional<Frame> next();
  /// What was wrong, as a sentence, once next() returned none; none if all was well.
  std::optional<std::string_view> error() const { return error_; }

 private:
  std::optional<std::uint64_t> integer();
  std::optional<std::span<const std::uint8_t>> bytes(std::uint64_t count);
  std::optional<Frame> fail(std::string_view sentence);
  std::optional<Frame> padding();
  std::optional<Frame> ack();
  std::optional<Frame> handshake_data();
  std::optional<Frame> path(bool response);
  std::optional<Frame> close();
  std::optional<Frame> handshake_done();
  std::optional<Frame> message(MessageKind kind);
  template <class Ending>
  std::optional<Frame> ending();
  std::optional<Frame> credit();
  std::optional<Frame> rate();
  std::optional<Frame> sending();

  std::span<const std::uint8_t> rest_;
  std::vector<NumberRange>& ranges_;
  std::optional<std::string_view> error_;
};

/// Writes frames side by side into a packet's payload. Each call writes all or nothing and says
/// whether it fitted.
class FrameWriter {
 public:
  explicit FrameWriter(std::span<std::uint8_t> space) : space_(space) {}

  std::size_t size() const { return used_; }
  std::size_t room() const { return space_.size() - used_; }

  /// Fills up to `size` bytes in all with PADDING.
  void pad_to(std::size_t size);
  /// Fills what is left with PADDING.
  void fill() { pad_to(space_.size()); }
  bool ping();
  /// As many of the ranges (newest first) as fit: how many those are.
  std::size_t ack(Duration delay, std::span<const NumberRange> ranges);
  /// As much of `data` as fits, but never nothing: the count written, 0 if none fits.
  std::size_t handshake_data(std::uint64_t offset, std::span<const std::uint8_t> data);
  bool path_challenge(const std::array<std::uint8_t, 8>& data);
  bool path_response(const std::array<std::uint8_t, 8>& data);
  bool close(CloseCode code, std::string_view text);
  bool handshake_done(const ResetToken& token);
  /// `frame.data` is the rest of what should go; returns how many bytes of it were written, or none
  /// if not even the header fits with at least one byte (or, for an empty message, with none).
  std::optional<std::size_t> message(const MessageFrame& frame);
  bool cancel(const CancelFrame& frame);
  bool reset(const ResetFrame& frame);
  bool credit(const CreditFrame& frame);
  bool rate(const RateFrame& frame);
  bool sending(const SendingFrame& frame);

 private:
  void put_byte(std::uint8_t byte);
  void put_integer(std::uint64_t value);
  void put_bytes(std::span<const std::uint8_t> bytes);

  std::span<std::uint8_t> space_;
  std::size_t used_ = 0;
};

}  // namespace rushfs::transport
