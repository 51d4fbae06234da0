// What the UDP socket was given and what became of the datagrams: for `rushfs status`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "transport/address.h"
#include "transport/units.h"

namespace rushfs::transport {

/// A socket buffer as asked of the kernel and as granted (payload bytes as setsockopt counts them,
/// before the kernel's own doubling; socket(7)).
struct SocketBuffer {
  Bytes asked;
  Bytes granted;
  bool clipped() const { return granted < asked; }
};

/// The most recent refusal by the network, e.g. no route (cable pulled) or nobody listens there.
/// Datagrams refused count as lost; the connection's own recovery deals with them.
struct NetworkError {
  int error = 0;  // errno
  Address to;
  TimePoint when{};
  std::uint64_t count = 0;  // of refusals of any kind since the start
};

struct UdpReport {
  SocketBuffer receive_buffer;
  SocketBuffer send_buffer;
  bool segmentation_offload = false;  // in use now
  bool receive_offload = false;
  std::uint64_t datagrams_sent = 0;
  std::uint64_t datagrams_received = 0;
  Bytes bytes_sent;
  Bytes bytes_received;
  std::uint64_t send_calls = 0;     // system calls, to judge batching
  std::uint64_t receive_calls = 0;
  std::uint64_t dropped_by_kernel = 0;  // receive buffer was full (SO_RXQ_OVFL)
  std::uint64_t send_blocked = 0;       // the send buffer was full; sending went on later
  std::uint64_t too_large = 0;          // refused by the interface (EMSGSIZE)
  double load = 0;  // share of time in which the network loop was at work lately
  std::optional<NetworkError> last_error;
};

/// A sentence for the user when a buffer was clipped, naming the sysctl and the value; else empty.
std::string buffer_advice(const UdpReport& report);

}  // namespace rushfs::transport
