#include "tests/wan/link.h"

#include <catch2/catch.hpp>

using namespace rushfs::wan;
using namespace std::chrono_literals;

namespace {

const TimePoint kStart{1h};

/// A packet of `size` bytes that no one understands.
Segment packet(std::size_t size = 1000) {
  std::vector<Segment> out;
  split(parse({}, std::vector<std::uint8_t>(size)), out);
  return out.front();
}

std::vector<TimePoint> arrivals_of_all(Link& link) {
  std::vector<TimePoint> times;
  while (const auto next = link.next_event()) {
    while (link.pop_due(*next)) times.push_back(*next);
  }
  return times;
}

LinkOptions eight_megabits() {
  LinkOptions options;
  options.rate = 8e6;  // 1000 bytes take a millisecond
  options.buffer = 10ms;
  return options;
}

/// Offers `count` packets, one each `spacing`, and lets the link run dry.
LinkCounters offer(const LinkOptions& options, int count, Duration spacing) {
  Link link(options, 7);
  TimePoint now = kStart;
  for (int i = 0; i < count; ++i, now += spacing) {
    link.arrive(packet(), now);
    while (link.pop_due(now)) {
    }
  }
  arrivals_of_all(link);
  return link.counters();
}

}  // namespace

TEST_CASE("packets leave at the rate and arrive after the delay") {
  LinkOptions options = eight_megabits();
  options.delay = 50ms;
  Link link(options, 1);
  for (int i = 0; i < 3; ++i) link.arrive(packet(), kStart);
  CHECK(arrivals_of_all(link) == std::vector<TimePoint>{kStart + 51ms, kStart + 52ms,
                                                        kStart + 53ms});
}

TEST_CASE("nothing is due before its time") {
  LinkOptions options = eight_megabits();
  options.delay = 50ms;
  Link link(options, 1);
  link.arrive(packet(), kStart);
  CHECK_FALSE(link.pop_due(kStart + 51ms - 1ns));
  CHECK(link.pop_due(kStart + 51ms));
}

TEST_CASE("a full queue drops what comes last") {
  Link link(eight_megabits(), 1);
  for (int i = 0; i < 15; ++i) link.arrive(packet(), kStart);
  CHECK(link.counters().dropped_by_queue == 5);
  CHECK(arrivals_of_all(link).size() == 10);
  CHECK(link.counters().queue_max == 10ms);
  CHECK(link.counters().queue_sum_seconds == Approx(0.055));
}

TEST_CASE("an idle link saves up no capacity") {
  Link link(eight_megabits(), 1);
  link.arrive(packet(), kStart);
  arrivals_of_all(link);
  link.arrive(packet(), kStart + 1s);
  CHECK(arrivals_of_all(link) == std::vector<TimePoint>{kStart + 1001ms});
}

TEST_CASE("a new rate holds for the packets already queued") {
  LinkOptions options = eight_megabits();
  Link link(options, 1);
  for (int i = 0; i < 4; ++i) link.arrive(packet(), kStart);
  CHECK(link.pop_due(kStart + 1ms));
  options.rate /= 10;
  link.set_options(options, kStart + 1ms);
  CHECK(arrivals_of_all(link) ==
        std::vector<TimePoint>{kStart + 11ms, kStart + 21ms, kStart + 31ms});
  CHECK(link.utilisation(kStart + 31ms) == Approx(1.0));
}

TEST_CASE("independent loss has the wanted share, and what is lost has used the rate") {
  LinkOptions options = eight_megabits();
  options.loss = 0.05;
  const LinkCounters c = offer(options, 20000, 1ms);
  CHECK(static_cast<double>(c.dropped_by_loss) == Approx(1000).epsilon(0.15));
  CHECK(c.transmitted == 20000);
  CHECK(c.delivered == 20000 - c.dropped_by_loss);
}

TEST_CASE("bursts of loss have the wanted share and the wanted mean length") {
  LinkOptions options = eight_megabits();
  options.loss = 0.05;
  options.burst = 5;
  Link link(options, 3);
  int lost = 0, bursts = 0;
  bool before = false;
  for (int i = 0; i < 50000; ++i) {
    const TimePoint now = kStart + i * 1ms;
    link.arrive(packet(), now);
    const bool arrived = link.pop_due(now + 1ms).has_value();
    lost += !arrived;
    bursts += !arrived && !before;
    before = !arrived;
  }
  CHECK(lost == Approx(2500).epsilon(0.2));
  CHECK(static_cast<double>(lost) / bursts == Approx(5).epsilon(0.15));
}

TEST_CASE("Wi-Fi-like jitter varies the delay and keeps the order") {
  LinkOptions options;
  options.delay = 50ms;
  options.jitter = 20ms;
  Link link(options, 5);
  Duration least = 1h, most = 0ms;
  int in = 0, out = 0;
  for (TimePoint now = kStart; now < kStart + 10s; now += 1ms) {
    std::vector<Segment> one;
    split(parse({}, std::vector<std::uint8_t>(20 + static_cast<std::size_t>(in++))), one);
    link.arrive(one.front(), now);
    while (const auto due = link.pop_due(now)) {
      CHECK(due->size() == 20u + static_cast<unsigned>(out));  // sizes number the packets
      const Duration took = now - (kStart + out++ * 1ms);
      least = std::min(least, took);
      most = std::max(most, took);
    }
  }
  CHECK(least < 35ms);
  CHECK(least >= 30ms);
  CHECK(most > 65ms);
  CHECK(most <= 71ms);
}

TEST_CASE("packets held back are overtaken") {
  LinkOptions options;
  options.reorder = 1;
  options.reorder_by = 5ms;
  Link link(options, 1);
  link.arrive(packet(100), kStart);
  options.reorder = 0;
  link.set_options(options, kStart);
  link.arrive(packet(200), kStart + 1ms);
  CHECK(link.pop_due(kStart + 10ms)->size() == 200);
  CHECK(link.pop_due(kStart + 10ms)->size() == 100);
}

TEST_CASE("duplicates and damage have the wanted share") {
  LinkOptions options = eight_megabits();
  options.duplicate = 0.1;
  options.corrupt = 0.02;
  const LinkCounters c = offer(options, 20000, 1ms);
  CHECK(static_cast<double>(c.duplicated) == Approx(2000).epsilon(0.1));
  CHECK(static_cast<double>(c.corrupted) == Approx(400).epsilon(0.2));
  CHECK(c.delivered == 20000 + c.duplicated);
}

TEST_CASE("a cut link lets nothing in and nothing out, a healed one works again") {
  LinkOptions options;
  options.delay = 10ms;
  Link link(options, 1);
  link.arrive(packet(), kStart);
  link.set_cut(true);
  link.arrive(packet(), kStart + 5ms);
  CHECK_FALSE(link.pop_due(kStart + 10ms));
  link.set_cut(false);
  link.arrive(packet(), kStart + 20ms);
  CHECK(arrivals_of_all(link) == std::vector<TimePoint>{kStart + 30ms});
  CHECK(link.counters().dropped_by_cut == 2);
}

TEST_CASE("a policer passes a burst, then its rate, and queues nothing") {
  LinkOptions options;
  options.policer = 8e6;
  options.policer_burst = 50ms;
  const LinkCounters c = offer(options, 10000, 100us);  // ten times the rate, for a second
  CHECK(static_cast<double>(c.delivered) == Approx(1050).epsilon(0.01));
  CHECK(c.queue_max == 0ms);
}
