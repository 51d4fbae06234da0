// Three mounts against a model of docs/semantics.md, on seeds. RUSHFS_SEED=n repeats one;
// RUSHFS_TEST_LONG=1 does millions of operations, RUSHFS_TEST_SECONDS=n goes on for so long.
#include <catch2/catch.hpp>
#include <spdlog/spdlog.h>

#include <chrono>
#include <cstdlib>
#include <iostream>

#include "tests/sim/promises_model.h"

namespace rushfs::sim {

namespace {

std::uint64_t number(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

/// Runs the seeds from `first` on with so many operations each, until the time is over.
void keep_all_promises(ModelOptions options, std::uint64_t seeds) {
  if (!std::getenv("RUSHFS_TRACE")) spdlog::set_level(spdlog::level::off);
  const std::uint64_t first = number("RUSHFS_SEED", number("RUSHFS_FIRST_SEED", 1));
  const bool repeat = std::getenv("RUSHFS_SEED") != nullptr;
  if (std::getenv("RUSHFS_TEST_LONG")) seeds = 5000;
  const auto end = std::chrono::steady_clock::now() +
                   std::chrono::seconds(number("RUSHFS_TEST_SECONDS", 1'000'000));
  std::uint64_t operations = 0, checks = 0, count = 0;
  for (std::uint64_t seed = first; seed < first + (repeat ? 1 : seeds); ++seed) {
    if (std::chrono::steady_clock::now() > end) break;
    options.seed = seed;
    PromisesModel model(options);
    const auto broken = model.run();
    operations += model.operations();
    checks += model.checks();
    ++count;
    if (broken) FAIL(*broken);
  }
  if (seeds > 1000 || repeat) {
    std::cout << count << " seeds, " << operations << " operations, " << checks << " checks\n";
  }
  CHECK(checks > 0);
}

}  // namespace

TEST_CASE("mounts that keep apart see only what they did, through cuts and crashes") {
  ModelOptions options;
  options.apart = true;
  options.locks = false;
  keep_all_promises(options, 20);
}

TEST_CASE("three mounts see what the others change, at once") {
  ModelOptions options;
  options.cuts = options.crashes = false;
  keep_all_promises(options, 20);
}

TEST_CASE("three mounts keep their promises through cuts and crashes") {
  keep_all_promises({}, 20);
}

}  // namespace rushfs::sim
