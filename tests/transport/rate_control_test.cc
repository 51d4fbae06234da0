// The rate control in a closed loop with everything it works with, on a simulated bottleneck.
// Long forms: transport_rate_test "[long]".
#include <catch2/catch.hpp>

#include <chrono>
#include <cstdio>

#include "tests/transport/rate_simulation.h"

using namespace rushfs::transport;
using namespace rushfs::transport::simulation;
using namespace std::chrono_literals;

namespace {

struct Figures {
  double utilisation = 0;  // goodput / (rate × (1 − loss) × payload share)
  double waste = 0;        // wire / (goodput / (1 − loss)), 1 is none
  Duration queue{};
  std::uint64_t spurious = 0;
  std::uint64_t sent_again = 0;  // payload that had arrived
};

Figures measure(Simulation& simulation, Duration warm, Duration length) {
  simulation.run_until(simulation.elapsed() + warm);
  simulation.mark();
  simulation.run_until(simulation.elapsed() + length);
  const FlowResult result = simulation.result(0);
  const Link& link = simulation.link();
  Figures figures;
  const auto goodput = static_cast<double>(result.goodput_bytes);
  figures.utilisation = goodput / seconds(length) / simulation.payload_limit();
  figures.waste = static_cast<double>(result.wire_bytes) * 1428 / 1472 * (1 - link.loss) *
                  (1 - link.burst_loss) / goodput;
  figures.queue = simulation.mean_queue();
  figures.spurious = result.packets_spurious;
  figures.sent_again = result.payload_sent_again;
  return figures;
}

Figures steady(const Link& link, std::uint64_t seed, Duration warm = 10s, Duration length = 15s) {
  Simulation simulation(link, seed);
  simulation.add({});
  return measure(simulation, warm, length);
}

std::string describe(const Link& link) {
  char text[160];
  std::snprintf(text, sizeof text, "%.0f Mb/s, %.0f ms, %.1f %% loss",
                link.rate.bits_per_second / 1e6, seconds(link.round_trip) * 1e3, link.loss * 100);
  return text;
}

Link path(BitRate rate, Duration round_trip, double loss = 0) {
  Link link;
  link.rate = rate;
  link.round_trip = round_trip;
  link.loss = loss;
  link.buffer = std::max<Duration>(round_trip, 5ms);
  return link;
}

double jain(const Simulation& simulation, std::size_t flows) {
  double sum = 0;
  double squares = 0;
  for (std::size_t i = 0; i < flows; ++i) {
    const auto goodput = static_cast<double>(simulation.result(i).goodput_bytes);
    sum += goodput;
    squares += goodput * goodput;
  }
  return sum * sum / (static_cast<double>(flows) * squares);
}

}  // namespace

TEST_CASE("the link is full at any rate, distance and loss, and the queue stays small") {
  for (const BitRate rate : {20_Mbps, 100_Mbps, 1000_Mbps}) {
    for (const Duration round_trip : {2ms, 20ms, 100ms, 300ms}) {
      for (const double loss : {0.0, 0.01, 0.05, 0.20}) {
        const Link link = path(rate, round_trip, loss);
        const Figures figures = steady(link, 1);
        INFO(describe(link));
        CHECK(figures.utilisation >= 0.85);
        CHECK(figures.waste <= 1.10);
        CHECK(figures.spurious == 0);
        CHECK(seconds(figures.queue) <= std::max(0.005, seconds(round_trip) / 5));
      }
    }
  }
}

TEST_CASE("every cell of the large grid, five seeds", "[.][long]") {
  std::printf("Mb/s,RTT ms,loss %%,mean utilisation,worst,mean queue ms,worst waste\n");
  for (const BitRate rate : {20_Mbps, 100_Mbps, 1000_Mbps}) {
    for (const Duration round_trip : {2ms, 20ms, 100ms, 300ms}) {
      for (const double loss : {0.0, 0.001, 0.01, 0.02, 0.05, 0.10, 0.20}) {
        const Link link = path(rate, round_trip, loss);
        double sum = 0;
        double worst = 1e9;
        double queue = 0;
        double waste = 0;
        for (std::uint64_t seed = 1; seed <= 5; ++seed) {
          const Figures figures = steady(link, seed, 10s, 30s);
          sum += figures.utilisation;
          worst = std::min(worst, figures.utilisation);
          queue += seconds(figures.queue) * 1e3;
          waste = std::max(waste, figures.waste);
        }
        std::printf("%.0f,%.0f,%.1f,%.3f,%.3f,%.1f,%.3f\n", rate.bits_per_second / 1e6,
                    seconds(round_trip) * 1e3, loss * 100, sum / 5, worst, queue / 5, waste);
        INFO(describe(link));
        CHECK(worst >= 0.85);
      }
    }
  }
}

TEST_CASE("64 MiB on a fresh connection at 1 Gb/s and 100 ms take twice the ideal") {
  const auto [loss, most] = GENERATE(table<double, double>({{0.0, 2.0}, {0.01, 2.3}}));
  Simulation simulation(path(1000_Mbps, 100ms, loss), 1);
  FlowOptions flow;
  flow.bytes = (64_MiB).count;
  simulation.add(flow);
  simulation.run_until(10s);
  const auto finished = simulation.result(0).finished;
  REQUIRE(finished);
  const double ideal =
      static_cast<double>((64_MiB).count) / simulation.payload_limit() + 0.05;  // half a trip
  INFO("ideal " << ideal << " s");
  CHECK(seconds(*finished - TimePoint{}) <= most * ideal);
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
  FlowOptions flow;
  flow.bytes = (64_MiB).count;
  flow.remembered = RememberedPath{900_Mbps, 100ms};
  simulation.add(flow);
  simulation.run_until(10s);
  const auto finished = simulation.result(0).finished;
  REQUIRE(finished);
  CHECK(seconds(*finished - TimePoint{}) <= 1.6 * (64_MiB / 950_Mbps + 50ms).count() * 1e-9);
}

TEST_CASE("losses in bursts, shallow buffers and policers are lived with") {
  Link link = path(100_Mbps, 100ms);
  double least = 0.85;
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
  const Figures figures = steady(link, 1, 15s, 20s);
  CHECK(figures.utilisation >= least);
  CHECK(figures.waste <= 1.05);
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
  CHECK(steady(link, 1, 12s, 20s).utilisation >= 0.85);
}

TEST_CASE("lost acknowledgements cost little") {
  Link link = path(100_Mbps, 50ms, GENERATE(0.0, 0.2));
  link.ack_loss = 0.3;
  CHECK(steady(link, 1).utilisation >= 0.85);
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

TEST_CASE("flows that started at different times get equal shares") {
  const auto [flows, loss, least] = GENERATE(table<std::size_t, double, double>(
      {{2, 0.0, 0.95}, {4, 0.0, 0.95}, {2, 0.02, 0.90}, {4, 0.02, 0.90}, {8, 0.0, 0.95}}));
  INFO(flows << " flows, loss " << loss);
  Simulation simulation(path(100_Mbps, 50ms, loss), 1);
  for (std::size_t i = 0; i < flows; ++i) {
    FlowOptions flow;
    flow.start = TimePoint{} + 2s * i;
    simulation.add(flow);
  }
  simulation.run_until(25s);
  simulation.mark();
  simulation.run_until(55s);
  CHECK(jain(simulation, flows) >= least);
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
  CHECK(simulation.recovery(0).report(TimePoint{}).limit == SendLimit::application);
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
  CHECK(simulation.recovery(0).report(TimePoint{}).limit == SendLimit::target_rate);
}
