// What datagrams do to a connection.
#include <algorithm>

#include "transport/connection.h"
#include "transport/printable.h"
#include "transport/security/stateless_reset.h"

namespace rushfs::transport {
namespace {

// Retries that a client follows: one is the rule, more only when the server was restarted between.
constexpr int kMaxRetries = 3;

bool same_host(const Address& a, const Address& b) { return a.ip == b.ip && a.scope == b.scope; }

// Whoever is on the path can make a CLOSE in a handshake packet. It ends an attempt, as it could by
// other means; whether a key is known says only the alert of TLS, and nothing of it is shown.
CloseReason believable(CloseCode said) {
  if (said == CloseCode::server_busy) return {said, true, "the server has too many connections"};
  return {CloseCode::handshake_failed, true, "the handshake was broken off"};
}

template <class... Handlers>
struct Overloaded : Handlers... {
  using Handlers::operator()...;
};
template <class... Handlers>
Overloaded(Handlers...) -> Overloaded<Handlers...>;

}  // namespace

Heard Connection::receive_handshake(std::span<std::uint8_t> packet, const HandshakeHeader& header,
                                    const Address& from, TimePoint now) {
  if (!handshake_ || state_ == State::draining || state_ == State::finished) return Heard::ignored;
  if (state_ == State::closing) {
    on_packet_while_closing();
    return Heard::ignored;
  }
  if (from != peer_address_) return Heard::ignored;  // nobody roams during a handshake
  if (peer_id_ && header.source != *peer_id_) return Heard::ignored;
  auto received = handshake_->receive(packet.first(header.packet_end),
                                      header.packet_number_offset, now);
  if (!received.authentic) return Heard::forged;
  if (!peer_id_) peer_id_ = header.source;
  last_heard_ = now;
  if (received.violation) {
    violate(*received.violation, now);
    return Heard::authentic;
  }
  if (!received.stream.empty()) {
    tls_.feed(received.stream);
    advance_tls(now);
  }
  if (received.close) end_silently(believable(*received.close), now);
  return Heard::authentic;
}

void Connection::receive_retry(std::span<const std::uint8_t> datagram, const RetryHeader& header,
                               TimePoint now) {
  const bool expected = role_ == Role::client && state_ == State::handshaking && !peer_id_;
  if (!expected || retries_ >= kMaxRetries || header.token.empty()) return;
  if (!is_retry_intact(datagram, original_destination_)) return;
  if (retries_ == 0 && now - started_ < handshake_->round_trip().probe_timeout()) {
    handshake_->on_round_trip_sample(now - started_, now);  // only one packet of ours was out
  }
  ++retries_;
  cookie_.assign(header.token.begin(), header.token.end());
  handshake_->start_over();
}

void Connection::receive_version_negotiation(const VersionNegotiationHeader& header,
                                             TimePoint now) {
  const bool expected = role_ == Role::client && state_ == State::handshaking && !peer_id_;
  if (!expected || retries_ > 0 || header.source != original_destination_) return;
  const auto& versions = header.versions;
  if (std::find(versions.begin(), versions.end(), kVersion) != versions.end()) return;
  end_silently({CloseCode::version_mismatch, false,
                "the server speaks no version of the protocol that we do; update the older side"},
               now);
}

Heard Connection::receive_data(std::span<std::uint8_t> packet, const DataHeader& header,
                               const Address& from, TimePoint now) {
  if (!protection_ || state_ == State::draining || state_ == State::finished) return Heard::ignored;
  if (state_ == State::closing) {
    on_packet_while_closing();
    return Heard::ignored;
  }
  if (role_ == Role::client && from != peer_address_) return Heard::forged;
  const auto opened = protection_->open(packet, header.packet_number_offset, now);
  if (!opened) {
    if (protection_->is_worn_out()) {
      end({CloseCode::internal_error, false, "too many forged packets for one key"}, now);
    }
    return Heard::forged;
  }
  if (received_.is_duplicate(opened->packet_number)) return Heard::forged;
  if (from != peer_address_ && !may_come_from(from)) {
    ++context_.counters.forbidden_address;
    return Heard::ignored;
  }
  if (!rate_.admit(packet.size(), now)) {
    ++context_.counters.over_cap;
    return Heard::ignored;
  }
  ++packets_received_;
  bytes_received_ += packet.size();
  last_heard_ = now;
  on_data_packet(*opened, from, packet.size(), now);
  return Heard::authentic;
}

void Connection::on_data_packet(const PacketProtection::Opened& opened, const Address& from,
                                std::size_t datagram_size, TimePoint now) {
  const bool newest = received_.empty() || opened.packet_number > received_.largest();
  if (role_ == Role::server) {
    handshake_.reset();  // the client has our HANDSHAKE_DONE, or it could not have sent this
    if (newest && from != peer_address_) {
      path_validation_.on_packet(from, datagram_size, context_.random, now);
    } else if (newest) {
      path_validation_.stop();
    }
  }
  bool ack_eliciting = false;
  FrameReader reader(opened.payload, ack_scratch_);
  while (const auto frame = reader.next()) {
    ack_eliciting |= is_ack_eliciting(*frame);
    if (const Violation violation = on_frame(*frame, from, now)) return violate(*violation, now);
    if (!is_open()) return;
  }
  if (reader.error()) return violate(*reader.error(), now);
  received_.on_received(opened.packet_number, ack_eliciting, recovery_->round_trip().smoothed(),
                        now);
}

Violation Connection::on_frame(const Frame& frame, const Address& from, TimePoint now) {
  return std::visit(
      Overloaded{
          [&](const MessageFrame& message) { return exchange_->on_message(message, now); },
          [&](const AckFrame& ack) { return on_ack(ack, now); },
          [&](const CreditFrame& credit) -> Violation {
            exchange_->on_credit(credit);
            return {};
          },
          [&](const CancelFrame& cancel) { return exchange_->on_cancel(cancel, now); },
          [&](const ResetFrame& reset) { return exchange_->on_reset(reset, now); },
          [&](const RateFrame& rate) -> Violation {
            if (rate_.on_frame(rate)) apply_rate();
            return {};
          },
          [&](const SendingFrame& sending) -> Violation {
            peer_sending_ = PeerSending{sending.limit,
                                        {static_cast<double>(sending.bandwidth)},
                                        static_cast<double>(sending.loss) / 1e4};
            peer_sending_since_ = now;
            return {};
          },
          [&](const HandshakeDoneFrame& done) -> Violation {
            if (role_ == Role::server) return "a HANDSHAKE_DONE, which is the server's to send";
            if (state_ != State::handshaking) return {};
            reset_token_ = done.token;
            handshake_.reset();
            become_connected();
            return {};
          },
          [&](const PathChallengeFrame& challenge) -> Violation {
            // Answering it to an address that is not proven would be a way to flood that.
            if (role_ == Role::server) return "a PATH_CHALLENGE, which is the server's to send";
            path_response_ = PendingResponse{from, challenge.data};
            return {};
          },
          [&](const PathResponseFrame& response) -> Violation {
            if (const auto proven = path_validation_.on_response(response.data)) {
              on_path_proven(*proven, now);
            }
            return {};
          },
          [&](const CloseFrame& close) -> Violation {
            end_silently({close.code, true, printable(std::string(close.text))}, now);
            return {};
          },
          [](const HandshakeDataFrame&) -> Violation {
            return "HANDSHAKE_DATA in a data packet";
          },
          [](const PaddingFrame&) -> Violation { return {}; },
          [](const PingFrame&) -> Violation { return {}; },
      },
      frame);
}

Violation Connection::on_ack(const AckFrame& frame, TimePoint now) {
  if (!recovery_->on_ack(frame.ranges, frame.delay, now, outcome_)) {
    return "an ACK of a packet that was never sent";
  }
  const std::uint64_t largest = frame.ranges.front().last;
  if (!largest_acknowledged_ || largest > *largest_acknowledged_) {
    largest_acknowledged_ = largest;
    protection_->on_acknowledged(largest, probe_timeout(), now);
  }
  act_on_outcome();
  exchange_->set_round_trip(recovery_->round_trip().smoothed());
  exchange_->set_repeat_spacing(recovery_->repeat_spacing());
  return std::nullopt;
}

void Connection::act_on_outcome() {
  for (const SentFrame& frame : outcome_.acknowledged) on_frame_acknowledged(frame);
  for (const SentFrame& frame : outcome_.lost) on_frame_lost(frame);
}

void Connection::on_frame_acknowledged(const SentFrame& frame) {
  switch (frame.kind) {
    case SentFrame::Kind::ack: received_.on_ack_acknowledged(frame.id); return;
    case SentFrame::Kind::handshake_done: handshake_done_owed_ = false; return;
    default: exchange_->on_acknowledged(frame); return;
  }
}

void Connection::on_frame_lost(const SentFrame& frame) {
  switch (frame.kind) {
    case SentFrame::Kind::handshake_done: handshake_done_owed_ = true; return;
    case SentFrame::Kind::rate: rate_.on_lost(frame.id); return;
    default: exchange_->on_lost(frame); return;
  }
}

// A client may move only to where it could have connected from. What comes from elsewhere counts as
// lost, so that nobody on the path can end a connection by sending a packet on from there.
bool Connection::may_come_from(const Address& address) const {
  return role_ == Role::client || context_.config.accept_client(*tls_.peer_key(), address).admitted;
}

// A new port on the same host is the same path behind another NAT entry (RFC 9000, section 9.4).
void Connection::on_path_proven(const Address& address, TimePoint now) {
  const bool same_path = same_host(address, peer_address_);
  peer_address_ = address;
  if (!same_path) recovery_->on_path_changed(now);
}

// CLOSE again, ever more rarely, for a peer that has not seen it.
void Connection::on_packet_while_closing() {
  const std::uint64_t count = ++packets_while_closing_;
  if ((count & (count - 1)) != 0) return;
  if (handshake_) handshake_->start_over();  // the alert, too, may not have been seen
  owe_close();
}

bool Connection::receive_stateless_reset(std::span<const std::uint8_t> datagram, TimePoint now) {
  if (role_ != Role::client || !is_open() || !reset_token_) return false;
  if (!ends_in(datagram, *reset_token_)) return false;
  end_silently({CloseCode::forgotten, false, "the server was restarted and forgot the connection"},
               now);
  return true;
}

}  // namespace rushfs::transport
