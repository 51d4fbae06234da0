// The receiving half of Exchange: what the peer's frames do.
#include "transport/messages/exchange.h"

namespace rushfs::transport {

Violation Exchange::on_message(const MessageFrame& frame, TimePoint now) {
  if (frame.kind == MessageKind::request) {
    if (is_ours(frame.id)) return "a request under a number that is ours to give";
    return on_request_part(frame);
  }
  if (!is_ours(frame.id)) return "a reply to a request of its own";
  return on_reply_part(frame, now);
}

Violation Exchange::on_request_part(const MessageFrame& frame) {
  auto found = answering_.find(frame.id.value);
  if (found == answering_.end()) {
    if (peers_of(frame.id).complete.contains(count_of(frame.id))) return std::nullopt;
    if (Violation violation = start_request(frame)) return violation;
    found = answering_.emplace(frame.id.value, Answering(frame.total)).first;
  }
  Answering& answering = found->second;
  if (frame.total != answering.request.total()) return "two requests under one number";
  if (answering.state != Answering::State::arriving) return std::nullopt;
  if (Violation violation = answering.request.add(frame)) return violation;
  if (!answering.request.complete()) return std::nullopt;
  answering.state = Answering::State::delivered;
  receive_credit_.arrived({MessageKind::request, priority_of(frame.id)},
                          answering.request.charge());
  awaited_ += asks_for_data(frame.id, frame.total);
  events_.push_back(
      RequestArrived{frame.id, priority_of(frame.id), answering.request.take()});
  return mark_complete(frame.id);
}

Violation Exchange::start_request(const MessageFrame& frame) {
  PeerRequests& peers = peers_of(frame.id);
  if (++peers.open > kMaxOpenRequests) return "more open requests than allowed";
  if (!receive_credit_.charge({MessageKind::request, priority_of(frame.id)},
                              frame.total + kMessageOverhead)) {
    return "a request beyond its credit";
  }
  return std::nullopt;
}

Violation Exchange::mark_complete(RequestId id) {
  RangeSet& complete = peers_of(id).complete;
  complete.add(count_of(id));
  if (complete.ranges().size() > kMaxOpenRequests + 1) return "request numbers with too many gaps";
  return std::nullopt;
}

Violation Exchange::on_reply_part(const MessageFrame& frame, TimePoint now) {
  const RequestId id = frame.id;
  const auto found = asked_.find(id.value);
  if (found == asked_.end()) {
    const bool known = count_of(id) < next_count_[static_cast<std::size_t>(priority_of(id))];
    return known ? Violation{} : "a reply to a request that was never made";
  }
  Asked& asked = found->second;
  if (!asked.reply) {
    if (!asked.started) return "a reply to a request that was not sent yet";
    if (!asked.cancelled) {
      if (!outbox_.fully_sent(MessageKind::request, id)) return "a reply to half a request";
      outbox_.remove(MessageKind::request, id);
    }
    asked.reply.emplace(frame.total);
    note_answered(asked);
    if (!receive_credit_.charge({MessageKind::reply, priority_of(id)}, asked.reply->charge())) {
      return "a reply beyond its credit";
    }
    if (asked.cancelled) {
      asked.reply->discard();
      release(MessageKind::reply, id, asked.reply->charge(), now);
    }
  }
  if (frame.total != asked.reply->total()) return "two replies to one request";
  if (asked.reply->complete()) return std::nullopt;
  if (Violation violation = asked.reply->add(frame)) return violation;
  if (!asked.reply->complete()) return std::nullopt;
  if (!asked.cancelled) {
    receive_credit_.arrived({MessageKind::reply, priority_of(id)}, asked.reply->charge());
  }
  finish(id, asked);
  if (asked.cancelled) {
    asked_.erase(found);
  } else {
    events_.push_back(ReplyArrived{id, asked.reply->take()});
  }
  return std::nullopt;
}

Violation Exchange::on_cancel(const CancelFrame& frame, TimePoint now) {
  if (is_ours(frame.id)) return "a CANCEL of our own request";
  const auto found = answering_.find(frame.id.value);
  if (found == answering_.end()) return cancel_unseen(frame, now);
  Answering& answering = found->second;
  if (frame.charged != answering.request.charge()) return "a CANCEL that lies about its request";
  const Answering::State state = answering.state;
  std::uint32_t reply_charged = 0;
  switch (state) {
    case Answering::State::arriving:
      release(MessageKind::request, frame.id, frame.charged, now);
      break;
    case Answering::State::delivered:
      awaited_ -= asks_for_data(frame.id, answering.request.total());
      cancelled_charges_[frame.id.value] = frame.charged;
      events_.push_back(RequestCancelled{frame.id});
      break;
    case Answering::State::replying:
      if (outbox_.remove(MessageKind::reply, frame.id)) reply_charged = answering.reply_charge;
      break;
  }
  close_count(frame.id, answering);
  answering_.erase(found);
  if (state == Answering::State::arriving) {
    if (Violation violation = mark_complete(frame.id)) return violation;
  }
  return send_reset(frame.id, reply_charged);
}

// Either none of the request has arrived, or it was answered completely and the reply has arrived:
// then its last part ends it and the CANCEL says nothing.
Violation Exchange::cancel_unseen(const CancelFrame& frame, TimePoint now) {
  if (peers_of(frame.id).complete.contains(count_of(frame.id))) return std::nullopt;
  if (frame.charged != 0) {
    if (frame.charged < kMessageOverhead) return "a CANCEL of an impossible charge";
    if (!receive_credit_.charge({MessageKind::request, priority_of(frame.id)}, frame.charged)) {
      return "a CANCEL beyond its credit";
    }
    release(MessageKind::request, frame.id, frame.charged, now);
  }
  if (Violation violation = mark_complete(frame.id)) return violation;
  return send_reset(frame.id, 0);
}

Violation Exchange::send_reset(RequestId id, std::uint32_t charged) {
  resets_[id.value] = charged;
  if (resets_.size() > kMaxUnacknowledgedResets) return "too many CANCELs without acknowledgement";
  control_.push_back({SentFrame::Kind::reset, id, charged});
  return std::nullopt;
}

Violation Exchange::on_reset(const ResetFrame& frame, TimePoint now) {
  const RequestId id = frame.id;
  if (!is_ours(id)) return "a RESET of its own request";
  const auto found = asked_.find(id.value);
  if (found == asked_.end()) {
    const bool known = count_of(id) < next_count_[static_cast<std::size_t>(priority_of(id))];
    return known ? Violation{} : "a RESET of a request that was never made";
  }
  Asked& asked = found->second;
  if (!asked.cancelled) return "a RESET of a request that was not cancelled";
  if (asked.reply && asked.reply->complete()) return std::nullopt;  // cancelled when it was here
  if (!asked.reply && frame.charged != 0) {
    if (!receive_credit_.charge({MessageKind::reply, priority_of(id)}, frame.charged)) {
      return "a RESET beyond its credit";
    }
    release(MessageKind::reply, id, frame.charged, now);
  }
  finish(id, asked);
  asked_.erase(found);
  return std::nullopt;
}

}  // namespace rushfs::transport
