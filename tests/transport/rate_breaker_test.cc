// A fixed rate has a circuit breaker, since whoever sets one may be wrong by a factor of ten.
#include <catch2/catch.hpp>

#include "tests/transport/rate_simulation.h"

using namespace rushfs::transport;
using namespace rushfs::transport::simulation;
using namespace std::chrono_literals;

TEST_CASE("ten times the capacity is never on the wire for longer than three seconds") {
  const double loss = GENERATE(0.0, 0.05, 0.8);
  const auto round_trip = GENERATE(20ms, 300ms);
  CAPTURE(loss, round_trip.count());
  constexpr double kCapacity = 50e6;
  Link link;
  link.rate = {kCapacity};
  link.round_trip = round_trip;
  link.buffer = round_trip;
  link.loss = loss;
  Simulation simulation(link, 1);
  FlowOptions flow;
  flow.limits.policy = RatePolicy::fixed;
  flow.limits.target = {10 * kCapacity};
  simulation.add(flow);
  constexpr Duration kLook = 250ms;
  Duration above{}, longest{};
  while (simulation.elapsed() < 30s) {
    simulation.mark();
    simulation.run_until(simulation.elapsed() + kLook);
    const double wire = static_cast<double>(simulation.result(0).wire_bytes) * 8 / seconds(kLook);
    above = wire > 1.3 * kCapacity ? above + kLook : Duration::zero();
    longest = std::max(longest, above);
  }
  CHECK(longest >= 1s);  // or nothing was there to be broken
  CHECK(longest <= 3s);
}
