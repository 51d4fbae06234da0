// Recognising others who keep a queue full, from what cruise epochs show.
#include <catch2/catch.hpp>

#include "transport/rate/competition.h"

using namespace rushfs::transport;
using namespace std::chrono_literals;

namespace {

const TimePoint kStart = TimePoint{} + 1000s;
constexpr double kCapacity = 12.5e6;  // 100 Mbit/s

const Competition::Sight kFullQueue{.queue = 45ms, .allowed = 5ms, .base = 50ms, .rate = 2.5e6};

TimePoint stay(Competition& competition, const Competition::Sight& sight, TimePoint from,
               Duration length) {
  const TimePoint end = from + length;
  for (; from < end; from += 100ms) competition.on_cruise(sight, from);
  return end;
}

void dip_in_vain(Competition& competition, int times) {
  for (int i = 0; i < times; ++i) competition.on_dip(45ms, 42ms, false);
}

Competition beside_others() {
  Competition competition;
  competition.on_delivered(kCapacity, kStart);
  dip_in_vain(competition, 3);
  stay(competition, kFullQueue, kStart, 3s);
  return competition;
}

}  // namespace

TEST_CASE("a queue that outlasts three dips is others'") {
  Competition competition;
  competition.on_delivered(kCapacity, kStart);
  dip_in_vain(competition, 2);
  TimePoint now = stay(competition, kFullQueue, kStart, 3s);
  CHECK_FALSE(competition.on());
  dip_in_vain(competition, 1);
  stay(competition, kFullQueue, now, 200ms);
  CHECK(competition.on());
}

TEST_CASE("a queue that goes, or falls by half, when we dip is our own kind's") {
  Competition competition;
  competition.on_delivered(kCapacity, kStart);
  const bool gone = GENERATE(true, false);
  TimePoint now = kStart;
  for (int i = 0; i < 20; ++i) {
    dip_in_vain(competition, 2);
    competition.on_dip(45ms, 20ms, gone);
    now = stay(competition, kFullQueue, now, 1s);
  }
  CHECK_FALSE(competition.on());
}

TEST_CASE("of a queue that goes in two dips, the others are our own kind") {
  Competition competition = beside_others();
  REQUIRE(competition.on());
  competition.on_dip(20ms, 0ms, true);
  const TimePoint now = stay(competition, kFullQueue, kStart + 3s, 100ms);
  CHECK(competition.on());
  competition.on_dip(20ms, 0ms, true);
  stay(competition, kFullQueue, now, 100ms);
  CHECK_FALSE(competition.on());
}

TEST_CASE("after ten seconds we try to yield, and sooner see that we should not") {
  Competition competition = beside_others();
  const TimePoint now = stay(competition, kFullQueue, kStart + 3s, 8s);
  REQUIRE_FALSE(competition.on());
  dip_in_vain(competition, 2);
  const TimePoint later = stay(competition, kFullQueue, now, 200ms);
  REQUIRE(competition.on());
  CHECK(competition.rate() == Approx(0.52 * kCapacity).epsilon(0.02));
  stay(competition, kFullQueue, later, 60s);
  CHECK(competition.on());  // the next trial is a long way off
}

TEST_CASE("beside others the rate rises to about half of the capacity and no further") {
  Competition competition = beside_others();
  REQUIRE(competition.on());
  CHECK(competition.rate() < 0.5 * kCapacity);
  stay(competition, kFullQueue, kStart + 3s, 6500ms);
  CHECK(competition.rate() == Approx(0.52 * kCapacity).epsilon(0.02));
}

TEST_CASE("when the others have gone, delay counts again") {
  Competition competition = beside_others();
  Competition::Sight gone = kFullQueue;
  gone.queue = 2ms;
  stay(competition, gone, kStart + 3s, 1500ms);
  CHECK_FALSE(competition.on());
}

TEST_CASE("excess loss lowers the rate by time, however long an epoch is") {
  Competition::Sight lossy = kFullQueue;
  lossy.lost = 0.15;
  lossy.excessive = true;
  const Duration step = GENERATE(Duration(20ms), Duration(200ms));
  Competition competition = beside_others();
  TimePoint now = stay(competition, kFullQueue, kStart + 3s, 6s);
  const double before = competition.rate();
  for (const TimePoint end = now + 400ms; now < end;) {
    now += step;
    competition.on_cruise(lossy, now);
  }
  REQUIRE(competition.on());
  CHECK(competition.rate() < 0.95 * before);
  CHECK(competition.rate() > 0.85 * before);
}

TEST_CASE("where all are in the same error and much is lost, we give way at once") {
  Competition competition = beside_others();
  Competition::Sight crowd = kFullQueue;
  crowd.lost = 0.4;
  crowd.excessive = true;
  stay(competition, crowd, kStart + 3s, 100ms);
  CHECK_FALSE(competition.on());
}

TEST_CASE(
    "when we gave way to a crowd that two dips show to be others, we are back where we were") {
  Competition competition = beside_others();
  TimePoint now = stay(competition, kFullQueue, kStart + 3s, 4s);
  const double before = competition.rate();
  Competition::Sight crowd = kFullQueue;
  crowd.lost = 0.4;
  crowd.excessive = true;
  now = stay(competition, crowd, now, 100ms);
  REQUIRE_FALSE(competition.on());
  dip_in_vain(competition, 2);
  stay(competition, kFullQueue, now, 100ms);
  REQUIRE(competition.on());
  CHECK(competition.rate() > 0.9 * before);
}
