// The capacity of a path that others fill, learned from how its queue answers us.
#include <catch2/catch.hpp>

#include "transport/rate/queue_answers.h"

using namespace rushfs::transport;
using namespace std::chrono_literals;

namespace {

constexpr double kPacket = 1250;
constexpr double kCapacity = 12.5e6;  // 100 Mbit/s

// 100 ms at `rate` beside others who send `others`, on a path of kCapacity whose queue stands; if
// `full`, what does not fit is dropped.
Epoch epoch_at(double rate, double others, std::uint32_t id, bool full = false) {
  Epoch epoch;
  epoch.id = id;
  epoch.started = TimePoint{} + 1000s + 100ms * id;
  epoch.ended = epoch.started + 100ms;
  epoch.sent = static_cast<std::uint32_t>(rate / kPacket / 10);
  double growth = (rate + others - kCapacity) / kCapacity;
  if (full && growth > 0) {
    epoch.lost = static_cast<std::uint32_t>(epoch.sent * growth / (1 + growth));
    growth = 0;
  }
  epoch.acknowledged = epoch.sent - epoch.lost;
  for (int i = 0; i <= 10; ++i) {
    const Duration into = 10ms * i;
    epoch.on_round_trip(80ms + from_seconds(seconds(into) * growth), epoch.started + into);
  }
  return epoch;
}

}  // namespace

TEST_CASE("a queue that grows and shrinks with what we send tells the capacity") {
  QueueAnswers answers;
  for (std::uint32_t id = 0; id < 20; ++id) {
    if (id < 4) CHECK_FALSE(answers.capacity());
    answers.on_epoch(epoch_at(kCapacity / (id % 2 == 0 ? 10 : 20), 0.9 * kCapacity, id), kPacket,
                     0);
  }
  REQUIRE(answers.capacity());
  CHECK(*answers.capacity() == Approx(kCapacity).epsilon(0.02));
}

TEST_CASE("what a full queue drops is an answer, too") {
  QueueAnswers answers;
  for (std::uint32_t id = 0; id < 20; ++id) {
    const double rate = kCapacity / (id % 2 == 0 ? 2 : 4);
    answers.on_epoch(epoch_at(rate, 0.7 * kCapacity, id, true), kPacket, 0);
  }
  REQUIRE(answers.capacity());
  CHECK(*answers.capacity() == Approx(kCapacity).epsilon(0.05));
}

TEST_CASE("others who stop for a moment do not change what the queue's answers say") {
  QueueAnswers answers;
  for (std::uint32_t id = 0; id < 24; ++id) {
    const double others = id % 8 == 5 ? 0.1 : 0.9;
    answers.on_epoch(epoch_at(kCapacity / (id % 2 == 0 ? 10 : 20), others * kCapacity, id), kPacket,
                     0);
  }
  REQUIRE(answers.capacity());
  CHECK(*answers.capacity() == Approx(kCapacity).epsilon(0.02));
}

TEST_CASE("a queue that does not answer us tells no capacity") {
  QueueAnswers answers;
  for (std::uint32_t id = 0; id < 20; ++id) {
    const double rate = kCapacity / (id % 2 == 0 ? 10 : 20);
    answers.on_epoch(epoch_at(rate, 0.9 * kCapacity - 2 * rate, id), kPacket, 0);
  }
  CHECK_FALSE(answers.capacity());
}
