// Searches the largest datagram a path carries (DPLPMTUD, RFC 8899) and notices when it shrinks.
// Probes are single padded packets whose loss is no congestion signal. A black hole is told from
// random loss by size: only when datagrams above the base size vanish while small ones arrive.
// Pure; a value.
#pragma once

#include <cstdint>
#include <optional>

#include "transport/units.h"

namespace rushfs::transport {

/// Every path must carry this (RFC 9000, section 14).
inline constexpr Bytes kBaseDatagram = 1200_B;
/// What fits Ethernet's 1500 bytes over IPv4.
inline constexpr Bytes kEthernetDatagram = 1472_B;

class PathMtu {
 public:
  explicit PathMtu(Bytes largest);

  /// UDP payload that full datagrams should have.
  Bytes datagram_size() const { return {current_}; }
  /// The size to probe now, if a probe is due.
  std::optional<Bytes> probe(TimePoint now) const;
  void on_probe_sent();
  void on_probe_acknowledged(Bytes size, TimePoint now);
  void on_probe_lost(Bytes size, TimePoint now);

  /// Fate of ordinary packets.
  void on_acknowledged(Bytes size);
  void on_lost(Bytes size, TimePoint now);
  /// The host refused this size (EMSGSIZE). Up to the base size that says nothing.
  void on_too_large(Bytes size, TimePoint now);
  /// Another path: everything is unknown again.
  void reset();

 private:
  void next_candidate();
  void finish(TimePoint now);
  void black_hole(TimePoint now);

  std::uint64_t largest_;
  std::uint64_t current_ = kBaseDatagram.count;
  std::uint64_t known_bad_;      // smallest size that failed
  std::uint64_t candidate_ = 0;  // 0: nothing larger to try
  int attempts_ = 0;             // lost probes of the candidate
  bool in_flight_ = false;
  TimePoint next_probe_{};
  int large_lost_in_a_row_ = 0;
  int small_acknowledged_meanwhile_ = 0;
};

}  // namespace rushfs::transport
