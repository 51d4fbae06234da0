// One connection to one peer: composes the handshake, packet protection, recovery, roaming and the
// exchange of messages, and keeps their common timers. Composition only; the parts decide.
//
//   handshaking ──▶ connected ──▶ closing (we said CLOSE) ──▶ finished
//        │              │
//        └──────────────┴───────▶ draining (the peer did, or nobody answers) ──▶ finished
//
// Pure; owner: Endpoint. connection.cc: life and timers; connection_receive.cc: what datagrams do;
// connection_transmit.cc: what goes out; connection_report.cc: what is told of it.
// docs/protocol.md, "Connections".
#pragma once

#include <absl/functional/function_ref.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "transport/address.h"
#include "transport/endpoint.h"
#include "transport/messages/exchange.h"
#include "transport/path/path_validation.h"
#include "transport/path_report.h"
#include "transport/rate/limit_shares.h"
#include "transport/rate_caps.h"
#include "transport/recovery/received_packets.h"
#include "transport/recovery/recovery.h"
#include "transport/security/handshake_channel.h"
#include "transport/security/packet_protection.h"
#include "transport/security/tls_handshake.h"
#include "transport/wire/packet_header.h"
#include "transport/wire/transport_parameters.h"

namespace rushfs::transport {

/// What the connections of an endpoint share. Outlives them.
struct ConnectionContext {
  const EndpointConfig& config;
  const TlsContext& tls;  // of the connection's role
  const RandomSource& random;
  const double& load;     // Endpoint::set_load()
  EndpointCounters& counters;
};

/// What distinguishes one from its birth.
struct ConnectionStart {
  Role role = Role::client;
  Address peer;
  ConnectionId own_id;                // where the peer shall send to
  ConnectionId original_destination;  // of the client's very first packet
  std::optional<ConnectionId> peer_id;  // the server knows its client's
  ResetToken reset_token{};           // the server's, for own_id
  KeyJudge judge;
  std::optional<RememberedPath> remembered;  // of an earlier connection to the peer's host
};

/// What a packet was: the peer's, proven; not the peer's, or seen before; or not looked at.
enum class Heard : std::uint8_t { authentic, forged, ignored };

class Connection {
 public:
  Connection(const ConnectionContext& context, ConnectionStart start, TimePoint now);

  // The network. Each call may be spurious.

  /// One handshake packet of ours, with what follows its header.
  Heard receive_handshake(std::span<std::uint8_t> packet, const HandshakeHeader& header,
                          const Address& from, TimePoint now);
  void receive_retry(std::span<const std::uint8_t> datagram, const RetryHeader& header,
                     TimePoint now);
  void receive_version_negotiation(const VersionNegotiationHeader& header, TimePoint now);
  /// One data packet, to the end of its datagram.
  Heard receive_data(std::span<std::uint8_t> packet, const DataHeader& header, const Address& from,
                     TimePoint now);
  /// The datagram came from the peer's address but could not be opened. True if it says that the
  /// peer forgot us.
  bool receive_stateless_reset(std::span<const std::uint8_t> datagram, TimePoint now);
  bool transmit(TransmitBatch& batch, TimePoint now);
  std::optional<TimePoint> deadline();
  void tick(TimePoint now);

  // The application.

  std::optional<EventBody> poll(TimePoint now);
  RequestId request(Priority priority, Body body);
  void reply(RequestId id, Body body, TimePoint now);
  void cancel(RequestId id, TimePoint now);
  void close(CloseReason reason, TimePoint now);
  void set_rate(const RateLimits& limits, TimePoint now);
  /// The server's caps for this client: on what we send, and on what the client may.
  void cap_rates(BitRate sending, BitRate receiving, TimePoint now);
  void on_datagram_too_large(Bytes size, TimePoint now);

  const Address& peer_address() const { return peer_address_; }
  const std::optional<PublicKey>& peer_key() const { return tls_.peer_key(); }
  const ConnectionId& own_id() const { return own_id_; }
  const ConnectionId& original_destination() const { return original_destination_; }
  Role role() const { return role_; }
  bool is_connected() const { return state_ == State::connected; }
  bool was_connected() const { return was_connected_; }
  /// Of messages that the peer makes us hold, and of those that wait for it.
  std::uint64_t bytes_held() const {
    return exchange_ ? exchange_->bytes_held_for_peer() + exchange_->bytes_to_send() : 0;
  }
  /// Nothing more will be sent; late packets need not be recognised any more.
  bool is_finished() const { return state_ == State::finished; }
  PathReport report(TimePoint now) const;
  /// What it knows of the path by now: worth starting from next time.
  RememberedPath remember() const {
    return recovery_ ? recovery_->control().remember() : RememberedPath{};
  }
  /// What authorized_keys says of the client; a server's, once connected.
  BitRate max_rate() const { return max_rate_; }

 private:
  enum class State : std::uint8_t { handshaking, connected, closing, draining, finished };
  struct PendingResponse {
    Address to;
    PathValidation::Challenge data;
  };

  // connection.cc
  void advance_tls(TimePoint now);
  std::optional<CloseReason> adopt_parameters();
  void on_keys(TimePoint now);
  void become_connected();
  void end(CloseReason reason, TimePoint now);             // tells the peer
  void end_silently(CloseReason reason, TimePoint now);    // does not
  void owe_close();
  void violate(std::string_view sentence, TimePoint now);
  void tick_liveness(TimePoint now);
  void tick_recovery(TimePoint now);
  void apply_rate();
  Duration probe_timeout() const;
  bool is_open() const { return state_ == State::handshaking || state_ == State::connected; }

  // connection_receive.cc
  void on_data_packet(const PacketProtection::Opened& opened, const Address& from,
                      std::size_t datagram_size, TimePoint now);
  Violation on_frame(const Frame& frame, const Address& from, TimePoint now);
  Violation on_ack(const AckFrame& frame, TimePoint now);
  void on_path_proven(const Address& address, TimePoint now);
  void act_on_outcome();
  void on_frame_acknowledged(const SentFrame& frame);
  void on_frame_lost(const SentFrame& frame);
  void on_packet_while_closing();
  bool may_come_from(const Address& address) const;

  // connection_report.cc
  SendLimit send_limit(const PathReport& path) const;

  // connection_transmit.cc
  bool has_data();
  bool transmit_next(TransmitBatch& batch, TimePoint now);
  bool transmit_closing(TransmitBatch& batch, TimePoint now);
  bool transmit_handshake(TransmitBatch& batch, TimePoint now);
  bool transmit_path(TransmitBatch& batch, TimePoint now);
  bool transmit_path_mtu_probe(TransmitBatch& batch, TimePoint now);
  bool transmit_data(TransmitBatch& batch, TimePoint now);
  enum class Content : std::uint8_t { nothing, acknowledgement, data };
  Content next_content(TimePoint now);
  void write_frames(FrameWriter& writer, Content content, TimePoint now);
  void write_data_frames(FrameWriter& writer, TimePoint now);
  void write_rates(FrameWriter& writer, TimePoint now);
  void write_ack(FrameWriter& writer, TimePoint now);
  void prepare_probe();
  /// Makes a packet in `space` of the frames that `write` writes, and records what asks for an
  /// answer, unless we are closing. Its size, 0 if
  /// there are none.
  std::size_t write_packet(std::span<std::uint8_t> space, TimePoint now,
                           absl::FunctionRef<void(FrameWriter&)> write);
  /// The same as the only packet of a batch, with at most `space` bytes. True.
  bool transmit_alone(TransmitBatch& batch, std::size_t space, TimePoint now,
                      absl::FunctionRef<void(FrameWriter&)> write);
  void skip_number_sometimes();

  ConnectionContext context_;
  Role role_;
  State state_ = State::handshaking;
  Address peer_address_;
  ConnectionId own_id_;
  ConnectionId original_destination_;
  std::optional<ConnectionId> peer_id_;
  std::vector<std::uint8_t> cookie_;   // client: what the server's retry brought
  int retries_ = 0;
  std::optional<ResetToken> reset_token_;  // server: ours; client: the server's, once known

  TlsHandshake tls_;
  std::optional<HandshakeChannel> handshake_;  // until data flows both ways
  std::optional<TransportParameters> peer_parameters_;

  // With the keys for data packets come the parts that use them.
  std::optional<PacketProtection> protection_;
  std::optional<Recovery> recovery_;
  std::optional<Exchange> exchange_;
  ReceivedPackets received_;
  PathValidation path_validation_;
  std::optional<PendingResponse> path_response_;
  std::optional<std::uint64_t> largest_acknowledged_;  // of ours, by the peer
  std::uint64_t next_skip_ = 0;

  bool handshake_done_owed_ = false;
  bool ping_owed_ = false;
  bool was_connected_ = false;
  bool connected_news_ = false;            // Connected is to be polled
  std::optional<CloseReason> closed_news_;  // Closed is to be polled
  CloseReason close_reason_;
  bool close_owed_ = false;
  std::uint64_t packets_while_closing_ = 0;

  RateCaps rate_;
  std::optional<RememberedPath> remembered_;
  BitRate max_rate_ = BitRate::infinite();
  LimitShares limits_;
  std::optional<PeerSending> peer_sending_;
  TimePoint peer_sending_since_{};
  TimePoint next_sending_{};  // when to say what holds us back
  Duration idle_timeout_;
  TimePoint started_;
  TimePoint last_heard_;                   // an authentic packet
  TimePoint last_ping_;
  TimePoint finish_at_{};
  std::uint64_t packets_received_ = 0;
  std::uint64_t bytes_received_ = 0;

  // Reused so that packets allocate nothing.
  std::vector<NumberRange> ack_scratch_;
  std::vector<SentFrame> sent_scratch_;
  LossOutcome outcome_;
};

}  // namespace rushfs::transport
