// What a connection sends, and when.
#include <algorithm>
#include <cassert>
#include <utility>

#include "transport/connection.h"
#include "transport/security/stateless_reset.h"
#include "transport/wire/packet_number.h"

namespace rushfs::transport {
namespace {

// One batch is one GSO send: at most 64 segments (UDP_MAX_SEGMENTS) and 65,507 bytes of payload.
constexpr std::size_t kMaxSegments = 64;
constexpr std::size_t kMaxBatch = 65000;

// Path challenges and their answers show that the path carries full datagrams.
constexpr std::size_t kPathDatagram = 1200;

// One packet number in about this many is left out, to catch a peer that acknowledges what it
// cannot have seen (RFC 9000, section 21.4). Rare, because each leaves a gap in the peer's ACKs.
constexpr std::uint64_t kSkipInterval = 8192;

// A person who looks at the other end wants to see what is, not what was.
constexpr Duration kSendingInterval = std::chrono::milliseconds(250);

// Least payload of a packet: for the sample of header protection, and, of those that ask for an
// answer, to be larger than a stateless reset even with the shortest packet number.
constexpr std::size_t kMinPayload = 4;
constexpr std::size_t kMinElicitingPayload = 16;
static_assert(data_header_length(1) + kMinElicitingPayload + kTagLength > kStatelessResetSize);

}  // namespace

bool Connection::transmit(TransmitBatch& batch, TimePoint now) {
  const bool sent = transmit_next(batch, now);
  if (state_ == State::connected) limits_.note(send_limit(recovery_->report()), now);
  return sent;
}

bool Connection::transmit_next(TransmitBatch& batch, TimePoint now) {
  batch.to = peer_address_;
  switch (state_) {
    case State::draining:
    case State::finished: return false;
    case State::closing: return transmit_closing(batch, now);
    case State::handshaking:
    case State::connected: break;
  }
  if (handshake_ && transmit_handshake(batch, now)) return true;
  if (state_ != State::connected) return false;
  return transmit_path(batch, now) || transmit_path_mtu_probe(batch, now) ||
         transmit_data(batch, now);
}

bool Connection::transmit_handshake(TransmitBatch& batch, TimePoint now) {
  batch.bytes.resize(kMinInitialDatagram);
  const std::size_t size = handshake_->transmit(
      batch.bytes, peer_id_.value_or(original_destination_), own_id_, cookie_, now);
  batch.bytes.resize(size);
  batch.segment_size = static_cast<std::uint16_t>(size);
  return size != 0;
}

bool Connection::transmit_closing(TransmitBatch& batch, TimePoint now) {
  if (handshake_ && transmit_handshake(batch, now)) return true;
  if (!close_owed_) return false;
  close_owed_ = false;
  if (!protection_) return false;
  return transmit_alone(batch, kPathDatagram, now, [&](FrameWriter& writer) {
    writer.close(close_reason_.code, close_reason_.text);
  });
}

bool Connection::transmit_path(TransmitBatch& batch, TimePoint now) {
  if (const auto challenge = path_validation_.due(now)) {
    batch.to = challenge->to;
    transmit_alone(batch, challenge->limit, now, [&](FrameWriter& writer) {
      writer.path_challenge(challenge->challenge);
      writer.fill();
      sent_scratch_.push_back({.kind = SentFrame::Kind::path_challenge});
    });
    path_validation_.on_challenge_sent(batch.bytes.size(), probe_timeout(), now);
    return true;
  }
  if (!path_response_) return false;
  const PendingResponse response = *std::exchange(path_response_, std::nullopt);
  batch.to = response.to;
  return transmit_alone(batch, kPathDatagram, now, [&](FrameWriter& writer) {
    writer.path_response(response.data);
    writer.fill();
    sent_scratch_.push_back({.kind = SentFrame::Kind::path_response});
  });
}

bool Connection::transmit_path_mtu_probe(TransmitBatch& batch, TimePoint now) {
  if (!recovery_->may_send(false, now)) return false;
  const auto wanted = recovery_->path_mtu_probe(now);
  if (!wanted) return false;
  transmit_alone(batch, wanted->count, now, [&](FrameWriter& writer) {
    writer.ping();
    writer.fill();
    sent_scratch_.push_back({.kind = SentFrame::Kind::path_mtu_probe,
                             .length = static_cast<std::uint32_t>(wanted->count)});
  });
  assert(batch.bytes.size() == wanted->count);
  return true;
}

bool Connection::transmit_data(TransmitBatch& batch, TimePoint now) {
  const std::size_t segment = recovery_->datagram_size().count;
  const std::size_t most = std::min(kMaxSegments, kMaxBatch / segment);
  std::size_t used = 0;
  for (std::size_t i = 0; i < most; ++i) {
    const Content content = next_content(now);
    if (content == Content::nothing) break;
    if (batch.bytes.size() < used + segment) batch.bytes.resize(used + segment);  // fills: costs
    const std::size_t size =
        write_packet(std::span(batch.bytes).subspan(used, segment), now,
                     [&](FrameWriter& writer) { write_frames(writer, content, now); });
    used += size;
    if (size < segment) break;
  }
  if (used == 0) return false;
  batch.bytes.resize(used);
  batch.segment_size = static_cast<std::uint16_t>(std::min(segment, used));
  return true;
}

bool Connection::has_data() {
  return handshake_done_owed_ || ping_owed_ || rate_.has_news() ||
         (exchange_ && exchange_->has_data());
}

Connection::Content Connection::next_content(TimePoint now) {
  if (recovery_->probes_owed() > 0) return Content::data;
  if (has_data()) {
    if (recovery_->may_send(false, now)) return Content::data;
    const bool urgent = handshake_done_owed_ || ping_owed_ || exchange_->next_is_urgent();
    if (urgent && recovery_->may_send(true, now)) return Content::data;
  } else if (recovery_->may_send(false, now)) {
    recovery_->on_nothing_to_send(exchange_->is_held_back());
  }
  return received_.ack_due(now) ? Content::acknowledgement : Content::nothing;
}

void Connection::write_frames(FrameWriter& writer, Content content, TimePoint now) {
  if (received_.ack_due(now)) write_ack(writer, now);
  if (content == Content::data) {
    write_data_frames(writer, now);
    // What follows makes a batch of equal sizes worth some padding.
    if (exchange_->has_data()) writer.fill();
  } else if (received_.wants_ping(recovery_->round_trip().smoothed(), now) && writer.ping()) {
    received_.on_ping_sent(now);
    sent_scratch_.push_back({.kind = SentFrame::Kind::ping});
  }
}

void Connection::write_data_frames(FrameWriter& writer, TimePoint now) {
  const std::size_t before = sent_scratch_.size();
  if (recovery_->probes_owed() > 0 && !has_data()) prepare_probe();
  if (handshake_done_owed_ && writer.handshake_done(*reset_token_)) {
    handshake_done_owed_ = false;
    sent_scratch_.push_back({.kind = SentFrame::Kind::handshake_done});
  }
  write_rates(writer, now);
  exchange_->write(writer, sent_scratch_, now);
  const bool nothing = sent_scratch_.size() == before;
  if ((ping_owed_ || nothing) && writer.ping()) {
    ping_owed_ = false;
    sent_scratch_.push_back({.kind = SentFrame::Kind::ping});
  }
  // An ACK rides along where a packet has room left.
  constexpr std::size_t kRoomForAck = 64;
  const bool has_ack =
      !sent_scratch_.empty() && sent_scratch_.front().kind == SentFrame::Kind::ack;
  if (!has_ack && received_.has_news() && writer.room() >= kRoomForAck) write_ack(writer, now);
}

// The cap for the peer, and, beside bulk, what holds us back from being faster.
void Connection::write_rates(FrameWriter& writer, TimePoint now) {
  constexpr std::size_t kLongestRateFrame = 26;
  if (writer.room() < kLongestRateFrame) return;
  if (rate_.has_news()) {
    const RateFrame frame = rate_.take_news();
    writer.rate(frame);
    sent_scratch_.push_back({.kind = SentFrame::Kind::rate, .id = frame.number});
  }
  if (now < next_sending_ || !exchange_->has_data() || writer.room() < kLongestRateFrame) return;
  next_sending_ = now + kSendingInterval;
  const PathReport path = report(now);
  constexpr double kMaxBandwidth = 1e15;  // bits per second, where it is not known yet
  writer.sending({path.limit,
                  static_cast<std::uint64_t>(
                      std::clamp(path.bandwidth.bits_per_second, 0.0, kMaxBandwidth)),
                  static_cast<std::uint32_t>(std::clamp(path.loss_ratio, 0.0, 1.0) * 1e4)});
  sent_scratch_.push_back({.kind = SentFrame::Kind::sending});
}

void Connection::write_ack(FrameWriter& writer, TimePoint now) {
  const auto ranges = received_.ack_ranges(kMaxAckRanges);
  if (ranges.empty()) return;
  const bool rides_along = writer.size() > 0;
  const std::size_t named = writer.ack(received_.ack_delay(now), ranges);
  // What little room cut short has not told all that it should.
  if (named == 0 || (rides_along && named < ranges.size())) return;
  sent_scratch_.push_back({.kind = SentFrame::Kind::ack, .id = ranges.front().last});
  received_.on_ack_sent();
}

// A probe repeats the oldest content that is on its way, which may be what the peer waits for.
void Connection::prepare_probe() {
  const auto frames = recovery_->frames_to_probe();
  for (const SentFrame& frame : frames) on_frame_lost(frame);
}

bool Connection::transmit_alone(TransmitBatch& batch, std::size_t space, TimePoint now,
                                absl::FunctionRef<void(FrameWriter&)> write) {
  batch.bytes.resize(space);
  batch.bytes.resize(write_packet(batch.bytes, now, write));
  batch.segment_size = static_cast<std::uint16_t>(batch.bytes.size());
  return true;
}

std::size_t Connection::write_packet(std::span<std::uint8_t> space, TimePoint now,
                                     absl::FunctionRef<void(FrameWriter&)> write) {
  const std::size_t number_length =
      packet_number_length(protection_->next_packet_number(), largest_acknowledged_);
  const std::size_t header = data_header_length(number_length);
  FrameWriter writer(space.subspan(header, space.size() - header - kTagLength));
  sent_scratch_.clear();
  write(writer);
  if (writer.size() == 0) return 0;
  const bool ack_eliciting =
      std::any_of(sent_scratch_.begin(), sent_scratch_.end(), [](const SentFrame& frame) {
        return frame.kind != SentFrame::Kind::ack;
      });
  writer.pad_to(ack_eliciting ? kMinElicitingPayload : kMinPayload);
  const std::span<std::uint8_t> packet = space.first(header + writer.size() + kTagLength);
  const PacketLayout layout = write_data_header(packet, *peer_id_, number_length);
  const std::uint64_t number = protection_->seal(packet, layout, now);
  if (state_ == State::closing) return packet.size();  // nobody waits for what became of it
  assert(number == recovery_->next_number());
  recovery_->on_sent(Bytes{packet.size()}, ack_eliciting, sent_scratch_, now);
  skip_number_sometimes();
  return packet.size();
}

void Connection::skip_number_sometimes() {
  const std::uint64_t number = protection_->next_packet_number();
  if (next_skip_ != 0 && number < next_skip_) return;
  if (next_skip_ != 0) {
    protection_->skip_packet_number();
    recovery_->skip_number();
  }
  std::array<std::uint8_t, 2> bytes;
  context_.random(bytes);
  next_skip_ = number + kSkipInterval / 2 + (bytes[0] << 8 | bytes[1]) % kSkipInterval;
}

}  // namespace rushfs::transport
