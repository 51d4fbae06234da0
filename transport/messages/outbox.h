// The messages one end has to send, and which bytes of them to send next: strict priorities, what
// was lost before what is new, first come first served within a priority, and only as far as the
// receiver's credit goes. Bytes are copied once, from the message into the packet.
//
// Pure; owner: Exchange.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <algorithm>
#include <array>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "transport/message.h"
#include "transport/messages/credit.h"
#include "transport/range_set.h"
#include "transport/recovery/sent_packets.h"
#include "transport/wire/frames.h"

namespace rushfs::transport {

/// Requests of one priority that may be started and not yet finished, in each direction: bounds
/// the receiver's tables. 8192 small requests at 300 ms are 27,000 a second.
inline constexpr std::size_t kMaxOpenRequests = 8192;

/// Replies up to this size go before the bulk of every class but urgent: they end something that
/// somebody waits for and cost next to nothing. Else answers to writes would starve behind a
/// prefetch that fills the link, and with them the writes.
inline constexpr std::size_t kSmallReply = 1024;

class Outbox {
 public:
  explicit Outbox(const std::array<Bytes, kPriorities>& initial_credit) : credit_(initial_credit) {}

  /// Queues a message. Its id and kind must be new.
  void add(MessageKind kind, RequestId id, Body body);
  /// Forgets a message, sent or not. True if it had been started, and so charged. One that is not
  /// here any more was acknowledged, and so started.
  bool remove(MessageKind kind, RequestId id);
  /// All bytes were sent at least once, or the message is already acknowledged.
  bool fully_sent(MessageKind kind, RequestId id) const;

  void on_credit(const CreditFrame& frame) { credit_.on_credit(frame); }
  /// A request is finished (answered or given up): another may be started in its place.
  void on_request_finished(Priority priority) { --open_[static_cast<std::size_t>(priority)]; }

  /// The most urgent priority with something to send now; none: nothing, or nothing that credit
  /// and the limit of open requests allow.
  std::optional<Priority> next_priority();
  /// True if there are messages that only credit or the limit of open requests holds back.
  bool is_held_back();

  /// What write() did besides filling the packet.
  struct Written {
    SentFrame frame;
    bool started = false;   // the first bytes of the message
    bool finished = false;  // the last of its bytes that had not been sent before
    bool again = false;     // was lost before
  };
  /// Writes the next part of a message. None: nothing to send, or it does not fit.
  std::optional<Written> write(FrameWriter& writer);

  /// Part of a message arrived. True if with it the whole message did, and is forgotten.
  bool on_acknowledged(const SentFrame& frame);
  /// Part of a message was lost, or shall be repeated: it goes again unless it arrived after all.
  /// The bytes to resend.
  std::uint32_t on_lost(const SentFrame& frame);

  std::size_t size() const { return messages_.size(); }
  /// Of all messages here.
  std::uint64_t bytes() const { return bytes_; }

 private:
  static std::uint64_t key(MessageKind kind, RequestId id) {
    return id.value << 1 | static_cast<std::uint64_t>(kind);
  }
  struct Part {
    std::uint32_t offset;
    std::uint32_t length;
  };
  struct Message {
    Message(MessageKind, RequestId, Body, std::uint64_t order);
    std::uint32_t total() const { return static_cast<std::uint32_t>(body.size()); }
    std::uint32_t extent() const { return std::max(total(), 1u); }  // an empty one still has a part
    std::uint32_t charge() const { return total() + kMessageOverhead; }

    MessageKind kind;
    RequestId id;
    Body body;
    std::uint64_t order;      // among all messages queued here
    std::uint32_t sent = 0;   // of extent(), at least once
    bool started = false;
    bool in_resend_queue = false;
    bool gone = false;        // forgotten; still named by a queue
    RangeSet acknowledged;    // of extent()
    std::vector<Part> lost;   // to be sent again, oldest first
  };
  using Queue = std::deque<std::shared_ptr<Message>>;  // may hold messages that are gone
  struct Queues {
    Queue resend;
    std::array<Queue, 2> fresh;  // by kind
  };
  /// In the order in which they are served: urgent, small replies of the other three priorities,
  /// all else of those.
  static constexpr std::size_t kLanes = 2 * kPriorities - 1;
  static std::size_t lane_of(const Message& message);
  using Messages = absl::flat_hash_map<std::uint64_t, std::shared_ptr<Message>>;

  static MessageKind kind_of(const SentFrame& frame);
  void forget(Messages::iterator message);
  static Message* front(Queue& queue);
  Message* next_lost(Queues& queues);
  Message* next_fresh(Queues& queues);
  /// The first lane that has something to send now, and what: `lost` or else `fresh`.
  struct Next {
    Queues* queues = nullptr;
    Message* lost = nullptr;
    Message* fresh = nullptr;
  };
  Next next();
  void put_in_use(const Message& message) { lanes_in_use_ |= 1u << lane_of(message); }
  bool may_go_on(const Message& message) const;
  std::optional<Written> write_lost(Queues& queues, Message& message, FrameWriter& writer);
  std::optional<Written> write_fresh(Queues& queues, Message& message, FrameWriter& writer);
  /// Writes a part of at most `length` bytes; the record of what went.
  std::optional<SentFrame> write_part(const Message& message, std::uint32_t offset,
                                      std::uint32_t length, FrameWriter& writer) const;

  SendCredit credit_;
  Messages messages_;
  std::array<Queues, kLanes> lanes_;
  unsigned lanes_in_use_ = 0;  // bit per lane: a lane without has empty queues
  std::array<std::size_t, kPriorities> open_{};  // requests of ours under way
  std::uint64_t bytes_ = 0;
  std::uint64_t next_order_ = 0;
};

}  // namespace rushfs::transport
