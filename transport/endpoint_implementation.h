// The inside of Endpoint: its tables. endpoint.cc: the application's side and the queues;
// endpoint_receive.cc: where datagrams go and what strangers are told.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "transport/connection.h"
#include "transport/endpoint.h"
#include "transport/half_open.h"
#include "transport/path/path_memory.h"
#include "transport/rate_shares.h"
#include "transport/security/cookie.h"
#include "transport/security/identity.h"
#include "transport/security/stateless_reset.h"
#include "transport/security/tls_context.h"

namespace rushfs::transport {

/// At most so many in a second.
class PerSecond {
 public:
  explicit PerSecond(std::size_t most) : most_(most) {}
  bool take(TimePoint now);

 private:
  std::size_t most_;
  std::size_t left_ = 0;
  TimePoint filled_{};
};

class Endpoint::Implementation {
 public:
  Implementation(EndpointConfig config, RandomSource random);

  ConnectionHandle connect(const Address& server, KeyJudge expected, TimePoint now);
  bool receive(std::span<std::uint8_t> datagram, const Address& from, TimePoint now,
               const std::optional<LocalIp>& at);
  bool transmit(TransmitBatch& batch, TimePoint now);
  std::optional<TimePoint> deadline();
  void tick(TimePoint now);
  std::optional<Event> poll();
  void set_rate(const RateLimits& limits);
  void on_datagram_too_large(const Address& to, Bytes size, TimePoint now);
  void set_load(double share) { load_ = share; }
  std::vector<std::uint8_t> save_paths(TimePoint now, Duration wall);
  void load_paths(std::span<const std::uint8_t> bytes, TimePoint now, Duration wall);

  /// Null if the connection is gone. Whoever uses it calls touch() afterwards.
  struct Entry;
  Entry* find(ConnectionHandle handle);
  void touch(Entry& entry);
  TimePoint now() const { return now_; }
  const EndpointCounters& counters() const { return counters_; }

  struct Entry {
    Entry(ConnectionHandle name, const ConnectionContext& context, ConnectionStart start,
          TimePoint now)
        : handle(name), connection(context, std::move(start), now) {}
    ConnectionHandle handle;
    Connection connection;
    std::optional<TimePoint> timer;  // as registered in timers_
    // Of a client that has no place of its own, counted under this: in its handshake, or turned
    // away and not forgotten yet.
    std::optional<Address> half_open;
    std::uint64_t bytes = 0;  // of a client: as counted in client_bytes_
    bool in_active = false;
    bool in_stale = false;
    bool in_event_ready = false;
    bool closed_polled = false;
  };

 private:
  struct Reply {  // to somebody we keep no state for
    Address to;
    std::vector<std::uint8_t> datagram;
    std::optional<LocalIp> from;
  };
  using OriginalKey = std::pair<ConnectionId, Address>;

  // endpoint.cc
  bool is_server() const { return cookies_.has_value(); }
  ConnectionId new_id();
  Entry& add(const TlsContext& tls, ConnectionStart start, TimePoint now);
  void remove(Entry& entry);
  void remove_if_done(Entry& entry);
  void remember_path(const Entry& entry);
  bool take_event(Entry& entry, std::optional<Event>& event);
  void refresh_timers();
  void begin_sharing(Entry& entry);
  void count_bytes(Entry& entry, std::uint64_t bytes);
  void divide_rates(TimePoint now);

  // endpoint_receive.cc
  void route(std::span<std::uint8_t> datagram, const Address& from, TimePoint now);
  void receive_handshake(std::span<std::uint8_t> rest, const HandshakeHeader& header,
                         std::size_t datagram_size, const Address& from, TimePoint now);
  void receive_data(std::span<std::uint8_t> datagram, const DataHeader& header,
                    const Address& from, TimePoint now);
  void receive_retry(std::span<const std::uint8_t> datagram, const RetryHeader& header,
                     const Address& from, TimePoint now);
  void receive_version_negotiation(const VersionNegotiationHeader& header, const Address& from,
                                   TimePoint now);
  void receive_unknown_version(const UnknownVersionHeader& header, std::size_t datagram_size,
                               const Address& from);
  void receive_first(std::span<std::uint8_t> packet, const HandshakeHeader& header,
                     std::size_t datagram_size, const Address& from, TimePoint now);
  bool make_room_for(const Address& from, TimePoint now);
  void turn_away(const HandshakeHeader& header, const Address& from, TimePoint now);
  bool tell_clients_of_reset(std::span<const std::uint8_t> datagram, const Address& from,
                             TimePoint now);
  void answer_unknown(const ConnectionId& id, std::size_t datagram_size, const Address& from,
                      TimePoint now);
  void reply(const Address& to, std::vector<std::uint8_t> datagram);
  Entry* by_id(const ConnectionId& id);

  EndpointConfig config_;
  RandomSource random_;
  TlsContext client_tls_;
  TlsContext server_tls_;
  ResetTokens reset_tokens_;
  std::optional<CookieJar> cookies_;  // a server's, since the first datagram
  TimePoint now_{};
  EndpointCounters counters_;
  PathMemory paths_;

  absl::flat_hash_map<std::uint64_t, std::unique_ptr<Entry>> connections_;
  absl::flat_hash_map<ConnectionId, Entry*, std::hash<ConnectionId>> by_own_id_;
  std::map<OriginalKey, Entry*> by_original_;  // ids that clients chose: a tree, not a hash table
  std::vector<std::uint64_t> outgoing_;        // connections that we started
  std::deque<std::uint64_t> active_;           // may have something to transmit
  std::deque<std::uint64_t> event_ready_;
  std::vector<std::uint64_t> stale_;           // their deadline may have changed
  std::set<std::pair<TimePoint, std::uint64_t>> timers_;
  std::deque<Reply> replies_;
  std::optional<LocalIp> asked_at_;  // of the datagram that is being received
  bool authentic_ = false;           // so is a packet of it
  std::uint64_t next_handle_ = 1;
  HalfOpenClients half_open_;
  RateShares shares_;
  std::map<PublicKey, std::uint64_t> client_bytes_;  // held for all connections of a key; not 0
  TimePoint next_division_{};
  double load_ = 0;
  // Every client of a full server within a second, and no more work for whoever sprays us with data
  // packets.
  PerSecond resets_{1024};
  PerSecond refusals_{256};  // the same datagram can ask for one again and again
};

}  // namespace rushfs::transport
