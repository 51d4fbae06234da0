#include "transport/recovery/loss_detection.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <chrono>
#include <random>
#include <vector>

using namespace rushfs::transport;
using namespace std::chrono_literals;

namespace {

const TimePoint kStart = TimePoint{} + 100s;

// A sender whose packets carry their own number, on a path whose round trip is known.
class Sender {
 public:
  Sender() { round_trip_.update(80ms, 0ms, kStart); }

  std::uint64_t send(TimePoint now, std::size_t size = 1200) {
    const std::uint64_t number = loss.packets().next_number();
    const SentFrame frame{.kind = SentFrame::Kind::request_data, .id = number, .length = 1};
    loss.on_sent(Bytes{size}, true, {&frame, 1}, now);
    return number;
  }
  bool ack(std::vector<NumberRange> ranges, TimePoint now) {
    return loss.on_ack(ranges, 0ms, round_trip_, now, outcome);
  }
  void tick(TimePoint now) { loss.on_timer(round_trip_, now, outcome); }
  std::optional<TimePoint> deadline() const { return loss.deadline(round_trip_); }
  Duration window() const { return loss.reordering_window(round_trip_); }

  std::vector<std::uint64_t> lost() const { return ids(outcome.lost); }
  std::vector<std::uint64_t> arrived() const { return ids(outcome.acknowledged); }

  LossDetection loss;
  LossOutcome outcome;

 private:
  static std::vector<std::uint64_t> ids(const std::vector<SentFrame>& frames) {
    std::vector<std::uint64_t> result;
    for (const SentFrame& frame : frames) result.push_back(frame.id);
    return result;
  }
  RoundTrip round_trip_;
};

using Numbers = std::vector<std::uint64_t>;

}  // namespace

TEST_CASE("an ACK tells what arrived, once") {
  Sender sender;
  for (int i = 0; i < 5; ++i) sender.send(kStart);
  REQUIRE(sender.ack({{0, 2}}, kStart + 80ms));
  CHECK(sender.arrived() == Numbers{0, 1, 2});
  REQUIRE(sender.ack({{0, 3}}, kStart + 81ms));
  CHECK(sender.arrived() == Numbers{3});
  CHECK(sender.loss.packets().bytes_in_flight() == 1200);
}

TEST_CASE("an ACK of what was never sent is refused and changes nothing") {
  Sender sender;
  sender.send(kStart);
  sender.send(kStart);
  CHECK_FALSE(sender.ack({{0, 2}}, kStart + 80ms));
  CHECK_FALSE(sender.ack({{1, 0}}, kStart + 80ms));          // upside down
  CHECK_FALSE(sender.ack({{0, 0}, {1, 1}}, kStart + 80ms));  // not newest first
  CHECK(sender.loss.packets().bytes_in_flight() == 2400);
}

TEST_CASE("an ACK of a number that was left out on purpose is refused") {
  Sender sender;
  sender.send(kStart);
  sender.loss.skip_number();
  CHECK(sender.send(kStart) == 2);
  CHECK_FALSE(sender.ack({{0, 2}}, kStart + 80ms));
  CHECK(sender.ack({{2, 2}, {0, 0}}, kStart + 80ms));
  CHECK(sender.lost().empty());
}

TEST_CASE("a packet is lost when one sent a reordering window later has arrived") {
  Sender sender;
  sender.send(kStart);               // 0, never arrives
  sender.send(kStart + 5ms);         // 1: too close to tell
  sender.send(kStart + 12ms);        // 2
  REQUIRE(sender.window() == 10ms);  // an eighth of 80 ms
  REQUIRE(sender.ack({{1, 1}}, kStart + 85ms));
  CHECK(sender.lost().empty());
  REQUIRE(sender.ack({{1, 2}}, kStart + 92ms));
  CHECK(sender.lost() == Numbers{0});
}

TEST_CASE("without later packets the timer decides: a round trip, a window and an ACK's delay") {
  Sender sender;
  sender.send(kStart);
  sender.send(kStart + 1ms);
  REQUIRE(sender.ack({{1, 1}}, kStart + 81ms));
  CHECK(sender.lost().empty());
  REQUIRE(sender.deadline());
  CHECK(*sender.deadline() == kStart + 100ms);
  sender.tick(kStart + 99ms);
  CHECK(sender.lost().empty());
  sender.tick(kStart + 100ms);
  CHECK(sender.lost() == Numbers{0});
  CHECK_FALSE(sender.deadline());
}

TEST_CASE("a packet that arrives after it was declared lost is noticed and widens the window") {
  Sender sender;
  sender.send(kStart);
  sender.send(kStart + 30ms);
  REQUIRE(sender.ack({{1, 1}}, kStart + 110ms));
  REQUIRE(sender.lost() == Numbers{0});
  REQUIRE(sender.ack({{0, 1}}, kStart + 115ms));
  CHECK(sender.outcome.late_packets.size() == 1);
  CHECK(sender.arrived() == Numbers{0});
  CHECK(sender.window() > 30ms);

  // The same reordering again is waited for.
  const TimePoint later = kStart + 1s;
  sender.send(later);
  sender.send(later + 30ms);
  REQUIRE(sender.ack({{3, 3}, {0, 1}}, later + 110ms));
  CHECK(sender.lost().empty());
  REQUIRE(sender.ack({{0, 3}}, later + 115ms));
  CHECK(sender.arrived() == Numbers{2});
}

TEST_CASE("reordering that is gone is forgotten") {
  Sender sender;
  sender.send(kStart);
  sender.send(kStart + 30ms);
  sender.ack({{1, 1}}, kStart + 110ms);
  sender.ack({{0, 1}}, kStart + 115ms);
  REQUIRE(sender.window() > 30ms);
  for (int i = 1; i <= 40; ++i) {
    const TimePoint now = kStart + i * 1s;
    const std::uint64_t number = sender.send(now);
    sender.ack({{0, number}}, now + 80ms);
  }
  CHECK(sender.window() <= 11ms);
}

TEST_CASE("a silent path is probed twice a timeout, later still four times a second") {
  Sender sender;
  sender.send(kStart);
  TimePoint now = kStart;
  std::vector<Duration> pauses;
  for (int i = 0; i < 40; ++i) {
    REQUIRE(sender.deadline());
    pauses.push_back(*sender.deadline() - now);
    now = *sender.deadline();
    sender.tick(now);
    CHECK(sender.lost().empty());  // silence is no proof of loss
    REQUIRE(sender.loss.probes_owed() == 1);
    CHECK(sender.loss.frames_to_probe().front().id == 0);
    sender.send(now);
    CHECK(sender.loss.probes_owed() == 0);
  }
  CHECK(pauses[1] == pauses[0] / 2);
  CHECK(std::is_sorted(pauses.begin() + 1, pauses.end()));
  CHECK(pauses.back() == std::max<Duration>(pauses.front(), 250ms));

  SECTION("and the first answer brings back the picture") {
    const std::uint64_t last = sender.loss.packets().next_number() - 1;
    sender.ack({{last, last}}, now + 80ms);
    CHECK(sender.outcome.after_silence);
    CHECK(sender.lost().size() >= 20);
    CHECK(sender.loss.probe_count() == 0);
  }
}

TEST_CASE("packets that ask for no ACK are neither in flight nor probed nor kept") {
  Sender sender;
  for (int i = 0; i < 100000; ++i) sender.loss.on_sent(60_B, false, {}, kStart);
  CHECK_FALSE(sender.deadline());
  CHECK(sender.loss.packets().bytes_in_flight() == 0);
  CHECK(sender.loss.packets().begin_number() == 100000);
  CHECK(sender.ack({{0, 99999}}, kStart + 80ms));
}

TEST_CASE("a packet keeps all that it carried") {
  Sender sender;
  std::vector<SentFrame> frames(40);
  for (std::size_t i = 0; i < frames.size(); ++i) {
    frames[i] = {.kind = SentFrame::Kind::reply_data, .offset = 7, .id = i, .length = 3};
  }
  sender.send(kStart);
  sender.loss.on_sent(1200_B, true, frames, kStart + 1ms);
  sender.ack({{1, 1}}, kStart + 81ms);
  REQUIRE(sender.outcome.acknowledged.size() == 40);
  CHECK(sender.outcome.acknowledged[39].id == 39);
  CHECK(sender.outcome.acknowledged[39].kind == SentFrame::Kind::reply_data);
}

TEST_CASE("every packet is either acknowledged or lost, whatever the ACKs look like") {
  const unsigned seed = GENERATE(1u, 2u, 3u, 4u);
  INFO("seed " << seed);
  std::mt19937 random(seed);
  Sender sender;
  RangeSet arrived(1 << 20);
  std::vector<int> fate;  // of each packet: acknowledgements minus losses, in the end 1 or -1
  std::vector<bool> got;
  TimePoint now = kStart;
  const auto note = [&] {
    for (const std::uint64_t id : sender.lost()) fate[id] -= 1;
    for (const std::uint64_t id : sender.arrived()) fate[id] += got[id] ? 1 : 100;
  };
  for (int step = 0; step < 20000; ++step) {
    now += 100us;
    const std::uint64_t number = sender.send(now);
    fate.push_back(0);
    got.push_back(random() % 100 >= 20);
    if (got[number]) arrived.add(number);
    if (step % 50 != 49) continue;
    // 256 newest ranges; one ACK in four is lost.
    std::vector<NumberRange> ranges(arrived.ranges().rbegin(), arrived.ranges().rend());
    ranges.resize(std::min<std::size_t>(ranges.size(), 256));
    if (random() % 4 == 0) continue;
    REQUIRE(sender.ack(ranges, now + 80ms));
    note();
  }
  const std::vector<NumberRange> all(arrived.ranges().rbegin(), arrived.ranges().rend());
  REQUIRE(sender.ack(all, now + 100ms));
  note();
  for (int i = 0; i < 10 && sender.deadline(); ++i) {
    sender.tick(*sender.deadline());
    note();
  }
  int wrong = 0;
  for (std::size_t i = 0; i + 400 < fate.size(); ++i) wrong += fate[i] != (got[i] ? 1 : -1);
  CHECK(wrong == 0);
}
