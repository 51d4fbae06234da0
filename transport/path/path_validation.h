// Roaming: before data goes to a client's new address, the client proves that it receives there.
// One address is under validation at a time, and gets at most three times the bytes that came from
// it. RFC 9000, sections 8.2 and 9. docs/protocol.md, "Roaming".
//
// Pure; owner: Connection.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "transport/address.h"
#include "transport/random_source.h"
#include "transport/units.h"

namespace rushfs::transport {

class PathValidation {
 public:
  using Challenge = std::array<std::uint8_t, 8>;

  /// An authenticated packet newer than all before came from `address`, with `size` bytes of UDP
  /// payload. Begins the validation of that address unless it is under way.
  void on_packet(const Address& address, std::size_t size, const RandomSource& random,
                 TimePoint now);
  /// A packet newer than all before came from the address in use: the peer is still there.
  void stop() { candidate_.reset(); }

  /// A challenge that is due and the most bytes its datagram may have; none if none is.
  struct Due {
    Address to;
    Challenge challenge;
    std::size_t limit;
  };
  std::optional<Due> due(TimePoint now) const;
  void on_challenge_sent(std::size_t size, Duration probe_timeout, TimePoint now);

  /// The address that is proven by this response; none if it answers nothing of ours.
  std::optional<Address> on_response(const Challenge& response);

  std::optional<TimePoint> deadline() const;
  /// Gives up an address that never answered.
  void tick(TimePoint now);

 private:
  struct Candidate {
    Address address;
    Challenge challenge{};
    std::size_t received = 0;
    std::size_t sent = 0;
    int attempts = 0;
    TimePoint next{};
  };
  std::optional<Candidate> candidate_;
};

}  // namespace rushfs::transport
