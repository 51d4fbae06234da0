// A snapshot of what a connection knows about its path, for status, prefetch and bench.
#pragma once

#include <cstdint>

#include "transport/units.h"

namespace rushfs::transport {

/// What keeps the sender from being faster right now.
enum class SendLimit : std::uint8_t {
  application,      // nothing to send
  network,          // the path's capacity, as the model sees it
  random_loss,      // the path's capacity, of which noticeable loss takes a share
  congestion,       // loss or delay caused by us or others: backing off
  target_rate,      // the user's target
  receiver_credit,  // the receiver grants no more
  starting,         // still searching for the path's capacity
};

const char* name_of(SendLimit limit);

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
};

}  // namespace rushfs::transport
