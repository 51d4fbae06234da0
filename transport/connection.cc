#include "transport/connection.h"

#include <algorithm>
#include <cassert>

namespace rushfs::transport {
namespace {

// A closed connection lingers for this many probe timeouts, to answer or ignore what is still on
// its way (RFC 9000, section 10.2).
constexpr int kLingerProbeTimeouts = 3;

TransportParameters own_parameters(const ConnectionContext& context, const ConnectionStart& start) {
  TransportParameters parameters;
  parameters.original_destination = start.original_destination;
  parameters.source = start.own_id;
  parameters.idle_timeout = context.config.idle_timeout;
  parameters.max_datagram = context.config.largest_datagram.count;
  parameters.initial_credit.fill(kInitialCredit);
  return parameters;
}

std::uint64_t random_number(const RandomSource& random) {
  std::array<std::uint8_t, 8> bytes;
  random(bytes);
  std::uint64_t value = 0;
  for (const std::uint8_t byte : bytes) value = value << 8 | byte;
  return value;
}

void keep_earlier(std::optional<TimePoint>& earliest, std::optional<TimePoint> other) {
  if (other && (!earliest || *other < *earliest)) earliest = other;
}

}  // namespace

Connection::Connection(const ConnectionContext& context, ConnectionStart start, TimePoint now)
    : context_(context),
      role_(start.role),
      peer_address_(start.peer),
      own_id_(start.own_id),
      original_destination_(start.original_destination),
      peer_id_(start.peer_id),
      tls_(context.tls, encode(own_parameters(context, start)), std::move(start.judge)),
      handshake_(std::in_place, start.original_destination, start.role),
      rate_(start.role, context.config.rate, now),
      remembered_(start.remembered),
      idle_timeout_(context.config.idle_timeout),
      started_(now),
      last_heard_(now),
      last_ping_(now) {
  if (role_ == Role::server) reset_token_ = start.reset_token;
  advance_tls(now);
}

// Carries TLS's output to the handshake channel and acts on where TLS stands.
void Connection::advance_tls(TimePoint now) {
  if (handshake_) handshake_->send(tls_.take_output());
  if (tls_.state() == TlsHandshake::State::failed) {
    if (is_open()) {
      const CloseReason reason = tls_.failure();
      reason.by_peer ? end_silently(reason, now) : end(reason, now);
    }
    return;
  }
  if (tls_.state() == TlsHandshake::State::complete && !protection_) on_keys(now);
}

std::optional<CloseReason> Connection::adopt_parameters() {
  const auto failed = [](const char* sentence) {
    return CloseReason{CloseCode::handshake_failed, false, sentence};
  };
  const auto parameters = decode_transport_parameters(tls_.peer_parameters());
  if (!parameters) return failed("the peer's transport parameters cannot be read");
  if (parameters->version != kVersion) return failed("the peer means another protocol version");
  if (!peer_id_ || parameters->source != *peer_id_ ||
      parameters->original_destination != original_destination_) {
    return failed("the handshake was tampered with: connection ids differ");
  }
  peer_parameters_ = *parameters;
  idle_timeout_ = std::min(idle_timeout_, parameters->idle_timeout);
  return std::nullopt;
}

void Connection::on_keys(TimePoint now) {
  if (auto reason = adopt_parameters()) return end(std::move(*reason), now);
  const bool client = role_ == Role::client;
  const TrafficSecrets secrets = tls_.export_secrets(client ? own_id_ : *peer_id_,
                                                     client ? *peer_id_ : own_id_, kVersion);
  protection_ = PacketProtection::for_data(tls_.cipher_suite(), secrets, role_, now);
  const Bytes largest =
      std::min(context_.config.largest_datagram, Bytes{peer_parameters_->max_datagram});
  recovery_.emplace(Recovery::Config{.limits = rate_.effective(),
                                     .largest_datagram = largest,
                                     .seed = random_number(context_.random),
                                     .remembered = remembered_});
  if (handshake_->round_trip().has_sample()) {
    recovery_->on_round_trip_sample(handshake_->round_trip().smoothed(), Duration::zero(), now);
  }
  exchange_.emplace(Exchange::Config{.role = role_,
                                     .credit_limit = context_.config.credit_window_limit,
                                     .peer_credit = peer_parameters_->initial_credit});
  exchange_->set_round_trip(recovery_->round_trip().smoothed());
  if (role_ == Role::server) {
    max_rate_ = context_.config.accept_client(*tls_.peer_key(), peer_address_).max_rate;
    handshake_done_owed_ = true;
    become_connected();
  }
}

void Connection::become_connected() {
  state_ = State::connected;
  was_connected_ = true;
  connected_news_ = true;
  protection_->allow_key_updates();
}

Duration Connection::probe_timeout() const {
  const Duration timeout =
      recovery_ ? recovery_->round_trip().probe_timeout() : kInitialRoundTrip * 3;
  return timeout + kMaxAckDelay;
}

void Connection::end(CloseReason reason, TimePoint now) {
  if (!is_open()) return;
  if (reason.text.size() > kMaxCloseText) reason.text.resize(kMaxCloseText);
  close_reason_ = reason;
  owe_close();
  end_silently(std::move(reason), now);
  state_ = State::closing;
}

// A server with keys for data packets knows that its client has them, and believes what they say.
void Connection::owe_close() {
  close_owed_ = true;
  const bool both_have_keys = role_ == Role::server && protection_.has_value();
  if (handshake_ && !both_have_keys) handshake_->send_close(close_reason_);
}

void Connection::end_silently(CloseReason reason, TimePoint now) {
  if (!is_open()) return;
  state_ = State::draining;
  closed_news_ = std::move(reason);
  finish_at_ = now + kLingerProbeTimeouts * probe_timeout();
}

void Connection::violate(std::string_view sentence, TimePoint now) {
  end({CloseCode::protocol_violation, false, "the peer sent " + std::string(sentence)}, now);
}

std::optional<TimePoint> Connection::deadline() {
  if (state_ == State::finished) return std::nullopt;
  if (!is_open()) return finish_at_;
  std::optional<TimePoint> earliest;
  if (handshake_) keep_earlier(earliest, handshake_->deadline());
  if (state_ == State::handshaking) {
    keep_earlier(earliest, started_ + context_.config.handshake_timeout);
    return earliest;
  }
  keep_earlier(earliest, last_heard_ + idle_timeout_);
  if (role_ == Role::client) {
    keep_earlier(earliest, std::max(last_heard_, last_ping_) + idle_timeout_ / 3);
  }
  keep_earlier(earliest, received_.ack_deadline());
  keep_earlier(earliest, path_validation_.deadline());
  keep_earlier(earliest, exchange_->deadline());
  keep_earlier(earliest, recovery_->deadline(has_data()));
  return earliest;
}

void Connection::tick(TimePoint now) {
  if (!is_open()) {
    if (state_ != State::finished && finish_at_ <= now) state_ = State::finished;
    return;
  }
  if (handshake_) handshake_->tick(now);
  tick_liveness(now);
  if (state_ != State::connected) return;
  exchange_->tick(now);
  tick_recovery(now);
}

void Connection::tick_liveness(TimePoint now) {
  if (state_ == State::handshaking) {
    if (now - started_ < context_.config.handshake_timeout) return;
    end_silently({CloseCode::handshake_timeout, false,
                  role_ == Role::client ? "no answer from the server"
                                        : "the client did not finish its handshake"},
                 now);
    return;
  }
  if (now - last_heard_ >= idle_timeout_) {
    const auto heard_for = std::chrono::duration_cast<std::chrono::seconds>(idle_timeout_).count();
    end_silently({CloseCode::idle_timeout, false,
                  "nothing was heard for " + std::to_string(heard_for) + " seconds"},
                 now);
    return;
  }
  if (protection_->is_worn_out()) {
    end({CloseCode::internal_error, false, "the peer did not follow a change of keys"}, now);
    return;
  }
  const TimePoint last_sign = std::max(last_heard_, last_ping_);
  if (role_ == Role::client && now - last_sign >= idle_timeout_ / 3) {
    ping_owed_ = true;
    last_ping_ = now;
  }
  path_validation_.tick(now);
}

void Connection::tick_recovery(TimePoint now) {
  const auto due = recovery_->deadline(false);
  if (!due || *due > now) return;
  recovery_->on_timer(now, outcome_);
  act_on_outcome();
}

std::optional<EventBody> Connection::poll(TimePoint now) {
  if (connected_news_) {
    connected_news_ = false;
    return Connected{};
  }
  if (was_connected_ && exchange_) {
    if (auto event = exchange_->poll(now)) return event;
  }
  if (closed_news_) {
    Closed closed{std::move(*closed_news_), last_heard_};
    closed_news_.reset();
    return closed;
  }
  return std::nullopt;
}

RequestId Connection::request(Priority priority, Body body) {
  if (!is_open()) return {};
  assert(exchange_ && was_connected_);
  return exchange_->request(priority, std::move(body));
}

void Connection::reply(RequestId id, Body body, TimePoint now) {
  if (!exchange_ || !is_open()) return;
  exchange_->reply(id, std::move(body), now);
  if (exchange_->bytes_to_send() <= context_.config.owed_limit.count) return;
  end({CloseCode::server_busy, false, "the peer asks for more than it takes"}, now);
}

void Connection::cancel(RequestId id, TimePoint now) {
  if (exchange_ && is_open()) exchange_->cancel(id, now);
}

void Connection::close(CloseReason reason, TimePoint now) { end(std::move(reason), now); }

void Connection::set_rate(const RateLimits& limits, TimePoint now) {
  rate_.set_limits(limits, now);
  apply_rate();
}

void Connection::cap_rates(BitRate sending, BitRate receiving, TimePoint now) {
  rate_.cap_sending(sending);
  rate_.cap_receiving(receiving, now);
  apply_rate();
}

void Connection::apply_rate() {
  if (recovery_) recovery_->set_limits(rate_.effective());
}

void Connection::on_datagram_too_large(Bytes size, TimePoint now) {
  if (recovery_) recovery_->on_datagram_too_large(size, now);
}

}  // namespace rushfs::transport
