// A closed loop at packet level for the rate control: senders made of the production Recovery,
// receivers made of the production ReceivedPackets, and one bottleneck between them, all on a
// virtual clock. Seeds replay.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "tests/transport/rival.h"
#include "transport/recovery/recovery.h"

namespace rushfs::transport::simulation {

/// The bottleneck and what surrounds it. May be changed while a simulation runs.
struct Link {
  BitRate rate = 100_Mbps;
  Duration round_trip = std::chrono::milliseconds(20);  // without queue; flows may add to it
  Duration buffer = std::chrono::milliseconds(20);      // drop-tail, at `rate`
  double loss = 0;                                      // independent, data direction
  double burst_loss = 0;                                // share lost in groups
  double burst_length = 5;                              // their mean length, packets
  double ack_loss = 0;                                  // the same of ACKs
  double ack_burst = 1;                                 // 1: independent
  Duration jitter{};  // each way the delay is up to this shorter or longer:
  enum class Jitter {
    held,        // drawn anew every `jitter`, order kept: radio links
    each,        // drawn for each packet, order kept
    overtaking,  // drawn for each packet, which may overtake: netem
  } jitter_kind = Jitter::held;
  double reordered = 0;       // share of packets that is late by ...
  Duration reordering{};      // ... this, overtaken by others
  Duration policer_bucket{};  // if set: no queue, a token bucket of this depth at `rate`
  bool cut = false;           // nothing passes, either way
  // The senders' host does nothing for this long, that often: ACKs come in lumps.
  Duration pause{};
  Duration pause_interval = std::chrono::milliseconds(150);
  bool receivers_pause = false;  // so does the receivers' host
};

struct FlowOptions {
  Control control = Control::ours;
  RateLimits limits{};
  TimePoint start{};
  Duration extra_round_trip{};
  std::optional<std::uint64_t> bytes{};  // to move; none: endless
  std::optional<RememberedPath> remembered{};
  // Application-limited: offers `burst_bytes` every `burst_interval`.
  std::uint64_t burst_bytes = 0;
  Duration burst_interval{};
};

struct FlowResult {
  std::uint64_t goodput_bytes = 0;  // distinct payload that arrived
  std::uint64_t wire_bytes = 0;     // UDP payload sent
  std::uint64_t packets_sent = 0;
  std::uint64_t packets_spurious = 0;
  std::uint64_t payload_sent_again = 0;  // bytes of payload that had arrived already
  std::optional<TimePoint> finished;
};

class Simulation {
 public:
  Simulation(const Link& link, std::uint64_t seed);
  ~Simulation();

  std::size_t add(const FlowOptions& options);
  /// Runs until this much virtual time has passed since the beginning.
  void run_until(Duration time);
  Duration elapsed() const;
  Link& link();
  /// Changes what an application-limited flow offers from now on.
  void set_burst(std::size_t flow, std::uint64_t bytes, Duration interval);

  /// Since the last mark().
  FlowResult result(std::size_t flow) const;
  void mark();
  /// Mean waiting time of packets that arrived at the bottleneck since mark().
  Duration mean_queue() const;
  double dropped_share() const;  // by the queue, since mark()
  const Recovery& recovery(std::size_t flow) const;

  /// Called every interval, for traces.
  void trace(Duration interval, std::function<void()> hook);

  /// Payload bytes per second that could pass: rate × (1 − loss) × payload share of a packet.
  double payload_limit() const;

 private:
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace rushfs::transport::simulation
