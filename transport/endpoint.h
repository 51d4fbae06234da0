// An Endpoint is one UDP port's worth of connections, without the UDP port: the client's single
// connection or all of a server's. It routes datagrams by connection ID, answers unknown clients
// with a stateless cookie, and hands everything else to Connection.
//
// Pure: it reads no clock, opens no socket and draws all randomness from the seedable source it is
// given, so that two endpoints can run in one process on a simulated link. Owner: the network loop;
// no other thread may touch it.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "transport/address.h"
#include "transport/events.h"
#include "transport/message.h"
#include "transport/random_source.h"
#include "transport/rate_limits.h"
#include "transport/security/key_judge.h"
#include "transport/units.h"

namespace rushfs::transport {

class Identity;        // security/identity.h: an Ed25519 key pair and its self-signed certificate
struct PublicKey;      // security/identity.h: 32 raw bytes
struct PathReport;     // transport/path_report.h: rate, round trip, loss, for status and prefetch

/// Names a connection within its endpoint; never reused.
struct ConnectionHandle {
  std::uint64_t value = 0;
  auto operator<=>(const ConnectionHandle&) const = default;
};

struct EndpointConfig {
  std::shared_ptr<const Identity> identity;
  ClientJudge accept_client;  // empty: this endpoint takes no incoming connections
  RateLimits rate;
  Duration idle_timeout = std::chrono::seconds(30);
  Duration handshake_timeout = std::chrono::seconds(10);
  Bytes largest_datagram = 8972_B;      // upper bound of path MTU search (UDP payload)
  Bytes credit_window_limit = 256_MiB;  // most a peer may have in flight towards us, all classes
  Bytes owed_limit = 1024_MiB;  // of messages that wait for one peer, four times its credit
  Bytes bytes_limit_of_client = 4096_MiB;  // both ways, of all connections of one key
  std::size_t max_connections = 1024;
  std::size_t max_connections_per_client = 512;  // of one key: the others find room beside it
  // A server's, each way, shared fairly: docs/protocol.md, "Rate caps".
  BitRate max_rate = BitRate::infinite();            // of all clients together
  BitRate max_rate_per_client = BitRate::infinite();  // of the connections of one key
};

struct Event {
  ConnectionHandle connection;
  EventBody body;
};

/// Datagrams of equal size (the last may be shorter) for one address, side by side in `bytes`:
/// what one GSO send carries.
struct TransmitBatch {
  Address to;
  std::uint16_t segment_size = 0;
  std::vector<std::uint8_t> bytes;
  std::optional<LocalIp> from{};  // an answer to a stranger: the address of ours that it spoke to
};

/// What an endpoint saw, for status and tests. Dropping is always silent.
struct EndpointCounters {
  std::uint64_t datagrams_received = 0;
  std::uint64_t garbage = 0;            // no header of ours, too short, or not for us
  std::uint64_t unknown_connection = 0;  // data packets for ids we do not know
  std::uint64_t not_authentic = 0;      // did not open, or was seen before (a replay)
  std::uint64_t retries_sent = 0;
  std::uint64_t bad_cookies = 0;
  std::uint64_t version_negotiations_sent = 0;
  std::uint64_t stateless_resets_sent = 0;
  std::uint64_t refused_busy = 0;       // over max_connections or too many half-open
  std::uint64_t forbidden_address = 0;  // authentic, but this client may not come from there
  std::uint64_t over_cap = 0;           // authentic, but beyond the rate the client was told
  std::uint64_t handshakes_failed = 0;  // of clients that never became connected
  std::uint64_t path_files_dropped = 0;  // given to load_paths() and not as save_paths() made them
};

class Endpoint {
 public:
  Endpoint(EndpointConfig config, RandomSource random);
  ~Endpoint();

  /// Starts a connection to a server; `expected` judges its key. The outcome arrives as an event:
  /// Connected, or Closed with a reason.
  ConnectionHandle connect(const Address& server, KeyJudge expected, TimePoint now);

  // The network side. Each may be called at any time; spurious calls do nothing.

  /// Takes one datagram; decrypts in place. Garbage is counted and dropped. `at`: the address of
  /// ours that it was sent to, where there are several. True: it came from a peer of ours, which
  /// proved it, and what goes there should leave from `at`.
  bool receive(std::span<std::uint8_t> datagram, const Address& from, TimePoint now,
               const std::optional<LocalIp>& at = {});
  /// Fills `batch` with what may be sent now. False: nothing to send until the next receive(),
  /// request(), reply() or deadline(). Call until false. Hand in the same batch again, as it is:
  /// its memory is used again.
  bool transmit(TransmitBatch& batch, TimePoint now);
  /// The host refused to send a datagram of this size to this address (EMSGSIZE).
  void on_datagram_too_large(const Address& to, Bytes size, TimePoint now);
  /// The share of time in which this endpoint's loop was at work lately: 1 means that it can do no
  /// more. Reported as what limits a transfer.
  void set_load(double share);
  /// When to call tick() at the latest.
  std::optional<TimePoint> deadline() const;
  void tick(TimePoint now);

  // The application side.

  std::optional<Event> poll();
  // On a connection whose Closed was produced, calls do nothing and ids mean nothing. Before
  // Connected there must be none.

  /// Queues a request; it leaves as priority, credit and rate allow. Body at most kMaxMessage.
  RequestId request(ConnectionHandle, Priority, Body body);
  /// Answers a request, once. Its priority is the request's. Frees the credit its body held.
  /// A cancelled request is answered like others: nothing is sent, but its credit comes back. An
  /// unknown id is ignored: the requester may be gone.
  void reply(ConnectionHandle, RequestId, Body body);
  /// The reply is no longer wanted; none will arrive.
  void cancel(ConnectionHandle, RequestId);
  /// Orderly close: tells the peer why, then yields Closed.
  void close(ConnectionHandle, CloseReason, TimePoint now);

  /// For all connections, present and future; clients ask the same of their servers.
  void set_rate(RateLimits);

  /// What was learned of the paths to other hosts, as bytes to keep for the next process; `wall` is
  /// the time since 1970. Connections start from what was learned within a day.
  std::vector<std::uint8_t> save_paths(TimePoint now, Duration wall);
  /// Takes such bytes. What is broken is counted and changes nothing.
  void load_paths(std::span<const std::uint8_t> bytes, TimePoint now, Duration wall);

  /// The peer's proven key, from Connected until Closed was polled (zeroes otherwise).
  const PublicKey& peer_key(ConnectionHandle) const;
  PathReport report(ConnectionHandle, TimePoint now) const;
  const EndpointCounters& counters() const;

 private:
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace rushfs::transport
