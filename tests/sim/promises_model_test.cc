// Three mounts against a model of docs/semantics.md, "Tenets", "Write, close, fsync", "What a
// program sees of its own changes" and what else is named where it is checked, on seeds.
// RUSHFS_TEST_SEED=n repeats one and n-m tries those; RUSHFS_TRACE=1 tells what happens;
// RUSHFS_TEST_LONG=1 does millions of operations.
#include <catch2/catch.hpp>
#include <spdlog/spdlog.h>

#include <cstdlib>
#include <iostream>
#include <vector>

#include "tests/sim/promises_model.h"

namespace rushfs::sim {

namespace {

constexpr std::uint64_t kSeeds = 150, kManySeeds = 2000;

/// Each of them found something that was mended.
const std::vector<std::uint64_t> kApartOnceBroken = {181,   274,    726,    1962,  2956, 20366,
                                                     20516, 310048, 530401, 560514, 570082};
const std::vector<std::uint64_t> kSeenOnceBroken = {2061, 30234, 32155, 701109};
const std::vector<std::uint64_t> kCutsOnceBroken = {175,  218,  438,  569,  583,  635,  851,
                                                    996,  1056, 1122, 1285, 1448, 3285, 3339,
                                                    7708, 8752, 20500, 30220};

void be_quiet() {
  if (!std::getenv("RUSHFS_TRACE")) spdlog::set_level(spdlog::level::off);
}

/// Those asked for; or the first so many, and those that were broken once.
std::vector<std::uint64_t> seeds_of(std::vector<std::uint64_t> once_broken) {
  std::uint64_t first = 1, last = std::getenv("RUSHFS_TEST_LONG") ? kManySeeds : kSeeds;
  if (const char* asked = std::getenv("RUSHFS_TEST_SEED")) {
    once_broken.clear();
    char* end = nullptr;
    first = last = std::strtoull(asked, &end, 10);
    if (*end == '-') last = std::strtoull(end + 1, nullptr, 10);
  }
  auto seeds = std::move(once_broken);
  std::erase_if(seeds, [&](std::uint64_t seed) { return seed <= last; });
  for (std::uint64_t seed = first; seed <= last; ++seed) seeds.push_back(seed);
  return seeds;
}

void keep_all_promises(ModelOptions options, std::vector<std::uint64_t> once_broken = {}) {
  be_quiet();
  const auto seeds = seeds_of(std::move(once_broken));
  std::uint64_t operations = 0, checks = 0;
  for (const std::uint64_t seed : seeds) {
    options.seed = seed;
    PromisesModel model(options);
    const auto broken = model.run();
    operations += model.operations();
    checks += model.checks();
    if (broken) FAIL_CHECK(*broken);
  }
  CHECK(checks > seeds.size());
  std::cout << seeds.size() << " seeds, " << operations << " operations, " << checks
            << " checks\n";
}

}  // namespace

TEST_CASE("a seed repeats to the last byte of the last message") {
  be_quiet();
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    CAPTURE(seed);
    ModelOptions options;
    options.seed = seed;
    PromisesModel first(options), second(options);  // at other addresses
    const auto broken = first.run();
    CHECK(second.run() == broken);
    CHECK(second.operations() == first.operations());
    CHECK(second.digest() == first.digest());
  }
}

TEST_CASE("mounts that keep apart see only what they did, through cuts and crashes") {
  ModelOptions options;
  options.apart = true;
  options.locks = options.beside = false;
  keep_all_promises(options, kApartOnceBroken);
}

TEST_CASE("three mounts see what the others change, at once") {
  ModelOptions options;
  options.cuts = options.crashes = false;
  keep_all_promises(options, kSeenOnceBroken);
}

TEST_CASE("three mounts keep their promises through cuts and crashes") {
  keep_all_promises({}, kCutsOnceBroken);
}

}  // namespace rushfs::sim
