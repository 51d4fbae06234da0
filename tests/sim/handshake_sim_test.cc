// Connecting over networks that lose, repeat and delay, and being told why it did not work.
#include <catch2/catch.hpp>

#include "tests/sim/traffic.h"
#include "transport/wire/packet_header.h"

using namespace rushfs::sim;
using namespace std::chrono_literals;

namespace {

struct Pair {
  explicit Pair(World& world, const LinkConfig& links = {.delay = 50ms})
      : server(world.add_server()), client(world.add_client()), responder(world, server) {
    world.set_links(client, server, links);
  }
  Node& server;
  Node& client;
  Responder responder;
};

/// Connects and asks one question. How long that took.
Duration connect_and_ask(World& world, Pair& pair) {
  Requester requester(world, pair.client, pair.server);
  const bool connected = requester.wait_connected();
  INFO((requester.closed() ? requester.closed()->text : ""));
  REQUIRE(connected);
  requester.ask(Priority::urgent, 100, 1000);
  REQUIRE(world.run_until([&] { return requester.answers() == 1; }, 10s));
  CHECK(pair.responder.requests == 1);
  CHECK(pair.responder.connected == 1);
  return world.elapsed();
}

enum class Mishap { drop, duplicate, delay_a_little, delay_a_lot };

/// Lets the datagrams of `node` at the given positions meet with a mishap.
void arrange(World& world, Node& node, Node& peer, std::vector<int> positions, Mishap mishap) {
  node.on_send = [&world, &node, &peer, positions, mishap, count = 0](
                     std::vector<std::uint8_t>& bytes, const Address&) mutable {
    const int position = count++;
    if (std::find(positions.begin(), positions.end(), position) == positions.end()) return true;
    switch (mishap) {
      case Mishap::drop: return false;
      case Mishap::duplicate: world.inject(node.address, peer, bytes, 51ms); return true;
      case Mishap::delay_a_little: world.inject(node.address, peer, bytes, 130ms); return false;
      case Mishap::delay_a_lot: world.inject(node.address, peer, bytes, 3s); return false;
    }
    return true;
  };
}

}  // namespace

TEST_CASE("a client connects and gets its first answer in four round trips") {
  World world(seed_or(1));
  INFO("RUSHFS_SEED=" << world.seed());
  Pair pair(world);
  CHECK(connect_and_ask(world, pair) < 410ms);  // cookie, server's flight, done, answer
}

TEST_CASE("any one handshake datagram may be lost, repeated or late") {
  const auto mishap = GENERATE(Mishap::drop, Mishap::duplicate, Mishap::delay_a_little,
                               Mishap::delay_a_lot);
  const auto position = GENERATE(range(0, 8));
  const auto from_client = GENERATE(true, false);
  World world(seed_or(2));
  INFO("RUSHFS_SEED=" << world.seed() << " mishap " << static_cast<int>(mishap) << " at "
                      << position << (from_client ? " of the client" : " of the server"));
  Pair pair(world);
  Node& victim = from_client ? pair.client : pair.server;
  arrange(world, victim, from_client ? pair.server : pair.client, {position}, mishap);
  CHECK(connect_and_ask(world, pair) < 4s);
}

TEST_CASE("any two handshake datagrams may be lost") {
  const auto first = GENERATE(range(0, 6));
  const auto second = GENERATE(range(0, 6));
  World world(seed_or(3));
  INFO("RUSHFS_SEED=" << world.seed() << " lost: " << first << " up, " << second << " down");
  Pair pair(world);
  arrange(world, pair.client, pair.server, {first}, Mishap::drop);
  arrange(world, pair.server, pair.client, {second}, Mishap::drop);
  CHECK(connect_and_ask(world, pair) < 8s);
}

TEST_CASE("a handshake gets through a third of loss, whatever the seed") {
  const auto seed = GENERATE(range(100, 120));
  World world(seed_or(static_cast<std::uint64_t>(seed)));
  INFO("RUSHFS_SEED=" << world.seed());
  Pair pair(world, {.delay = 20ms, .loss = 0.33, .duplication = 0.1, .reordering = 0.3});
  pair.client.config.handshake_timeout = 60s;
  pair.server.config.handshake_timeout = 60s;
  world.restart(pair.client);
  world.restart(pair.server);
  connect_and_ask(world, pair);
}

TEST_CASE("a client whose key the server does not know is told so in a few round trips") {
  World world(seed_or(4));
  Pair pair(world);
  pair.server.config.accept_client = [](const PublicKey&, const Address&) { return false; };
  world.restart(pair.server);
  Requester requester(world, pair.client, pair.server);
  REQUIRE_FALSE(requester.wait_connected());
  CHECK(requester.closed()->code == CloseCode::unknown_client);
  CHECK(requester.closed()->by_peer);
  CHECK(requester.closed()->text != "");
  CHECK(world.elapsed() < 500ms);
  world.run_for(20s);
  CHECK_FALSE(pair.responder.closed);  // the application never hears of such clients
  CHECK(pair.server.endpoint->counters().handshakes_failed == 1);
}

TEST_CASE("a client hears that its key is not known, whichever datagram is lost") {
  const auto position = GENERATE(range(0, 6));
  const auto from_client = GENERATE(true, false);
  World world(seed_or(7));
  INFO("lost: " << position << (from_client ? " of the client" : " of the server"));
  Pair pair(world);
  pair.server.config.accept_client = [](const PublicKey&, const Address&) { return false; };
  world.restart(pair.server);
  arrange(world, from_client ? pair.client : pair.server,
          from_client ? pair.server : pair.client, {position}, Mishap::drop);
  Requester requester(world, pair.client, pair.server);
  REQUIRE_FALSE(requester.wait_connected());
  CHECK(requester.closed()->code == CloseCode::unknown_client);
}

TEST_CASE("an impostor server is recognised before anything is sent to it") {
  World world(seed_or(5));
  Pair pair(world);
  Node& expected = world.add_server();
  Requester requester(world, pair.client, pair.server);
  const PublicKey key = expected.identity->public_key();
  const ConnectionHandle handle = pair.client.endpoint->connect(
      pair.server.address, [key](const PublicKey& shown) { return shown == key; }, world.now());
  std::optional<CloseReason> closed;
  pair.client.on_event = [&](Event event) {
    if (event.connection != handle) return;
    REQUIRE(std::holds_alternative<Closed>(event.body));
    closed = std::get<Closed>(event.body).reason;
  };
  REQUIRE(world.run_until([&] { return closed.has_value(); }, 1s));
  CHECK(closed->code == CloseCode::wrong_server_key);
  CHECK_FALSE(closed->by_peer);
}

TEST_CASE("a server of another version is recognised in one round trip") {
  World world(seed_or(6));
  Pair pair(world);
  const auto other_version = [](std::vector<std::uint8_t>& bytes, const Address&) {
    bytes[4] = 0x77;  // the last byte of the version in a long header
    return true;
  };
  pair.client.on_send = other_version;
  pair.server.on_send = [](std::vector<std::uint8_t>& bytes, const Address&) {
    bytes.back() = 0x77;  // of the last version it offers
    return true;
  };
  Requester requester(world, pair.client, pair.server);
  REQUIRE_FALSE(requester.wait_connected());
  CHECK(requester.closed()->code == CloseCode::version_mismatch);
  CHECK(world.elapsed() < 110ms);
}

TEST_CASE("a server that does not answer is given up after the handshake timeout") {
  World world(seed_or(7));
  Pair pair(world, {.loss = 1});
  Requester requester(world, pair.client, pair.server);
  REQUIRE_FALSE(requester.wait_connected());
  CHECK(requester.closed()->code == CloseCode::handshake_timeout);
  CHECK(world.elapsed() < 10100ms);
}

TEST_CASE("a full server says that it is busy") {
  World world(seed_or(8));
  Pair pair(world);
  pair.server.config.max_connections = 1;
  world.restart(pair.server);
  Node& second = world.add_client();
  world.set_links(second, pair.server, {.delay = 50ms});
  Requester first_requester(world, pair.client, pair.server);
  REQUIRE(first_requester.wait_connected());
  Requester second_requester(world, second, pair.server);
  REQUIRE_FALSE(second_requester.wait_connected());
  CHECK(second_requester.closed()->code == CloseCode::server_busy);
}
