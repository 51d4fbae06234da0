// What a connection goes through in its life: slow applications, dead links, cancellations, damage,
// replays, new addresses and restarted servers.
#include <catch2/catch.hpp>

#include "tests/sim/traffic.h"
#include "transport/messages/credit.h"

using namespace rushfs::sim;
using namespace std::chrono_literals;

namespace {

struct Scene {
  Scene(std::uint64_t seed, const LinkConfig& links, EndpointConfig base = {})
      : world(seed_or(seed)),
        server(add_server(base)),
        client(world.add(base)),
        responder(world, server) {
    UNSCOPED_INFO("RUSHFS_SEED=" << world.seed());
    world.set_links(client, server, links);
    requester.emplace(world, client, server);
    REQUIRE(requester->wait_connected());
  }
  Node& add_server(EndpointConfig base) {
    base.accept_client = [](const PublicKey&, const Address&) { return true; };
    return world.add(base);
  }
  bool finish(Duration limit) {
    return world.run_until([&] { return requester->bulk_done() || requester->closed(); }, limit) &&
           !requester->closed();
  }
  PathReport server_report() {
    return server.endpoint->report(*responder.last_connection, world.now());
  }

  World world;
  Node& server;
  Node& client;
  Responder responder;
  std::optional<Requester> requester;
};

}  // namespace

TEST_CASE("a server that reads at a tenth of the rate slows the client and loses nothing") {
  Scene scene(11, {.rate = 200_Mbps, .delay = 25ms, .queue = 500ms});
  scene.responder.works_at = 20_Mbps;
  constexpr std::uint64_t kTotal = 64 << 20;
  scene.requester->start({.up = true, .total = kTotal, .message = 1 << 20, .window = 64});
  std::uint64_t most_held = 0;
  const std::function<void()> watch = [&] {
    const std::uint64_t taken = scene.requester->answers() << 20;
    most_held = std::max(most_held, scene.responder.bytes - std::min(scene.responder.bytes, taken));
    if (!scene.requester->bulk_done()) scene.world.after(100ms, watch);
  };
  watch();
  REQUIRE(scene.finish(60s));
  CHECK(most_held < kInitialCredit.count + (4 << 20));
  CHECK(scene.requester->report().packets_lost == 0);
  CHECK(scene.requester->report().bytes_retransmitted == 0_B);
  CHECK(seconds(scene.world.elapsed()) > 0.95 * seconds(Bytes{kTotal} / 20_Mbps));
  CHECK(seconds(scene.world.elapsed()) < 1.3 * seconds(Bytes{kTotal} / 20_Mbps));
}

TEST_CASE("replies wait at the server while the client does not take them") {
  Scene scene(12, {.rate = 200_Mbps, .delay = 25ms});
  scene.requester->start({.up = false, .total = 256 << 20, .message = 4 << 20, .window = 64});
  scene.world.after(200ms, [&] { scene.client.polls = false; });
  scene.world.run_for(10s);
  const Bytes received = scene.requester->report().bytes_received;
  CHECK(received < kInitialCredit + 32_MiB);
  scene.client.polls = true;
  scene.requester->ask(Priority::urgent, 10, 10);  // anything that makes the client look
  REQUIRE(scene.finish(60s));
}

TEST_CASE("a transfer outlives a link that is dead for thirty seconds") {
  EndpointConfig patient;
  patient.idle_timeout = 60s;
  Scene scene(13, {.rate = 100_Mbps, .delay = 50ms}, patient);
  const TimePoint cut = scene.world.now() + 1s;
  for (Link* link : {&scene.world.link(scene.client, scene.server),
                     &scene.world.link(scene.server, scene.client)}) {
    link->config.outages = {{cut, cut + 30s}};
  }
  scene.requester->start({.up = true, .total = 32 << 20, .message = 256 << 10, .window = 256});
  REQUIRE(scene.world.run_until([&] { return scene.world.now() >= cut + 30s; }, 60s));
  const std::uint64_t before = scene.requester->answers();
  REQUIRE(scene.world.run_until([&] { return scene.requester->answers() > before; }, 2s));
  REQUIRE(scene.finish(20s));
}

TEST_CASE("a link that is dead in one direction only is survived as well") {
  EndpointConfig patient;
  patient.idle_timeout = 60s;
  const bool towards_server = GENERATE(true, false);
  Scene scene(14, {.rate = 100_Mbps, .delay = 50ms}, patient);
  const TimePoint cut = scene.world.now() + 1s;
  Link& link = towards_server ? scene.world.link(scene.client, scene.server)
                              : scene.world.link(scene.server, scene.client);
  link.config.outages = {{cut, cut + 10s}};
  scene.requester->start({.up = true, .total = 24 << 20, .message = 256 << 10, .window = 256});
  scene.requester->start({.up = false, .total = 24 << 20, .message = 256 << 10, .window = 256});
  REQUIRE(scene.finish(40s));
}

TEST_CASE("both ends notice a peer that is gone after the idle timeout") {
  Scene scene(15, {.delay = 50ms});
  scene.world.run_for(200s);  // keep-alives keep a quiet connection
  REQUIRE_FALSE(scene.requester->closed());
  const auto silent = scene.world.now();
  scene.world.link(scene.client, scene.server).config.loss = 1;
  scene.world.link(scene.server, scene.client).config.loss = 1;
  scene.world.run_for(31s);
  REQUIRE(scene.requester->closed());
  CHECK(scene.requester->closed()->code == CloseCode::idle_timeout);
  REQUIRE(scene.responder.closed);
  CHECK(scene.responder.closed->code == CloseCode::idle_timeout);
  CHECK(scene.responder.last_heard <= silent + 50ms);  // what was under way
  CHECK(scene.responder.last_heard > silent - 11s);    // a keep-alive
}

TEST_CASE("an orderly close reaches the other side with its reason") {
  Scene scene(16, {.delay = 50ms, .loss = 0.2});
  scene.client.endpoint->close(scene.requester->handle(),
                               {CloseCode::refused_by_application, false, "enough"},
                               scene.world.now());
  scene.world.run_for(40s);
  REQUIRE(scene.requester->closed());
  CHECK_FALSE(scene.requester->closed()->by_peer);
  REQUIRE(scene.responder.closed);
}

TEST_CASE("cancelled requests free their credit and disturb no others") {
  Scene scene(17, {.rate = 100_Mbps, .delay = 30ms, .loss = 0.02});
  scene.responder.thinking_time = 20ms;
  std::uint64_t kept = 0;
  std::uint64_t answered = 0;
  Chance& chance = scene.world.chance();
  for (int round = 0; round < 60; ++round) {
    std::vector<RequestId> doomed;
    for (int i = 0; i < 24; ++i) {
      const bool up = chance.happens(0.5);
      const std::size_t size = 8 + chance.below(600 << 10);
      const auto priority = static_cast<Priority>(chance.below(kPriorities));
      const bool cancel = chance.happens(0.7);
      const RequestId id = scene.requester->ask(priority, up ? size : 8,
                                                static_cast<std::uint32_t>(up ? 8 : size),
                                                [&, cancel](Duration) { answered += !cancel; });
      cancel ? doomed.push_back(id) : static_cast<void>(++kept);
    }
    scene.world.run_for(std::chrono::milliseconds(chance.below(250)));
    for (const RequestId id : doomed) scene.requester->cancel(id);
    scene.world.run_for(std::chrono::milliseconds(chance.below(50)));
  }
  REQUIRE(scene.world.run_until([&] { return answered == kept; }, 60s));
  CHECK(scene.responder.cancelled > 0);
  // Had credit leaked, what is left of it could not carry this.
  for (int priority = 0; priority < kPriorities; ++priority) {
    for (const bool up : {true, false}) {
      scene.requester->start({.up = up,
                              .total = 20 << 20,
                              .message = 4 << 20,
                              .window = 5,
                              .priority = static_cast<Priority>(priority)});
    }
  }
  REQUIRE(scene.finish(60s));
}

TEST_CASE("ten thousand small requests pass bulk in both directions") {
  const double loss = GENERATE(0.0, 0.02);
  Scene scene(18, {.rate = 100_Mbps, .delay = 25ms, .loss = loss});
  constexpr double kIdle = 50;  // ms
  scene.requester->start({.up = true, .total = 128 << 20, .message = 1 << 20, .window = 32});
  scene.requester->start({.up = false, .total = 128 << 20, .message = 1 << 20, .window = 32,
                          .priority = Priority::ahead});
  // Both directions have found the capacity, and probed once beyond what startup took for it.
  scene.world.run_for(4s);
  std::vector<double> times;
  for (int i = 0; i < 10000; ++i) {
    scene.world.after(std::chrono::microseconds(400 * i), [&] {
      scene.requester->ask(Priority::urgent, 64, 200,
                           [&](Duration took) { times.push_back(seconds(took) * 1e3); });
    });
  }
  REQUIRE(scene.world.run_until([&] { return times.size() == 10000; }, 30s));
  CHECK_FALSE(scene.requester->bulk_done());
  std::sort(times.begin(), times.end());
  CAPTURE(loss, times[5000], times[9000], times[9900], times.back());
  CHECK(times[5000] < 1.05 * kIdle);
  CHECK(times[9000] < 1.3 * kIdle);
  CHECK(times[9900] < 1.7 * kIdle);  // while bulk probes for more capacity; loss: sent twice
  CHECK(times.back() < (loss > 0 ? 4 : 2) * kIdle);
  REQUIRE(scene.finish(30s));
}

TEST_CASE("a connection starts from what an earlier one to the host had learned") {
  Scene scene(21, {.rate = 500_Mbps, .delay = 50ms});
  const auto take = [&](bool up) {
    const TimePoint start = scene.world.now();
    scene.requester->start({.up = up, .total = 48 << 20, .message = 256 << 10, .window = 512});
    REQUIRE(scene.finish(20s));
    return seconds(scene.world.now() - start);
  };
  const double fresh_up = take(true);
  const double fresh_down = take(false);
  take(true);
  take(false);
  scene.client.endpoint->close(scene.requester->handle(), {}, scene.world.now());
  scene.world.run_for(5s);
  scene.requester->reconnect(scene.server);
  REQUIRE(scene.requester->wait_connected());
  const double up = take(true);
  const double down = take(false);
  CAPTURE(fresh_up, up, fresh_down, down);
  CHECK(up < 0.8 * fresh_up);
  CHECK(down < 0.8 * fresh_down);
}

TEST_CASE("damage of every kind is noticed, dropped and repaired") {
  Scene scene(19, {.rate = 100_Mbps, .delay = 10ms, .corruption = 0.03});
  scene.requester->start({.up = true, .total = 8 << 20, .message = 100'000, .window = 64});
  scene.requester->start({.up = false, .total = 8 << 20, .message = 100'000, .window = 64});
  REQUIRE(scene.finish(60s));
  const EndpointCounters& counters = scene.server.endpoint->counters();
  CHECK(counters.not_authentic + counters.garbage + counters.unknown_connection > 100);
}

TEST_CASE("bursts of loss, duplicates, reordering and jitter are all repaired") {
  const auto seed = GENERATE(range(200, 206));
  Scene scene(static_cast<std::uint64_t>(seed),
              {.rate = 100_Mbps,
               .delay = 20ms,
               .bursts = Bursts{.to_bad = 0.002, .to_good = 0.1},
               .duplication = 0.02,
               .reordering = 0.05,
               .reordering_delay = 15ms,
               .jitter = 3ms});
  scene.requester->start({.up = true, .total = 8 << 20, .message = 300'000, .window = 64});
  scene.requester->start({.up = false, .total = 8 << 20, .message = 300'000, .window = 64});
  REQUIRE(scene.finish(60s));
  CHECK(scene.responder.requests == 2 * (((8 << 20) + 299'999) / 300'000));
}

TEST_CASE("a packet that hundreds overtake is still taken for what it is") {
  Scene scene(24, {.rate = 200_Mbps, .delay = 5ms, .reordering = 1, .reordering_delay = 40ms});
  scene.requester->start({.up = true, .total = 32 << 20, .message = 300'000, .window = 64});
  REQUIRE(scene.finish(60s));
  CHECK(scene.server.endpoint->counters().not_authentic == 0);
  CHECK(scene.client.endpoint->counters().not_authentic == 0);
}

TEST_CASE("replayed datagrams have no effect, now or later, from here or elsewhere") {
  Scene scene(20, {.rate = 100_Mbps, .delay = 10ms});
  std::vector<std::vector<std::uint8_t>> recorded;
  scene.client.on_send = [&](std::vector<std::uint8_t>& bytes, const Address&) {
    if (bytes.size() <= LinkConfig{}.mtu) recorded.push_back(bytes);  // others never arrive
    return true;
  };
  scene.requester->start({.up = true, .total = 4 << 20, .message = 50'000, .window = 16});
  REQUIRE(scene.finish(10s));
  const std::uint64_t requests = scene.responder.requests;
  scene.client.on_send = nullptr;
  Address elsewhere = scene.client.address;
  elsewhere.ip[15] = 99;
  std::uint64_t to_elsewhere = 0;
  scene.server.on_send = [&](std::vector<std::uint8_t>&, const Address& to) {
    to_elsewhere += to == elsewhere;
    return true;
  };
  for (const Duration wait : {1s, 130s}) {  // the second after a key update
    for (const Address& source : {scene.client.address, elsewhere}) {
      scene.world.run_for(wait);
      scene.requester->ask(Priority::urgent, 8, 8);
      scene.world.run_for(1s);
      const std::uint64_t before = scene.server.endpoint->counters().not_authentic;
      for (const auto& bytes : recorded) scene.world.inject(source, scene.server, bytes, 1ms);
      scene.world.run_for(1s);
      CHECK(scene.server.endpoint->counters().not_authentic >= before + recorded.size());
    }
  }
  CHECK(scene.responder.requests == requests + 4);
  CHECK(to_elsewhere == 0);
  CHECK_FALSE(scene.requester->closed());
}

TEST_CASE("a client that moves in the middle of a transfer goes on") {
  const bool other_host = GENERATE(true, false);
  Scene scene(21, {.rate = 100_Mbps, .delay = 25ms});
  scene.requester->start({.up = true, .total = 16 << 20, .message = 256 << 10, .window = 32});
  scene.requester->start({.up = false, .total = 16 << 20, .message = 256 << 10, .window = 32});
  const Address old = scene.client.address;
  std::uint64_t to_new = 0;
  std::uint64_t allowed = 0;
  bool proven = false;
  scene.world.after(500ms, [&] {
    (other_host ? scene.client.address.ip[15] : reinterpret_cast<std::uint8_t&>(
                                                    scene.client.address.port)) ^= 0x40;
    scene.client.on_send = [&](std::vector<std::uint8_t>& bytes, const Address&) {
      allowed += 3 * bytes.size();
      return true;
    };
    scene.server.on_send = [&](std::vector<std::uint8_t>& bytes, const Address& to) {
      if (to == old) return true;
      to_new += bytes.size();
      if (!proven) CHECK(to_new <= allowed);
      proven = to_new > 10'000;
      return true;
    };
  });
  REQUIRE(scene.finish(20s));
  CHECK(proven);
}

TEST_CASE("nobody is flooded by pointing a connection at him") {
  Scene scene(22, {.rate = 100_Mbps, .delay = 25ms});
  Address victim = scene.client.address;
  victim.ip[15] = 77;
  std::uint64_t to_victim = 0;
  std::uint64_t from_victim = 0;
  scene.server.on_send = [&](std::vector<std::uint8_t>& bytes, const Address& to) {
    if (to == victim) to_victim += bytes.size();
    return true;
  };
  scene.requester->start({.up = false, .total = 8 << 20, .message = 256 << 10, .window = 32});
  // Somebody on the path forwards every fifth datagram under the victim's address, and faster.
  scene.client.on_send = [&, count = 0](std::vector<std::uint8_t>& bytes, const Address&) mutable {
    if (++count % 5 != 0) return true;
    from_victim += bytes.size();
    scene.world.inject(victim, scene.server, bytes, 1ms);
    return false;
  };
  REQUIRE(scene.finish(20s));
  CHECK(to_victim <= 3 * from_victim);
  CHECK(to_victim > 0);
}

TEST_CASE("keys are renewed every two minutes without anybody noticing") {
  Scene scene(23, {.delay = 25ms, .loss = 0.05, .reordering = 0.1});
  for (int minute = 0; minute < 30; ++minute) {
    for (int i = 0; i < 20; ++i) {
      scene.world.after(std::chrono::seconds(3 * i), [&] {
        scene.requester->ask(Priority::urgent, 2000, 2000);
      });
    }
    scene.world.run_for(60s);
    REQUIRE_FALSE(scene.requester->closed());
  }
  CHECK(scene.requester->answers() == 600);
}

TEST_CASE("a client learns within two round trips that its server was restarted") {
  Scene scene(24, {.delay = 25ms});
  scene.requester->ask(Priority::urgent, 10, 10);
  scene.world.run_for(5s);
  scene.world.restart(scene.server);
  SECTION("when it asks something") { scene.requester->ask(Priority::urgent, 100, 100); }
  SECTION("by its next keep-alive at the latest") { scene.world.run_for(10s); }
  REQUIRE(scene.world.run_until([&] { return scene.requester->closed().has_value(); }, 100ms));
  CHECK(scene.requester->closed()->code == CloseCode::forgotten);
  scene.requester->reconnect(scene.server);
  CHECK(scene.requester->wait_connected());
}

TEST_CASE("a path that carries larger datagrams is used with them, a smaller one is survived") {
  Scene scene(25, {.rate = 100_Mbps, .delay = 10ms});
  scene.requester->start({.up = true, .total = 8 << 20, .message = 256 << 10, .window = 32});
  REQUIRE(scene.finish(10s));
  CHECK(scene.requester->report().datagram_size > 1400_B);
  scene.world.link(scene.client, scene.server).config.mtu = 1300;
  scene.requester->start({.up = true, .total = 8 << 20, .message = 256 << 10, .window = 32});
  REQUIRE(scene.finish(30s));
  CHECK(scene.requester->report().datagram_size <= 1300_B);
}
