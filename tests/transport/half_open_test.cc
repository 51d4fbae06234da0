#include "transport/half_open.h"

#include <catch2/catch.hpp>

#include "transport/udp/resolve.h"

using namespace rushfs::transport;

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
  for (std::size_t i = 0; i < kMaxHalfOpenOfNetwork; ++i) {
    REQUIRE(clients.has_room_for(address));
    clients.begin(address);
  }
  CHECK_FALSE(clients.has_room_for(address));
  clients.end(address);
  CHECK(clients.has_room_for(address));
  CHECK(clients.count() == kMaxHalfOpenOfNetwork - 1);
}
