#include "transport/security/handshake_channel.h"

#include <algorithm>

#include "transport/security/tls_handshake.h"

namespace rushfs::transport {
namespace {
constexpr std::size_t kPacketNumberLength = 4;
}

HandshakeChannel::HandshakeChannel(const ConnectionId& original_destination, Role role)
    : role_(role), protection_(PacketProtection::for_handshake(original_destination, role)) {}

void HandshakeChannel::send(std::span<const std::uint8_t> bytes) {
  if (bytes.empty()) return;
  to_send_.push_back({static_cast<std::uint32_t>(out_.size()),
                      static_cast<std::uint32_t>(bytes.size())});
  out_.insert(out_.end(), bytes.begin(), bytes.end());
}

void HandshakeChannel::start_over() {
  loss_.discard_all();
  to_send_.assign(1, {0, static_cast<std::uint32_t>(out_.size())});
}

void HandshakeChannel::on_round_trip_sample(Duration sample, TimePoint now) {
  round_trip_.update(sample, Duration::zero(), now);
}

HandshakeChannel::Received HandshakeChannel::receive(std::span<std::uint8_t> packet,
                                                     std::size_t packet_number_offset,
                                                     TimePoint now) {
  Received received;
  const auto opened = protection_.open(packet, packet_number_offset, now);
  if (!opened || received_.is_duplicate(opened->packet_number)) return received;
  received.authentic = true;
  bool ack_eliciting = false;
  FrameReader reader(opened->payload, ack_scratch_);
  while (const auto frame = reader.next()) {
    ack_eliciting |= is_ack_eliciting(*frame);
    received.violation = on_frame(*frame, received, now);
    if (received.violation) return received;
  }
  received.violation = reader.error();
  received_.on_received(opened->packet_number, ack_eliciting, round_trip_.smoothed(), now);
  return received;
}

Violation HandshakeChannel::on_frame(const Frame& frame, Received& received, TimePoint now) {
  if (const auto* data = std::get_if<HandshakeDataFrame>(&frame)) {
    return on_handshake_data(*data, received);
  }
  if (const auto* ack = std::get_if<AckFrame>(&frame)) {
    if (!loss_.on_ack(ack->ranges, ack->delay, round_trip_, now, outcome_)) {
      return "an ACK of what was never sent";
    }
    act_on(outcome_);
    return std::nullopt;
  }
  if (const auto* close = std::get_if<CloseFrame>(&frame)) {
    received.close = close->code;
    return std::nullopt;
  }
  if (std::holds_alternative<PaddingFrame>(frame) || std::holds_alternative<PingFrame>(frame)) {
    return std::nullopt;
  }
  return "a frame that does not belong into a handshake packet";
}

Violation HandshakeChannel::on_handshake_data(const HandshakeDataFrame& frame,
                                              Received& received) {
  if (frame.data.empty()) return std::nullopt;
  if (frame.offset + frame.data.size() > kMaxHandshakeBytes) return "too long a handshake";
  const std::size_t end = frame.offset + frame.data.size();
  if (end > in_.size()) in_.resize(end);
  std::copy(frame.data.begin(), frame.data.end(), in_.begin() + static_cast<long>(frame.offset));
  in_ranges_.add(frame.offset, end - 1);
  const NumberRange first = in_ranges_.ranges().front();
  if (first.first != 0 || first.last < delivered_) return std::nullopt;
  received.stream.insert(received.stream.end(), in_.begin() + static_cast<long>(delivered_),
                         in_.begin() + static_cast<long>(first.last + 1));
  delivered_ = first.last + 1;
  return std::nullopt;
}

void HandshakeChannel::resend(std::span<const SentFrame> frames) {
  for (const SentFrame& frame : frames) {
    if (frame.kind != SentFrame::Kind::handshake_data) continue;
    if (acknowledged_.contains(frame.offset, frame.offset + frame.length - 1)) continue;
    to_send_.push_back({frame.offset, frame.length});
  }
}

void HandshakeChannel::act_on(const LossOutcome& outcome) {
  for (const SentFrame& frame : outcome.acknowledged) {
    if (frame.kind == SentFrame::Kind::handshake_data) {
      acknowledged_.add(frame.offset, frame.offset + frame.length - 1);
    } else if (frame.kind == SentFrame::Kind::ack) {
      received_.on_ack_acknowledged(frame.id);
    }
  }
  resend(outcome.lost);
}

std::optional<TimePoint> HandshakeChannel::deadline() const {
  std::optional<TimePoint> earliest = loss_.deadline(round_trip_);
  const auto ack = received_.ack_deadline();
  if (ack && (!earliest || *ack < *earliest)) earliest = ack;
  return earliest;
}

void HandshakeChannel::tick(TimePoint now) {
  const auto due = loss_.deadline(round_trip_);
  if (!due || *due > now) return;
  loss_.on_timer(round_trip_, now, outcome_);
  act_on(outcome_);
  if (loss_.probes_owed() > 0 && to_send_.empty()) resend(loss_.frames_to_probe());
}

bool HandshakeChannel::something_to_send(TimePoint now) const {
  return !to_send_.empty() || close_ || received_.ack_due(now) || loss_.probes_owed() > 0;
}

void HandshakeChannel::write_stream(FrameWriter& writer, std::vector<SentFrame>& sent) {
  while (!to_send_.empty()) {
    Part& part = to_send_.front();
    const auto written = static_cast<std::uint32_t>(writer.handshake_data(
        part.offset, std::span<const std::uint8_t>(out_).subspan(part.offset, part.length)));
    if (written == 0) return;
    sent.push_back({.kind = SentFrame::Kind::handshake_data,
                    .offset = part.offset,
                    .length = written});
    part.offset += written;
    part.length -= written;
    if (part.length == 0) to_send_.erase(to_send_.begin());
  }
}

void HandshakeChannel::write_frames(FrameWriter& writer, std::vector<SentFrame>& sent,
                                    TimePoint now) {
  if (received_.has_news()) {
    const auto ranges = received_.ack_ranges(kMaxAckRanges);
    if (!ranges.empty() && writer.ack(received_.ack_delay(now), ranges)) {
      sent.push_back({.kind = SentFrame::Kind::ack, .id = ranges.front().last});
      received_.on_ack_sent();
    }
  }
  write_stream(writer, sent);
  if (close_ && to_send_.empty() && writer.close(close_->code, close_->text)) {
    sent.push_back({.kind = SentFrame::Kind::close});
    close_.reset();
  }
  const bool only_ack = sent.empty() || sent.back().kind == SentFrame::Kind::ack;
  if (only_ack && loss_.probes_owed() > 0 && writer.ping()) sent.push_back({});
}

std::size_t HandshakeChannel::transmit(std::span<std::uint8_t> space,
                                       const ConnectionId& destination, const ConnectionId& source,
                                       std::span<const std::uint8_t> token, TimePoint now) {
  if (!something_to_send(now)) return 0;
  const std::size_t header = handshake_header_length(token.size(), kPacketNumberLength);
  FrameWriter writer(space.subspan(header, kMinInitialDatagram - header - kTagLength));
  std::vector<SentFrame> sent;
  write_frames(writer, sent, now);
  if (sent.empty()) return 0;
  const bool ack_eliciting = std::any_of(sent.begin(), sent.end(), [](const SentFrame& frame) {
    return frame.kind != SentFrame::Kind::ack && frame.kind != SentFrame::Kind::close;
  });
  if (ack_eliciting) writer.fill();
  const std::size_t size = header + writer.size() + kTagLength;
  const std::span<std::uint8_t> packet = space.first(size);
  const PacketLayout layout = write_handshake_header(packet, destination, source, token,
                                                     kPacketNumberLength, writer.size());
  protection_.seal(packet, layout, now);
  loss_.on_sent(Bytes{size}, ack_eliciting, sent, now);
  return size;
}

}  // namespace rushfs::transport
