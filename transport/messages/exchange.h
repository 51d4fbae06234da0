// Requests and replies of one connection, both directions: ids, exactly-once delivery, cancellation
// and credit. docs/protocol.md, "Messages".
//
// A request of ours goes through: queued, under way, answered. A request of the peer's: arriving,
// delivered, answered. Either may be cancelled by its requester: it ends with RESET, or with the
// last part of its reply if that was under way already. What is finished is forgotten but for its
// number.
//
// Pure; owner: Connection.
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/container/node_hash_map.h>

#include <array>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "transport/events.h"
#include "transport/messages/credit.h"
#include "transport/messages/outbox.h"
#include "transport/messages/reassembly.h"
#include "transport/messages/repeats.h"
#include "transport/recovery/sent_packets.h"
#include "transport/security/key_schedule.h"
#include "transport/wire/frames.h"

namespace rushfs::transport {

/// RESETs that the peer may leave unacknowledged. A correct peer has at most kMaxOpenRequests
/// of each priority to cancel, and as many again whose RESET's acknowledgement is under way.
inline constexpr std::size_t kMaxUnacknowledgedResets = 2 * kMaxOpenRequests * kPriorities;

class Exchange {
 public:
  struct Config {
    Role role = Role::client;
    Bytes credit_limit;                           // of all our receive windows together
    std::array<Bytes, kPriorities> peer_credit{};  // what the peer lets us send at first
  };
  explicit Exchange(const Config& config);

  // The application.

  RequestId request(Priority priority, Body body);
  void reply(RequestId id, Body body, TimePoint now);
  void cancel(RequestId id, TimePoint now);
  /// RequestArrived, ReplyArrived or RequestCancelled. Taking a reply frees the credit it held.
  std::optional<EventBody> poll(TimePoint now);

  // Frames of the peer.

  Violation on_message(const MessageFrame& frame, TimePoint now);
  Violation on_cancel(const CancelFrame& frame, TimePoint now);
  Violation on_reset(const ResetFrame& frame, TimePoint now);
  void on_credit(const CreditFrame& frame) { outbox_.on_credit(frame); }

  // Frames to the peer.

  bool has_data() { return has_control() || outbox_.next_priority().has_value(); }
  /// What comes next may use the reserve for urgent messages.
  bool next_is_urgent();
  bool is_held_back() { return outbox_.is_held_back(); }
  /// Fills the packet as far as there is something to send, and appends what went to `sent`.
  void write(FrameWriter& writer, std::vector<SentFrame>& sent, TimePoint now);
  void on_acknowledged(const SentFrame& frame);
  void on_lost(const SentFrame& frame);

  /// How long after it a small urgent message is repeated; none: it is not.
  void set_repeat_spacing(std::optional<Duration> spacing) { repeats_.set_spacing(spacing); }
  /// When tick() has something to repeat.
  std::optional<TimePoint> deadline() const { return repeats_.deadline(); }
  void tick(TimePoint now);

  /// For the credit windows' measurements.
  void set_round_trip(Duration round_trip) { round_trip_ = round_trip; }

  std::uint64_t bytes_retransmitted() const { return bytes_retransmitted_; }
  /// Bytes of messages that the peer makes us hold, and ours that are not acknowledged yet.
  std::uint64_t bytes_held_for_peer() const { return receive_credit_.outstanding(); }
  /// The peer waits for data that our application has not given yet.
  bool is_waited_for() const { return awaited_ > 0; }
  /// The peer has all of a bulk request, or of one that follows bulk, and has not answered it.
  bool is_kept_waiting() const { return with_peer_ > 0; }
  std::size_t messages_to_send() const { return outbox_.size(); }
  std::uint64_t bytes_to_send() const { return outbox_.bytes(); }

 private:
  /// A request of ours.
  struct Asked {
    std::uint32_t charge = 0;
    bool started = false;
    bool cancelled = false;
    bool with_peer = false;  // counted in with_peer_
    std::optional<Reassembly> reply;  // since its first part
  };
  /// A request of the peer's.
  struct Answering {
    enum class State : std::uint8_t { arriving, delivered, replying };
    explicit Answering(std::uint32_t total) : request(total) {}
    State state = State::arriving;
    bool counted = true;  // among the open ones: its reply was not sent completely yet
    Reassembly request;   // emptied on delivery
    std::uint32_t reply_charge = 0;
  };
  struct PeerRequests {  // of one priority
    RangeSet complete{kMaxOpenRequests + 2};  // counts of those that arrived or were cancelled
    std::size_t open = 0;
  };
  struct Control {
    SentFrame::Kind kind;  // cancel or reset
    RequestId id;
    std::uint32_t charged;
  };

  bool has_control() const { return !control_.empty() || receive_credit_.has_news(); }
  void write_control(FrameWriter& writer, std::vector<SentFrame>& sent);
  Violation on_request_part(const MessageFrame& frame);
  Violation start_request(const MessageFrame& frame);
  Violation on_reply_part(const MessageFrame& frame, TimePoint now);
  Violation mark_complete(RequestId id);
  Violation cancel_unseen(const CancelFrame& frame, TimePoint now);
  Violation send_reset(RequestId id, std::uint32_t charged);
  void note_delivered(RequestId id);
  void note_answered(Asked& asked);
  static bool asks_for_data(RequestId id, std::uint32_t total);
  std::optional<EventBody> take_reply(ReplyArrived reply, TimePoint now);
  void release_cancelled(RequestId id, TimePoint now);
  void finish(RequestId id, const Asked& asked);
  void close_count(RequestId id, Answering& answering);
  void release(MessageKind kind, RequestId id, std::uint32_t charge, TimePoint now) {
    receive_credit_.release({kind, priority_of(id)}, charge, round_trip_, now);
  }
  bool is_ours(RequestId id) const { return is_of_server(id) == (role_ == Role::server); }
  PeerRequests& peers_of(RequestId id) {
    return peer_requests_[static_cast<std::size_t>(priority_of(id))];
  }

  Role role_;
  Outbox outbox_;
  Repeats repeats_;
  ReceiveCredit receive_credit_;
  absl::node_hash_map<std::uint64_t, Asked> asked_;
  absl::node_hash_map<std::uint64_t, Answering> answering_;
  std::array<PeerRequests, kPriorities> peer_requests_;
  std::array<std::uint64_t, kPriorities> next_count_{};
  std::deque<EventBody> events_;
  std::deque<Control> control_;  // CANCEL and RESET to be sent
  absl::flat_hash_map<std::uint64_t, std::uint32_t> resets_;  // unacknowledged: id, charge
  // Requests cancelled after delivery: their bodies count until the application answers.
  absl::flat_hash_map<std::uint64_t, std::uint32_t> cancelled_charges_;
  std::size_t with_peer_ = 0;  // bulk requests of ours, acknowledged and not answered
  std::size_t awaited_ = 0;    // requests for data, delivered and not answered
  Duration round_trip_ = std::chrono::milliseconds(100);
  std::uint64_t bytes_retransmitted_ = 0;
};

}  // namespace rushfs::transport
