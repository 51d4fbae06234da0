#include "transport/security/packet_protection.h"

#include <catch2/catch.hpp>
#include <random>

#include "tests/transport/hex.h"
#include "tests/transport/rfc9001_vectors.h"

using namespace rushfs::transport;
using namespace std::chrono_literals;

namespace {

const ConnectionId kPeer{{9, 9, 9, 9, 9, 9, 9, 9}};
const TimePoint kStart{1h};
using Bytestring = std::vector<std::uint8_t>;

ConnectionId rfc_destination() {
  ConnectionId id;
  const auto bytes = from_hex(rfc9001::kDestination);
  std::copy(bytes.begin(), bytes.end(), id.bytes.begin());
  return id;
}

/// Header, payload and room for the tag.
Bytestring unsealed(const char* header, Bytestring payload) {
  Bytestring packet = from_hex(header);
  packet.insert(packet.end(), payload.begin(), payload.end());
  packet.resize(packet.size() + kTagLength);
  return packet;
}

/// Two ends of one connection's data packets.
struct Pair {
  explicit Pair(CipherSuite suite) {
    Secret exported(secret_length(suite));
    for (auto& byte : exported.bytes()) byte = 0x5a;
    const TrafficSecrets secrets = data_secrets(suite, exported);
    client.emplace(PacketProtection::for_data(suite, secrets, Role::client, now));
    server.emplace(PacketProtection::for_data(suite, secrets, Role::server, now));
  }

  Bytestring seal(PacketProtection& from, std::size_t payload = 40) {
    Bytestring packet(data_header_length(2) + payload + kTagLength, 0x77);
    const PacketLayout layout = write_data_header(packet, kPeer, 2);
    from.seal(packet, layout, now);
    return packet;
  }

  /// Whether `to` accepts the packet, with its payload intact.
  bool opens(PacketProtection& to, Bytestring packet) {
    const auto opened = to.open(packet, data_header_length(0), now);
    return opened && std::all_of(opened->payload.begin(), opened->payload.end(),
                                 [](std::uint8_t byte) { return byte == 0x77; });
  }

  /// A packet each way, both acknowledged.
  bool exchange() {
    const std::uint64_t client_number = client->next_packet_number();
    const std::uint64_t server_number = server->next_packet_number();
    const bool arrived = opens(*server, seal(*client)) && opens(*client, seal(*server));
    client->on_acknowledged(client_number, kProbeTimeout, now);
    server->on_acknowledged(server_number, kProbeTimeout, now);
    return arrived;
  }

  void confirm() {
    client->allow_key_updates();
    server->allow_key_updates();
  }

  static constexpr Duration kProbeTimeout = 100ms;
  TimePoint now = kStart;
  std::optional<PacketProtection> client;
  std::optional<PacketProtection> server;
};

bool key_phase(const PacketProtection& from) {
  return from.counters().key_updates % 2 == 1;
}

}  // namespace

TEST_CASE("keys are those of RFC 9001, A.1") {
  const auto salt = from_hex(rfc9001::kSalt);
  const TrafficSecrets secrets = handshake_secrets(rfc_destination().bytes, salt);
  CHECK(to_hex(secrets.client.bytes()) == rfc9001::kClientSecret);
  CHECK(to_hex(secrets.server.bytes()) == rfc9001::kServerSecret);
  const PacketKeys client = packet_keys(CipherSuite::aes_128_gcm, secrets.client);
  CHECK(to_hex(client.key.bytes()) == "1f369613dd76d5467730efcbe3b1a22d");
  CHECK(to_hex(client.iv.bytes()) == "fa044b2f42a3fd3b46fb255c");
  CHECK(to_hex(client.header_protection.bytes()) == "9f50449e04a0e810283a1e9933adedd2");
  const PacketKeys server = packet_keys(CipherSuite::aes_128_gcm, secrets.server);
  CHECK(to_hex(server.key.bytes()) == "cf3a5331653c364c88f0f379b6067e37");
  CHECK(to_hex(server.iv.bytes()) == "0ac1493ca1905853b0bba03e");
  CHECK(to_hex(server.header_protection.bytes()) == "c206b8d9b9f0f37644430b490eeaa314");
}

TEST_CASE("the client's packet is that of RFC 9001, A.2, and opens again") {
  const auto salt = from_hex(rfc9001::kSalt);
  auto client = PacketProtection::for_handshake(rfc_destination(), Role::client, salt);
  auto server = PacketProtection::for_handshake(rfc_destination(), Role::server, salt);
  Bytestring payload = from_hex(rfc9001::kClientFrame);
  payload.resize(1162);
  Bytestring packet = unsealed(rfc9001::kClientHeader, payload);
  while (client.next_packet_number() < 2) client.skip_packet_number();
  CHECK(client.seal(packet, {18, 4}, kStart) == 2);
  CHECK(to_hex(packet) == rfc9001::kClientPacket);

  const auto opened = server.open(packet, 18, kStart);
  REQUIRE(opened);
  CHECK(opened->packet_number == 2);
  CHECK(Bytestring(opened->payload.begin(), opened->payload.end()) == payload);
}

TEST_CASE("the server's packet is that of RFC 9001, A.3, and opens again") {
  const auto salt = from_hex(rfc9001::kSalt);
  auto client = PacketProtection::for_handshake(rfc_destination(), Role::client, salt);
  auto server = PacketProtection::for_handshake(rfc_destination(), Role::server, salt);
  Bytestring packet = unsealed(rfc9001::kServerHeader, from_hex(rfc9001::kServerPayload));
  server.skip_packet_number();
  CHECK(server.seal(packet, {18, 2}, kStart) == 1);
  CHECK(to_hex(packet) == rfc9001::kServerPacket);

  const auto opened = client.open(packet, 18, kStart);
  REQUIRE(opened);
  CHECK(to_hex(opened->payload) == rfc9001::kServerPayload);
}

TEST_CASE("a ChaCha20-Poly1305 packet and the next secret are those of RFC 9001, A.5") {
  constexpr auto suite = CipherSuite::chacha20_poly1305;
  const Secret secret(from_hex(rfc9001::kChaChaSecret));
  const PacketKeys keys = packet_keys(suite, secret);
  CHECK(to_hex(keys.key.bytes()) ==
        "c6d98ff3441c3fe1b2182094f69caa2ed4b716b65488960a7a984979fb23e1c8");
  CHECK(to_hex(keys.iv.bytes()) == "e0459b3474bdd0e44a41c144");
  CHECK(to_hex(next_secret(suite, secret).bytes()) == rfc9001::kChaChaNextSecret);

  PacketCipher seal(keys, PacketCipher::Direction::seal);
  HeaderCipher header(keys);
  Bytestring packet = unsealed("4200bff4", {0x01});
  seal.seal(654360564, packet, 4);
  header.protect(packet, {1, 3});
  CHECK(to_hex(packet) == rfc9001::kChaChaPacket);

  PacketCipher open(keys, PacketCipher::Direction::open);
  CHECK(header.unprotect(packet, 1).packet_number_length == 3);
  REQUIRE(open.open(654360564, packet, 4));
  CHECK(packet[4] == 0x01);
}

TEST_CASE("HKDF is that of RFC 5869, test case 1") {
  const Bytestring key(22, 0x0b);
  CHECK(to_hex(hkdf_extract(from_hex("000102030405060708090a0b0c"), key).bytes()) ==
        "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5");
}

TEST_CASE("a packet with any one bit flipped does not open") {
  const auto suite = GENERATE(CipherSuite::aes_256_gcm, CipherSuite::chacha20_poly1305);
  Pair pair(suite);
  const Bytestring packet = pair.seal(*pair.client);
  for (std::size_t bit = 0; bit < 8 * packet.size(); ++bit) {
    Bytestring damaged = packet;
    damaged[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
    CHECK_FALSE(pair.opens(*pair.server, damaged));
  }
  for (std::size_t length = 0; length < packet.size(); ++length) {
    Bytestring cut(packet.begin(), packet.begin() + static_cast<std::ptrdiff_t>(length));
    if (length >= data_header_length(0)) CHECK_FALSE(pair.opens(*pair.server, cut));
  }
  CHECK(pair.server->counters().opened == 0);
  CHECK(pair.server->counters().failed > 8 * packet.size());
  CHECK(pair.server->counters().key_updates == 0);
  CHECK(pair.opens(*pair.server, packet));
}

TEST_CASE("a packet does not open for its own sender, or on another connection") {
  Pair pair(CipherSuite::aes_256_gcm);
  CHECK_FALSE(pair.opens(*pair.client, pair.seal(*pair.client)));
  Pair other(CipherSuite::chacha20_poly1305);
  CHECK_FALSE(other.opens(*other.server, pair.seal(*pair.client)));
}

TEST_CASE("no two packets are alike, and reordering does not matter") {
  Pair pair(CipherSuite::aes_256_gcm);
  std::vector<Bytestring> packets;
  for (int i = 0; i < 1000; ++i) packets.push_back(pair.seal(*pair.client));
  std::mt19937 random(3);
  std::shuffle(packets.begin(), packets.end(), random);
  for (const auto& packet : packets) CHECK(pair.opens(*pair.server, packet));
  std::sort(packets.begin(), packets.end());
  CHECK(std::adjacent_find(packets.begin(), packets.end()) == packets.end());
}

TEST_CASE("keys are not updated before the handshake is confirmed and a packet acknowledged") {
  Pair pair(CipherSuite::aes_256_gcm);
  CHECK_FALSE(pair.client->update_key(pair.now));
  CHECK(pair.exchange());
  CHECK_FALSE(pair.client->update_key(pair.now));
  pair.confirm();
  CHECK(pair.client->update_key(pair.now));
  CHECK_FALSE(pair.client->update_key(pair.now));
}

TEST_CASE("a thousand key updates in a row lose nothing") {
  const auto suite = GENERATE(CipherSuite::aes_256_gcm, CipherSuite::chacha20_poly1305);
  Pair pair(suite);
  pair.confirm();
  for (int i = 0; i < 1000; ++i) {
    REQUIRE((pair.exchange() && pair.exchange()));  // both have heard of the last update
    PacketProtection& starter = i % 3 ? *pair.client : *pair.server;
    REQUIRE(starter.update_key(pair.now));
    pair.now += 1ms;
  }
  REQUIRE(pair.exchange());
  CHECK(pair.client->counters().key_updates == 1000);
  CHECK(pair.server->counters().key_updates == 1000);
  CHECK(pair.client->counters().failed + pair.server->counters().failed == 0);
}

TEST_CASE("both ends may update at the same moment") {
  Pair pair(CipherSuite::aes_256_gcm);
  pair.confirm();
  REQUIRE(pair.exchange());
  CHECK(pair.client->update_key(pair.now));
  CHECK(pair.server->update_key(pair.now));
  CHECK(pair.exchange());
  CHECK(pair.client->counters().key_updates == 1);
  CHECK(pair.server->counters().key_updates == 1);
  CHECK(pair.exchange());
}

TEST_CASE("packets overtaken by a key update open for three probe timeouts, and then no more") {
  Pair pair(CipherSuite::aes_256_gcm);
  pair.confirm();
  REQUIRE(pair.exchange());
  const Bytestring late = pair.seal(*pair.client);
  const Bytestring too_late = pair.seal(*pair.client);
  REQUIRE(pair.client->update_key(pair.now));
  REQUIRE(pair.exchange());

  pair.now += 3 * Pair::kProbeTimeout - 1ns;
  CHECK(pair.opens(*pair.server, late));
  pair.now += 1ns;
  CHECK_FALSE(pair.opens(*pair.server, too_late));
  CHECK(pair.exchange());
}

TEST_CASE("a key update whose first packets are lost completes with a later one") {
  Pair pair(CipherSuite::aes_256_gcm);
  pair.confirm();
  REQUIRE(pair.exchange());
  REQUIRE(pair.client->update_key(pair.now));
  for (int i = 0; i < 10; ++i) pair.seal(*pair.client);
  CHECK(pair.exchange());
  CHECK(key_phase(*pair.server));
}

TEST_CASE("a key is replaced after two minutes, once the peer has caught up") {
  Pair pair(CipherSuite::aes_256_gcm);
  pair.confirm();
  REQUIRE(pair.exchange());
  pair.now += kKeyUpdateAge - 1ns;
  REQUIRE(pair.exchange());
  CHECK(pair.client->counters().key_updates == 0);
  pair.now += 1ns;
  REQUIRE(pair.exchange());
  CHECK(pair.client->counters().key_updates == 1);
  CHECK(pair.server->counters().key_updates == 1);
}

TEST_CASE("a key is replaced after 2^22 packets, and worn out at 2^23 without an answer") {
  Pair pair(CipherSuite::aes_256_gcm);
  pair.confirm();
  REQUIRE(pair.exchange());
  while (pair.client->next_packet_number() < kKeyUpdatePackets) pair.client->skip_packet_number();
  pair.seal(*pair.client);
  CHECK(pair.client->counters().key_updates == 1);

  Pair silent(CipherSuite::aes_256_gcm);
  while (silent.client->next_packet_number() < kConfidentialityLimit - 1) {
    silent.client->skip_packet_number();
  }
  CHECK_FALSE(silent.client->is_worn_out());
  silent.seal(*silent.client);
  CHECK(silent.client->is_worn_out());
}
