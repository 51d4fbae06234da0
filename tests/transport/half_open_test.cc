#include "transport/half_open.h"

#include <catch2/catch.hpp>

#include "transport/udp/resolve.h"

using namespace rushfs::transport;
using namespace std::chrono_literals;

namespace {
const TimePoint kNow{1h};
}

TEST_CASE("a network is an IPv4 /24 or an IPv6 /56") {
  const auto same = [](const char* a, const char* b) {
    return network_of(parse_address(a)) == network_of(parse_address(b));
  };
  CHECK(same("192.0.2.1:1", "192.0.2.255:2"));
  CHECK_FALSE(same("192.0.2.1:1", "192.0.3.1:1"));
  CHECK(same("[2001:db8:0:1200::1]:1", "[2001:db8:0:12ff:ffff::2]:2"));
  CHECK_FALSE(same("[2001:db8:0:1200::1]:1", "[2001:db8:0:1300::1]:1"));
  CHECK_FALSE(same("[::1]:1", "127.0.0.1:1"));
}

TEST_CASE("room comes back when handshakes end") {
  HalfOpenClients clients;
  const Address address = parse_address("192.0.2.1:1");
  for (std::uint64_t i = 0; i < kMaxHalfOpenOfNetwork; ++i) {
    REQUIRE(clients.has_room_for(address));
    clients.begin(address, {i}, kNow);
  }
  CHECK_FALSE(clients.has_room_for(address));
  clients.end(address, {5});
  CHECK(clients.has_room_for(address));
  CHECK(clients.count() == kMaxHalfOpenOfNetwork - 1);
}

TEST_CASE("who began a second ago gives way, first to a neighbour") {
  HalfOpenClients clients;
  const Address a = parse_address("192.0.2.1:1"), b = parse_address("198.51.100.1:1");
  clients.begin(a, {1}, kNow);
  clients.begin(b, {2}, kNow + 100ms);
  CHECK_FALSE(clients.to_give_way(a, kNow + 999ms));
  CHECK(clients.to_give_way(a, kNow + 1s) == ConnectionHandle{1});
  CHECK(clients.to_give_way(b, kNow + 1s) == ConnectionHandle{1});  // its own is younger
  CHECK(clients.to_give_way(b, kNow + 1100ms) == ConnectionHandle{2});
  CHECK(clients.to_give_way(parse_address("203.0.113.1:1"), kNow + 1s) == ConnectionHandle{1});
  for (std::uint64_t i = 3; clients.has_room_for(b); ++i) clients.begin(b, {i}, kNow + 1s);
  clients.end(b, {2});
  clients.begin(b, {1000}, kNow + 1s);
  CHECK_FALSE(clients.to_give_way(b, kNow + 1900ms));  // its network has its share
}
