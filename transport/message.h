// Messages: what the two ends of a connection exchange. A request and its reply are each one
// message of up to 4 MiB, delivered whole, in any order. docs/protocol.md, "Messages".
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "transport/units.h"

namespace rushfs::transport {

using Buffer = std::vector<std::uint8_t>;

/// The largest message body. Larger calls are split by the caller.
inline constexpr Bytes kMaxMessage = 4_MiB;

/// The bytes of a message on its way out. They never change, so that who may have to send them over
/// another connection holds the same ones.
class Body {
 public:
  Body() = default;
  Body(Buffer bytes) : bytes_(std::make_shared<const Buffer>(std::move(bytes))) {}

  std::size_t size() const { return bytes_ ? bytes_->size() : 0; }
  std::span<const std::uint8_t> bytes() const {
    return bytes_ ? std::span(*bytes_) : std::span<const std::uint8_t>();
  }

 private:
  std::shared_ptr<const Buffer> bytes_;
};

/// A message of a lower number never queues behind one of a higher number.
enum class Priority : std::uint8_t {
  urgent = 0,  // metadata, notices: a person waits for it
  demand = 1,  // a read that a program is blocked in
  ahead = 2,   // prefetch
  behind = 3,  // write-back
};
inline constexpr int kPriorities = 4;

/// Names a request within one connection; unique for the connection's life. Even numbers are
/// chosen by the client, odd ones by the server.
struct RequestId {
  std::uint64_t value = 0;
  auto operator<=>(const RequestId&) const = default;
};

/// Why a connection ended. The numbers are on the wire: docs/protocol.md, "Close codes".
enum class CloseCode : std::uint16_t {
  none = 0,               // orderly: the application is done
  protocol_violation = 1, // the peer sent what no correct peer sends
  internal_error = 2,
  idle_timeout = 3,       // local only: nothing heard for the idle timeout
  version_mismatch = 4,   // local only: no version in common
  unknown_client = 5,     // the server does not know our key
  wrong_server_key = 6,   // local only: the server's key is not the pinned one
  handshake_timeout = 7,  // local only: no answer
  handshake_failed = 8,
  key_revoked = 9,        // the key was taken out of authorized_keys
  server_busy = 10,       // a limit of the server is reached
  refused_by_application = 11,
  forgotten = 12,         // local only: the peer was restarted and knows nothing of us any more
};

struct CloseReason {
  CloseCode code = CloseCode::none;
  bool by_peer = false;
  std::string text;  // a sentence for the user, at most 256 bytes
};

}  // namespace rushfs::transport
