#include "transport/udp/resolve.h"

#include <boost/asio/io_context.hpp>
#include <catch2/catch.hpp>
#include <stdexcept>

using namespace rushfs::transport;

TEST_CASE("HOST[:PORT] is read the way people type it") {
  CHECK(parse_host_port("studio.example") == HostPort{"studio.example", 7874});
  CHECK(parse_host_port("studio.example:99") == HostPort{"studio.example", 99});
  CHECK(parse_host_port("192.0.2.1:99") == HostPort{"192.0.2.1", 99});
  CHECK(parse_host_port("2001:db8::1") == HostPort{"2001:db8::1", 7874});
  CHECK(parse_host_port("[2001:db8::1]") == HostPort{"2001:db8::1", 7874});
  CHECK(parse_host_port("[2001:db8::1]:99") == HostPort{"2001:db8::1", 99});
}

TEST_CASE("a mistake in HOST[:PORT] is quoted and explained") {
  for (const char* text : {"", ":99", "host:", "host:x", "host:70000", "[::1", "[::1]x", "[]:1"}) {
    CHECK_THROWS_WITH(parse_host_port(text), Catch::Contains("\"" + std::string(text) + "\""));
  }
}

TEST_CASE("addresses are shown as they are read") {
  for (const char* text : {"192.0.2.1:99", "[2001:db8::1]:7874", "[::]:7874"}) {
    CHECK(to_string(parse_address(text)) == text);
  }
  CHECK(to_string(parse_address("*")) == "[::]:7874");
  CHECK(to_string(HostPort{"::1", 5}) == "[::1]:5");
  CHECK_THROWS_AS(parse_address("studio.example:99"), std::runtime_error);
}

TEST_CASE("a literal resolves to itself without asking anyone") {
  CHECK(resolve_now({"127.0.0.1", 99}) == std::vector{parse_address("127.0.0.1:99")});
  CHECK(resolve_now({"::1", 99}) == std::vector{parse_address("[::1]:99")});
}

TEST_CASE("a name that does not exist is named in the error") {
  boost::asio::io_context loop;
  Resolution found;
  int calls = 0;
  resolve(loop, {"no such host", 99}, [&](Resolution resolution) {
    found = std::move(resolution);
    ++calls;
  });
  CHECK(calls == 0);  // never from inside resolve()
  loop.run();
  CHECK(calls == 1);
  CHECK(found.addresses.empty());
  CHECK(found.error.find("no such host") != std::string::npos);
  CHECK_THROWS_WITH(resolve_now({"no such host", 99}), Catch::Contains("no such host"));
}
