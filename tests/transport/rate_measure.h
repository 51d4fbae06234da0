// What a simulated path gave, in the terms of docs/decisions/0001-rate-control.md.
#pragma once

#include <functional>
#include <string>

#include "tests/transport/rate_simulation.h"

namespace rushfs::transport::simulation {

struct Figures {
  double utilisation = 0;  // goodput / (rate × (1 − loss) × payload share)
  double waste = 0;        // wire / (goodput / (1 − loss)), 1 is none
  Duration queue{};
  std::uint64_t delivered = 0;  // distinct payload
  std::uint64_t spurious = 0;
  std::uint64_t sent_again = 0;  // payload that had arrived
};

/// RUSHFS_TEST_SEED, or 1: others than those the control was tuned with.
std::uint64_t first_seed();

/// What `measure` gives with the first seed; where that is less than `least`, the mean of three
/// seeds, for single runs scatter and promises are of the mean.
double mean_of_seeds(double least, const std::function<double(std::uint64_t seed)>& measure);

/// Flow 0 after `warm`, for `length`.
Figures measure(Simulation& simulation, Duration warm, Duration length);
/// One endless flow alone.
Figures steady(const Link& link, std::uint64_t seed, Duration warm = std::chrono::seconds(10),
               Duration length = std::chrono::seconds(15), Control control = Control::ours);
std::string describe(const Link& link);
/// A drop-tail buffer of one round trip, at least 5 ms.
Link path(BitRate rate, Duration round_trip, double loss = 0);
/// Jain's index of the first `flows` since the last mark().
double jain(const Simulation& simulation, std::size_t flows);

}  // namespace rushfs::transport::simulation
