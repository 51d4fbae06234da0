// Several flows on one link: ours among each other, and beside CUBIC and BBRv3.
#include <catch2/catch.hpp>

#include "tests/transport/rate_measure.h"

using namespace rushfs::transport;
using namespace rushfs::transport::simulation;
using namespace std::chrono_literals;

TEST_CASE("flows that started at different times get equal shares") {
  const auto [flows, loss, least] = GENERATE(table<std::size_t, double, double>({{2, 0.0, 0.95},
                                                                                 {4, 0.0, 0.95},
                                                                                 {8, 0.0, 0.95},
                                                                                 {2, 0.02, 0.95},
                                                                                 {4, 0.02, 0.95},
                                                                                 {8, 0.02, 0.90}}));
  const Duration round_trip = GENERATE(Duration(20ms), Duration(50ms), Duration(100ms));
  INFO(flows << " flows, " << round_trip / 1ms << " ms, loss " << loss);
  const Link link = path(100_Mbps, round_trip, loss);
  const auto fairness = [&, count = flows](std::uint64_t seed) {
    Simulation simulation(link, seed);
    for (std::size_t i = 0; i < count; ++i) simulation.add({.start = TimePoint{} + 2s * i});
    simulation.run_until(25s);
    simulation.mark();
    simulation.run_until(55s);
    CHECK(simulation.dropped_share() <= 0.01);
    return jain(simulation, count);
  };
  CHECK(mean_of_seeds(least, fairness) >= least);
}

TEST_CASE("sixteen flows do not talk each other into a lossy path") {
  Simulation simulation(path(100_Mbps, 50ms), first_seed());
  for (std::size_t i = 0; i < 16; ++i) simulation.add({.start = TimePoint{} + 2s * i});
  simulation.run_until(40s);
  simulation.mark();
  simulation.run_until(70s);
  CHECK(simulation.dropped_share() <= 0.1);  // far too much, but no collapse
}

TEST_CASE("low leaves the link to others, high takes more than fair") {
  const auto [policy, least, most] = GENERATE(table<RatePolicy, double, double>(
      {{RatePolicy::low, 0.0, 0.35}, {RatePolicy::fair, 0.4, 0.6}, {RatePolicy::high, 0.5, 0.9}}));
  Simulation simulation(path(100_Mbps, 50ms), 1);
  simulation.add({});
  FlowOptions flow;
  flow.limits.policy = policy;
  simulation.add(flow);
  simulation.run_until(20s);
  simulation.mark();
  simulation.run_until(50s);
  const auto fair = static_cast<double>(simulation.result(0).goodput_bytes);
  const auto other = static_cast<double>(simulation.result(1).goodput_bytes);
  INFO("policy " << static_cast<int>(policy) << " got " << other / (fair + other));
  CHECK(other / (fair + other) >= least);
  CHECK(other / (fair + other) <= most);
}

TEST_CASE("a fixed rate is kept through loss, and given up where the path does not carry it") {
  Simulation simulation(path(100_Mbps, 50ms, 0.05), 1);
  FlowOptions flow;
  flow.limits.policy = RatePolicy::fixed;
  SECTION("within the capacity") {
    flow.limits.target = 50_Mbps;
    simulation.add(flow);
    simulation.run_until(10s);
    simulation.mark();
    simulation.run_until(30s);
    const double rate = static_cast<double>(simulation.result(0).goodput_bytes) * 8 / 20;
    CHECK(rate > 45e6);
    CHECK(rate < 51e6);
  }
  SECTION("ten times the capacity") {
    flow.limits.target = 1000_Mbps;
    simulation.add(flow);
    simulation.run_until(3s);
    for (int i = 0; i < 9; ++i) {
      simulation.mark();
      simulation.run_until(simulation.elapsed() + 3s);
      CHECK(static_cast<double>(simulation.result(0).wire_bytes) * 8 / 3 < 130e6);
    }
    CHECK(static_cast<double>(simulation.result(0).goodput_bytes) / 3 >
          0.8 * simulation.payload_limit());
  }
}

TEST_CASE("neither a near flow nor a far one gets less than a quarter") {
  const double loss = GENERATE(0.0, 0.01);
  const Duration buffer = GENERATE(Duration(20ms), Duration(50ms), Duration(100ms));
  const bool near_first = GENERATE(true, false);
  INFO("buffer " << buffer / 1ms << " ms, loss " << loss << ", near first " << near_first);
  Simulation simulation(path(100_Mbps, 20ms, loss), first_seed());
  simulation.link().buffer = buffer;
  simulation.add({.start = TimePoint{} + (near_first ? 0s : 2s)});
  simulation.add({.start = TimePoint{} + (near_first ? 2s : 0s), .extra_round_trip = 180ms});
  simulation.run_until(30s);
  simulation.mark();
  simulation.run_until(90s);
  const auto near = static_cast<double>(simulation.result(0).goodput_bytes);
  const auto far = static_cast<double>(simulation.result(1).goodput_bytes);
  INFO("near " << near / (near + far));
  CHECK(near / (near + far) >= 0.25);
  CHECK(far / (near + far) >= 0.25);
}

TEST_CASE("beside CUBIC or BBR each side gets its part, and low leaves nearly all to them") {
  // BBRv3 keeps its queue too short to be told from that of many of our own kind.
  const auto [rival, name, least] =
      GENERATE(table<Control, const char*, double>({{Control::cubic, "CUBIC", 0.3},
                                                    {Control::bbr1, "BBR", 0.3},
                                                    {Control::bbr3, "BBRv3", 0.08}}));
  const auto policy = GENERATE(RatePolicy::fair, RatePolicy::low);
  const bool first = GENERATE(true, false);
  const Duration round_trip = GENERATE(Duration(20ms), Duration(50ms), Duration(100ms));
  INFO(name << ", we " << (first ? "first" : "second") << ", " << round_trip / 1ms << " ms");
  const auto our_share = [&, rival_control = rival](std::uint64_t seed) {
    Simulation simulation(path(100_Mbps, round_trip), seed);
    FlowOptions ours{.start = TimePoint{} + (first ? 0s : 2s)};
    ours.limits.policy = policy;
    simulation.add(ours);
    simulation.add({.control = rival_control, .start = TimePoint{} + (first ? 2s : 0s)});
    simulation.run_until(20s);
    simulation.mark();
    simulation.run_until(80s);
    const double limit = simulation.payload_limit() * 60;
    const double them = static_cast<double>(simulation.result(1).goodput_bytes) / limit;
    CHECK(them >= (policy == RatePolicy::low ? 0.85 : 0.3));
    return static_cast<double>(simulation.result(0).goodput_bytes) / limit;
  };
  const double wanted = policy == RatePolicy::low ? 0 : least;
  CHECK(mean_of_seeds(wanted, our_share) >= wanted);
}
