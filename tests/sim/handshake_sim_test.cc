#include <catch2/catch.hpp>

#include "tests/sim/traffic.h"

using namespace rushfs::sim;
using namespace std::chrono_literals;

TEST_CASE("a client connects and gets its first answer in four round trips") {
  World world(seed_or(1));
  INFO("RUSHFS_SEED=" << world.seed());
  Node& server = world.add_server();
  Node& client = world.add_client();
  world.set_links(client, server, {.delay = 50ms});
  Responder responder(world, server);
  Requester requester(world, client, server);
  REQUIRE(requester.wait_connected(1s));
  CHECK(world.elapsed() < 310ms);  // cookie, server flight, done
  Duration took{};
  requester.ask(Priority::urgent, 100, 1000, [&](Duration time) { took = time; });
  REQUIRE(world.run_until([&] { return requester.answers() == 1; }, 1s));
  CHECK(took < 101ms);
}
