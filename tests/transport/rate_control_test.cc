// The rate control in a closed loop with everything it works with, on a simulated bottleneck.
// Others on the same link: rate_fairness_test.cc. All rates, distances and losses:
// rate_grid_test.cc.
#include <catch2/catch.hpp>

#include <array>
#include <chrono>

#include "tests/transport/rate_measure.h"

using namespace rushfs::transport;
using namespace rushfs::transport::simulation;
using namespace std::chrono_literals;

namespace {

/// How long 64 MiB take, in times of what the link needs for them and half a round trip.
double times_ideal(Simulation& simulation, FlowOptions flow = {}) {
  flow.bytes = (64_MiB).count;
  simulation.add(flow);
  simulation.run_until(10s);
  const auto finished = simulation.result(0).finished;
  REQUIRE(finished);
  const double ideal = static_cast<double>((64_MiB).count) / simulation.payload_limit() +
                       seconds(simulation.link().round_trip / 2);
  return seconds(*finished - TimePoint{}) / ideal;
}

}  // namespace

TEST_CASE("64 MiB on a fresh connection at 1 Gb/s and 100 ms take less than twice the ideal") {
  const auto [loss, most] = GENERATE(table<double, double>({{0.0, 1.85}, {0.01, 2.2}}));
  Simulation simulation(path(1000_Mbps, 100ms, loss), 1);
  CHECK(times_ideal(simulation) <= most);
}

TEST_CASE("ends that were slow while startup lasted do not hold a short path down for long") {
  const Duration round_trip = GENERATE(100us, 2ms);
  Simulation simulation(path(1000_Mbps, round_trip), first_seed());
  simulation.add({});
  simulation.run_until(100ms);  // all memory is touched for the first time
  simulation.link().rate = 4000_Mbps;
  CHECK(measure(simulation, 1100ms, 500ms).utilisation > 0.9);
}

TEST_CASE("startup on a long path with a short buffer stops before much is lost") {
  const double loss = GENERATE(0.0, 0.05);
  Link link = path(1000_Mbps, 600ms, loss);
  link.buffer = 100ms;
  Simulation simulation(link, 1);
  FlowOptions flow;
  flow.bytes = (1024_MiB).count;
  simulation.add(flow);
  simulation.run_until(20s);
  CHECK(simulation.result(0).finished);
  CHECK(simulation.dropped_share() <= 0.1);
}

TEST_CASE("a remembered path is up to speed sooner") {
  Simulation simulation(path(1000_Mbps, 100ms), 1);
  CHECK(times_ideal(simulation, {.remembered = RememberedPath{900_Mbps, 100ms}}) <= 1.15);
}

TEST_CASE("hosts that stall lose little at the end of startup") {
  const bool remembered = GENERATE(false, true);
  const std::array intervals = {31ms, 43ms, 67ms, 97ms, 131ms, 150ms, 171ms};
  double dropped = 0;
  for (const auto interval : intervals) {
    Link link = path(1000_Mbps, 100ms);
    link.pause = 10ms;
    link.pause_interval = interval;
    link.receivers_pause = true;
    Simulation simulation(link, first_seed());
    FlowOptions flow;
    if (remembered) flow.remembered = RememberedPath{900_Mbps, 100ms};
    CAPTURE(remembered, interval.count());
    CHECK(times_ideal(simulation, flow) <= (remembered ? 1.4 : 2.0));
    dropped += simulation.dropped_share() / intervals.size();
  }
  CHECK(dropped <= 0.025);
}

TEST_CASE("what is remembered of another path does little harm") {
  Link link = path(20_Mbps, 100ms);
  FlowOptions flow;
  flow.bytes = (16_MiB).count;
  double most = 0.15;  // half the old rate until the first losses are known
  SECTION("as long, but slower") {
    flow.remembered = RememberedPath{200_Mbps, 100ms};
  }
  SECTION("of another length") {
    flow.remembered = RememberedPath{1000_Mbps, 10ms};
    most = 0.05;
  }
  Simulation simulation(link, 1);
  simulation.add(flow);
  simulation.run_until(20s);
  REQUIRE(simulation.result(0).finished);
  CHECK(simulation.dropped_share() <= most);
}

TEST_CASE("losses in bursts, shallow buffers and policers are lived with") {
  Link link = path(100_Mbps, 100ms);
  double most = 1.03;  // of waste, with any seed; the mean stays below that everywhere
  SECTION("bursts of five packets, 2 %") {
    link.burst_loss = 0.02;
  }
  SECTION("a buffer of a tenth of the path") {
    link.buffer = 10ms;
  }
  SECTION("a policer") {
    link.policer_bucket = 50ms;
  }
  SECTION("a policer and random loss") {
    link.policer_bucket = 50ms;
    link.loss = 0.03;
  }
  SECTION("a satellite") {
    link = path(100_Mbps, 550ms, 0.05);
  }
  constexpr int kSeeds = 5;
  double mean = 0;
  for (std::uint64_t seed = first_seed(); seed < first_seed() + kSeeds; ++seed) {
    const Figures figures = steady(link, seed, 15s, 20s);
    CAPTURE(seed);
    CHECK(figures.utilisation >= 0.85);
    CHECK(figures.waste <= most);
    mean += figures.waste / kSeeds;
  }
  CHECK(mean <= 1.03);
}

TEST_CASE("reordering is not taken for loss") {
  Link link = path(100_Mbps, 50ms);
  link.reordered = 0.05;
  link.reordering = GENERATE(Duration(10ms), Duration(40ms));
  const Figures figures = steady(link, 1);
  CHECK(figures.utilisation >= 0.9);
  CHECK(figures.sent_again <= 2 * 1428);  // of 130 MB
}

TEST_CASE("jitter is not taken for a queue") {
  Link link = path(100_Mbps, 50ms, GENERATE(0.0, 0.01));
  link.jitter = GENERATE(Duration(20ms), Duration(30ms));
  link.jitter_kind = GENERATE(Link::Jitter::held, Link::Jitter::each, Link::Jitter::overtaking);
  INFO(describe(link) << ", jitter " << link.jitter / 1ms << " ms, kind "
                      << static_cast<int>(link.jitter_kind));
  const Figures figures = steady(link, 1, 12s, 20s);
  CHECK(figures.utilisation >= 0.85);
  CHECK(figures.sent_again <= figures.delivered / 1000);
}

TEST_CASE("more gaps at once than an ACK has room for hide nothing that arrives") {
  Link link = path(500_Mbps, 50ms);
  link.jitter = 20ms;
  link.jitter_kind = Link::Jitter::overtaking;
  const Figures figures = steady(link, 1, 8s, 8s);
  CHECK(figures.utilisation >= 0.9);
  CHECK(figures.sent_again <= figures.delivered / 500);
}

TEST_CASE("what arrived just before a cut and is acknowledged after it opens no window") {
  Link link = path(100_Mbps, 50ms);
  link.buffer = 4s;
  Simulation simulation(link, 1);
  simulation.add({});
  simulation.run_until(5s);
  simulation.link().cut = true;
  simulation.run_until(15s);
  simulation.link().cut = false;
  simulation.link().rate = 10_Mbps;
  simulation.mark();
  simulation.run_until(17s);
  CHECK(simulation.mean_queue() < 600ms);  // ten times 50 ms are under way before anything is heard
}

TEST_CASE("lost acknowledgements cost little") {
  Link link = path(100_Mbps, 50ms, GENERATE(0.0, 0.2));
  link.ack_loss = 0.3;
  CHECK(steady(link, 1).utilisation >= 0.85);
}

TEST_CASE("acknowledgements lost in bursts stop a flow for moments only") {
  Link link = path(100_Mbps, 50ms);
  link.burst_loss = link.ack_loss = 0.02;
  link.ack_burst = 5;
  for (const std::uint64_t seed : {1, 2, 3}) {
    INFO(seed);
    CHECK(steady(link, seed, 5s, 30s).utilisation >= 0.85);
  }
}

TEST_CASE("a blackout of 30 s is over when it is over") {
  Simulation simulation(path(100_Mbps, 50ms, 0.01), 1);
  simulation.add({});
  simulation.run_until(10s);
  simulation.link().cut = true;
  simulation.run_until(40s);
  simulation.link().cut = false;
  const Figures figures = measure(simulation, 2s, 5s);
  CHECK(figures.utilisation >= 0.85);
  CHECK(figures.waste <= 1.05);
}

TEST_CASE("a path that changes is followed within ten seconds") {
  Simulation simulation(path(100_Mbps, 50ms), 1);
  simulation.add({});
  simulation.run_until(15s);
  Link& link = simulation.link();
  SECTION("capacity down and up") {
    link.rate = 20_Mbps;
    CHECK(measure(simulation, 10s, 5s).utilisation >= 0.85);
    link.rate = 100_Mbps;
    CHECK(measure(simulation, 10s, 5s).utilisation >= 0.85);
  }
  SECTION("a longer route and back") {
    link.round_trip = 150ms;
    CHECK(measure(simulation, 10s, 5s).utilisation >= 0.85);
    link.round_trip = 50ms;
    CHECK(measure(simulation, 10s, 5s).utilisation >= 0.85);
  }
  SECTION("loss comes and goes") {
    link.loss = 0.05;
    CHECK(measure(simulation, 10s, 5s).utilisation >= 0.85);
    link.loss = 0;
    CHECK(measure(simulation, 10s, 5s).utilisation >= 0.85);
  }
}

TEST_CASE("what was yielded to a longer way, as to a queue, is had back once it is known") {
  for (const std::uint64_t seed : {1, 2, 3}) {
    INFO(seed);
    Simulation simulation(path(100_Mbps, 50ms), seed);
    simulation.add({});
    simulation.run_until(10s);
    simulation.link().round_trip = 150ms;
    CHECK(measure(simulation, 6s, 4s).utilisation >= 0.85);
  }
}

TEST_CASE("a bursty application keeps the bandwidth it once found") {
  Simulation simulation(path(100_Mbps, 50ms, 0.01), 1);
  FlowOptions flow;
  flow.burst_bytes = (8_MiB).count;  // 0.7 s worth, every 3 s
  flow.burst_interval = 3s;
  simulation.add(flow);
  simulation.run_until(9s);
  const BitRate before = simulation.recovery(0).control().bandwidth();
  CHECK(before > 70_Mbps);
  simulation.run_until(62s);  // between two bursts
  CHECK(simulation.recovery(0).control().bandwidth() > 70_Mbps);
  CHECK(simulation.recovery(0).report().limit == SendLimit::application);
}

TEST_CASE("small bursts do not wear the bandwidth down") {
  Simulation simulation(path(100_Mbps, 50ms), 1);
  FlowOptions flow;
  flow.burst_bytes = (16_MiB).count;
  flow.burst_interval = 2s;  // at first more than the link carries
  simulation.add(flow);
  simulation.run_until(6s);
  REQUIRE(simulation.recovery(0).control().bandwidth() > 90_Mbps);
  simulation.set_burst(0, (64_KiB).count, 200ms);
  simulation.run_until(120s);
  CHECK(simulation.recovery(0).control().bandwidth() > 90_Mbps);
}

TEST_CASE("a sender of little beside a full link does not learn a small bandwidth") {
  Simulation simulation(path(100_Mbps, 50ms), 1);
  simulation.add({});
  FlowOptions flow;
  flow.burst_bytes = 300;
  flow.burst_interval = 20ms;
  simulation.add(flow);
  simulation.run_until(15s);
  simulation.set_burst(1, (64_MiB).count, 10s);
  simulation.run_until(18s);
  CHECK(simulation.recovery(1).control().bandwidth() > 20_Mbps);
}

TEST_CASE("a target is kept and a slow application does not need one") {
  Simulation simulation(path(100_Mbps, 50ms, 0.02), 1);
  FlowOptions flow;
  flow.limits.target = 30_Mbps;
  simulation.add(flow);
  simulation.run_until(5s);
  simulation.mark();
  simulation.run_until(15s);
  const double rate = static_cast<double>(simulation.result(0).goodput_bytes) * 8 / 10;
  CHECK(rate > 27e6);
  CHECK(rate < 30.5e6);
  CHECK(simulation.recovery(0).report().limit == SendLimit::target_rate);
}
