#include "transport/recovery/received_packets.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <chrono>
#include <random>
#include <set>

using namespace rushfs::transport;
using namespace std::chrono_literals;

namespace {

const TimePoint kStart = TimePoint{} + 100s;
constexpr Duration kRoundTrip = 40ms;

// A receiver that is past its first packets, all acknowledged.
ReceivedPackets settled() {
  ReceivedPackets received;
  for (std::uint64_t n = 0; n < 100; ++n) received.on_received(n, true, kRoundTrip, kStart);
  received.on_ack_sent();
  return received;
}

}  // namespace

TEST_CASE("a packet that came before is a duplicate, one overtaken by others is not") {
  ReceivedPackets received;
  received.on_received(0, true, kRoundTrip, kStart);
  received.on_received(5, true, kRoundTrip, kStart);
  CHECK(received.is_duplicate(0));
  CHECK(received.is_duplicate(5));
  CHECK_FALSE(received.is_duplicate(3));
  CHECK_FALSE(received.is_duplicate(6));
}

TEST_CASE("what is too old to remember counts as a duplicate, for ever") {
  ReceivedPackets received;
  received.on_received(1, true, kRoundTrip, kStart);
  received.on_received(1 + kDuplicateWindow, true, kRoundTrip, kStart);
  CHECK(received.is_duplicate(1));  // seen, and out of the window
  CHECK(received.is_duplicate(0));  // never seen, but who knows
  CHECK_FALSE(received.is_duplicate(2));
}

TEST_CASE("a window that moves on does not take new numbers for old ones") {
  ReceivedPackets received;
  for (std::uint64_t n = 0; n < 1000; ++n) received.on_received(n, true, kRoundTrip, kStart);
  const std::uint64_t later = kDuplicateWindow + 2000;
  received.on_received(later, true, kRoundTrip, kStart);
  for (std::uint64_t n = kDuplicateWindow; n < kDuplicateWindow + 1000; ++n) {
    REQUIRE_FALSE(received.is_duplicate(n));
  }
}

TEST_CASE("after jumps of any length exactly the numbers that came are duplicates") {
  std::mt19937_64 random(1);
  const auto below = [&](std::uint64_t limit) { return random() % limit; };
  ReceivedPackets received;
  std::set<std::uint64_t> came;
  std::uint64_t largest = 0;
  for (int i = 0; i < 300; ++i) {
    constexpr std::uint64_t kReach[] = {2, 70, 200, 5000, kDuplicateWindow, kDuplicateWindow + 300};
    largest += 1 + below(kReach[below(std::size(kReach))]);
    received.on_received(largest, true, kRoundTrip, kStart);
    came.insert(largest);
    for (int behind = 0; behind < 20; ++behind) {
      const std::uint64_t number = largest - below(std::min<std::uint64_t>(largest, 3000) + 1);
      if (came.insert(number).second) received.on_received(number, true, kRoundTrip, kStart);
    }
    const std::uint64_t oldest = largest < kDuplicateWindow ? 0 : largest - kDuplicateWindow + 1;
    came.erase(came.begin(), came.lower_bound(oldest));
    for (const std::uint64_t number : came) {
      for (std::uint64_t near = number < 70 ? 0 : number - 70; near < number + 70; near += 7) {
        if (near >= oldest && received.is_duplicate(near) != came.contains(near)) {
          FAIL("number " << near << " after " << largest);
        }
      }
      if (!received.is_duplicate(number)) FAIL("number " << number << " after " << largest);
    }
  }
}

TEST_CASE("the first packets are acknowledged at once") {
  ReceivedPackets received;
  CHECK_FALSE(received.ack_deadline());
  received.on_received(0, true, kRoundTrip, kStart);
  CHECK(received.ack_due(kStart));
}

TEST_CASE("later an ACK waits an eighth of the round trip, between 1 and 10 ms") {
  const auto [round_trip, delay] =
      GENERATE(table<Duration, Duration>({{40ms, 5ms}, {1ms, 1ms}, {600ms, 10ms}}));
  ReceivedPackets received = settled();
  received.on_received(100, true, round_trip, kStart);
  received.on_received(101, true, round_trip, kStart + 500us);
  REQUIRE(received.ack_deadline());
  CHECK(*received.ack_deadline() == kStart + delay);
}

TEST_CASE("packets that ask for no ACK cause none but are named in the next") {
  ReceivedPackets received = settled();
  received.on_received(100, false, kRoundTrip, kStart);
  CHECK_FALSE(received.ack_deadline());
  CHECK(received.has_news());
  CHECK(received.ack_ranges(10).front() == NumberRange{0, 100});
}

TEST_CASE("many gaps or many packets do not wait for the timer") {
  SECTION("gaps, so that a frame covers several intervals") {
    ReceivedPackets received = settled();
    std::uint64_t number = 100;
    int packets = 0;
    while (!received.ack_due(kStart) && packets < 1000) {
      received.on_received(number += 2, true, kRoundTrip, kStart);
      ++packets;
    }
    CHECK(packets <= 256 / 4);
  }
  SECTION("packets, so that a fast sender is not told in lumps") {
    ReceivedPackets received = settled();
    std::uint64_t number = 100;
    while (!received.ack_due(kStart) && number < 5000) {
      received.on_received(number++, true, kRoundTrip, kStart);
    }
    CHECK(number <= 100 + 256);
  }
}

TEST_CASE("what arrives late is named however many gaps are newer") {
  ReceivedPackets received = settled();
  for (std::uint64_t n = 102; n < 3100; n += 2) received.on_received(n, true, kRoundTrip, kStart);
  received.on_ack_sent();
  for (const std::uint64_t late : {1501, 1503, 103, 2999}) {
    received.on_received(late, true, kRoundTrip, kStart);
  }
  const auto ranges = received.ack_ranges(64);
  CHECK(ranges.size() <= 64);
  CHECK(std::is_sorted(ranges.rbegin(), ranges.rend()));
  CHECK(ranges.front() == NumberRange{3098, 3098});
  for (const NumberRange& wanted : {NumberRange{1500, 1504}, {102, 104}, {2998, 3000}}) {
    CHECK(std::ranges::count(ranges, wanted) == 1);
  }
}

TEST_CASE("every handshake packet is answered at once") {
  ReceivedPackets received(true);
  for (std::uint64_t n = 0; n < 100; ++n) {
    received.on_received(n, true, kRoundTrip, kStart);
    REQUIRE(received.ack_due(kStart));
    received.on_ack_sent();
  }
}

TEST_CASE("ranges come newest first and no more than asked for") {
  ReceivedPackets received;
  for (const std::uint64_t n : {0, 1, 4, 7, 8}) received.on_received(n, true, kRoundTrip, kStart);
  const auto ranges = received.ack_ranges(2);
  REQUIRE(ranges.size() == 2);
  CHECK(ranges[0] == NumberRange{7, 8});
  CHECK(ranges[1] == NumberRange{4, 4});
}

TEST_CASE("ranges are repeated until the peer is known to have them") {
  ReceivedPackets received;
  for (const std::uint64_t n : {0, 2, 4, 6}) received.on_received(n, true, kRoundTrip, kStart);
  received.on_ack_sent();
  CHECK(received.ack_ranges(10).size() == 4);
  received.on_received(8, true, kRoundTrip, kStart);
  received.on_ack_acknowledged(6);
  const auto ranges = received.ack_ranges(10);
  REQUIRE(ranges.size() == 2);
  CHECK(ranges[0] == NumberRange{8, 8});
  CHECK(ranges[1] == NumberRange{6, 6});
}

TEST_CASE("what arrived late and was not reported yet survives the trimming") {
  ReceivedPackets received;
  for (const std::uint64_t n : {0, 2, 4}) received.on_received(n, true, kRoundTrip, kStart);
  received.on_ack_sent();
  received.on_received(1, true, kRoundTrip, kStart + 1ms);
  received.on_ack_acknowledged(4);
  CHECK(received.ack_ranges(10).back() == NumberRange{1, 2});
}

TEST_CASE("a ping goes along once per round trip, and only while there are gaps to forget") {
  ReceivedPackets received = settled();
  CHECK_FALSE(received.wants_ping(kRoundTrip, kStart));
  received.on_received(200, true, kRoundTrip, kStart);
  CHECK(received.wants_ping(kRoundTrip, kStart));
  received.on_ping_sent(kStart);
  CHECK_FALSE(received.wants_ping(kRoundTrip, kStart + kRoundTrip / 2));
  CHECK(received.wants_ping(kRoundTrip, kStart + kRoundTrip));
}
