// The parts a connection is made of that are not tested elsewhere: the handshake channel, the
// validation of new addresses and the stateless reset.
#include <catch2/catch.hpp>

#include "transport/path/path_validation.h"
#include "transport/security/handshake_channel.h"
#include "transport/security/stateless_reset.h"
#include "transport/security/tls_handshake.h"

using namespace rushfs::transport;
using namespace std::chrono_literals;

namespace {

constexpr ConnectionId kOriginal{{1, 2, 3, 4, 5, 6, 7, 8}};
constexpr ConnectionId kClient{{9}};
constexpr ConnectionId kServer{{10}};

std::vector<std::uint8_t> next_packet(HandshakeChannel& channel, TimePoint now) {
  std::vector<std::uint8_t> packet(kMinInitialDatagram);
  packet.resize(channel.transmit(packet, kServer, kClient, {}, now));
  return packet;
}

HandshakeChannel::Received take(HandshakeChannel& channel, std::vector<std::uint8_t> packet,
                                TimePoint now) {
  const auto header = parse_packet_header(packet);
  REQUIRE(header);
  const auto& handshake = std::get<HandshakeHeader>(*header);
  return channel.receive(packet, handshake.packet_number_offset, now);
}

void fill_with_seven(std::span<std::uint8_t> bytes) { std::fill(bytes.begin(), bytes.end(), 7); }

}  // namespace

TEST_CASE("the handshake channel carries flights larger than a datagram, in any order") {
  TimePoint now{1s};
  HandshakeChannel client(kOriginal, Role::client);
  HandshakeChannel server(kOriginal, Role::server);
  std::vector<std::uint8_t> flight(5000);
  for (std::size_t i = 0; i < flight.size(); ++i) flight[i] = static_cast<std::uint8_t>(i * 31);
  client.send(flight);
  std::vector<std::vector<std::uint8_t>> packets;
  for (auto packet = next_packet(client, now); !packet.empty(); packet = next_packet(client, now)) {
    CHECK(packet.size() == kMinInitialDatagram);
    packets.push_back(packet);
  }
  REQUIRE(packets.size() == 5);
  std::vector<std::uint8_t> arrived;
  for (const int i : {4, 1, 3, 3, 0, 2}) {
    const auto received = take(server, packets[static_cast<std::size_t>(i)], now);
    arrived.insert(arrived.end(), received.stream.begin(), received.stream.end());
  }
  CHECK(arrived == flight);
  const auto ack = next_packet(server, now);
  CHECK(ack.size() < 100);
  CHECK(take(client, ack, now).authentic);
  CHECK_FALSE(client.deadline());  // it waits for nothing more
}

TEST_CASE("the handshake channel repeats what is not acknowledged after a probe timeout") {
  TimePoint now{1s};
  HandshakeChannel client(kOriginal, Role::client);
  client.send(std::vector<std::uint8_t>(200, 1));
  const auto first = next_packet(client, now);
  CHECK(next_packet(client, now).empty());
  REQUIRE(client.deadline());
  now = *client.deadline() - 1ms;
  client.tick(now);
  CHECK(next_packet(client, now).empty());
  now += 1ms;
  client.tick(now);
  const auto second = next_packet(client, now);
  CHECK(second.size() == first.size());
  CHECK(second != first);
}

TEST_CASE("a handshake longer than 16 KiB is a violation") {
  TimePoint now{1s};
  HandshakeChannel client(kOriginal, Role::client);
  HandshakeChannel server(kOriginal, Role::server);
  client.send(std::vector<std::uint8_t>(kMaxHandshakeBytes + 1, 1));
  Violation violation;
  for (auto packet = next_packet(client, now); !packet.empty() && !violation;
       packet = next_packet(client, now)) {
    violation = take(server, packet, now).violation;
  }
  REQUIRE(violation);
}

TEST_CASE("a new address is sent at most three times what came from it, until it answers") {
  TimePoint now{1s};
  Address address;
  address.port = 5;
  PathValidation validation;
  validation.on_packet(address, 100, fill_with_seven, now);
  auto due = validation.due(now);
  REQUIRE(due);
  CHECK(due->to == address);
  CHECK(due->limit == 300);
  validation.on_challenge_sent(300, 100ms, now);
  now += 100ms;
  CHECK_FALSE(validation.due(now));  // nothing is left of the allowance
  validation.on_packet(address, 1000, fill_with_seven, now);
  due = validation.due(now);
  REQUIRE(due);
  CHECK(due->limit == 1200);
  validation.on_challenge_sent(1200, 100ms, now);
  CHECK_FALSE(validation.on_response({1, 2, 3}));
  CHECK(validation.on_response(due->challenge) == address);
  CHECK_FALSE(validation.on_response(due->challenge));
}

TEST_CASE("an address that never answers is given up") {
  TimePoint now{1s};
  PathValidation validation;
  validation.on_packet({}, 100'000, fill_with_seven, now);
  int challenges = 0;
  while (const auto deadline = validation.deadline()) {
    now = *deadline;
    validation.tick(now);
    if (!validation.due(now)) continue;
    ++challenges;
    validation.on_challenge_sent(1200, 100ms, now);
  }
  CHECK(challenges == 4);
}

TEST_CASE("reset tokens follow from identity and connection id alone") {
  std::array<std::uint8_t, 32> seed{1};
  const ResetTokens before(Identity::from_seed(seed));
  const ResetTokens after(Identity::from_seed(seed));
  seed[0] = 2;
  const ResetTokens other(Identity::from_seed(seed));
  CHECK(before.of(kServer) == after.of(kServer));
  CHECK(before.of(kServer) != after.of(kClient));
  CHECK(before.of(kServer) != other.of(kServer));
  const auto reset = make_stateless_reset(before.of(kServer), 1200, fill_with_seven);
  CHECK(ends_in(reset, after.of(kServer)));
  CHECK_FALSE(ends_in(reset, after.of(kClient)));
  CHECK(make_stateless_reset(before.of(kServer), reset.size(), fill_with_seven).empty());
  const auto header = parse_packet_header(reset);
  REQUIRE(header);
  CHECK(std::holds_alternative<DataHeader>(*header));
}
