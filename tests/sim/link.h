// One direction of a simulated path: a bottleneck with a drop-tail queue, then a delay, and on the
// way whatever a network does to datagrams. Virtual time, seeded chance.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "tests/sim/chance.h"
#include "transport/units.h"

namespace rushfs::sim {

using namespace transport;  // NOLINT: the simulator speaks the transport's language

/// Losses in bursts: the Gilbert-Elliott model, judged per datagram.
struct Bursts {
  double to_bad = 0;
  double to_good = 1;
  double loss_in_bad = 1;
};

/// Drops what exceeds a rate, without a queue: a token bucket of this depth.
struct Policer {
  BitRate rate;
  Duration depth = std::chrono::milliseconds(50);
};

struct Outage {
  TimePoint from;
  TimePoint until;
};

struct LinkConfig {
  BitRate rate = BitRate::infinite();
  Duration delay = std::chrono::milliseconds(10);
  Duration queue = std::chrono::milliseconds(100);  // longest wait at the bottleneck
  double loss = 0;
  std::optional<Bursts> bursts{};
  std::optional<Policer> policer{};
  double duplication = 0;
  double reordering = 0;  // share of datagrams that are held up
  Duration reordering_delay = std::chrono::milliseconds(5);
  Duration jitter{};      // uniform extra delay, keeps the order
  double corruption = 0;  // share of datagrams with a flipped bit, a cut or a new tail
  std::size_t mtu = 1472;  // UDP payload
  std::vector<Outage> outages{};
};

struct LinkCounters {
  std::uint64_t offered = 0;
  std::uint64_t delivered = 0;
  std::uint64_t lost = 0;        // by chance or outage
  std::uint64_t overflowed = 0;  // at the bottleneck
  std::uint64_t too_large = 0;
  std::uint64_t bytes_offered = 0;
};

class Link {
 public:
  explicit Link(LinkConfig link_config = {}) : config(link_config) {}

  /// What becomes of a datagram sent now: when copies of it arrive (none: it does not), possibly
  /// damaged in `bytes`.
  struct Fate {
    std::optional<TimePoint> arrival;
    std::optional<TimePoint> duplicate;
  };
  Fate send(std::vector<std::uint8_t>& bytes, TimePoint now, Chance& chance);

  LinkConfig config;  // may be changed at any time
  LinkCounters counters;

 private:
  bool is_lost(TimePoint now, Chance& chance);
  bool exceeds(const Policer& policer, std::size_t bytes, TimePoint now);
  void damage(std::vector<std::uint8_t>& bytes, Chance& chance);

  bool in_bad_state_ = false;
  TimePoint free_at_{};       // when the bottleneck has sent all it holds
  TimePoint last_arrival_{};
  double tokens_ = 0;  // bytes that the policer would let pass
  TimePoint tokens_at_{};
};

}  // namespace rushfs::sim
