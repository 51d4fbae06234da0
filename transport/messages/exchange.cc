#include "transport/messages/exchange.h"

#include <cassert>
#include <utility>

namespace rushfs::transport {

Exchange::Exchange(const Config& config)
    : role_(config.role), outbox_(config.peer_credit), receive_credit_(config.credit_limit) {}

RequestId Exchange::request(Priority priority, Body body) {
  const std::uint64_t count = next_count_[static_cast<std::size_t>(priority)]++;
  const RequestId id = make_request_id(role_ == Role::server, priority, count);
  asked_[id.value].charge = static_cast<std::uint32_t>(body.size()) + kMessageOverhead;
  outbox_.add(MessageKind::request, id, std::move(body));
  return id;
}

void Exchange::reply(RequestId id, Body body, TimePoint now) {
  const auto found = answering_.find(id.value);
  if (found == answering_.end()) return release_cancelled(id, now);
  Answering& answering = found->second;
  if (answering.state != Answering::State::delivered) return;
  answering.state = Answering::State::replying;
  awaited_ -= asks_for_data(id, answering.request.total());
  answering.reply_charge = static_cast<std::uint32_t>(body.size()) + kMessageOverhead;
  release(MessageKind::request, id, answering.request.charge(), now);
  outbox_.add(MessageKind::reply, id, std::move(body));
}

void Exchange::release_cancelled(RequestId id, TimePoint now) {
  const auto charge = cancelled_charges_.extract(id.value);
  if (!charge.empty()) release(MessageKind::request, id, charge.mapped(), now);
}

void Exchange::cancel(RequestId id, TimePoint now) {
  const auto found = asked_.find(id.value);
  if (found == asked_.end() || found->second.cancelled) return;
  Asked& asked = found->second;
  asked.cancelled = true;
  note_answered(asked);
  if (asked.reply && asked.reply->complete()) return;  // poll() will drop it
  asked.started = outbox_.remove(MessageKind::request, id);
  if (asked.reply) {
    asked.reply->discard();
    release(MessageKind::reply, id, asked.reply->charge(), now);
  }
  control_.push_back({SentFrame::Kind::cancel, id, asked.started ? asked.charge : 0});
}

std::optional<EventBody> Exchange::poll(TimePoint now) {
  while (!events_.empty()) {
    EventBody event = std::move(events_.front());
    events_.pop_front();
    auto* reply = std::get_if<ReplyArrived>(&event);
    if (reply == nullptr) return event;
    if (auto wanted = take_reply(std::move(*reply), now)) return wanted;
  }
  return std::nullopt;
}

// None: it was cancelled after it had come.
std::optional<EventBody> Exchange::take_reply(ReplyArrived reply, TimePoint now) {
  const auto found = asked_.find(reply.id.value);
  assert(found != asked_.end());
  const bool cancelled = found->second.cancelled;
  release(MessageKind::reply, reply.id, found->second.reply->charge(), now);
  asked_.erase(found);
  if (cancelled) return std::nullopt;
  return reply;
}

bool Exchange::next_is_urgent() {
  return has_control() || outbox_.next_priority() == Priority::urgent;
}

void Exchange::write(FrameWriter& writer, std::vector<SentFrame>& sent, TimePoint now) {
  write_control(writer, sent);
  while (const auto written = outbox_.write(writer)) {
    sent.push_back(written->frame);
    if (written->again) bytes_retransmitted_ += written->frame.length;
    if (written->started && written->finished &&
        priority_of({written->frame.id}) == Priority::urgent) {
      repeats_.on_sent(written->frame, now);
    }
    if (written->frame.kind == SentFrame::Kind::request_data) {
      if (written->started) asked_.at(written->frame.id).started = true;
    } else if (written->finished) {
      close_count({written->frame.id}, answering_.at(written->frame.id));
    }
  }
}

void Exchange::tick(TimePoint now) {
  while (const auto frame = repeats_.take_due(now)) outbox_.on_lost(*frame);
}

void Exchange::write_control(FrameWriter& writer, std::vector<SentFrame>& sent) {
  constexpr std::size_t kLongestControlFrame = 17;
  while (receive_credit_.has_news() && writer.room() >= kLongestControlFrame) {
    const CreditFrame frame = *receive_credit_.take_news();
    writer.credit(frame);
    sent.push_back({.kind = SentFrame::Kind::credit,
                    .offset = static_cast<std::uint32_t>(frame.window.index()),
                    .id = frame.limit});
  }
  while (!control_.empty() && writer.room() >= kLongestControlFrame) {
    const Control& control = control_.front();
    if (control.kind == SentFrame::Kind::cancel) {
      writer.cancel({control.id, control.charged});
    } else {
      writer.reset({control.id, control.charged});
    }
    sent.push_back(
        {.kind = control.kind, .id = control.id.value, .length = control.charged});
    control_.pop_front();
  }
}

void Exchange::on_acknowledged(const SentFrame& frame) {
  switch (frame.kind) {
    case SentFrame::Kind::request_data:
      if (outbox_.on_acknowledged(frame)) note_delivered({frame.id});
      return;
    case SentFrame::Kind::reply_data:
      if (outbox_.on_acknowledged(frame)) answering_.erase(frame.id);
      return;
    case SentFrame::Kind::reset: resets_.erase(frame.id); return;
    default: return;
  }
}

void Exchange::on_lost(const SentFrame& frame) {
  switch (frame.kind) {
    case SentFrame::Kind::request_data:
    case SentFrame::Kind::reply_data: outbox_.on_lost(frame); return;
    case SentFrame::Kind::cancel:
      if (asked_.contains(frame.id)) control_.push_back({frame.kind, {frame.id}, frame.length});
      return;
    case SentFrame::Kind::reset:
      if (resets_.contains(frame.id)) control_.push_back({frame.kind, {frame.id}, frame.length});
      return;
    case SentFrame::Kind::credit:
      receive_credit_.on_lost(CreditWindow::from_index(frame.offset));
      return;
    default: return;
  }
}

bool Exchange::asks_for_data(RequestId id, std::uint32_t total) {
  const Priority priority = priority_of(id);
  return total <= kSmallReply && (priority == Priority::demand || priority == Priority::ahead);
}

void Exchange::note_delivered(RequestId id) {
  const auto found = asked_.find(id.value);
  if (found == asked_.end() || found->second.reply || found->second.cancelled) return;
  const bool bulk = found->second.charge > kSmallReply + kMessageOverhead;
  if (!bulk && priority_of(id) != Priority::behind) return;
  found->second.with_peer = true;
  ++with_peer_;
}

void Exchange::note_answered(Asked& asked) { with_peer_ -= std::exchange(asked.with_peer, false); }

void Exchange::close_count(RequestId id, Answering& answering) {
  if (!answering.counted) return;
  answering.counted = false;
  --peers_of(id).open;
}

void Exchange::finish(RequestId id, const Asked& asked) {
  if (asked.started) outbox_.on_request_finished(priority_of(id));
}

}  // namespace rushfs::transport
