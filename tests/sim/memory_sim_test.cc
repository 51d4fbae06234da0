// A process that ended and came back starts from what it knew of the path.
#include <catch2/catch.hpp>

#include "tests/sim/traffic.h"

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
