// What an endpoint promises its caller; networks are in tests/sim.
#include "transport/endpoint.h"

#include <catch2/catch.hpp>

#include <random>

#include "transport/half_open.h"
#include "transport/path_report.h"
#include "transport/security/cookie.h"
#include "transport/security/handshake_channel.h"
#include "transport/security/identity.h"
#include "transport/wire/packet_header.h"

using namespace rushfs::transport;
using namespace std::chrono_literals;

namespace {

RandomSource seeded(std::uint64_t seed) {
  return [engine = std::make_shared<std::mt19937_64>(seed)](std::span<std::uint8_t> bytes) {
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>((*engine)());
  };
}

EndpointConfig config(std::uint8_t key, bool server) {
  std::array<std::uint8_t, 32> seed{key};
  EndpointConfig result;
  result.identity = std::make_shared<const Identity>(Identity::from_seed(seed));
  if (server) result.accept_client = [](const PublicKey&, const Address&) { return true; };
  return result;
}

Address address(std::uint8_t host) {
  Address result;
  result.ip[15] = host;
  result.port = 1;
  return result;
}

/// 10.0.`network`.`host`
Address ipv4(std::uint8_t network, std::uint8_t host) {
  Address result;
  result.ip = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, network, host};
  result.port = 1;
  return result;
}

/// True: there was something to carry.
bool carry(Endpoint& from, const Address& source, Endpoint& to, TimePoint now) {
  TransmitBatch batch;
  bool any = false;
  for (; from.transmit(batch, now); any = true) {
    const std::span<std::uint8_t> bytes = batch.bytes;
    for (std::size_t at = 0; at < bytes.size(); at += batch.segment_size) {
      to.receive(bytes.subspan(at, std::min<std::size_t>(batch.segment_size, bytes.size() - at)),
                 source, now);
    }
  }
  return any;
}

struct Endpoints {
  Endpoint client{config(1, false), seeded(1)};
  Endpoint server{config(2, true), seeded(2)};
  TimePoint now{1s};
  ConnectionHandle handle = client.connect(
      address(2), [](const PublicKey&) { return true; }, now);

  void settle() {
    for (bool any = true; any;) {
      any = carry(client, address(1), server, now);
      any |= carry(server, address(2), client, now);
    }
  }
  ConnectionHandle connected(Endpoint& endpoint) {
    const auto event = endpoint.poll();
    REQUIRE(event);
    REQUIRE(std::holds_alternative<Connected>(event->body));
    return event->connection;
  }
};

/// Clients that show their cookie and go no further.
struct Knocker {
  Endpoint& server;
  std::uint64_t seed = 100;
  bool fails = false;  // they end their handshakes themselves

  /// True: the server began the handshake.
  bool knock(const Address& from, TimePoint now) {
    Endpoint client(config(1, false), seeded(seed++));
    const auto handle = client.connect(
        address(2), [](const PublicKey&) { return true; }, now);
    TransmitBatch batch;
    REQUIRE(client.transmit(batch, now));
    server.receive(batch.bytes, from, now);
    REQUIRE(server.transmit(batch, now));  // the cookie
    client.receive(batch.bytes, address(2), now);
    const std::uint64_t refused = server.counters().refused_busy;
    carry(client, from, server, now);
    if (fails) client.close(handle, {CloseCode::internal_error, false, ""}, now);
    if (fails) carry(client, from, server, now);
    while (server.transmit(batch, now)) {
    }
    return server.counters().refused_busy == refused;
  }
};

}  // namespace

TEST_CASE("two endpoints connect and know each other's keys") {
  Endpoints ends;
  ends.settle();
  CHECK(ends.connected(ends.client) == ends.handle);
  const ConnectionHandle at_server = ends.connected(ends.server);
  CHECK(ends.client.peer_key(ends.handle) == config(2, true).identity->public_key());
  CHECK(ends.server.peer_key(at_server) == config(1, false).identity->public_key());
}

TEST_CASE("spurious calls do nothing") {
  Endpoints ends;
  TransmitBatch batch;
  for (int i = 0; i < 3; ++i) {
    ends.client.tick(ends.now);
    ends.server.tick(ends.now);
    CHECK_FALSE(ends.client.poll());
    CHECK_FALSE(ends.server.transmit(batch, ends.now));
    CHECK_FALSE(ends.server.deadline());
    ends.server.receive({}, address(1), ends.now);
  }
  CHECK(ends.client.deadline());
}

TEST_CASE("calls for connections that are gone do nothing") {
  Endpoints ends;
  const ConnectionHandle nobody{999};
  ends.client.request(nobody, Priority::urgent, Buffer(10));
  ends.client.reply(nobody, {}, Buffer(10));
  ends.client.cancel(nobody, {});
  ends.client.close(nobody, {}, ends.now);
  CHECK(ends.client.peer_key(nobody) == PublicKey{});
  CHECK(ends.client.report(nobody, ends.now).packets_sent == 0);
  ends.settle();
  ends.connected(ends.client);
  ends.client.close(ends.handle, {}, ends.now);
  ends.client.request(ends.handle, Priority::urgent, Buffer(10));
  ends.settle();
  CHECK(std::holds_alternative<Closed>(ends.client.poll()->body));
  CHECK_FALSE(ends.client.poll());
}

TEST_CASE("a stranger gets a smaller answer than his question, and is not remembered") {
  Endpoints ends;
  TransmitBatch first;
  REQUIRE(ends.client.transmit(first, ends.now));
  TransmitBatch answer;
  for (std::uint8_t host = 10; host < 200; ++host) {
    std::vector<std::uint8_t> datagram = first.bytes;
    ends.server.receive(datagram, address(host), ends.now);
    REQUIRE(ends.server.transmit(answer, ends.now));
    CHECK(answer.bytes.size() < 120);
    CHECK_FALSE(ends.server.transmit(answer, ends.now));
  }
  CHECK(ends.server.counters().retries_sent == 190);
  CHECK_FALSE(ends.server.deadline());  // no state, no timer
  first.bytes.resize(kMinInitialDatagram - 1);
  ends.server.receive(first.bytes, address(1), ends.now);
  CHECK_FALSE(ends.server.transmit(answer, ends.now));
}

TEST_CASE("clients that never finish are bounded in number and forgotten in time") {
  TimePoint now{1s};
  Endpoint server(config(2, true), seeded(2));
  Knocker knocker{server};
  const auto knock = [&](const Address& from) { return knocker.knock(from, now); };
  for (std::uint8_t i = 0; i < kMaxHalfOpenOfNetwork; ++i) REQUIRE(knock(ipv4(0, i)));
  CHECK_FALSE(knock(ipv4(0, 200)));  // its neighbours took what their network may have
  CHECK(knock(ipv4(1, 0)));          // which is nothing to another network
  std::size_t begun = kMaxHalfOpenOfNetwork + 1;
  for (std::size_t i = 0; begun < kMaxHalfOpen; ++i, ++begun) {
    REQUIRE(knock(ipv4(static_cast<std::uint8_t>(2 + i / 32), static_cast<std::uint8_t>(i % 32))));
  }
  CHECK_FALSE(knock(ipv4(1, 1)));
  CHECK(server.counters().refused_busy == 2);
  while (const auto deadline = server.deadline()) {
    now = std::max(now, *deadline);
    server.tick(now);
    TransmitBatch batch;
    while (server.transmit(batch, now)) {
    }
    CHECK_FALSE(server.poll());
    REQUIRE(now < TimePoint{} + 60s);
  }
  CHECK(server.counters().handshakes_failed == kMaxHalfOpen);
  CHECK(knock(ipv4(0, 200)));
}

TEST_CASE("clients that never finish keep nobody out for longer than a second") {
  TimePoint now{1s};
  Endpoint server(config(2, true), seeded(2));
  Knocker knocker{server};
  for (std::size_t i = 0; i < kMaxHalfOpen; ++i) {
    REQUIRE(knocker.knock(
        ipv4(static_cast<std::uint8_t>(i % 8), static_cast<std::uint8_t>(i / 8)), now));
  }
  CHECK_FALSE(knocker.knock(ipv4(20, 1), now + 999ms));
  for (int i = 0; i < 400; ++i) {  // 40 a second
    now += 25ms;
    server.tick(now);
    knocker.knock(ipv4(static_cast<std::uint8_t>(i % 8), 200), now);
    if (now >= TimePoint{2s}) REQUIRE(knocker.knock(ipv4(20, static_cast<std::uint8_t>(i)), now));
  }
}

TEST_CASE("a full server ends a handshake that takes long for a new client") {
  EndpointConfig narrow = config(2, true);
  narrow.max_connections = 4;
  Endpoint server(std::move(narrow), seeded(2));
  Knocker knocker{server};
  const TimePoint now{1s};
  for (std::uint8_t i = 0; i < 4; ++i) REQUIRE(knocker.knock(ipv4(i, 1), now));
  CHECK_FALSE(knocker.knock(ipv4(9, 1), now + 500ms));
  CHECK(knocker.knock(ipv4(9, 1), now + 1s));
  CHECK(server.counters().handshakes_failed == 1);
}

TEST_CASE("the same datagram is turned away so many times a second") {
  const TimePoint now{1s};
  Endpoint server(config(2, true), seeded(2));
  Knocker knocker{server};
  for (std::uint8_t i = 0; i < kMaxHalfOpenOfNetwork; ++i) REQUIRE(knocker.knock(ipv4(0, i), now));
  Endpoint client(config(1, false), seeded(50));
  client.connect(
      address(2), [](const PublicKey&) { return true; }, now);
  carry(client, ipv4(0, 200), server, now);
  carry(server, address(2), client, now);
  TransmitBatch hello;
  REQUIRE(client.transmit(hello, now));
  int answers = 0;
  for (int i = 0; i < 1000; ++i) {
    std::vector<std::uint8_t> datagram = hello.bytes;
    server.receive(datagram, ipv4(0, 200), now);
    for (TransmitBatch answer; server.transmit(answer, now);) ++answers;
  }
  CHECK(server.counters().refused_busy == 1000);
  CHECK(answers == 256);
}

TEST_CASE("clients whose handshakes fail count until they are forgotten") {
  TimePoint now{1s};
  Endpoint server(config(2, true), seeded(2));
  Knocker knocker{.server = server, .fails = true};
  std::size_t begun = 0;
  for (std::size_t i = 0; i < 900; ++i) {  // in less than a second
    begun += knocker.knock(ipv4(0, static_cast<std::uint8_t>(i)), now);
    while (server.poll()) {
    }
    now += 1ms;
    server.tick(now);
  }
  CHECK(begun == kMaxHalfOpenOfNetwork);
  CHECK(knocker.knock(ipv4(1, 0), now));
  now += 10s;
  server.tick(now);
  CHECK(knocker.knock(ipv4(0, 0), now));
}

TEST_CASE("one key takes no more than its part of a server's connections") {
  EndpointConfig narrow = config(2, true);
  narrow.max_connections_per_client = 2;
  narrow.max_connections = 100;
  Endpoint server(std::move(narrow), seeded(2));
  std::uint64_t seed = 3;
  std::vector<std::unique_ptr<Endpoint>> clients;
  // How the connection of a client with this key went on: closed, and why, or connected.
  const auto enter = [&](std::uint8_t key, const Address& from) {
    clients.push_back(std::make_unique<Endpoint>(config(key, false), seeded(seed++)));
    Endpoint& client = *clients.back();
    const TimePoint now{1s};
    client.connect(
        address(2), [](const PublicKey&) { return true; }, now);
    for (bool any = true; any;) {
      any = carry(client, from, server, now);
      any |= carry(server, address(2), client, now);
    }
    std::optional<CloseReason> closed;
    while (const auto event = client.poll()) {
      if (const auto* end = std::get_if<Closed>(&event->body)) closed = end->reason;
    }
    return closed;
  };
  CHECK_FALSE(enter(1, ipv4(0, 1)));
  CHECK_FALSE(enter(1, ipv4(0, 2)));
  const auto refused = enter(1, ipv4(0, 3));
  REQUIRE(refused);
  CHECK(refused->code == CloseCode::server_busy);
  CHECK(refused->by_peer);
  CHECK(server.counters().refused_busy == 1);
  for (std::uint8_t host = 4; host < 104; ++host) CHECK(enter(1, ipv4(0, host)));
  CHECK_FALSE(enter(7, ipv4(1, 1)));  // who was refused and is not forgotten yet keeps nobody out
}

TEST_CASE("a CLOSE that anybody can make ends a handshake without a verdict or a word") {
  const auto [said, believed] = GENERATE(
      table<CloseCode, CloseCode>({{CloseCode::unknown_client, CloseCode::handshake_failed},
                                   {CloseCode::version_mismatch, CloseCode::handshake_failed},
                                   {CloseCode::server_busy, CloseCode::server_busy}}));
  Endpoints ends;
  TransmitBatch first;
  REQUIRE(ends.client.transmit(first, ends.now));
  const auto header = parse_packet_header(first.bytes);
  const auto& seen = std::get<HandshakeHeader>(*header);
  HandshakeChannel forger(seen.destination, Role::server);
  forger.send_close({said, false, "\x1b[2Jcall 0900"});
  std::vector<std::uint8_t> forged(kMinInitialDatagram);
  forged.resize(forger.transmit(forged, seen.source, {{1, 2, 3}}, {}, ends.now));
  ends.client.receive(forged, address(2), ends.now);
  const auto event = ends.client.poll();
  REQUIRE(event);
  const CloseReason reason = std::get<Closed>(event->body).reason;
  CHECK(reason.code == believed);
  CHECK(reason.by_peer);
  CHECK(reason.text.find("0900") == std::string::npos);
}

TEST_CASE("a connected server's reason is heard, in whatever packet it comes") {
  Endpoints ends;
  for (int flight = 0; flight < 4; ++flight) {
    carry(ends.client, address(1), ends.server, ends.now);
    if (const auto event = ends.server.poll()) {
      ends.server.close(event->connection,
                        {CloseCode::refused_by_application, false,
                         "no\n\x1b[2J\xc2\x9b"
                         "2J"},
                        ends.now);
      break;
    }
    carry(ends.server, address(2), ends.client, ends.now);
  }
  ends.settle();
  std::optional<CloseReason> reason;
  while (const auto event = ends.client.poll()) {
    if (const auto* closed = std::get_if<Closed>(&event->body)) reason = closed->reason;
  }
  REQUIRE(reason);
  CHECK(reason->code == CloseCode::refused_by_application);
  CHECK(reason->text == "no??[2J\xc2?2J");
}

TEST_CASE("only an authentic datagram says at which address we are spoken to") {
  Endpoints ends;
  const LocalIp here = ipv4(7, 7).ip;
  TransmitBatch batch;
  const auto to_server = [&] {
    REQUIRE(ends.client.transmit(batch, ends.now));
    const std::vector<std::uint8_t> original = batch.bytes;
    batch.bytes.back() ^= 1;
    CHECK_FALSE(ends.server.receive(batch.bytes, address(1), ends.now, here));
    batch.bytes = original;
    const bool authentic = ends.server.receive(batch.bytes, address(1), ends.now, here);
    batch.bytes = original;
    CHECK_FALSE(ends.server.receive(batch.bytes, address(1), ends.now, here));  // a replay
    return authentic;
  };
  CHECK_FALSE(to_server());  // a stranger, with whom the address is kept
  for (int i = 0; i < 3; ++i) {
    REQUIRE(ends.server.transmit(batch, ends.now));
    CHECK(batch.from == here);
  }
  ends.client.receive(batch.bytes, address(2), ends.now);
  REQUIRE(ends.client.transmit(batch, ends.now));  // with the cookie
  CHECK(ends.server.receive(batch.bytes, address(1), ends.now, here));
  REQUIRE(ends.server.transmit(batch, ends.now));
  CHECK_FALSE(batch.from);
  ends.client.receive(batch.bytes, address(2), ends.now);
  ends.settle();
  ends.connected(ends.client);
  ends.client.request(ends.handle, Priority::urgent, Buffer(10));
  CHECK(to_server());
}

TEST_CASE("a cookie is good for one address only") {
  Endpoints ends;
  TransmitBatch batch;
  REQUIRE(ends.client.transmit(batch, ends.now));
  ends.server.receive(batch.bytes, address(1), ends.now);
  REQUIRE(ends.server.transmit(batch, ends.now));
  ends.client.receive(batch.bytes, address(2), ends.now);
  REQUIRE(ends.client.transmit(batch, ends.now));
  ends.server.receive(batch.bytes, address(50), ends.now);
  CHECK(ends.server.counters().bad_cookies == 1);
  CHECK_FALSE(ends.server.deadline());
}
