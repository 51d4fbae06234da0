// Shares a server's rate among its clients: no connection gets more than its client's cap, all
// together no more than the server's, and what one does not use the others may (max-min fairness:
// Bertsekas and Gallager, Data Networks, section 6.5.2). The same for each direction.
//
// Pure; owner: Endpoint.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "transport/security/identity.h"
#include "transport/units.h"

namespace rushfs::transport {

/// How often shares follow use.
inline constexpr Duration kShareInterval = std::chrono::milliseconds(200);

/// Max-min fair parts of `total`: nobody gets more than wanted while others want more; what nobody
/// wants is spread evenly.
std::vector<double> share_out(double total, std::span<const double> wanted);

class RateShares {
 public:
  /// Caps each way, of all clients together and of each.
  RateShares(BitRate total, BitRate of_client) : total_(total), of_client_(of_client) {}

  /// A connection of the client with this key, to which `max_rate` applies as well.
  void add(std::uint64_t connection, const PublicKey& client, BitRate max_rate);
  void remove(std::uint64_t connection);
  std::size_t connections_of(const PublicKey& client) const;
  /// Anything to share: something is capped, and somebody is here.
  bool needed() const { return capped_ > 0; }

  struct Part {
    std::uint64_t connection = 0;
    Bytes sent;      // given by the caller: bytes since the connection began
    Bytes received;  // likewise
    BitRate sending;  // the answer
    BitRate receiving;
  };
  /// Those that are here, in the order in which they came.
  std::vector<Part> parts() const;
  /// Fills in the rates that hold until the next call, from what was used since the last.
  void divide(std::span<Part> parts, TimePoint now);

 private:
  struct Way {
    Bytes before;
    double share = 0;  // as given last; 0: none yet
  };
  struct Member {
    PublicKey client;
    BitRate cap;
    Way sending, receiving;
  };
  void divide_way(std::span<Part> parts, Way Member::*way, Bytes Part::*count,
                  BitRate Part::*rate, double elapsed);
  double wanted(const Way& way, Bytes count, double elapsed) const;
  bool is_capped(const Member& member) const;

  BitRate total_;
  BitRate of_client_;
  std::map<std::uint64_t, Member> members_;
  std::size_t capped_ = 0;
  TimePoint last_{};
};

}  // namespace rushfs::transport
