#include "transport/wire/packet_number.h"

#include <catch2/catch.hpp>
#include <random>

using namespace rushfs::transport;

TEST_CASE("packet numbers are encoded and decoded as in RFC 9000, A.2 and A.3") {
  CHECK(packet_number_length(0xace8fe, 0xabe8b3) == 3);
  CHECK(packet_number_length(0x1ace8fe, 0xabe8b3) == 4);
  CHECK(decode_packet_number(0xa82f30ea, 0x9b32, 2) == 0xa82f9b32);
  CHECK(decode_packet_number(std::nullopt, 7, 1) == 7);
  CHECK(decode_packet_number(255, 0, 1) == 256);
  CHECK(decode_packet_number(256, 255, 1) == 255);
}

TEST_CASE("any packet number arrives, however far behind or ahead the peer is") {
  std::mt19937_64 random(1);
  for (int i = 0; i < 100000; ++i) {
    const std::uint64_t acknowledged = random() >> (2 + random() % 60);
    const std::uint64_t number = acknowledged + 1 + random() % 0x3fffffff;
    const std::size_t length = packet_number_length(number, acknowledged);
    // The receiver has seen what was acknowledged, and perhaps more, also what left later.
    const std::uint64_t seen =
        acknowledged + random() % (number + kDuplicateWindow - acknowledged);
    const std::uint64_t truncated = number & ((std::uint64_t{1} << (8 * length)) - 1);
    REQUIRE(decode_packet_number(seen, truncated, length) == number);
  }
}
