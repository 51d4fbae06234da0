// Three mounts against a model of docs/semantics.md, on seeds. RUSHFS_TEST_SEED=n repeats one,
// RUSHFS_TRACE=1 tells what happens; RUSHFS_TEST_LONG=1 does millions of operations.
#include <catch2/catch.hpp>
#include <spdlog/spdlog.h>

#include <cstdlib>
#include <iostream>

#include "tests/sim/promises_model.h"

namespace rushfs::sim {

namespace {

constexpr std::uint64_t kSeeds = 150, kManySeeds = 2000;

std::uint64_t number(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

void be_quiet() {
  if (!std::getenv("RUSHFS_TRACE")) spdlog::set_level(spdlog::level::off);
}

void keep_all_promises(ModelOptions options) {
  be_quiet();
  const bool repeat = std::getenv("RUSHFS_TEST_SEED") != nullptr;
  const std::uint64_t first = number("RUSHFS_TEST_SEED", 1);
  const std::uint64_t seeds = repeat ? 1 : std::getenv("RUSHFS_TEST_LONG") ? kManySeeds : kSeeds;
  std::uint64_t operations = 0, checks = 0;
  for (options.seed = first; options.seed < first + seeds; ++options.seed) {
    PromisesModel model(options);
    const auto broken = model.run();
    operations += model.operations();
    checks += model.checks();
    if (broken) FAIL_CHECK(*broken);
  }
  CHECK(checks > seeds);
  std::cout << seeds << " seeds, " << operations << " operations, " << checks << " checks\n";
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
  keep_all_promises(options);
}

TEST_CASE("three mounts see what the others change, at once") {
  ModelOptions options;
  options.cuts = options.crashes = false;
  keep_all_promises(options);
}

TEST_CASE("three mounts keep their promises through cuts and crashes") {
  keep_all_promises({});
}

}  // namespace rushfs::sim
