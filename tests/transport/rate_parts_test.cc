// The parts of the rate control that judge: epochs, the loss floor and the queue model.
#include <catch2/catch.hpp>

#include <chrono>
#include <cstdlib>
#include <random>

#include "transport/rate/ack_wait.h"
#include "transport/rate/bandwidth_filter.h"
#include "transport/rate/loss_floor.h"
#include "transport/rate/queue_model.h"
#include "transport/rate/rate_epochs.h"
#include "transport/recovery/recovery.h"

using namespace rushfs::transport;
using namespace std::chrono_literals;

namespace {

const TimePoint kStart = TimePoint{} + 100s;

Epoch epoch_of(std::uint32_t packets, double loss, RatePhase phase = RatePhase::cruise) {
  Epoch epoch;
  epoch.phase = phase;
  epoch.sent = packets;
  epoch.lost = static_cast<std::uint32_t>(packets * loss + 0.5);
  epoch.loss_runs = epoch.lost;
  epoch.acknowledged = packets - epoch.lost;
  epoch.closed = true;
  return epoch;
}

// Round trips of `least` and, every other one, `most`.
Epoch timed(Duration least, Duration most) {
  Epoch epoch = epoch_of(100, 0);
  for (int i = 0; i < 20; ++i) epoch.on_round_trip(i % 2 == 0 ? least : most, kStart + 5ms * i);
  epoch.first_round_trip = epoch.last_round_trip = least;
  return epoch;
}

}  // namespace

TEST_CASE("a loss counts against the epoch in which the packet was sent") {
  RateEpochs epochs;
  const std::uint32_t first = epochs.current().id;
  epochs.current().sent = 3;
  epochs.open(RatePhase::up, kStart);
  const std::uint32_t second = epochs.current().id;
  epochs.current().sent = 1;
  epochs.on_acknowledged(first);
  epochs.on_acknowledged(second);
  epochs.on_lost(first, 1);
  CHECK(epochs.next_complete() == nullptr);
  epochs.on_lost(first, 2);
  const Epoch* done = epochs.next_complete();
  REQUIRE(done != nullptr);
  CHECK(done->id == first);
  CHECK(done->loss() == Approx(2.0 / 3));
  CHECK(done->loss_runs == 1);               // packets 1 and 2 went together
  CHECK(epochs.next_complete() == nullptr);  // the second is still open
}

TEST_CASE("a packet that arrives late takes its loss back") {
  RateEpochs epochs;
  epochs.current().sent = 1;
  const std::uint32_t id = epochs.current().id;
  epochs.on_lost(id, 0);
  epochs.on_late(id);
  CHECK(epochs.find(id)->loss() == 0);
  CHECK(epochs.find(id)->acknowledged == 1);
}

TEST_CASE("an epoch that is long gone is not mistaken for a new one") {
  RateEpochs epochs;
  for (int i = 0; i < 1000; ++i) epochs.open(RatePhase::cruise, kStart);
  CHECK(epochs.find(3) == nullptr);
  epochs.on_lost(3, 0);
  epochs.on_acknowledged(3);
  CHECK(epochs.current().resolved() == 0);
}

TEST_CASE("loss that stays at half the rate is the path's own and becomes the floor") {
  LossFloor floor;
  for (int i = 0; i < 20; ++i) floor.on_cruise(epoch_of(200, 0.05));
  CHECK(floor.excessive(epoch_of(400, 0.08)));
  CHECK(floor.on_dip(epoch_of(200, 0.05, RatePhase::dip), false));
  CHECK(floor.value() == Approx(0.05).margin(0.005));
  CHECK_FALSE(floor.excessive(epoch_of(400, 0.06)));
  CHECK(floor.excessive(epoch_of(400, 0.15)));
}

TEST_CASE("loss that goes away at half the rate was our doing") {
  LossFloor floor;
  for (int i = 0; i < 20; ++i) floor.on_cruise(epoch_of(200, 0.10));
  CHECK_FALSE(floor.on_dip(epoch_of(200, 0, RatePhase::dip), false));
  CHECK(floor.value() == 0);
}

TEST_CASE("loss in front of a full queue does not raise the floor") {
  LossFloor floor;
  for (int i = 0; i < 20; ++i) floor.on_cruise(epoch_of(200, 0.10));
  CHECK_FALSE(floor.on_dip(epoch_of(200, 0.10, RatePhase::dip), true));
  CHECK(floor.value() == 0);
}

TEST_CASE("a floor falls by itself when the path gets better") {
  LossFloor floor;
  for (int i = 0; i < 20; ++i) floor.on_cruise(epoch_of(200, 0.05));
  floor.on_dip(epoch_of(200, 0.05, RatePhase::dip), false);
  for (int i = 0; i < 100; ++i) floor.on_cruise(epoch_of(200, 0));
  CHECK(floor.value() < 0.01);
}

TEST_CASE("few packets are no proof, and losses in groups need more of them") {
  LossFloor floor;
  CHECK_FALSE(floor.excessive(epoch_of(8, 0.5)));
  CHECK_FALSE(floor.excessive(epoch_of(40, 0.05)));
  CHECK(floor.excessive(epoch_of(1000, 0.05)));

  Epoch grouped = epoch_of(400, 0.05);
  grouped.loss_runs = 4;  // groups of five
  for (int i = 0; i < 100; ++i) floor.on_cruise(grouped);
  CHECK_FALSE(floor.excessive(epoch_of(200, 0.04)));
}

TEST_CASE("the queue is what every packet of an epoch waited") {
  QueueModel queue;
  queue.on_round_trip(50ms, kStart);
  queue.on_epoch(timed(58ms, 60ms));
  CHECK(queue.standing() == 8ms);
}

TEST_CASE("a spread of round trips is jitter, not a queue") {
  QueueModel queue;
  queue.on_round_trip(50ms, kStart);
  std::minstd_rand random;
  for (int i = 0; i < 100; ++i) {
    Epoch epoch = epoch_of(100, 0);
    for (int k = 0; k < 20; ++k) {
      epoch.on_round_trip(51ms + from_seconds(0.030 * random() / random.max()), kStart + 5ms * k);
    }
    queue.on_epoch(epoch);
  }
  CHECK(queue.standing() < 5ms);
  CHECK(seconds(queue.jitter()) == Approx(0.036).margin(0.004));
}

TEST_CASE("delays that are held for longer than an epoch lasts are jitter, too") {
  QueueModel queue;
  queue.on_round_trip(50ms, kStart);
  std::minstd_rand random;
  Duration held = 0ms;
  for (int i = 0; i < 100; ++i) {
    Epoch epoch = epoch_of(100, 0);
    for (int k = 0; k < 20; ++k) {
      if (k == i % 20) held = from_seconds(0.080 * random() / random.max());
      epoch.on_round_trip(51ms + held, kStart + 2ms * k);
    }
    queue.on_epoch(epoch);
  }
  CHECK(queue.jitter() > 35ms);  // of 80; about a line the spread within an epoch is far less
  CHECK(queue.jitter() < 100ms);
}

TEST_CASE("a queue that comes and goes over many epochs is not jitter") {
  QueueModel queue;
  queue.on_round_trip(50ms, kStart);
  for (int i = 0; i < 96; ++i) {
    Epoch epoch = epoch_of(100, 0);
    const int away = std::abs(i % 16 - 8);
    for (int k = 0; k < 20; ++k) {
      epoch.on_round_trip(50ms + 5ms * away + k % 2 * 500us, kStart + 5ms * k);
    }
    queue.on_epoch(epoch);
  }
  CHECK(queue.jitter() < 3ms);
}

TEST_CASE("a queue that grows or shrinks is not jitter") {
  QueueModel queue;
  queue.on_round_trip(50ms, kStart);
  for (int i = 0; i < 50; ++i) {
    Epoch epoch = epoch_of(100, 0);
    for (int k = 0; k < 20; ++k) {
      epoch.on_round_trip(i % 2 == 0 ? 50ms + 2ms * k : 90ms - 2ms * k, kStart + 5ms * k);
    }
    queue.on_epoch(epoch);
  }
  CHECK(queue.jitter() < 1ms);
}

TEST_CASE("packets that others overtook are in flight for longer than the round trip") {
  AckWait wait;
  LossOutcome outcome;
  const auto acknowledge = [&](Duration newest, Duration older) {
    outcome.acknowledged_packets.resize(2);
    outcome.acknowledged_packets[0].sent = kStart - older;
    outcome.acknowledged_packets[1].sent = kStart - newest;
    outcome.round_trip = newest;
    wait.on_outcome(outcome, kStart);
  };
  for (int i = 0; i < 1000; ++i) acknowledge(50ms, 52ms);
  CHECK(wait.beyond_ack_delay(50ms) == 0);  // they waited for the ACK
  for (int i = 0; i < 1000; ++i) acknowledge(20ms, 80ms);
  CHECK(wait.beyond_ack_delay(50ms) > 0.020);
}

TEST_CASE("a peer that keeps acknowledgements back opens the window by little") {
  AckWait wait;
  LossOutcome outcome;
  outcome.round_trip = 20ms;
  outcome.acknowledged_packets.resize(100'000);
  for (auto& packet : outcome.acknowledged_packets) packet.sent = kStart - 1h;
  wait.on_outcome(outcome, kStart);
  CHECK(wait.beyond_ack_delay(20ms) <= 0.200);
}

TEST_CASE("a peer that claims to have waited for long with an acknowledgement hides no queue") {
  Recovery recovery(Recovery::Config{});
  const SentFrame frame{.kind = SentFrame::Kind::request_data, .length = 1000};
  recovery.on_sent(Bytes{1000}, true, {&frame, 1}, kStart);
  LossOutcome outcome;
  REQUIRE(recovery.on_ack(std::vector<NumberRange>{{0, 0}}, 900ms, kStart + 1s, outcome));
  CHECK(recovery.control().minimum_round_trip() >= 980ms);
}

TEST_CASE("all who share a queue saw it lowest at the same time, whatever they take for the base") {
  QueueModel first;
  QueueModel late;
  first.on_round_trip(50ms, kStart);
  late.on_round_trip(80ms, kStart + 1s);
  for (QueueModel* queue : {&first, &late}) {
    queue->forget_lowest();
    queue->on_round_trip(90ms, kStart + 2s);
    queue->on_round_trip(60ms, kStart + 3s);
    queue->on_round_trip(95ms, kStart + 4s);
  }
  CHECK(first.lowest_seen() == kStart + 3s);
  CHECK(late.lowest_seen() == kStart + 3s);
}

TEST_CASE("a longer route is believed when four dips agree on it") {
  QueueModel queue;
  queue.on_round_trip(50ms, kStart);
  for (int i = 0; i < 3; ++i) queue.on_dip(timed(150ms, 151ms), false, kStart + i * 2s);
  CHECK(queue.base() == 50ms);
  queue.on_dip(timed(151ms, 152ms), false, kStart + 6s);
  CHECK(queue.base() == 151ms);
}

TEST_CASE("a queue that falls while we send half is not taken for a longer route") {
  QueueModel queue;
  queue.on_round_trip(50ms, kStart);
  Epoch dip = timed(100ms, 101ms);
  dip.first_round_trip = 110ms;
  dip.last_round_trip = 100ms;
  for (int i = 0; i < 10; ++i) queue.on_dip(dip, false, kStart + i * 2s);
  CHECK(queue.base() == 50ms);
}

TEST_CASE("a full buffer is not taken for a longer route: it loses packets") {
  QueueModel queue;
  queue.on_round_trip(50ms, kStart);
  for (int i = 0; i < 10; ++i) queue.on_dip(timed(100ms, 101ms), true, kStart + i * 2s);
  CHECK(queue.base() == 50ms);
}

TEST_CASE("faster flows allow themselves a shorter queue, and low a shorter one than fair") {
  QueueModel queue;
  queue.on_round_trip(100ms, kStart);
  CHECK(queue.allowance(50e6 / 8, RatePolicy::fair) == 4ms);
  CHECK(queue.allowance(200e6 / 8, RatePolicy::fair) == 2ms);
  CHECK(queue.allowance(50e6 / 8, RatePolicy::low) == 800us);
  CHECK(queue.allowance(50e6 / 8, RatePolicy::high) == 8ms);
}

TEST_CASE("no flow allows itself more than 5 ms of queue, on a short path less") {
  const auto [round_trip, most] =
      GENERATE(table<Duration, Duration>({{2ms, 3200us}, {20ms, 5ms}, {60ms, 6ms}, {300ms, 30ms}}));
  QueueModel queue;
  queue.on_round_trip(round_trip, kStart);
  for (const double rate : {1e6, 5e6, 20e6, 100e6, 1000e6}) {
    CHECK(queue.allowance(rate / 8, RatePolicy::fair) <= most);
    CHECK(queue.allowance(rate / 8, RatePolicy::high) <= most + round_trip / 10);
  }
}

TEST_CASE("bandwidth is remembered for two probing cycles and never decays in between") {
  BandwidthFilter filter;
  filter.update(100);
  filter.advance();
  filter.update(80);
  CHECK(filter.value() == 100);
  filter.advance();
  CHECK(filter.value() == 80);
  filter.advance();  // a cycle without a sample does not count
  CHECK(filter.value() == 80);
  filter.bound(50);
  CHECK(filter.value() == 50);
  filter.unbound();
  CHECK(filter.value() == 80);
}
