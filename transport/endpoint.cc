#include "transport/endpoint.h"

#include <cassert>

#include "transport/endpoint_implementation.h"

namespace rushfs::transport {

Endpoint::Implementation::Implementation(EndpointConfig config, RandomSource random)
    : config_(std::move(config)),
      random_(std::move(random)),
      client_tls_(Role::client, *config_.identity),
      server_tls_(Role::server, *config_.identity),
      reset_tokens_(*config_.identity),
      shares_(config_.max_rate, config_.max_rate_per_client) {}

ConnectionId Endpoint::Implementation::new_id() {
  ConnectionId id;
  do {
    random_(id.bytes);
  } while (by_own_id_.contains(id));
  return id;
}

ConnectionHandle Endpoint::Implementation::connect(const Address& server, KeyJudge expected,
                                                   TimePoint now) {
  now_ = now;
  ConnectionStart start;
  start.role = Role::client;
  start.peer = server;
  start.own_id = new_id();
  random_(start.original_destination.bytes);
  start.judge = std::move(expected);
  return add(client_tls_, std::move(start), now).handle;
}

Endpoint::Implementation::Entry& Endpoint::Implementation::add(const TlsContext& tls,
                                                               ConnectionStart start,
                                                               TimePoint now) {
  const ConnectionHandle handle{next_handle_++};
  start.remembered = paths_.recall(start.peer, now);
  const ConnectionContext context{config_, tls, random_, load_, counters_};
  auto entry = std::make_unique<Entry>(handle, context, std::move(start), now);
  Entry& added = *entry;
  connections_.emplace(handle.value, std::move(entry));
  by_own_id_.emplace(added.connection.own_id(), &added);
  if (added.connection.role() == Role::server) {
    by_original_.emplace(OriginalKey{added.connection.original_destination(),
                                     added.connection.peer_address()},
                         &added);
    half_open_.begin(added.half_open.emplace(added.connection.peer_address()), handle, now);
  } else {
    outgoing_.push_back(handle.value);
  }
  touch(added);
  return added;
}

Endpoint::Implementation::Entry* Endpoint::Implementation::find(ConnectionHandle handle) {
  const auto found = connections_.find(handle.value);
  return found == connections_.end() ? nullptr : found->second.get();
}

// After every call into a connection: it may have events, something to send, another deadline.
void Endpoint::Implementation::touch(Entry& entry) {
  const std::uint64_t handle = entry.handle.value;
  if (entry.half_open && entry.connection.is_connected()) begin_sharing(entry);
  if (entry.connection.role() == Role::server) count_bytes(entry, entry.connection.bytes_held());
  if (!std::exchange(entry.in_active, true)) active_.push_back(handle);
  if (!std::exchange(entry.in_stale, true)) stale_.push_back(handle);
  if (!std::exchange(entry.in_event_ready, true)) event_ready_.push_back(handle);
}

// Whoever asks for more than its key may have held loses the connection on which it did.
void Endpoint::Implementation::count_bytes(Entry& entry, std::uint64_t bytes) {
  if (bytes == entry.bytes) return;
  const auto of_client = client_bytes_.try_emplace(*entry.connection.peer_key(), 0).first;
  const std::uint64_t before = std::exchange(entry.bytes, bytes);
  const std::uint64_t all = of_client->second += bytes - before;
  if (all == 0) client_bytes_.erase(of_client);
  if (bytes < before || all <= config_.bytes_limit_of_client.count) return;
  entry.connection.close({CloseCode::server_busy, false, "too much under way for one key"}, now_);
}

void Endpoint::Implementation::remove(Entry& entry) {
  const Connection& connection = entry.connection;
  if (entry.half_open) half_open_.end(*entry.half_open, entry.handle);
  shares_.remove(entry.handle.value);
  count_bytes(entry, 0);
  if (entry.timer) timers_.erase({*entry.timer, entry.handle.value});
  by_own_id_.erase(connection.own_id());
  std::erase(outgoing_, entry.handle.value);
  std::erase_if(by_original_, [&](const auto& item) { return item.second == &entry; });
  connections_.erase(entry.handle.value);
}

void Endpoint::Implementation::remember_path(const Entry& entry) {
  paths_.remember(entry.connection.peer_address(), entry.connection.remember(), now_);
}

std::vector<std::uint8_t> Endpoint::Implementation::save_paths(TimePoint now, Duration wall) {
  now_ = now;
  for (const auto& [handle, entry] : connections_) remember_path(*entry);
  return paths_.save(now, wall);
}

void Endpoint::Implementation::load_paths(std::span<const std::uint8_t> bytes, TimePoint now,
                                          Duration wall) {
  if (!paths_.load(bytes, now, wall)) ++counters_.path_files_dropped;
}

void Endpoint::Implementation::remove_if_done(Entry& entry) {
  if (entry.closed_polled && entry.connection.is_finished()) remove(entry);
}

bool Endpoint::Implementation::transmit(TransmitBatch& batch, TimePoint now) {
  now_ = now;
  if (!replies_.empty()) {
    Reply& reply = replies_.front();
    batch.to = reply.to;
    batch.bytes = std::move(reply.datagram);
    batch.segment_size = static_cast<std::uint16_t>(batch.bytes.size());
    batch.from = reply.from;
    replies_.pop_front();
    return true;
  }
  batch.from.reset();
  while (!active_.empty()) {
    const std::uint64_t handle = active_.front();
    active_.pop_front();
    Entry* entry = find({handle});
    if (entry == nullptr) continue;
    entry->in_active = false;
    if (!entry->connection.transmit(batch, now)) continue;
    touch(*entry);  // to the back: connections take turns
    return true;
  }
  return false;
}

void Endpoint::Implementation::refresh_timers() {
  for (const std::uint64_t handle : stale_) {
    Entry* entry = find({handle});
    if (entry == nullptr) continue;
    entry->in_stale = false;
    const auto deadline = entry->connection.deadline();
    if (deadline == entry->timer) continue;
    if (entry->timer) timers_.erase({*entry->timer, handle});
    if (deadline) timers_.insert({*deadline, handle});
    entry->timer = deadline;
  }
  stale_.clear();
}

std::optional<TimePoint> Endpoint::Implementation::deadline() {
  refresh_timers();
  std::optional<TimePoint> earliest;
  if (!timers_.empty()) earliest = timers_.begin()->first;
  if (shares_.needed() && (!earliest || next_division_ < *earliest)) earliest = next_division_;
  return earliest;
}

void Endpoint::Implementation::tick(TimePoint now) {
  now_ = now;
  refresh_timers();
  while (!timers_.empty() && timers_.begin()->first <= now) {
    const std::uint64_t handle = timers_.begin()->second;
    timers_.erase(timers_.begin());
    Entry& entry = *find({handle});
    entry.timer.reset();
    entry.connection.tick(now);
    touch(entry);
    remove_if_done(entry);
  }
  if (shares_.needed() && next_division_ <= now) divide_rates(now);
}

void Endpoint::Implementation::begin_sharing(Entry& entry) {
  Connection& connection = entry.connection;
  const PublicKey& client = *connection.peer_key();
  if (shares_.connections_of(client) >= config_.max_connections_per_client) {
    ++counters_.refused_busy;
    return connection.close({CloseCode::server_busy, false, "too many connections of this key"},
                            now_);
  }
  half_open_.end(*entry.half_open, entry.handle);
  entry.half_open.reset();
  shares_.add(entry.handle.value, client, connection.max_rate());
  if (shares_.needed()) divide_rates(now_);  // nobody begins without a cap
}

void Endpoint::Implementation::divide_rates(TimePoint now) {
  next_division_ = now + kShareInterval;
  std::vector<RateShares::Part> parts = shares_.parts();
  for (RateShares::Part& part : parts) {
    const PathReport report = find({part.connection})->connection.report(now);
    part.sent = report.bytes_acknowledged;
    part.received = report.bytes_received;
  }
  shares_.divide(parts, now);
  for (const RateShares::Part& part : parts) {
    Entry& entry = *find({part.connection});
    entry.connection.cap_rates(part.sending, part.receiving, now);
    touch(entry);
  }
}

void Endpoint::Implementation::on_datagram_too_large(const Address& to, Bytes size,
                                                     TimePoint now) {
  now_ = now;
  for (auto& [handle, entry] : connections_) {
    if (entry->connection.peer_address() != to) continue;
    entry->connection.on_datagram_too_large(size, now);
    touch(*entry);
  }
}

// True: there was one. A client that never got connected is none of the application's business.
bool Endpoint::Implementation::take_event(Entry& entry, std::optional<Event>& event) {
  auto body = entry.connection.poll(now_);
  if (!body) return false;
  const bool closed = std::holds_alternative<Closed>(*body);
  if (closed) remember_path(entry);
  if (closed) entry.closed_polled = true;
  const bool stranger =
      entry.connection.role() == Role::server && !entry.connection.was_connected();
  if (stranger) {
    ++counters_.handshakes_failed;
  } else {
    event = Event{entry.handle, std::move(*body)};
  }
  return true;
}

std::optional<Event> Endpoint::Implementation::poll() {
  std::optional<Event> event;
  while (!event && !event_ready_.empty()) {
    const std::uint64_t handle = event_ready_.front();
    Entry* entry = find({handle});
    if (entry != nullptr && take_event(*entry, event)) {
      touch(*entry);  // taking a reply frees credit
      remove_if_done(*entry);
      continue;
    }
    event_ready_.pop_front();
    if (entry != nullptr) entry->in_event_ready = false;
  }
  return event;
}

void Endpoint::Implementation::set_rate(const RateLimits& limits) {
  config_.rate = limits;
  for (auto& [handle, entry] : connections_) {
    entry->connection.set_rate(limits, now_);
    touch(*entry);
  }
}

Endpoint::Endpoint(EndpointConfig config, RandomSource random)
    : implementation_(std::make_unique<Implementation>(std::move(config), std::move(random))) {}
Endpoint::~Endpoint() = default;

ConnectionHandle Endpoint::connect(const Address& server, KeyJudge expected, TimePoint now) {
  return implementation_->connect(server, std::move(expected), now);
}

bool Endpoint::receive(std::span<std::uint8_t> datagram, const Address& from, TimePoint now,
                       const std::optional<LocalIp>& at) {
  return implementation_->receive(datagram, from, now, at);
}

bool Endpoint::transmit(TransmitBatch& batch, TimePoint now) {
  return implementation_->transmit(batch, now);
}

void Endpoint::on_datagram_too_large(const Address& to, Bytes size, TimePoint now) {
  implementation_->on_datagram_too_large(to, size, now);
}

std::vector<std::uint8_t> Endpoint::save_paths(TimePoint now, Duration wall) {
  return implementation_->save_paths(now, wall);
}
void Endpoint::load_paths(std::span<const std::uint8_t> bytes, TimePoint now, Duration wall) {
  implementation_->load_paths(bytes, now, wall);
}
void Endpoint::set_load(double share) { implementation_->set_load(share); }

std::optional<TimePoint> Endpoint::deadline() const { return implementation_->deadline(); }
void Endpoint::tick(TimePoint now) { implementation_->tick(now); }
std::optional<Event> Endpoint::poll() { return implementation_->poll(); }

RequestId Endpoint::request(ConnectionHandle handle, Priority priority, Body body) {
  assert(body.size() <= kMaxMessage.count);
  auto* entry = implementation_->find(handle);
  if (entry == nullptr) return {};
  const RequestId id = entry->connection.request(priority, std::move(body));
  implementation_->touch(*entry);
  return id;
}

void Endpoint::reply(ConnectionHandle handle, RequestId id, Body body) {
  assert(body.size() <= kMaxMessage.count);
  auto* entry = implementation_->find(handle);
  if (entry == nullptr) return;
  entry->connection.reply(id, std::move(body), implementation_->now());
  implementation_->touch(*entry);
}

void Endpoint::cancel(ConnectionHandle handle, RequestId id) {
  auto* entry = implementation_->find(handle);
  if (entry == nullptr) return;
  entry->connection.cancel(id, implementation_->now());
  implementation_->touch(*entry);
}

void Endpoint::close(ConnectionHandle handle, CloseReason reason, TimePoint now) {
  auto* entry = implementation_->find(handle);
  if (entry == nullptr) return;
  entry->connection.close(std::move(reason), now);
  implementation_->touch(*entry);
}

void Endpoint::set_rate(RateLimits limits) { implementation_->set_rate(limits); }

const PublicKey& Endpoint::peer_key(ConnectionHandle handle) const {
  static const PublicKey kUnknown{};
  const auto* entry = implementation_->find(handle);
  if (entry == nullptr || !entry->connection.peer_key()) return kUnknown;
  return *entry->connection.peer_key();
}

PathReport Endpoint::report(ConnectionHandle handle, TimePoint now) const {
  const auto* entry = implementation_->find(handle);
  return entry == nullptr ? PathReport{} : entry->connection.report(now);
}

const EndpointCounters& Endpoint::counters() const { return implementation_->counters(); }

}  // namespace rushfs::transport
