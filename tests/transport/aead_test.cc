// Which library encrypts a packet does not show. The vectors of RFC 9001 are in
// packet_protection_test.cc.
#include "transport/security/aead.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <random>
#include <vector>

using namespace rushfs::transport;

namespace {

using Bytestring = std::vector<std::uint8_t>;

struct Packet {
  Aead::Nonce nonce{};
  Bytestring header, payload;
  std::array<std::uint8_t, kTagLength> tag{};

  void seal(Aead& aead) { aead.seal(nonce, header, payload, tag); }
  bool open(Aead& aead) { return aead.open(nonce, header, payload, tag); }
};

struct Dice {
  std::mt19937_64 random{11};
  std::uint8_t byte() { return static_cast<std::uint8_t>(random()); }
  Bytestring bytes(std::size_t length) {
    Bytestring result(length);
    for (auto& each : result) each = byte();
    return result;
  }
  Packet packet(std::size_t header, std::size_t payload) {
    Packet result{{}, bytes(header), bytes(payload), {}};
    for (auto& each : result.nonce) each = byte();
    return result;
  }
};

struct Both {
  explicit Both(CipherSuite suite) {
    const std::size_t length = suite == CipherSuite::aes_128_gcm ? 16 : 32;
    const PacketKeys keys{suite, Secret(dice.bytes(length)), Secret(dice.bytes(12)),
                          Secret(dice.bytes(length))};
    openssl_seals = make_openssl_aead(keys, Aead::Direction::seal);
    openssl_opens = make_openssl_aead(keys, Aead::Direction::open);
    other = make_multi_buffer_aead(keys);
  }
  Dice dice;
  std::unique_ptr<Aead> openssl_seals, openssl_opens, other;
};

const std::vector<std::size_t> kLengths{0,  1,  4,   15,  16,  17,   31,   32,   33,   63,   64,
                                        65, 96, 127, 128, 255, 1180, 1431, 1447, 8947, 65'000};

}  // namespace

TEST_CASE("both libraries seal a packet to the same bytes, and open each other's") {
  Both both(GENERATE(CipherSuite::aes_128_gcm, CipherSuite::aes_256_gcm));
  if (!both.other) {
    WARN("this machine has only one of them");
    return;
  }
  for (const std::size_t header : {1, 3, 12, 16, 23, 64}) {
    for (const std::size_t payload : kLengths) {
      const Packet plain = both.dice.packet(header, payload);
      Packet one = plain, other = plain;
      one.seal(*both.openssl_seals);
      other.seal(*both.other);
      REQUIRE(one.payload == other.payload);
      REQUIRE(one.tag == other.tag);
      REQUIRE(one.open(*both.other));
      REQUIRE(other.open(*both.openssl_opens));
      REQUIRE(one.payload == plain.payload);
      REQUIRE(other.payload == plain.payload);
    }
  }
}

TEST_CASE("both libraries open nothing that has one bit flipped") {
  Both both(GENERATE(CipherSuite::aes_128_gcm, CipherSuite::aes_256_gcm));
  for (Aead* const aead : {both.openssl_opens.get(), both.other.get()}) {
    if (!aead) continue;
    for (const std::size_t payload : {0, 1, 16, 100}) {
      Packet sealed = both.dice.packet(5, payload);
      sealed.seal(*both.openssl_seals);
      const auto refuses = [&](const std::function<std::uint8_t&(Packet&)>& byte) {
        for (int bit = 0; bit < 8; ++bit) {
          Packet damaged = sealed;
          byte(damaged) ^= static_cast<std::uint8_t>(1 << bit);
          CHECK_FALSE(damaged.open(*aead));
        }
      };
      for (std::size_t i = 0; i < 12; ++i) refuses([i](Packet& p) -> auto& { return p.nonce[i]; });
      for (std::size_t i = 0; i < 5; ++i) refuses([i](Packet& p) -> auto& { return p.header[i]; });
      for (std::size_t i = 0; i < 16; ++i) refuses([i](Packet& p) -> auto& { return p.tag[i]; });
      for (std::size_t i = 0; i < payload; ++i) {
        refuses([i](Packet& p) -> auto& { return p.payload[i]; });
      }
      CHECK(sealed.open(*aead));
    }
  }
}

namespace {

/// Of 30 runs, which nobody else disturbed most.
double least_nanoseconds(const std::function<void()>& once) {
  constexpr int kPackets = 2000;
  double least = 1e9;
  for (int run = 0; run < 30; ++run) {
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < kPackets; ++i) once();
    const std::chrono::nanoseconds time = std::chrono::steady_clock::now() - begin;
    least = std::min(least, static_cast<double>(time.count()) / kPackets);
  }
  return least;
}

}  // namespace

TEST_CASE("what a packet costs", "[.cost]") {
  for (const auto suite : {CipherSuite::aes_256_gcm, CipherSuite::chacha20_poly1305}) {
    Both both(suite);
    for (const std::size_t length : {1400, 8900}) {
      Packet packet = both.dice.packet(12, length);
      const auto seals = [&](Aead& aead) {
        return least_nanoseconds([&] { packet.seal(aead); });
      };
      const auto opens = [&](Aead& aead) {
        return least_nanoseconds([&] { static_cast<void>(packet.open(aead)); });
      };
      const char* const name = suite == CipherSuite::aes_256_gcm ? "AES-256-GCM" : "ChaCha20";
      std::printf("%s, %zu bytes: OpenSSL seals in %.0f ns, opens in %.0f ns", name, length,
                  seals(*both.openssl_seals), opens(*both.openssl_opens));
      if (both.other) {
        std::printf("; libipsec-mb %.0f, %.0f", seals(*both.other), opens(*both.other));
      }
      std::printf("\n");
    }
  }
}
