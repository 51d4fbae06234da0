// Round trip, delivery rate, pacing and path MTU: the small parts of Recovery.
#include <catch2/catch.hpp>

#include <chrono>
#include <random>

#include "transport/path/path_mtu.h"
#include "transport/rate/pacer.h"
#include "transport/recovery/delivery_rate.h"
#include "transport/recovery/round_trip.h"

using namespace rushfs::transport;
using namespace std::chrono_literals;

namespace {
const TimePoint kStart = TimePoint{} + 100s;
}

TEST_CASE("the first sample sets the round trip, later ones move it by an eighth") {
  RoundTrip round_trip;
  CHECK(round_trip.smoothed() == kInitialRoundTrip);
  round_trip.update(80ms, 0ms, kStart);
  CHECK(round_trip.smoothed() == 80ms);
  CHECK(round_trip.variation() == 40ms);
  round_trip.update(160ms, 0ms, kStart);
  CHECK(round_trip.smoothed() == 90ms);
  CHECK(round_trip.variation() == 50ms);
  CHECK(round_trip.minimum() == 80ms);
}

TEST_CASE("the peer's ACK delay is subtracted, but never below the minimum") {
  RoundTrip round_trip;
  round_trip.update(80ms, 0ms, kStart);
  round_trip.update(88ms, 8ms, kStart);
  CHECK(round_trip.smoothed() == 80ms);
  round_trip.update(88ms, 50ms, kStart);  // a claim that cannot be true
  CHECK(round_trip.smoothed() == 81ms);
}

TEST_CASE("a longer route is believed after two windows") {
  RoundTrip round_trip;
  round_trip.update(50ms, 0ms, kStart);
  for (int second = 1; second <= 130; ++second) {
    round_trip.update(150ms, 0ms, kStart + second * 1s);
  }
  CHECK(round_trip.minimum() == 150ms);
}

namespace {

// A path that delivers at a steady rate, packet by packet.
struct SteadyPath {
  DeliveryRate rate;
  std::vector<LossOutcome::Packet> flight;
  std::uint64_t in_flight = 0;

  void send(TimePoint now) {
    LossOutcome::Packet packet;
    packet.sent = now;
    packet.wire_size = 1000;
    packet.ack_eliciting = true;
    rate.on_sent(packet.snapshot, in_flight, 1000, now);
    in_flight += 1000;
    flight.push_back(packet);
  }
  RateSample ack(TimePoint now) {
    const LossOutcome::Packet packet = flight.front();
    flight.erase(flight.begin());
    in_flight -= 1000;
    return rate.on_ack({packet}, {}, 20ms, now);
  }
};

}  // namespace

TEST_CASE("the delivery rate is what the path delivers, not what was sent") {
  SteadyPath path;
  // Sent at 2 MB/s, delivered at 1 MB/s: one packet a millisecond, from 20 ms on.
  RateSample sample;
  for (int half = 0; half < 200; ++half) {
    path.send(kStart + half * 500us);
    if (half >= 40 && half % 2 == 0) sample = path.ack(kStart + half * 500us);
  }
  CHECK(sample.bytes_per_second == Approx(1e6).epsilon(0.02));
  CHECK_FALSE(sample.application_limited);
}

TEST_CASE("a pause of the application is marked and does not look like a slow path") {
  SteadyPath path;
  TimePoint now = kStart;
  for (int round = 0; round < 5; ++round) {
    for (int i = 0; i < 10; ++i) path.send(now);
    path.rate.on_application_limited(path.in_flight);
    for (int i = 0; i < 10; ++i) {
      const RateSample sample = path.ack(now + 20ms + i * 100us);
      CHECK((round == 0 || sample.application_limited));
    }
    now += 1s;  // idle
  }
  // Under load again, the mark goes away once what was limited has been delivered.
  RateSample sample;
  for (int i = 0; i < 100; ++i) {
    path.send(now + i * 1ms);
    if (i >= 20) sample = path.ack(now + i * 1ms);
  }
  CHECK_FALSE(sample.application_limited);
  CHECK(sample.bytes_per_second == Approx(1e6).epsilon(0.02));
}

TEST_CASE("an interval shorter than the round trip gives no rate") {
  SteadyPath path;
  path.send(kStart);
  CHECK(path.ack(kStart + 1ms).bytes_per_second == 0);
}

TEST_CASE("the pacer keeps its rate to within a burst, and sends single packets on slow links") {
  const auto [rate, burst] = GENERATE(table<BitRate, Bytes>(
      {{10_Mbps, 1400_B}, {100_Mbps, 12500_B}, {190_Mbps, 22400_B}, {1000_Mbps, 65536_B}}));
  Pacer pacer;
  pacer.set_rate(rate, 1400_B);
  CHECK(pacer.burst() == burst);
  TimePoint now = kStart;
  Bytes sent{};
  Bytes at_once{};
  Bytes longest{};
  while (now < kStart + 1s) {
    if (pacer.may_send(false, now)) {
      pacer.on_sent(1400_B, now);
      sent += 1400_B;
      at_once += 1400_B;
      longest = std::max(longest, at_once);
    } else {
      REQUIRE(pacer.next_send() > now);
      now = pacer.next_send();
      at_once = {};
    }
  }
  CHECK(static_cast<double>(sent.count) ==
        Approx(static_cast<double>((rate * 1s).count)).epsilon(0.01).margin(80000));
  CHECK(longest.count <= burst.count + (rate * 1ms).count + 2 * 1400);
}

TEST_CASE("an urgent datagram need not wait for the pacer, ten of them") {
  Pacer pacer;
  pacer.set_rate(10_Mbps, 1400_B);
  while (pacer.may_send(false, kStart)) pacer.on_sent(1400_B, kStart);
  int urgent = 0;
  while (pacer.may_send(true, kStart)) {
    pacer.on_sent(1400_B, kStart);
    ++urgent;
  }
  CHECK(urgent >= 1);
  CHECK(urgent <= Pacer::kUrgentBurst);
}

namespace {

// Probes until the search rests, on a path that carries `limit`.
int search(PathMtu& mtu, std::uint64_t limit, TimePoint now) {
  int probes = 0;
  while (const auto size = mtu.probe(now)) {
    REQUIRE(++probes < 100);
    mtu.on_probe_sent();
    CHECK_FALSE(mtu.probe(now));  // one at a time
    if (size->count <= limit)
      mtu.on_probe_acknowledged(*size, now);
    else
      mtu.on_probe_lost(*size, now);
  }
  return probes;
}

}  // namespace

TEST_CASE("the largest datagram a path carries is found, and soon if it is the largest wanted") {
  const auto [limit, largest, found] = GENERATE(table<std::uint64_t, Bytes, Bytes>({
      {1472, 1472_B, 1472_B},
      {1452, 1472_B, 1452_B},
      {1300, 1472_B, 1280_B},
      {1200, 1472_B, 1200_B},
      {9000, 8972_B, 8972_B},
      {1472, 8972_B, 1472_B},
      {1472, 1200_B, 1200_B},
  }));
  PathMtu mtu(largest);
  CHECK(mtu.datagram_size() == 1200_B);
  const int probes = search(mtu, limit, kStart);
  CHECK(mtu.datagram_size() == found);
  if (found == largest) CHECK(probes <= 2);
  // Later the path may have grown.
  if (found < largest) {
    search(mtu, 9000, kStart + 11min);
    CHECK(mtu.datagram_size() == largest);
  }
}

TEST_CASE("random loss of a fifth does not look like a black hole") {
  const unsigned seed = GENERATE(1u, 2u, 3u);
  INFO("seed " << seed);
  std::mt19937 random(seed);
  PathMtu mtu(1472_B);
  search(mtu, 1472, kStart);
  for (int i = 0; i < 1000000; ++i) {
    const Bytes size = random() % 10 == 0 ? 100_B : 1472_B;
    if (random() % 5 == 0)
      mtu.on_lost(size, kStart);
    else
      mtu.on_acknowledged(size);
  }
  CHECK(mtu.datagram_size() == 1472_B);
}

TEST_CASE("a path that swallows large datagrams only is noticed") {
  PathMtu mtu(1472_B);
  search(mtu, 1472, kStart);
  for (int i = 0; i < 20; ++i) {
    mtu.on_lost(1472_B, kStart);
    mtu.on_acknowledged(100_B);
  }
  CHECK(mtu.datagram_size() == 1200_B);
  // What still passes is found again.
  search(mtu, 1420, kStart + 2s);
  CHECK(mtu.datagram_size() == 1420_B);
}

TEST_CASE("a cut line that swallows everything does not look like a black hole") {
  PathMtu mtu(1472_B);
  search(mtu, 1472, kStart);
  for (int i = 0; i < 1000; ++i) {
    mtu.on_lost(1472_B, kStart);
    mtu.on_lost(100_B, kStart);
  }
  mtu.on_acknowledged(1472_B);
  CHECK(mtu.datagram_size() == 1472_B);
}

TEST_CASE("a size the host itself refuses is not used again") {
  PathMtu mtu(8972_B);
  search(mtu, 9000, kStart);
  REQUIRE(mtu.datagram_size() == 8972_B);
  mtu.on_too_large(8972_B, kStart);
  CHECK(mtu.datagram_size() == 1200_B);
  search(mtu, 1472, kStart);
  CHECK(mtu.datagram_size() == 1472_B);
}

TEST_CASE("a refusal of what every path carries says nothing of larger sizes") {
  const Bytes size = GENERATE(60_B, kBaseDatagram);
  PathMtu mtu(8972_B);
  mtu.on_probe_sent();
  mtu.on_too_large(size, kStart);
  CHECK_FALSE(mtu.probe(kStart));  // still in flight
  mtu.on_probe_acknowledged(1472_B, kStart);
  CHECK(mtu.datagram_size() == 1472_B);
  mtu.on_too_large(size, kStart);
  CHECK(mtu.datagram_size() == 1472_B);
  CHECK(mtu.probe(kStart) == 8972_B);
}
