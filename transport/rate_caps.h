// What bounds a connection's rate beside its path: the user's limits, a cap of our own application
// on what we send, one that the peer announced (RATE frame), and one that we announced to the peer
// and hold it to. docs/protocol.md, "Rate caps".
//
// Pure; owner: Connection.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "transport/rate_limits.h"
#include "transport/security/key_schedule.h"
#include "transport/units.h"
#include "transport/wire/frames.h"

namespace rushfs::transport {

/// Takes what a peer sends above its cap out of the link, as a policer would: a token bucket. A
/// peer that heeds the cap never meets it.
class RatePolicer {
 public:
  /// A higher rate counts at once, a lower one when the peer can have heard of it.
  void set_rate(BitRate rate, TimePoint now);
  /// Whether a datagram of `size` bytes may come in.
  bool admit(std::size_t size, TimePoint now);

 private:
  void refill(TimePoint now);
  double rate_ = 0;  // bytes per second, with allowance; 0: no limit
  double next_rate_ = 0;
  TimePoint next_from_{};
  double tokens_ = 0;  // bytes
  TimePoint filled_{};
};

class RateCaps {
 public:
  RateCaps(Role role, const RateLimits& limits, TimePoint now);

  /// The user's: they hold for what we send, and a client asks them of its server as well.
  void set_limits(const RateLimits& limits, TimePoint now);
  /// Our application's cap on what we send.
  void cap_sending(BitRate rate) { sending_ = rate; }
  /// A server's cap on what its client sends: announced when it differs noticeably.
  void cap_receiving(BitRate rate, TimePoint now);
  /// How the peer wants to be sent to. False: it is old news.
  bool on_frame(const RateFrame& frame);
  /// Whether what came may be looked at; else it counts as lost.
  bool admit(std::size_t size, TimePoint now) { return policer_.admit(size, now); }

  /// What holds for sending: the least of all.
  RateLimits effective() const;
  /// A cap of the peer's or of our application holds, not the user's own target.
  bool is_capped() const { return std::min(of_peer_, sending_) < limits_.target; }

  bool has_news() const { return news_; }
  RateFrame take_news();
  /// The frame of this number was lost; repeated if it is still the newest.
  void on_lost(std::uint64_t number);

 private:
  void announce(const RateLimits& wanted, TimePoint now);

  Role role_;
  RateLimits limits_;
  BitRate sending_ = BitRate::infinite();
  std::optional<RateLimits> asked_;  // by a client of us, a server
  BitRate of_peer_ = BitRate::infinite();
  std::uint64_t peer_number_ = 0;                // of the newest frame; 0: none came
  RateLimits announced_;  // to the peer
  std::uint64_t number_ = 0;
  bool news_ = false;
  RatePolicer policer_;
};

}  // namespace rushfs::transport
