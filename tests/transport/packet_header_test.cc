#include "transport/wire/packet_header.h"

#include <catch2/catch.hpp>
#include <random>

#include "tests/transport/hex.h"

using namespace rushfs::transport;

namespace {

const ConnectionId kClient{{1, 2, 3, 4, 5, 6, 7, 8}};
const ConnectionId kServer{{11, 12, 13, 14, 15, 16, 17, 18}};

std::vector<std::uint8_t> handshake_packet(std::span<const std::uint8_t> token,
                                           std::size_t payload) {
  std::vector<std::uint8_t> packet(handshake_header_length(token.size(), 2) + payload + 16);
  write_handshake_header(packet, kServer, kClient, token, 2, payload);
  return packet;
}

}  // namespace

TEST_CASE("a handshake header is read as it was written") {
  const std::vector<std::uint8_t> token(40, 0xaa);
  auto packet = handshake_packet(token, 100);
  packet.resize(packet.size() + 7);  // another packet follows
  const auto parsed = parse_packet_header(packet);
  REQUIRE(parsed);
  const auto& header = std::get<HandshakeHeader>(*parsed);
  CHECK(header.destination == kServer);
  CHECK(header.source == kClient);
  CHECK(std::equal(header.token.begin(), header.token.end(), token.begin(), token.end()));
  CHECK(header.packet_number_offset + 2 == handshake_header_length(40, 2));
  CHECK(header.packet_end == packet.size() - 7);
}

TEST_CASE("a data header is read as it was written") {
  std::vector<std::uint8_t> packet(40);
  const PacketLayout layout = write_data_header(packet, kServer, 3);
  const auto parsed = parse_packet_header(packet);
  REQUIRE(parsed);
  const auto& header = std::get<DataHeader>(*parsed);
  CHECK(header.destination == kServer);
  CHECK(header.packet_number_offset == layout.packet_number_offset);
  CHECK(layout.payload_offset() == data_header_length(3));
}

TEST_CASE("a header cut anywhere is garbage, never something else") {
  const std::vector<std::uint8_t> token(40, 0xaa);
  const auto packet = handshake_packet(token, 100);
  for (std::size_t length = 0; length < packet.size(); ++length) {
    CHECK_FALSE(parse_packet_header(std::span(packet).first(length)));
  }
  const auto retry = make_retry(kClient, kServer, token);
  for (std::size_t length = 0; length < retry.size() - token.size(); ++length) {
    CHECK_FALSE(parse_packet_header(std::span(retry).first(length)));
  }
}

TEST_CASE("a token or connection id longer than ours is garbage") {
  const std::vector<std::uint8_t> token(kMaxToken + 1, 0xaa);
  CHECK_FALSE(parse_packet_header(handshake_packet(token, 20)));
  auto packet = handshake_packet({}, 20);
  packet[5] = 9;
  CHECK_FALSE(parse_packet_header(packet));
}

TEST_CASE("the retry tag is that of RFC 9001, A.4") {
  const auto packet = from_hex("ff000000010008f067a5502a4262b5746f6b656e");
  const auto key = from_hex("be0c690b9f66575a1d766b54e368c84e");
  const auto nonce = from_hex("461599d35d632bf2239825bb");
  const auto tag = retry_integrity_tag(from_hex("8394c8f03e515708"), packet,
                                       std::span(key).first<16>(), std::span(nonce).first<12>());
  CHECK(to_hex(tag) == "04a265ba2eff4d829058fb3f0f2496ba");
}

TEST_CASE("a retry proves that its maker saw our packet") {
  const std::vector<std::uint8_t> token(40, 0xaa);
  auto packet = make_retry(kClient, kServer, token);
  const auto parsed = parse_packet_header(packet);
  REQUIRE(parsed);
  const auto& header = std::get<RetryHeader>(*parsed);
  CHECK(header.destination == kClient);
  CHECK(header.source == kServer);
  CHECK(std::equal(header.token.begin(), header.token.end(), token.begin(), token.end()));
  CHECK(is_retry_intact(packet, kServer));
  CHECK_FALSE(is_retry_intact(packet, kClient));
  for (std::size_t bit = 0; bit < 8 * packet.size(); ++bit) {
    packet[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
    CHECK_FALSE(is_retry_intact(packet, kServer));
    packet[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
  }
  CHECK_FALSE(is_retry_intact(std::span(packet).first(16), kServer));
}

TEST_CASE("an unknown version is answered with ours, in fewer bytes") {
  auto asked = handshake_packet({}, 1200);
  asked[4] ^= 0xff;
  const auto parsed = parse_packet_header(asked);
  REQUIRE(parsed);
  const auto& unknown = std::get<UnknownVersionHeader>(*parsed);
  CHECK(unknown.version == (kVersion ^ 0xff));

  const auto answer = make_version_negotiation(unknown);
  CHECK(answer.size() < asked.size());
  const auto parsed_answer = parse_packet_header(answer);
  REQUIRE(parsed_answer);
  const auto& negotiation = std::get<VersionNegotiationHeader>(*parsed_answer);
  CHECK(negotiation.destination == kClient);
  CHECK(negotiation.source == kServer);
  CHECK(negotiation.versions == std::vector<std::uint32_t>{kVersion});
}

TEST_CASE("a foreign version with absurd connection ids gets no answer") {
  const auto packet = from_hex("c0 00000001 15 000102030405060708090a0b0c0d0e0f1011121314 00");
  CHECK_FALSE(parse_packet_header(packet));
}

TEST_CASE("random bytes are parsed or refused, within their bounds") {
  std::mt19937 random(2);
  for (int i = 0; i < 100000; ++i) {
    std::vector<std::uint8_t> bytes(random() % 64);
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random());
    if (bytes.size() > 5 && random() % 2) {
      bytes[0] |= 0xc0;
      std::copy_n(std::initializer_list<std::uint8_t>{0x72, 0x75, 0x73, 1, 8}.begin(), 5,
                  bytes.begin() + 1);
    }
    const auto parsed = parse_packet_header(bytes);
    if (!parsed) continue;
    if (const auto* header = std::get_if<HandshakeHeader>(&*parsed)) {
      REQUIRE(header->packet_number_offset <= header->packet_end);
      REQUIRE(header->packet_end <= bytes.size());
    }
  }
}
