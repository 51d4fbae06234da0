// docs/protocol.md says what is on the wire in bytes; the code must make the same bytes.
#include <catch2/catch.hpp>
#include <fstream>
#include <map>
#include <numeric>
#include <sstream>

#include "tests/transport/hex.h"
#include "transport/security/cookie.h"
#include "transport/security/packet_protection.h"
#include "transport/wire/transport_parameters.h"

using namespace rushfs::transport;

namespace {

using Bytestring = std::vector<std::uint8_t>;

/// The blocks that begin with "```hex NAME".
std::map<std::string, std::string> read_document() {
  std::ifstream file(RUSHFS_SOURCE_DIR "/docs/protocol.md");
  std::map<std::string, std::string> blocks;
  std::string* block = nullptr;
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("```hex ", 0) == 0) {
      block = &blocks[line.substr(7)];
    } else if (line.rfind("```", 0) == 0) {
      block = nullptr;
    } else if (block) {
      *block += line;
    }
  }
  return blocks;
}

std::string documented(const std::string& name) {
  static const auto blocks = read_document();
  INFO(name);
  const auto found = blocks.find(name);
  REQUIRE(found != blocks.end());
  return to_hex(from_hex(found->second));
}

/// first, first + 1, ...
template <typename Bytes>
Bytes counting(std::uint8_t first, Bytes bytes) {
  std::iota(bytes.begin(), bytes.end(), first);
  return bytes;
}
ConnectionId counting_id(std::uint8_t first) {
  return {counting(first, std::array<std::uint8_t, 8>{})};
}

const ConnectionId kOriginal = counting_id(0);
const ConnectionId kClient = counting_id(8);
const ConnectionId kServer = counting_id(16);
const TimePoint kStart{};

Cookie sample_cookie() {
  const RandomSource random = [](std::span<std::uint8_t> out) { counting(0, out); };
  CookieJar jar(random, kStart);
  Address address;
  address.ip = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1};
  address.port = 40000;
  return jar.make(address, kClient, kOriginal, kStart + std::chrono::milliseconds(1500));
}

void check_keys(const std::string& prefix, CipherSuite suite, const TrafficSecrets& secrets) {
  CHECK(to_hex(secrets.client.bytes()) == documented(prefix + "-client-secret"));
  CHECK(to_hex(secrets.server.bytes()) == documented(prefix + "-server-secret"));
  const PacketKeys keys = packet_keys(suite, secrets.client);
  CHECK(to_hex(keys.key.bytes()) == documented(prefix + "-client-key"));
  CHECK(to_hex(keys.iv.bytes()) == documented(prefix + "-client-iv"));
  CHECK(to_hex(keys.header_protection.bytes()) == documented(prefix + "-client-hp"));
}

/// PING and three bytes of PADDING behind a header for kServer.
Bytestring unsealed_data_packet(PacketLayout& layout) {
  Bytestring packet(data_header_length(2) + 4 + kTagLength);
  layout = write_data_header(packet, kServer, 2);
  packet[layout.payload_offset()] = 0x01;
  return packet;
}

void check_data_packets(const std::string& prefix, CipherSuite suite) {
  Secret exported(secret_length(suite));
  counting(0, exported.bytes());
  const TrafficSecrets secrets = data_secrets(suite, exported);
  check_keys(prefix, suite, secrets);
  CHECK(to_hex(next_secret(suite, secrets.client).bytes()) == documented(prefix + "-next-secret"));

  auto client = PacketProtection::for_data(suite, secrets, Role::client, kStart);
  while (client.next_packet_number() < 0x1234) client.skip_packet_number();
  PacketLayout layout;
  Bytestring packet = unsealed_data_packet(layout);
  client.seal(packet, layout, kStart);
  CHECK(to_hex(packet) == documented(prefix + "-data-packet"));

  client.allow_key_updates();
  client.on_acknowledged(0x1234, std::chrono::seconds(1), kStart);
  REQUIRE(client.update_key(kStart));
  packet = unsealed_data_packet(layout);
  client.seal(packet, layout, kStart);
  CHECK(to_hex(packet) == documented(prefix + "-next-packet"));

  auto server = PacketProtection::for_data(suite, secrets, Role::server, kStart);
  Bytestring received = from_hex(documented(prefix + "-data-packet"));
  const auto opened = server.open(received, data_header_length(0), kStart);
  REQUIRE(opened);
  CHECK(opened->packet_number == 0x1234);
  CHECK(to_hex(std::span(received).first(data_header_length(2))) ==
        documented(prefix + "-data-header"));
  CHECK(to_hex(opened->payload) == "01000000");
}

}  // namespace

TEST_CASE("the document's cookie and retry packet are what a server sends") {
  const Cookie cookie = sample_cookie();
  CHECK(to_hex(cookie) == documented("cookie"));
  const Bytestring retry = make_retry(kClient, kOriginal, cookie);
  CHECK(to_hex(retry) == documented("retry-packet"));
  const Bytestring key = from_hex(documented("retry-key"));
  const Bytestring nonce = from_hex(documented("retry-nonce"));
  const auto tag = retry_integrity_tag(kOriginal.bytes, std::span(retry).first(retry.size() - 16),
                                       std::span(key).first<16>(), std::span(nonce).first<12>());
  CHECK(to_hex(tag) == to_hex(std::span(retry).last(16)));
}

TEST_CASE("the document's handshake packet is what a client sends") {
  check_keys("handshake", CipherSuite::aes_128_gcm, handshake_secrets(kOriginal.bytes));

  const Cookie cookie = sample_cookie();
  const Bytestring payload = from_hex(documented("handshake-payload"));
  Bytestring packet(handshake_header_length(cookie.size(), 4) + payload.size() + kTagLength);
  const PacketLayout layout =
      write_handshake_header(packet, kOriginal, kClient, cookie, 4, payload.size());
  CHECK(to_hex(std::span(packet).first(layout.payload_offset())) == documented("handshake-header"));
  std::copy(payload.begin(), payload.end(),
            packet.begin() + static_cast<std::ptrdiff_t>(layout.payload_offset()));
  PacketProtection::for_handshake(kOriginal, Role::client).seal(packet, layout, kStart);
  CHECK(to_hex(packet) == documented("handshake-packet"));
}

TEST_CASE("the document's version negotiation packet is what a server sends") {
  const UnknownVersionHeader asked{1, kOriginal.bytes, kClient.bytes};
  CHECK(to_hex(make_version_negotiation(asked)) == documented("version-negotiation-packet"));
}

TEST_CASE("the document's transport parameters are what a client sends") {
  TransportParameters parameters;
  parameters.original_destination = kOriginal;
  parameters.source = kClient;
  parameters.initial_credit = {1_MiB, 2_MiB, 4_MiB, 8_MiB};
  CHECK(to_hex(encode(parameters)) == documented("transport-parameters"));
}

TEST_CASE("the document's data packets are what a client sends") {
  check_data_packets("aes", CipherSuite::aes_256_gcm);
  check_data_packets("chacha20", CipherSuite::chacha20_poly1305);
}
