#include "transport/security/cookie.h"

#include <catch2/catch.hpp>
#include <random>

using namespace rushfs::transport;
using namespace std::chrono_literals;

namespace {

RandomSource seeded(unsigned seed) {
  return [random = std::mt19937(seed)](std::span<std::uint8_t> out) mutable {
    for (auto& byte : out) byte = static_cast<std::uint8_t>(random());
  };
}

const TimePoint kStart{5h};
const ConnectionId kClient{{1}};
const ConnectionId kOriginal{{2}};

Address at(std::uint8_t host, std::uint16_t port) {
  Address address;
  address.ip = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, host};
  address.port = port;
  return address;
}

}  // namespace

TEST_CASE("a cookie is good for whom it was made, and for nobody else") {
  CookieJar jar(seeded(1), kStart);
  const Cookie cookie = jar.make(at(1, 4000), kClient, kOriginal, kStart);
  CHECK(jar.check(cookie, at(1, 4000), kClient, kOriginal, kStart + 1s));
  CHECK_FALSE(jar.check(cookie, at(2, 4000), kClient, kOriginal, kStart + 1s));
  CHECK_FALSE(jar.check(cookie, at(1, 4001), kClient, kOriginal, kStart + 1s));
  CHECK_FALSE(jar.check(cookie, at(1, 4000), kOriginal, kOriginal, kStart + 1s));
  CHECK_FALSE(jar.check(cookie, at(1, 4000), kClient, kClient, kStart + 1s));
  CHECK_FALSE(CookieJar(seeded(2), kStart).check(cookie, at(1, 4000), kClient, kOriginal, kStart));
}

TEST_CASE("a cookie lives for twenty seconds, whenever the secret changes") {
  for (int made = 0; made < 60; ++made) {
    CookieJar jar(seeded(1), kStart);
    // The secret changes only when the jar is used.
    for (int second = 0; second <= made; ++second) {
      jar.make(at(9, 9), kClient, kOriginal, kStart + std::chrono::seconds(second));
    }
    const TimePoint now = kStart + std::chrono::seconds(made);
    const Cookie cookie = jar.make(at(1, 1), kClient, kOriginal, now);
    CHECK(jar.check(cookie, at(1, 1), kClient, kOriginal, now + 10s));
    CHECK(jar.check(cookie, at(1, 1), kClient, kOriginal, now + kCookieLife));
    CHECK_FALSE(jar.check(cookie, at(1, 1), kClient, kOriginal, now + kCookieLife + 1ms));
    CHECK_FALSE(jar.check(cookie, at(1, 1), kClient, kOriginal, now + 1h));
  }
}

TEST_CASE("a cookie with any bit changed is none") {
  CookieJar jar(seeded(1), kStart);
  Cookie cookie = jar.make(at(1, 1), kClient, kOriginal, kStart);
  for (std::size_t bit = 0; bit < 8 * cookie.size(); ++bit) {
    cookie[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
    CHECK_FALSE(jar.check(cookie, at(1, 1), kClient, kOriginal, kStart));
    cookie[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
  }
  CHECK_FALSE(jar.check({}, at(1, 1), kClient, kOriginal, kStart));
  CHECK_FALSE(jar.check(std::span(cookie).first(39), at(1, 1), kClient, kOriginal, kStart));
}
