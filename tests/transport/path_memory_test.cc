// What was learned of paths survives the process, and nothing else does.
#include "transport/path/path_memory.h"

#include <catch2/catch.hpp>

#include <chrono>

#include "transport/udp/resolve.h"

using namespace rushfs::transport;
using namespace std::chrono_literals;

namespace {

const TimePoint kNow = TimePoint{} + 100h;
const Duration kWall = std::chrono::hours(24) * 365 * 50;
const RememberedPath kPath{900_Mbps, 100ms};

Address host(std::uint8_t number) {
  return parse_address("192.0.2." + std::to_string(number) + ":7874");
}

std::vector<std::uint8_t> saved() {
  PathMemory memory;
  memory.remember(host(1), kPath, kNow);
  memory.remember(host(2), {20_Mbps, 7ms}, kNow - 1h);
  return memory.save(kNow, kWall);
}

}  // namespace

TEST_CASE("the next process knows what this one learned") {
  PathMemory next;
  const TimePoint other_clock = TimePoint{} + 200h;
  REQUIRE(next.load(saved(), other_clock, kWall + 10min));
  const auto found = next.recall(parse_address("192.0.2.1:40000"), other_clock);  // any port
  REQUIRE(found);
  CHECK(found->bandwidth == kPath.bandwidth);
  CHECK(found->minimum_round_trip == kPath.minimum_round_trip);
  CHECK(next.recall(host(2), other_clock)->minimum_round_trip == 7ms);
  CHECK_FALSE(next.recall(host(3), other_clock));
}

TEST_CASE("knowledge ages while nobody runs") {
  PathMemory next;
  REQUIRE(next.load(saved(), kNow, kWall + PathMemory::kLife - 30min));
  CHECK(next.recall(host(1), kNow));
  CHECK_FALSE(next.recall(host(2), kNow));  // an hour older
  CHECK(next.recall(host(1), kNow + 30min));
  CHECK_FALSE(next.recall(host(1), kNow + 31min));
}

TEST_CASE("saving what nobody learned anew makes it no younger") {
  PathMemory memory;
  memory.remember(host(1), kPath, kNow);
  memory.remember(host(1), kPath, kNow + 23h);  // the same connection, asked again
  CHECK_FALSE(memory.recall(host(1), kNow + 25h));
}

TEST_CASE("what a path carried at least takes no place of more that is known of it") {
  PathMemory memory;
  memory.remember(host(1), kPath, kNow);
  memory.remember(host(1), {500_Mbps, 110ms, true}, kNow + 23h);
  CHECK(memory.recall(host(1), kNow + 24h)->bandwidth == kPath.bandwidth);
  CHECK_FALSE(memory.recall(host(1), kNow + 25h));  // and makes it no younger
  SECTION("more than that does") {
    memory.remember(host(1), {950_Mbps, 110ms, true}, kNow + 23h);
    CHECK(memory.recall(host(1), kNow + 25h)->bandwidth == 950_Mbps);
  }
  SECTION("nor does it wait for what is too old") {
    memory.remember(host(1), {500_Mbps, 110ms, true}, kNow + 25h);
    CHECK(memory.recall(host(1), kNow + 25h)->bandwidth == 500_Mbps);
  }
  SECTION("nor for what was another path") {
    memory.remember(host(1), {500_Mbps, 10ms, true}, kNow + 1h);
    CHECK(memory.recall(host(1), kNow + 1h)->bandwidth == 500_Mbps);
  }
  SECTION("what was found does, though it be less") {
    memory.remember(host(1), {500_Mbps, 110ms}, kNow + 1h);
    CHECK(memory.recall(host(1), kNow + 1h)->bandwidth == 500_Mbps);
  }
}

TEST_CASE("a damaged file teaches nothing") {
  const auto good = saved();
  const auto refused = [](const std::vector<std::uint8_t>& bytes) {
    PathMemory memory;
    const bool loaded = memory.load(bytes, kNow, kWall);
    return !loaded && !memory.recall(host(1), kNow) && !memory.recall(host(2), kNow);
  };
  REQUIRE_FALSE(refused(good));
  for (std::size_t i = 0; i < good.size(); ++i) {
    auto bytes = good;
    bytes[i] ^= 0x10;
    CHECK(refused(bytes));
    CHECK(refused({good.begin(), good.begin() + static_cast<std::ptrdiff_t>(i)}));
  }
  auto longer = good;
  longer.push_back(0);
  CHECK(refused(longer));
}

TEST_CASE("a file from the future teaches nothing: its age is not known") {
  PathMemory memory;
  CHECK_FALSE(memory.load(saved(), kNow, kWall - 1s));
  CHECK_FALSE(memory.recall(host(1), kNow));
}

TEST_CASE("of more hosts than are kept, the one heard of least recently is left out") {
  PathMemory memory;
  Address many = host(1);
  for (std::size_t i = 0; i < PathMemory::kMaxHosts + 1; ++i) {
    many.ip[14] = static_cast<std::uint8_t>(i >> 8);
    many.ip[15] = static_cast<std::uint8_t>(i);
    memory.remember(many, kPath, kNow + std::chrono::seconds(i));
  }
  PathMemory next;
  REQUIRE(next.load(memory.save(kNow + 1h, kWall), kNow + 1h, kWall));
  CHECK(next.recall(many, kNow + 1h));
  many.ip[14] = many.ip[15] = 0;
  CHECK_FALSE(next.recall(many, kNow + 1h));
}
