// A client whose every frame the test chooses: it holds valid keys and does what no correct client
// does. Talks to an endpoint directly, without a network or time between.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "tests/sim/chance.h"
#include "transport/endpoint.h"
#include "transport/path/path_validation.h"
#include "transport/security/handshake_channel.h"
#include "transport/security/packet_protection.h"
#include "transport/security/tls_handshake.h"
#include "transport/wire/transport_parameters.h"

namespace rushfs::sim {

using namespace transport;  // NOLINT: the simulator speaks the transport's language

class Puppet {
 public:
  Puppet(Endpoint& server, TimePoint now, std::uint64_t seed = 1);
  /// Another connection of the same client.
  Puppet(Endpoint& server, TimePoint now, std::uint64_t seed, std::uint64_t key_seed);

  /// Shakes hands as a correct client does. True: connected.
  bool connect();
  /// Sends one data packet with the frames that `write` writes, then takes what comes back.
  void send(const std::function<void(FrameWriter&)>& write);
  /// Sends bytes as the payload of a data packet.
  void send_payload(std::span<const std::uint8_t> payload);
  /// Acknowledges all data packets that came.
  void acknowledge();
  /// Takes what the server sends.
  void listen();

  TimePoint now;
  Address address;                   // where the puppet sends from
  std::optional<CloseReason> closed;  // the server's CLOSE
  std::size_t bytes_from_server = 0;
  std::vector<PathValidation::Challenge> challenges;
  std::vector<ResetFrame> resets;
  std::vector<std::uint64_t> numbers;  // of the server's data packets
  std::set<RequestId> replies;
  std::uint64_t reply_bytes = 0;     // of all parts, repeated ones as well
  std::optional<PacketProtection> protection;

 private:
  void send_handshake();
  void take(std::span<std::uint8_t> datagram);
  void take_data(std::span<std::uint8_t> datagram, const DataHeader& header);
  void take_frame(const Frame& frame);
  void advance_tls();

  Endpoint& server_;
  Chance chance_;
  Identity identity_;
  TlsContext context_;
  ConnectionId own_id_;
  ConnectionId original_;
  std::optional<ConnectionId> server_id_;
  std::vector<std::uint8_t> cookie_;
  std::optional<TlsHandshake> tls_;
  std::optional<HandshakeChannel> channel_;
  bool done_ = false;
  std::vector<NumberRange> scratch_;
};

}  // namespace rushfs::sim
