#include "transport/messages/outbox.h"

#include <bit>
#include <cassert>

namespace rushfs::transport {
namespace {

// A shorter part is not begun at the end of a packet unless it is the last of its message: headers
// would outweigh it, and the receiver's list of gaps would grow.
constexpr std::uint32_t kMinPart = 128;

// Of a message's part; a packet with less room left takes no part.
constexpr std::size_t kLongestHeader = 20;

// Gaps among the acknowledged parts of one message: 4 MiB in parts of kMinPart, every second lost.
constexpr std::size_t kMaxAcknowledgedRanges = kMaxMessage.count / kMinPart;

}  // namespace

Outbox::Message::Message(MessageKind message_kind, RequestId request, Body content,
                         std::uint64_t queued)
    : kind(message_kind),
      id(request),
      body(std::move(content)),
      order(queued),
      acknowledged(kMaxAcknowledgedRanges) {}

std::size_t Outbox::lane_of(const Message& message) {
  const auto priority = static_cast<std::size_t>(priority_of(message.id));
  if (priority == 0) return 0;
  const bool small = message.kind == MessageKind::reply && message.body.size() <= kSmallReply;
  return small ? priority : priority + kPriorities - 1;
}

void Outbox::add(MessageKind kind, RequestId id, Body body) {
  assert(body.size() <= kMaxMessage.count);
  bytes_ += body.size();
  auto message = std::make_shared<Message>(kind, id, std::move(body), next_order_++);
  const bool added = messages_.emplace(key(kind, id), message).second;
  assert(added);
  put_in_use(*message);
  lanes_[lane_of(*message)].fresh[static_cast<std::size_t>(kind)].push_back(std::move(message));
}

void Outbox::forget(Messages::iterator message) {
  message->second->gone = true;
  bytes_ -= message->second->body.size();
  message->second->body = {};
  messages_.erase(message);
}

MessageKind Outbox::kind_of(const SentFrame& frame) {
  return frame.kind == SentFrame::Kind::request_data ? MessageKind::request : MessageKind::reply;
}

bool Outbox::remove(MessageKind kind, RequestId id) {
  const auto found = messages_.find(key(kind, id));
  if (found == messages_.end()) return true;
  const bool started = found->second->started;
  forget(found);
  return started;
}

bool Outbox::fully_sent(MessageKind kind, RequestId id) const {
  const auto found = messages_.find(key(kind, id));
  return found == messages_.end() || found->second->sent == found->second->extent();
}

Outbox::Message* Outbox::front(Queue& queue) {
  while (!queue.empty() && queue.front()->gone) queue.pop_front();
  return queue.empty() ? nullptr : queue.front().get();
}

Outbox::Message* Outbox::next_lost(Queues& queues) {
  while (Message* message = front(queues.resend)) {
    auto& lost = message->lost;
    const auto wanted = std::find_if(lost.begin(), lost.end(), [&](const Part& part) {
      return !message->acknowledged.contains(part.offset, part.offset + part.length - 1);
    });
    lost.erase(lost.begin(), wanted);
    if (!lost.empty()) return message;
    message->in_resend_queue = false;
    queues.resend.pop_front();
  }
  return nullptr;
}

bool Outbox::may_go_on(const Message& message) const {
  if (message.started) return true;
  const Priority priority = priority_of(message.id);
  if (message.kind == MessageKind::request &&
      open_[static_cast<std::size_t>(priority)] >= kMaxOpenRequests) {
    return false;
  }
  return credit_.allows({message.kind, priority}, message.charge());
}

Outbox::Message* Outbox::next_fresh(Queues& queues) {
  Message* best = nullptr;
  for (auto& queue : queues.fresh) {
    Message* message = front(queue);
    if (message == nullptr || !may_go_on(*message)) continue;
    if (best == nullptr || message->order < best->order) best = message;
  }
  return best;
}

// Asked several times for each packet: idle lanes cost nothing.
Outbox::Next Outbox::next() {
  for (unsigned rest = lanes_in_use_; rest != 0; rest &= rest - 1) {
    Queues& queues = lanes_[static_cast<std::size_t>(std::countr_zero(rest))];
    if (Message* message = next_lost(queues)) return {&queues, message, nullptr};
    if (Message* message = next_fresh(queues)) return {&queues, nullptr, message};
    const bool empty =
        queues.resend.empty() && queues.fresh[0].empty() && queues.fresh[1].empty();
    if (empty) lanes_in_use_ &= ~(rest & -rest);
  }
  return {};
}

std::optional<Priority> Outbox::next_priority() {
  const Next found = next();
  if (found.queues == nullptr) return std::nullopt;
  return priority_of((found.lost != nullptr ? found.lost : found.fresh)->id);
}

bool Outbox::is_held_back() {
  for (Queues& queues : lanes_) {
    for (auto& queue : queues.fresh) {
      const Message* message = front(queue);
      if (message != nullptr && !may_go_on(*message)) return true;
    }
  }
  return false;
}

std::optional<Outbox::Written> Outbox::write(FrameWriter& writer) {
  if (writer.room() <= kLongestHeader) return std::nullopt;
  const Next found = next();
  if (found.lost != nullptr) return write_lost(*found.queues, *found.lost, writer);
  if (found.fresh != nullptr) return write_fresh(*found.queues, *found.fresh, writer);
  return std::nullopt;
}

std::optional<SentFrame> Outbox::write_part(const Message& message, std::uint32_t offset,
                                            std::uint32_t length, FrameWriter& writer) const {
  if (writer.room() < std::min(length, kMinPart) + kLongestHeader) return std::nullopt;
  const std::uint32_t bytes = std::min(length, message.total() - offset);
  const auto written =
      writer.message({message.kind, message.id, message.total(), offset,
                      message.body.bytes().subspan(offset, bytes)});
  if (!written) return std::nullopt;
  const auto kind = message.kind == MessageKind::request ? SentFrame::Kind::request_data
                                                         : SentFrame::Kind::reply_data;
  const auto covered = std::max(static_cast<std::uint32_t>(*written), 1u);
  return SentFrame{.kind = kind, .offset = offset, .id = message.id.value, .length = covered};
}

std::optional<Outbox::Written> Outbox::write_lost(Queues& queues, Message& message,
                                                  FrameWriter& writer) {
  Part& part = message.lost.front();
  const auto frame = write_part(message, part.offset, part.length, writer);
  if (!frame) return std::nullopt;
  part.offset += frame->length;
  part.length -= frame->length;
  if (part.length == 0) message.lost.erase(message.lost.begin());
  if (message.lost.empty()) {
    message.in_resend_queue = false;
    queues.resend.pop_front();
  }
  return Written{.frame = *frame, .again = true};
}

std::optional<Outbox::Written> Outbox::write_fresh(Queues& queues, Message& message,
                                                   FrameWriter& writer) {
  const auto frame = write_part(message, message.sent, message.extent() - message.sent, writer);
  if (!frame) return std::nullopt;
  Written written{*frame};
  if (!message.started) {
    message.started = written.started = true;
    const Priority priority = priority_of(message.id);
    credit_.charge({message.kind, priority}, message.charge());
    if (message.kind == MessageKind::request) ++open_[static_cast<std::size_t>(priority)];
  }
  message.sent += frame->length;
  if (message.sent == message.extent()) {
    written.finished = true;
    queues.fresh[static_cast<std::size_t>(message.kind)].pop_front();
  }
  return written;
}

bool Outbox::on_acknowledged(const SentFrame& frame) {
  const auto found = messages_.find(key(kind_of(frame), {frame.id}));
  if (found == messages_.end()) return false;
  Message& message = *found->second;
  message.acknowledged.add(frame.offset, frame.offset + frame.length - 1);
  if (!message.acknowledged.contains(0, message.extent() - 1)) return false;
  forget(found);
  return true;
}

std::uint32_t Outbox::on_lost(const SentFrame& frame) {
  const auto found = messages_.find(key(kind_of(frame), {frame.id}));
  if (found == messages_.end()) return 0;
  Message& message = *found->second;
  if (message.acknowledged.contains(frame.offset, frame.offset + frame.length - 1)) return 0;
  message.lost.push_back({frame.offset, frame.length});
  if (!message.in_resend_queue) {
    message.in_resend_queue = true;
    lanes_[lane_of(message)].resend.push_back(found->second);
    put_in_use(message);
  }
  return frame.length;
}

}  // namespace rushfs::transport
