// Where a datagram goes, and what those are told whom we keep no state for.
#include "transport/endpoint_implementation.h"

namespace rushfs::transport {
namespace {

// Answers to strangers that wait to be sent; more are dropped, as the network might.
constexpr std::size_t kMaxReplies = 256;

}  // namespace

bool PerSecond::take(TimePoint now) {
  if (now - filled_ >= std::chrono::seconds(1)) {
    filled_ = now;
    left_ = most_;
  }
  if (left_ == 0) return false;
  --left_;
  return true;
}

bool Endpoint::Implementation::receive(std::span<std::uint8_t> datagram, const Address& from,
                                       TimePoint now, const std::optional<LocalIp>& at) {
  now_ = now;
  asked_at_ = at;
  authentic_ = false;
  ++counters_.datagrams_received;
  if (config_.accept_client && !cookies_) cookies_.emplace(random_, now);
  route(datagram, from, now);
  return authentic_;
}

void Endpoint::Implementation::route(std::span<std::uint8_t> datagram, const Address& from,
                                     TimePoint now) {
  const std::size_t size = datagram.size();
  for (std::span<std::uint8_t> rest = datagram; !rest.empty();) {
    const auto header = parse_packet_header(rest);
    if (!header) {
      ++counters_.garbage;
      return;
    }
    if (const auto* data = std::get_if<DataHeader>(&*header)) {
      return receive_data(rest, *data, from, now);
    }
    if (const auto* retry = std::get_if<RetryHeader>(&*header)) {
      return receive_retry(rest, *retry, from, now);
    }
    if (const auto* negotiation = std::get_if<VersionNegotiationHeader>(&*header)) {
      return receive_version_negotiation(*negotiation, from, now);
    }
    if (const auto* unknown = std::get_if<UnknownVersionHeader>(&*header)) {
      return receive_unknown_version(*unknown, size, from);
    }
    const auto& handshake = std::get<HandshakeHeader>(*header);
    receive_handshake(rest, handshake, size, from, now);
    rest = rest.subspan(handshake.packet_end);
  }
}

Endpoint::Implementation::Entry* Endpoint::Implementation::by_id(const ConnectionId& id) {
  const auto found = by_own_id_.find(id);
  return found == by_own_id_.end() ? nullptr : found->second;
}

void Endpoint::Implementation::receive_data(std::span<std::uint8_t> datagram,
                                            const DataHeader& header, const Address& from,
                                            TimePoint now) {
  Entry* entry = by_id(header.destination);
  if (entry == nullptr) {
    if (tell_clients_of_reset(datagram, from, now)) return;
    ++counters_.unknown_connection;
    return answer_unknown(header.destination, datagram.size(), from, now);
  }
  const Heard heard = entry->connection.receive_data(datagram, header, from, now);
  if (heard == Heard::authentic) authentic_ = true;
  if (heard == Heard::forged) ++counters_.not_authentic;
  touch(*entry);
}

bool Endpoint::Implementation::tell_clients_of_reset(std::span<const std::uint8_t> datagram,
                                                     const Address& from, TimePoint now) {
  if (datagram.size() < kStatelessResetSize) return false;
  for (const std::uint64_t handle : outgoing_) {
    Entry* entry = find({handle});
    if (entry->connection.peer_address() != from) continue;
    if (!entry->connection.receive_stateless_reset(datagram, now)) continue;
    touch(*entry);
    return true;
  }
  return false;
}

void Endpoint::Implementation::answer_unknown(const ConnectionId& id, std::size_t datagram_size,
                                              const Address& from, TimePoint now) {
  if (!is_server() || datagram_size <= kStatelessResetSize || !resets_.take(now)) return;
  auto reset = make_stateless_reset(reset_tokens_.of(id), datagram_size, random_);
  ++counters_.stateless_resets_sent;
  reply(from, std::move(reset));
}

void Endpoint::Implementation::receive_retry(std::span<const std::uint8_t> datagram,
                                             const RetryHeader& header, const Address& from,
                                             TimePoint now) {
  Entry* entry = by_id(header.destination);
  if (entry == nullptr || entry->connection.peer_address() != from) {
    ++counters_.garbage;
    return;
  }
  entry->connection.receive_retry(datagram, header, now);
  touch(*entry);
}

void Endpoint::Implementation::receive_version_negotiation(const VersionNegotiationHeader& header,
                                                           const Address& from, TimePoint now) {
  Entry* entry = by_id(header.destination);
  if (entry == nullptr || entry->connection.peer_address() != from) {
    ++counters_.garbage;
    return;
  }
  entry->connection.receive_version_negotiation(header, now);
  touch(*entry);
}

void Endpoint::Implementation::receive_unknown_version(const UnknownVersionHeader& header,
                                                       std::size_t datagram_size,
                                                       const Address& from) {
  if (!is_server() || datagram_size < kMinInitialDatagram) {
    ++counters_.garbage;
    return;
  }
  ++counters_.version_negotiations_sent;
  reply(from, make_version_negotiation(header));
}

void Endpoint::Implementation::receive_handshake(std::span<std::uint8_t> rest,
                                                 const HandshakeHeader& header,
                                                 std::size_t datagram_size, const Address& from,
                                                 TimePoint now) {
  Entry* entry = by_id(header.destination);
  if (entry == nullptr) {
    const auto found = by_original_.find({header.destination, from});
    if (found == by_original_.end()) {
      return receive_first(rest, header, datagram_size, from, now);
    }
    entry = found->second;
  }
  const Heard heard = entry->connection.receive_handshake(rest, header, from, now);
  if (heard == Heard::authentic) authentic_ = true;
  touch(*entry);
}

// A client that we know nothing of: it must show a cookie before we keep anything.
void Endpoint::Implementation::receive_first(std::span<std::uint8_t> packet,
                                             const HandshakeHeader& header,
                                             std::size_t datagram_size, const Address& from,
                                             TimePoint now) {
  if (!is_server() || datagram_size < kMinInitialDatagram) {
    ++counters_.garbage;
    return;
  }
  if (!cookies_->check(header.token, from, header.source, header.destination, now)) {
    if (!header.token.empty()) ++counters_.bad_cookies;
    ++counters_.retries_sent;
    const Cookie cookie = cookies_->make(from, header.source, header.destination, now);
    return reply(from, make_retry(header.source, header.destination, cookie));
  }
  if (!make_room_for(from, now)) return turn_away(header, from, now);
  ConnectionStart start;
  start.role = Role::server;
  start.peer = from;
  start.own_id = new_id();
  start.original_destination = header.destination;
  start.peer_id = header.source;
  start.reset_token = reset_tokens_.of(start.own_id);
  start.judge = [this, from](const PublicKey& key) {
    return config_.accept_client(key, from).admitted;
  };
  Entry& entry = add(server_tls_, std::move(start), now);
  const Heard heard = entry.connection.receive_handshake(packet, header, from, now);
  if (heard == Heard::authentic) authentic_ = true;
  touch(entry);
}

// Ends at most one handshake that takes long. Its client is told nothing: most likely it never
// meant to finish.
bool Endpoint::Implementation::make_room_for(const Address& from, TimePoint now) {
  if (connections_.size() < config_.max_connections && half_open_.has_room_for(from)) return true;
  const auto oldest = half_open_.to_give_way(from, now);
  if (!oldest) return false;
  Entry& entry = *find(*oldest);
  // One that was connected, and refused: the application has to hear of its end first.
  if (entry.connection.was_connected() && !entry.closed_polled) return false;
  if (!entry.closed_polled) ++counters_.handshakes_failed;
  remove(entry);
  return true;
}

void Endpoint::Implementation::turn_away(const HandshakeHeader& header, const Address& from,
                                         TimePoint now) {
  ++counters_.refused_busy;
  if (!refusals_.take(now)) return;
  HandshakeChannel channel(header.destination, Role::server);
  channel.send_close({CloseCode::server_busy, false, "the server has too many connections"});
  std::vector<std::uint8_t> datagram(kMinInitialDatagram);
  datagram.resize(channel.transmit(datagram, header.source, new_id(), {}, now));
  reply(from, std::move(datagram));
}

void Endpoint::Implementation::reply(const Address& to, std::vector<std::uint8_t> datagram) {
  if (replies_.size() < kMaxReplies) replies_.push_back({to, std::move(datagram), asked_at_});
}

}  // namespace rushfs::transport
