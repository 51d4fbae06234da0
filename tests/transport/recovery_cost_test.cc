// What a packet costs in all of recovery and rate control together, however many are in flight.
#include <catch2/catch.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <limits>

#include "transport/recovery/received_packets.h"
#include "transport/recovery/recovery.h"

using namespace rushfs::transport;
using namespace std::chrono_literals;

namespace {

/// Nanoseconds of processor time for a packet, both ends, with a twentieth lost.
double cost_of_a_packet(std::uint64_t in_flight) {
  Recovery recovery(Recovery::Config{});
  LossOutcome outcome;
  ReceivedPackets received;
  TimePoint now = TimePoint{} + 100s;
  recovery.on_round_trip_sample(300ms, 0ms, now);
  constexpr Duration kRoundTrip = 300ms;
  constexpr std::uint64_t kMeasured = 500'000;
  const Duration spacing = kRoundTrip / in_flight;
  std::clock_t began = 0;  // others may be running
  for (std::uint64_t n = 0; n < 2 * in_flight + kMeasured; ++n) {
    now += spacing;
    if (n == 2 * in_flight) began = std::clock();  // every ring has grown
    const SentFrame frame{
        .kind = SentFrame::Kind::request_data, .offset = 0, .id = n, .length = 1400};
    (void)recovery.may_send(false, now);
    recovery.on_sent(1440_B, true, {&frame, 1}, now);
    if (n < in_flight) continue;
    const std::uint64_t arrived = n - in_flight;
    if (arrived % 20 != 7) received.on_received(arrived, true, kRoundTrip, now);
    if (received.ack_due(now)) {
      REQUIRE(recovery.on_ack(received.ack_ranges(256), 0ms, now, outcome));
      received.on_ack_sent();
      if (arrived % 100 == 0) received.on_ack_acknowledged(arrived > 5000 ? arrived - 5000 : 0);
    }
  }
  return static_cast<double>(std::clock() - began) / CLOCKS_PER_SEC * 1e9 / kMeasured;
}

/// Nanoseconds of processor time for a packet whose number is this far above the last.
double cost_of_a_jump(std::uint64_t distance) {
  constexpr int kPackets = 2000;
  ReceivedPackets received;
  std::uint64_t number = kDuplicateWindow - 1;  // the window has grown
  received.on_received(number, true, 40ms, TimePoint{} + 100s);
  const std::clock_t began = std::clock();
  for (int i = 0; i < kPackets; ++i) {
    received.on_received(number += distance, true, 40ms, TimePoint{} + 100s);
  }
  return static_cast<double>(std::clock() - began) / CLOCKS_PER_SEC * 1e9 / kPackets;
}

}  // namespace

TEST_CASE("a jump of almost a window of numbers costs no more than a longer one", "[cost]") {
  double almost = std::numeric_limits<double>::infinity(), more = almost;
  for (int i = 0; i < 5; ++i) {
    almost = std::min(almost, cost_of_a_jump(kDuplicateWindow - 1));
    more = std::min(more, cost_of_a_jump(kDuplicateWindow + 1));
  }
  std::printf("%.0f ns per packet after a jump of almost a window, %.0f of more\n", almost, more);
  CHECK(almost < 4 * more);
}

TEST_CASE("a packet costs the same with 5,000 and with 500,000 in flight", "[cost]") {
  double few = std::numeric_limits<double>::infinity(), many = few;
  for (int i = 0; i < 3; ++i) {  // the best of these: what others take of caches only adds
    few = std::min(few, cost_of_a_packet(5'000));
    many = std::min(many, cost_of_a_packet(500'000));
  }
  std::printf("%.0f ns per packet with 5,000 in flight, %.0f with 500,000\n", few, many);
  CHECK(many < 3 * few);
}
