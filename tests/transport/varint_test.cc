#include "transport/wire/varint.h"

#include <catch2/catch.hpp>

#include "tests/transport/hex.h"

using namespace rushfs::transport;

TEST_CASE("the samples of RFC 9000, A.1 decode to their numbers") {
  const auto [text, number] = GENERATE(table<const char*, std::uint64_t>({
      {"c2197c5eff14e88c", 151288809941952652u},
      {"9d7f3e7d", 494878333u},
      {"7bbd", 15293u},
      {"25", 37u},
      {"4025", 37u},
  }));
  const auto bytes = from_hex(text);
  std::span<const std::uint8_t> input = bytes;
  CHECK(read_varint(input) == number);
  CHECK(input.empty());
}

TEST_CASE("every length boundary survives writing and reading, in the fewest bytes") {
  for (const std::uint64_t value :
       {std::uint64_t{0}, std::uint64_t{63}, std::uint64_t{64}, std::uint64_t{16383},
        std::uint64_t{16384}, (std::uint64_t{1} << 30) - 1, std::uint64_t{1} << 30, kMaxVarint}) {
    std::array<std::uint8_t, 8> space;
    std::span<std::uint8_t> output = space;
    REQUIRE(write_varint(output, value));
    const std::size_t written = space.size() - output.size();
    CHECK(written == varint_length(value));
    std::span<const std::uint8_t> input(space.data(), written);
    CHECK(read_varint(input) == value);
  }
}

TEST_CASE("what does not fit is refused and leaves the span alone") {
  std::array<std::uint8_t, 3> space{0x80, 0, 0};  // announces four bytes
  std::span<const std::uint8_t> input = space;
  CHECK_FALSE(read_varint(input));
  CHECK(input.size() == 3);
  CHECK_FALSE(read_uint(input, 4));
  CHECK_FALSE(read_bytes(input, 4));
  CHECK(input.size() == 3);

  std::span<std::uint8_t> output = space;
  CHECK_FALSE(write_varint(output, 1 << 20));
  CHECK_FALSE(write_uint(output, 0, 4));
  CHECK(output.size() == 3);

  std::span<const std::uint8_t> nothing;
  CHECK_FALSE(read_varint(nothing));
}

TEST_CASE("a length that is filled in later takes the bytes it was given") {
  std::array<std::uint8_t, 4> space;
  std::span<std::uint8_t> output = space;
  REQUIRE(write_varint(output, 5, 4));
  CHECK(to_hex(space) == "80000005");
}
