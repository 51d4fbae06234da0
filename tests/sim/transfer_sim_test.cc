// Bulk transfers over good and bad links: everything arrives, once, undamaged, and fast enough.
#include <catch2/catch.hpp>

#include <iostream>

#include "tests/sim/traffic.h"

using namespace rushfs::sim;
using namespace std::chrono_literals;

namespace {

struct Path {
  BitRate rate;
  Duration round_trip;
  double loss;
};

struct Outcome {
  bool done = false;
  double goodput = 0;  // Mbit/s, handshake excluded
  PathReport report;
};

Outcome transfer(World& world, const Path& path, bool up, std::uint64_t bytes) {
  Node& server = world.add_server();
  Node& client = world.add_client();
  world.set_links(client, server,
                  {.rate = path.rate, .delay = path.round_trip / 2, .loss = path.loss});
  Responder responder(world, server);
  Requester requester(world, client, server);
  REQUIRE(requester.wait_connected());
  const TimePoint start = world.now();
  requester.start({.up = up, .total = bytes, .message = 256 << 10, .window = 1024});
  const Duration ideal = Bytes{bytes} / path.rate;
  Outcome outcome;
  outcome.done = world.run_until([&] { return requester.bulk_done() || requester.closed(); },
                                 20 * ideal + 100 * path.round_trip) &&
                 !requester.closed();
  outcome.goodput = static_cast<double>(bytes) * 8e-6 / seconds(world.now() - start);
  outcome.report = up ? requester.report()
                      : server.endpoint->report(*responder.last_connection, world.now());
  return outcome;
}

}  // namespace

TEST_CASE("bulk data arrives at every distance and loss, both ways") {
  const auto loss = GENERATE(0.0, 0.01, 0.05, 0.20);
  const auto round_trip = GENERATE(1ms, 100ms, 600ms);
  const auto up = GENERATE(true, false);
  World world(seed_or(7));
  INFO("RUSHFS_SEED=" << world.seed() << " loss " << loss << " rtt " << round_trip.count()
                      << (up ? " up" : " down"));
  const Outcome outcome = transfer(world, {200_Mbps, round_trip, loss}, up, 32 << 20);
  CHECK(outcome.done);
  const PathReport& report = outcome.report;
  CAPTURE(outcome.goodput, report.packets_sent, report.packets_lost, report.packets_spurious);
  // Nothing is sent again but what was lost.
  CHECK(report.bytes_retransmitted <= report.bytes_lost + 100'000_B);
  CHECK(report.packets_spurious <= report.packets_sent / 1000);
  if (round_trip == 1ms) CHECK(outcome.goodput > 0.85 * (1 - loss) * 200);
}

// Hidden for their length: run with [long].
TEST_CASE("a gibibyte arrives at every distance and loss, both ways", "[.long]") {
  const auto loss = GENERATE(0.0, 0.01, 0.05, 0.20);
  const auto round_trip = GENERATE(1ms, 100ms, 600ms);
  const auto up = GENERATE(true, false);
  World world(seed_or(8));
  INFO("RUSHFS_SEED=" << world.seed());
  const Outcome outcome = transfer(world, {1000_Mbps, round_trip, loss}, up, 1 << 30);
  CHECK(outcome.done);
  const PathReport& report = outcome.report;
  // What startup loses before it sees the queue, at most.
  CHECK(report.packets_lost <= report.packets_sent * (loss * 1.05 + 0.03));
  std::cout << round_trip.count() << " ms " << loss * 100 << " % " << (up ? "up" : "down") << ": "
            << outcome.goodput << " Mbit/s, lost " << report.packets_lost << " of "
            << report.packets_sent << std::endl;
}
