// What a packet costs in all of recovery and rate control together. Run by hand:
//   transport_recovery_test "[cost]"
#include <catch2/catch.hpp>

#include <chrono>
#include <cstdio>
#include <ctime>

#include "transport/received_packets.h"
#include "transport/recovery.h"

using namespace rushfs::transport;
using namespace std::chrono_literals;

TEST_CASE("a packet costs little, with 500,000 in flight and a twentieth lost", "[.][cost]") {
  Recovery recovery(Recovery::Config{});
  LossOutcome outcome;
  ReceivedPackets received;
  TimePoint now = TimePoint{} + 100s;
  recovery.on_round_trip_sample(300ms, 0ms, now);
  constexpr std::uint64_t kInFlight = 500000;
  constexpr std::uint64_t kPackets = 3000000;
  constexpr Duration kSpacing = 600ns;  // 1.6 million packets a second
  std::clock_t began = 0;  // processor time: others may be running
  for (std::uint64_t n = 0; n < kPackets; ++n) {
    now += kSpacing;
    if (n == 2 * kInFlight) began = std::clock();  // every ring has grown
    const SentFrame frame{
        .kind = SentFrame::Kind::request_data, .offset = 0, .id = n, .length = 1400};
    (void)recovery.may_send(false, now);
    recovery.on_sent(1440_B, true, {&frame, 1}, now);
    if (n < kInFlight) continue;
    const std::uint64_t arrived = n - kInFlight;
    if (arrived % 20 != 7) received.on_received(arrived, true, 300ms, now);
    if (received.ack_due(now)) {
      REQUIRE(recovery.on_ack(received.ack_ranges(256), 0ms, now, outcome));
      received.on_ack_sent(now);
      if (arrived % 100 == 0) received.on_ack_acknowledged(arrived > 5000 ? arrived - 5000 : 0);
    }
  }
  const double took = static_cast<double>(std::clock() - began) / CLOCKS_PER_SEC;
  std::printf("%.0f ns per packet, both ends\n", took * 1e9 / (kPackets - 2 * kInFlight));
}
