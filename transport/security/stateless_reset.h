// How a server that was restarted tells the clients of its former life, without any state, that
// their connections are gone: RFC 9000, section 10.3. docs/protocol.md, "Stateless reset".
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "transport/random_source.h"
#include "transport/security/identity.h"
#include "transport/security/key_schedule.h"
#include "transport/wire/frames.h"
#include "transport/wire/packet_header.h"

namespace rushfs::transport {

/// A reset looks like a data packet of this size; datagrams that are not larger are not answered,
/// so that two servers cannot reset each other for ever. Ack-eliciting packets are always larger.
inline constexpr std::size_t kStatelessResetSize = 40;

/// Tokens follow from the server's identity and the connection id alone. Immutable.
class ResetTokens {
 public:
  explicit ResetTokens(const Identity& identity);
  ResetToken of(const ConnectionId& id) const;

 private:
  Secret key_;
};

/// The answer to a data packet for `unknown`; empty if the packet was too short to be answered.
std::vector<std::uint8_t> make_stateless_reset(const ResetToken& token, std::size_t triggered_by,
                                               const RandomSource& random);

/// Whether the datagram ends in the token; in constant time.
bool ends_in(std::span<const std::uint8_t> datagram, const ResetToken& token);

}  // namespace rushfs::transport
