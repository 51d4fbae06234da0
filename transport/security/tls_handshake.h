// The handshake: OpenSSL's TLS 1.3 as a byte stream in and out, with Ed25519 keys on both sides
// that a KeyJudge accepts or refuses, and no authority besides. docs/protocol.md, "Handshake".
//
// Pure but for OpenSSL's own randomness: no clock, no socket. Carries no data; its one product are
// the secrets of data packets.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "transport/message.h"
#include "transport/security/identity.h"
#include "transport/security/key_judge.h"
#include "transport/security/key_schedule.h"
#include "transport/security/tls_context.h"
#include "transport/wire/packet_header.h"

namespace rushfs::transport {

/// Most handshake bytes taken from one peer; more is a protocol violation. An honest client sends
/// about 630, a server about 650.
inline constexpr std::size_t kMaxHandshakeBytes = 16384;

class TlsHandshake {
 public:
  enum class State {
    in_progress,
    /// We are satisfied. On the client this comes before the server has judged our key: call it
    /// connected only after HANDSHAKE_DONE has arrived in a data packet, and keep feeding.
    complete,
    failed,
  };

  /// `parameters` are this end's encoded transport parameters. `judge` is called at most once, from
  /// within feed(). A client has output at once.
  TlsHandshake(const TlsContext& context, std::vector<std::uint8_t> parameters, KeyJudge judge);
  TlsHandshake(TlsHandshake&&) noexcept;
  TlsHandshake& operator=(TlsHandshake&&) noexcept;
  ~TlsHandshake();

  /// Takes the next bytes of the peer's stream, in order, any number at a time. Does nothing once
  /// failed.
  void feed(std::span<const std::uint8_t> bytes);

  /// The next bytes of our stream; empty: none for now. Also to be sent after a failure: it is the
  /// alert that tells the peer why.
  std::vector<std::uint8_t> take_output();

  State state() const;
  /// Why it failed: unknown_client, wrong_server_key, protocol_violation or handshake_failed, with
  /// a sentence for the user. by_peer: an alert of the peer said so. Valid when failed.
  const CloseReason& failure() const;

  /// The peer's proven key, once complete.
  const std::optional<PublicKey>& peer_key() const;
  /// The peer's encoded transport parameters: known from the peer's first flight on, trusted once
  /// complete.
  std::span<const std::uint8_t> peer_parameters() const;

  /// The cipher suite both ends chose, and the secrets of data packets. Valid when complete; the
  /// same on both ends only if all arguments and both ends' parameters are.
  CipherSuite cipher_suite() const;
  TrafficSecrets export_secrets(const ConnectionId& client, const ConnectionId& server,
                                std::uint32_t version) const;

 private:
  friend struct TlsCallbacks;
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace rushfs::transport
