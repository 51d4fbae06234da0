#include "transport/messages/reassembly.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <limits>
#include <random>

using namespace rushfs::transport;

namespace {

constexpr auto kLargest = static_cast<std::uint32_t>(kMaxMessage.count);

MessageFrame part(std::uint32_t total, std::uint32_t offset, std::span<const std::uint8_t> data) {
  return {MessageKind::request, {}, total, offset, data};
}

/// Nanoseconds of processor time for a message of which one byte comes, the last.
double cost_of_a_last_byte(std::uint32_t total) {
  constexpr int kMessages = 200;
  const std::uint8_t byte = 7;
  const std::clock_t began = std::clock();
  for (int i = 0; i < kMessages; ++i) {
    Reassembly message(total);
    REQUIRE_FALSE(message.add(part(total, total - 1, {&byte, 1})));
  }
  return static_cast<double>(std::clock() - began) / CLOCKS_PER_SEC * 1e9 / kMessages;
}

}  // namespace

TEST_CASE("a message is whole in whatever order and pieces it comes") {
  std::mt19937_64 random(1);
  Buffer body(kLargest);
  for (std::uint8_t& byte : body) byte = static_cast<std::uint8_t>(random());
  const auto size = GENERATE(300u, 1300u, 8900u);
  const auto order = GENERATE(0, 1, 2);
  std::vector<std::uint32_t> offsets;
  for (std::uint32_t at = 0; at < kLargest; at += size) offsets.push_back(at);
  if (order == 1) std::reverse(offsets.begin(), offsets.end());
  if (order == 2) std::shuffle(offsets.begin(), offsets.end(), random);
  Reassembly message(kLargest);
  for (const std::uint32_t at : offsets) {
    REQUIRE_FALSE(message.complete());
    const std::size_t overlap = random() % 4 == 0 ? size / 2 : 0;
    const std::size_t length = std::min<std::size_t>(size + overlap, kLargest - at);
    REQUIRE_FALSE(message.add(part(kLargest, at, std::span(body).subspan(at, length))));
    if (message.complete()) break;
  }
  REQUIRE(message.complete());
  CHECK(message.take() == body);
}

TEST_CASE("single bytes from the end on make a message, too") {
  constexpr std::uint32_t kTotal = 100'000;
  Reassembly message(kTotal);
  for (std::uint32_t at = kTotal; at-- > 0;) {
    const auto byte = static_cast<std::uint8_t>(at * 3);
    REQUIRE_FALSE(message.add(part(kTotal, at, {&byte, 1})));
  }
  REQUIRE(message.complete());
  const Buffer body = message.take();
  for (std::uint32_t at = 0; at < kTotal; ++at) {
    if (body[at] != static_cast<std::uint8_t>(at * 3)) FAIL("wrong at " << at);
  }
}

TEST_CASE("one byte of a large message costs no more than one of a small", "[cost]") {
  double small = std::numeric_limits<double>::infinity(), large = small;
  for (int i = 0; i < 5; ++i) {
    small = std::min(small, cost_of_a_last_byte(1000));
    large = std::min(large, cost_of_a_last_byte(kLargest));
  }
  std::printf("%.0f ns for a byte of 1,000, %.0f for one of 4 MiB\n", small, large);
  CHECK(large < 10 * small);
}
