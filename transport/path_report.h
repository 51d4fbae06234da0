// A snapshot of what a connection knows about its path, for status, prefetch and bench.
#pragma once

#include <cstdint>
#include <optional>

#include "transport/units.h"

namespace rushfs::transport {

/// What keeps the sender from being faster right now. The numbers are on the wire (SENDING).
enum class SendLimit : std::uint8_t {
  application = 0,      // nothing to send
  network = 1,          // the path's capacity, as the model sees it
  random_loss = 2,      // the path's capacity, of which noticeable loss takes a share
  congestion = 3,       // a queue that does not go when we back off: others fill it
  target_rate = 4,      // the user's target
  receiver_credit = 5,  // the receiver's disk or program takes no more
  starting = 6,         // still searching for the path's capacity
  policer = 7,          // the path drops what exceeds a rate, without a queue
  remote_cap = 8,       // the other end's max-rate, or ours for this client
  processor = 9,        // this host computes as fast as it can
  sender_storage = 10,  // this host waits for its disk
};
inline constexpr std::uint8_t kSendLimits = 11;

/// A few words for the user: `rushfs status`, "limited by ...".
const char* name_of(SendLimit limit);

/// What the other end says of its sending: docs/protocol.md, SENDING.
struct PeerSending {
  SendLimit limit = SendLimit::application;
  BitRate bandwidth;
  double loss_ratio = 0;
};

struct PathReport {
  Duration smoothed_round_trip{};
  Duration minimum_round_trip{};
  Duration latest_round_trip{};
  Duration round_trip_variation{};
  Duration standing_queue{};  // delay we and others add at the bottleneck
  BitRate bandwidth;          // goodput the path delivers, as estimated
  BitRate pacing_rate;        // at which datagrams leave
  double loss_ratio = 0;      // of packets sent, recent
  double loss_floor = 0;      // share of it that does not depend on our rate
  bool loses_probes = false;  // far more is lost of what is sent faster
  Bytes bytes_in_flight;
  Bytes congestion_window;
  Bytes datagram_size;  // UDP payload in use
  std::uint64_t packets_sent = 0;
  std::uint64_t packets_received = 0;  // filled by Connection
  std::uint64_t packets_lost = 0;
  std::uint64_t packets_spurious = 0;  // declared lost, then arrived
  Bytes bytes_sent;                    // UDP payload, all packets
  Bytes bytes_received;                // filled by Connection
  Bytes bytes_acknowledged;
  Bytes bytes_lost;
  Bytes bytes_retransmitted;  // filled by Connection
  SendLimit limit = SendLimit::application;
  std::optional<PeerSending> peer;  // filled by Connection; none: it sends nothing worth saying
};

}  // namespace rushfs::transport
