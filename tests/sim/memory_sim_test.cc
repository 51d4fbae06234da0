// A process that ended and came back starts from what it knew of the path.
#include <catch2/catch.hpp>

#include "tests/sim/traffic.h"
#include "transport/path/path_memory.h"

using namespace rushfs::sim;
using namespace std::chrono_literals;

namespace {

constexpr Duration kWall = std::chrono::hours(24) * 365 * 50;

/// Seconds from the first request until the last reply.
double move(World& world, Requester& requester, Bytes amount) {
  const TimePoint start = world.now();
  requester.start({.up = true, .total = amount.count, .message = 256 << 10, .window = 1024});
  REQUIRE(world.run_until([&] { return requester.bulk_done(); }, 60s));
  return seconds(world.now() - start);
}

/// A path of 1000 Mbit/s and 100 ms, whose client a test starts again.
struct Stage {
  Stage() : world(seed_or(23)), server(world.add_server()), client(world.add_client()) {
    UNSCOPED_INFO("RUSHFS_SEED=" << world.seed());
    world.set_links(client, server, {.rate = 1000_Mbps, .delay = 50ms, .queue = 100ms});
  }
  /// What is kept when the client's application has given `rate` for so long, then left.
  std::vector<std::uint8_t> kept_after(BitRate rate, Duration time) {
    world.restart(client);
    Requester requester(world, client, server);
    REQUIRE(requester.wait_connected());
    constexpr Bytes kPart{64 << 10};
    constexpr std::size_t kMostParts = 128;  // or startup would fill the path with what piled up
    const std::uint64_t parts = static_cast<std::uint64_t>(time / (kPart / rate));
    for (std::uint64_t i = 0; i < parts; ++i) {
      world.after(i * (kPart / rate), [&] {
        if (requester.under_way() < kMostParts) requester.ask(Priority::behind, kPart.count, 16);
      });
    }
    world.run_for(time + 1s);
    client.endpoint->close(requester.handle(), {}, world.now());
    world.run_for(1s);
    return client.endpoint->save_paths(world.now(), kWall);
  }
  std::optional<RememberedPath> known(const std::vector<std::uint8_t>& kept) {
    PathMemory memory;
    REQUIRE(memory.load(kept, world.now(), kWall));
    return memory.recall(server.address, world.now());
  }
  /// Seconds that 64 MiB take to a client which knows this.
  double start_from(const std::vector<std::uint8_t>& kept) {
    world.restart(client);
    client.endpoint->load_paths(kept, world.now(), kWall);
    Requester requester(world, client, server);
    REQUIRE(requester.wait_connected());
    return move(world, requester, 64_MiB);
  }

  World world;
  Node& server;
  Node& client;
  Responder responder{world, server};
};

}  // namespace

TEST_CASE("64 MiB on a path that an earlier process filled take at most 1.4 times the ideal") {
  const auto [loss, most] = GENERATE(table<double, double>({{0.0, 1.4}, {0.01, 2.0}}));
  World world(seed_or(21));
  INFO("RUSHFS_SEED=" << world.seed() << " loss " << loss);
  Node& server = world.add_server();
  Node& client = world.add_client();
  world.set_links(client, server,
                  {.rate = 1000_Mbps, .delay = 50ms, .queue = 100ms, .loss = loss});
  Responder responder(world, server);
  std::vector<std::uint8_t> kept;
  {
    Requester first(world, client, server);
    REQUIRE(first.wait_connected());
    move(world, first, 512_MiB);
    client.endpoint->close(first.handle(), {}, world.now());
    world.run_for(1s);
    kept = client.endpoint->save_paths(world.now(), kWall);
  }
  world.restart(client);
  client.endpoint->load_paths(kept, world.now(), kWall + 1h);
  CHECK(client.endpoint->counters().path_files_dropped == 0);
  Requester second(world, client, server);
  REQUIRE(second.wait_connected());
  const double ideal = seconds(64_MiB / (1000_Mbps * 0.96 * (1 - loss))) + 0.1;
  const double took = move(world, second, 64_MiB);
  CAPTURE(took, ideal, took / ideal);
  CHECK(took <= most * ideal);
}

TEST_CASE("64 MiB where at least 500 Mbit/s were carried take as long as where 500 are known") {
  Stage stage;
  PathMemory memory;
  memory.remember(stage.server.address, {500_Mbps, 100ms}, stage.world.now());
  const double with_known = stage.start_from(memory.save(stage.world.now(), kWall));
  const auto kept = stage.kept_after(500_Mbps, 10s);
  const auto known = stage.known(kept);
  REQUIRE(known);
  CHECK(known->bandwidth.bits_per_second == Approx(515e6).margin(20e6));  // with headers
  const double took = stage.start_from(kept);
  CAPTURE(took, with_known);
  CHECK(took <= 1.1 * with_known);
}

TEST_CASE("a short exchange teaches nothing of a path") {
  Stage stage;
  CHECK_FALSE(stage.known(stage.kept_after(500_Mbps, 15ms)));
  const auto little = stage.known(stage.kept_after(500_Mbps, 60ms));
  if (little) CHECK(little->bandwidth < 100_Mbps);
}

TEST_CASE("a broken memory of paths is counted and harms nobody") {
  World world(seed_or(22));
  Node& server = world.add_server();
  Node& client = world.add_client();
  world.set_links(client, server, {.rate = 100_Mbps, .delay = 10ms});
  Responder responder(world, server);
  const std::vector<std::uint8_t> broken(100, 0x55);
  client.endpoint->load_paths(broken, world.now(), kWall);
  CHECK(client.endpoint->counters().path_files_dropped == 1);
  Requester requester(world, client, server);
  REQUIRE(requester.wait_connected());
  move(world, requester, 1_MiB);
}
