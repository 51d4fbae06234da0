// Peers that mean harm: strangers with garbage, and clients with valid keys that break the rules.
#include <catch2/catch.hpp>

#include <malloc.h>

#include "tests/sim/puppet.h"
#include "tests/sim/traffic.h"
#include "transport/messages/outbox.h"

using namespace rushfs::sim;
using namespace std::chrono_literals;

namespace {

struct Stage {
  explicit Stage(EndpointConfig config = {})
      : world(seed_or(30)),
        server(world.add_server(std::move(config))),
        puppet(*server.endpoint, world.now()) {
    REQUIRE(puppet.connect());
  }
  /// The server closed the puppet's connection for this, with a sentence that contains `words`.
  void expect_violation(const std::string& words) {
    REQUIRE(puppet.closed);
    CHECK(puppet.closed->code == CloseCode::protocol_violation);
    CAPTURE(puppet.closed->text);
    CHECK(puppet.closed->text.find(words) != std::string::npos);
    Puppet next(*server.endpoint, world.now(), 2);
    CHECK(next.connect());  // the endpoint lives
  }
  World world;
  Node& server;
  Puppet puppet;
};

MessageFrame request(std::uint64_t count, std::uint32_t total, std::uint32_t offset,
                     std::span<const std::uint8_t> data) {
  return {MessageKind::request, make_request_id(false, Priority::demand, count), total, offset,
          data};
}

}  // namespace

TEST_CASE("a correct puppet is served") {
  Stage stage;
  const Buffer body(100, 7);
  stage.puppet.send([&](FrameWriter& writer) { writer.message(request(0, 100, 0, body)); });
  auto event = stage.server.endpoint->poll();
  REQUIRE(std::holds_alternative<Connected>(event->body));
  event = stage.server.endpoint->poll();
  REQUIRE(std::holds_alternative<RequestArrived>(event->body));
  stage.server.endpoint->reply(event->connection, std::get<RequestArrived>(event->body).id,
                               Buffer(500));
  stage.puppet.listen();
  CHECK(stage.puppet.reply_bytes == 500);
  stage.puppet.acknowledge();
  CHECK_FALSE(stage.puppet.closed);
}

TEST_CASE("a peer that asks for more than it takes is shown the door, and its replies are gone") {
  EndpointConfig config;
  config.owed_limit = 8_MiB;
  Stage stage(std::move(config));
  const Buffer body(10, 7);
  for (std::uint64_t i = 0; i < 9; ++i) {
    stage.puppet.send([&](FrameWriter& writer) { writer.message(request(i, 10, 0, body)); });
  }
  std::uint64_t replies = 0;
  while (const auto event = stage.server.endpoint->poll()) {
    const auto* asked = std::get_if<RequestArrived>(&event->body);
    if (asked == nullptr) continue;
    stage.server.endpoint->reply(event->connection, asked->id, Buffer(1 << 20));
    stage.puppet.listen();
    CHECK(stage.puppet.closed.has_value() == (++replies > 8));
  }
  REQUIRE(replies == 9);
  CHECK(stage.puppet.closed->code == CloseCode::server_busy);
}

TEST_CASE("a key has one budget of bytes, however many connections it has") {
  EndpointConfig config;
  config.bytes_limit_of_client = 8_MiB;
  Stage stage(std::move(config));
  Puppet second(*stage.server.endpoint, stage.world.now(), 2, 1);
  REQUIRE(second.connect());
  Puppet other(*stage.server.endpoint, stage.world.now(), 5);
  REQUIRE(other.connect());
  const Buffer body(10, 7);
  const auto owe = [&](Puppet& puppet, std::uint64_t messages) {
    for (std::uint64_t i = 0; i < messages; ++i) {
      puppet.send([&](FrameWriter& writer) { writer.message(request(i, 10, 0, body)); });
    }
    while (const auto event = stage.server.endpoint->poll()) {
      const auto* asked = std::get_if<RequestArrived>(&event->body);
      if (asked == nullptr) continue;
      stage.server.endpoint->reply(event->connection, asked->id, Buffer(1 << 20));
      puppet.listen();
    }
  };
  owe(stage.puppet, 7);
  owe(second, 1);
  CHECK_FALSE(stage.puppet.closed);
  CHECK_FALSE(second.closed);
  second.send([&](FrameWriter& writer) { writer.message(request(1, 4 << 20, 0, body)); });
  CHECK_FALSE(stage.puppet.closed);
  REQUIRE(second.closed);  // who asked for it, and not who has most
  CHECK(second.closed->code == CloseCode::server_busy);
  owe(other, 7);
  CHECK_FALSE(other.closed);
}

TEST_CASE("a peer that breaks the rules is told which, and the endpoint lives") {
  Stage stage;
  const Buffer part(1000, 7);
  SECTION("a challenge, whose answer would go wherever it says it is") {
    stage.puppet.address.ip[15] ^= 1;  // a victim's
    const std::size_t before = stage.puppet.bytes_from_server;
    stage.puppet.send([&](FrameWriter& writer) { writer.path_challenge({}); });
    CHECK(stage.puppet.bytes_from_server - before < 1200);
    stage.expect_violation("PATH_CHALLENGE");
  }
  SECTION("more bytes than it has credit for") {
    for (std::uint64_t i = 0; i < 5 && !stage.puppet.closed; ++i) {
      stage.puppet.send([&](FrameWriter& writer) { writer.message(request(i, 4 << 20, 0, part)); });
    }
    stage.expect_violation("beyond its credit");
  }
  SECTION("more requests than may be open") {
    const Buffer small(1, 7);
    for (std::uint64_t i = 0; i <= kMaxOpenRequests && !stage.puppet.closed; ++i) {
      stage.puppet.send([&](FrameWriter& writer) { writer.message(request(i, 2, 0, small)); });
    }
    stage.expect_violation("more open requests");
  }
  SECTION("a message that is too large") {
    stage.puppet.send(
        [&](FrameWriter& writer) { writer.message(request(0, (4 << 20) + 1, 0, part)); });
    stage.expect_violation("larger than 4 MiB");
  }
  SECTION("an acknowledgement of what was never sent") {
    const std::vector<NumberRange> never{{0, 1'000'000}};
    stage.puppet.send([&](FrameWriter& writer) { writer.ack({}, never); });
    stage.expect_violation("never sent");
  }
  SECTION("two requests under one number") {
    stage.puppet.send([&](FrameWriter& writer) { writer.message(request(0, 5000, 0, part)); });
    stage.puppet.send([&](FrameWriter& writer) { writer.message(request(0, 6000, 0, part)); });
    stage.expect_violation("two requests under one number");
  }
  SECTION("a request under the server's number") {
    stage.puppet.send([&](FrameWriter& writer) {
      writer.message({MessageKind::request, make_request_id(true, Priority::demand, 0), 1000, 0,
                      part});
    });
    stage.expect_violation("ours to give");
  }
  SECTION("a reply to nothing") {
    stage.puppet.send([&](FrameWriter& writer) {
      writer.message({MessageKind::reply, make_request_id(true, Priority::demand, 0), 1000, 0,
                      part});
    });
    stage.expect_violation("never made");
  }
  SECTION("a RESET of nothing") {
    stage.puppet.send([&](FrameWriter& writer) {
      writer.reset({make_request_id(true, Priority::demand, 5), 0});
    });
    stage.expect_violation("never made");
  }
  SECTION("a HANDSHAKE_DONE of its own") {
    stage.puppet.send([&](FrameWriter& writer) { writer.handshake_done({}); });
    stage.expect_violation("HANDSHAKE_DONE");
  }
  SECTION("a frame nobody knows") {
    stage.puppet.send_payload(std::vector<std::uint8_t>{0x3f, 1, 2, 3});
    stage.expect_violation("unknown type");
  }
  SECTION("a frame that ends early") {
    stage.puppet.send_payload(std::vector<std::uint8_t>{0x30, 0, 0x40, 0x64, 0, 50, 1, 2, 3});
    stage.expect_violation("ends early");
  }
  SECTION("a message in pieces of a byte") {
    std::uint32_t offset = 0;
    while (!stage.puppet.closed && offset < (1 << 20)) {
      stage.puppet.send([&](FrameWriter& writer) {
        for (int i = 0; i < 80; ++i, offset += 2) {
          writer.message(request(0, 1 << 20, offset, std::span(part).first(1)));
        }
      });
    }
    CHECK(offset <= 400);
    stage.expect_violation("too many pieces");
  }
  SECTION("request numbers with thousands of gaps") {
    const Buffer small(1, 7);
    for (std::uint64_t i = 0; !stage.puppet.closed && i < 3 * kMaxOpenRequests; ++i) {
      stage.puppet.send([&](FrameWriter& writer) {
        writer.cancel({request(2 * i, 0, 0, {}).id, 0});
      });
      stage.puppet.acknowledge();
      stage.puppet.numbers.clear();
    }
    stage.expect_violation("gaps");
  }
}

TEST_CASE("frame garbage inside authentic packets never does more than close") {
  World world(seed_or(31));
  INFO("RUSHFS_SEED=" << world.seed());
  Node& server = world.add_server();
  for (std::uint64_t round = 0; round < 150; ++round) {
    Puppet puppet(*server.endpoint, world.now(), 10 + round);
    REQUIRE(puppet.connect());
    for (int i = 0; i < 100 && !puppet.closed; ++i) {
      std::vector<std::uint8_t> payload(4 + world.chance().below(1200));
      world.chance().fill(payload);
      using namespace frame_type;
      constexpr std::uint8_t kTypes[] = {  // all but CLOSE, which is not answered
          kPadding, kPing, kAck, kHandshakeData, kPathChallenge, kPathResponse, kHandshakeDone,
          kRequest, kReply, kCancel, kReset, kCredit, kRate, kSending};
      payload[0] = kTypes[world.chance().below(std::size(kTypes))];
      puppet.send_payload(payload);
    }
    CHECK(puppet.closed);
    while (server.endpoint->poll()) {
    }
    world.run_for(5s);
  }
}

TEST_CASE("keys may be updated a thousand times in a row") {
  Stage stage;
  const Buffer body(10, 7);
  for (std::uint64_t i = 0; i < 1000; ++i) {
    stage.puppet.protection->update_key(stage.puppet.now);
    stage.puppet.send([&](FrameWriter& writer) { writer.message(request(i, 10, 0, body)); });
    stage.puppet.now += 20ms;
    stage.server.endpoint->tick(stage.puppet.now);
    stage.puppet.listen();
    stage.puppet.acknowledge();
    while (auto event = stage.server.endpoint->poll()) {
      if (auto* arrived = std::get_if<RequestArrived>(&event->body)) {
        stage.server.endpoint->reply(event->connection, arrived->id, Buffer(10));
      }
    }
    stage.puppet.listen();
  }
  CHECK_FALSE(stage.puppet.closed);
  CHECK(stage.puppet.replies.size() == 1000);
  CHECK(stage.puppet.protection->counters().key_updates > 900);
}

TEST_CASE("a million datagrams of garbage change nothing and cost no memory") {
  Stage stage;
  World& world = stage.world;
  Node& server = stage.server;
  Node& client = world.add_client();
  world.set_links(client, server, {.delay = 10ms});
  Responder responder(world, server);
  std::vector<std::vector<std::uint8_t>> real;
  client.on_send = [&](std::vector<std::uint8_t>& bytes, const Address&) {
    if (real.size() < 200) real.push_back(bytes);
    return true;
  };
  Requester requester(world, client, server);
  REQUIRE(requester.wait_connected());
  requester.start({.up = true, .total = 200'000, .message = 20'000, .window = 4});
  world.run_for(5s);
  Chance& chance = world.chance();
  TransmitBatch batch;
  std::size_t memory_after_warm_up = 0;
  std::vector<std::uint8_t> datagram;
  std::uint64_t in = 0;
  std::uint64_t out = 0;
  for (int i = 0; i < 1'000'000; ++i) {
    if (i % 2 == 0) {
      datagram.resize(1 + chance.below(i % 64 == 0 ? 1400 : 60));
      chance.fill(datagram);
    } else {
      datagram = real[chance.below(real.size())];
      const std::uint64_t bit = chance.below(std::min<std::size_t>(datagram.size(), 64) * 8);
      datagram[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
    }
    Address from = client.address;
    if (i % 4 < 2) from.ip[14] = static_cast<std::uint8_t>(chance.below(256));
    in += datagram.size();
    server.endpoint->receive(datagram, from, world.now());
    while (server.endpoint->transmit(batch, world.now())) out += batch.bytes.size();
    if (i == 100'000) memory_after_warm_up = mallinfo2().uordblks;
  }
  CHECK(out < 3 * in);
  CHECK(mallinfo2().uordblks <= memory_after_warm_up + 100'000);
  requester.ask(Priority::urgent, 100, 100);
  world.run_for(2s);
  CHECK(requester.under_way() == 0);
  CHECK_FALSE(requester.closed());
}
