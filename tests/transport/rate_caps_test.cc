#include "transport/rate_caps.h"

#include <catch2/catch.hpp>

#include "transport/rate_shares.h"

using namespace rushfs::transport;
using namespace std::chrono_literals;

namespace {

constexpr TimePoint kStart{1h};

PublicKey key(std::uint8_t number) { return {{number}}; }

/// Bits per second that come in when datagrams arrive at `offered` for `time`.
double admitted(RatePolicer& policer, BitRate offered, TimePoint from, Duration time) {
  constexpr std::size_t kSize = 1400;
  double bytes = 0;
  for (TimePoint now = from; now < from + time; now += Bytes{kSize} / offered) {
    if (policer.admit(kSize, now)) bytes += kSize;
  }
  return bytes * 8 / seconds(time);
}

/// Clients that take all they get (`greedy`) or a rate of their own.
struct Users {
  RateShares shares;
  std::map<std::uint64_t, double> wanted;  // bits per second, one way
  std::map<std::uint64_t, Bytes> moved{};
  std::map<std::uint64_t, double> rate{};
  TimePoint now = kStart;

  void run(int divisions) {
    for (int i = 0; i < divisions; ++i) {
      auto parts = shares.parts();
      for (auto& part : parts) part.sent = moved[part.connection];
      shares.divide(parts, now);
      for (const auto& part : parts) {
        rate[part.connection] =
            std::min(wanted.at(part.connection), part.sending.bits_per_second);
        moved[part.connection] += BitRate{rate[part.connection]} * kShareInterval;
      }
      now += kShareInterval;
    }
  }
};

}  // namespace

TEST_CASE("the least of all caps holds, and the user learns when it is not his own") {
  RateCaps caps(Role::client, {.target = 100_Mbps, .minimum = 20_Mbps}, kStart);
  CHECK(caps.effective().target == 100_Mbps);
  CHECK_FALSE(caps.is_capped());
  caps.cap_sending(50_Mbps);
  CHECK(caps.effective().target == 50_Mbps);
  CHECK(caps.is_capped());
  CHECK(caps.on_frame({2, RatePolicy::fair, 10'000'000, 0}));
  CHECK(caps.effective().target == 10_Mbps);
  CHECK(caps.effective().minimum == 10_Mbps);
  CHECK(caps.is_capped());
  CHECK_FALSE(caps.on_frame({1, RatePolicy::fair, 90'000'000, 0}));  // overtaken on the way
  CHECK(caps.on_frame({3, RatePolicy::fair, 0, 0}));
  CHECK(caps.effective().target == 50_Mbps);
  CHECK(caps.on_frame({4, RatePolicy::fair, 50'000'000, 0}));
  CHECK(caps.is_capped());  // by both at once
}

TEST_CASE("a cap is announced when it changes, and again when the frame was lost") {
  RateCaps caps(Role::server, {}, kStart);
  CHECK_FALSE(caps.has_news());
  caps.cap_receiving(100_Mbps, kStart);
  REQUIRE(caps.has_news());
  CHECK(caps.take_news().rate == 100'000'000);
  CHECK_FALSE(caps.has_news());
  caps.cap_receiving(102_Mbps, kStart);
  CHECK_FALSE(caps.has_news());
  caps.cap_receiving(50_Mbps, kStart);
  const RateFrame second = caps.take_news();
  CHECK(second.number == 2);
  caps.on_lost(1);
  CHECK_FALSE(caps.has_news());
  caps.on_lost(2);
  CHECK(caps.take_news().rate == 50'000'000);
  caps.cap_receiving(BitRate::infinite(), kStart);
  CHECK(caps.take_news().rate == 0);
}

TEST_CASE("a client's limits are asked of its server, whose own caps still hold") {
  RateCaps client(Role::client, {RatePolicy::low, 80_Mbps, 5_Mbps}, kStart);
  RateCaps server(Role::server, {}, kStart);
  REQUIRE(client.has_news());
  CHECK(server.on_frame(client.take_news()));
  CHECK(server.effective() == RateLimits{RatePolicy::low, 80_Mbps, 5_Mbps});
  server.cap_sending(30_Mbps);
  CHECK(server.effective() == RateLimits{RatePolicy::low, 30_Mbps, 5_Mbps});
  server.cap_receiving(20_Mbps, kStart);
  CHECK(client.on_frame(server.take_news()));
  CHECK(client.effective() == RateLimits{RatePolicy::low, 20_Mbps, 5_Mbps});
  client.set_limits({}, kStart);
  CHECK(server.on_frame(client.take_news()));
  CHECK(server.effective() == RateLimits{RatePolicy::fair, 30_Mbps, BitRate{0}});
  CHECK_FALSE(RateCaps(Role::client, {}, kStart).has_news());
}

TEST_CASE("what a peer sends beyond its cap does not come in") {
  RatePolicer policer;
  CHECK(admitted(policer, 500_Mbps, kStart, 1s) == Approx(500e6).epsilon(0.01));
  policer.set_rate(40_Mbps, kStart + 1s);
  // It may not have heard yet.
  CHECK(admitted(policer, 500_Mbps, kStart + 1s, 2s) == Approx(500e6).epsilon(0.01));
  CHECK(admitted(policer, 500_Mbps, kStart + 5s, 20s) == Approx(1.25 * 40e6).epsilon(0.1));
  CHECK(admitted(policer, 40_Mbps, kStart + 30s, 5s) == Approx(40e6).epsilon(0.01));
  policer.set_rate(BitRate::infinite(), kStart + 40s);
  CHECK(admitted(policer, 500_Mbps, kStart + 40s, 1s) == Approx(500e6).epsilon(0.01));
}

TEST_CASE("fair shares: nobody has less while another has more than he wants") {
  using Rates = std::vector<double>;
  CHECK(share_out(90, Rates{100, 100, 100}) == Rates{30, 30, 30});
  CHECK(share_out(90, Rates{10, 100, 100}) == Rates{10, 40, 40});
  CHECK(share_out(90, Rates{10, 20, 30}) == Rates{20, 30, 40});
  CHECK(share_out(BitRate::infinite().bits_per_second, Rates{10, 20}) == Rates{10, 20});
  CHECK(share_out(90, Rates{}).empty());
}

TEST_CASE("what one client leaves goes to the others, and comes back when it needs it") {
  Users users{RateShares(100_Mbps, BitRate::infinite()), {{1, 1e9}, {2, 1e9}, {3, 5e6}}};
  CHECK_FALSE(users.shares.needed());
  for (std::uint8_t i = 1; i <= 3; ++i) users.shares.add(i, key(i), BitRate::infinite());
  CHECK(users.shares.needed());
  users.run(10);
  CHECK(users.rate[3] == Approx(5e6));
  CHECK(users.rate[1] == Approx(users.rate[2]));
  CHECK(users.rate[1] + users.rate[2] > 90e6);
  users.wanted[3] = 1e9;
  users.run(3);
  for (int i = 1; i <= 3; ++i) CHECK(users.rate[i] == Approx(100e6 / 3));
  users.shares.remove(1);
  users.shares.remove(2);
  users.run(2);
  CHECK(users.rate[3] == Approx(100e6));
}

TEST_CASE("connections of one key share their client's cap") {
  Users users{RateShares(BitRate::infinite(), 60_Mbps), {{1, 1e9}, {2, 1e9}, {3, 1e9}}};
  users.shares.add(1, key(1), BitRate::infinite());
  users.shares.add(2, key(1), BitRate::infinite());
  users.shares.add(3, key(2), 20_Mbps);
  users.run(5);
  CHECK(users.rate[1] == Approx(30e6));
  CHECK(users.rate[2] == Approx(30e6));
  CHECK(users.rate[3] == Approx(20e6));
}

TEST_CASE("without caps nothing is divided") {
  RateShares shares(BitRate::infinite(), BitRate::infinite());
  shares.add(1, key(1), BitRate::infinite());
  CHECK_FALSE(shares.needed());
  shares.add(2, key(2), 5_Mbps);
  CHECK(shares.needed());
  auto parts = shares.parts();
  shares.divide(parts, kStart);
  CHECK(parts[0].sending == BitRate::infinite());
  CHECK(parts[1].receiving == 5_Mbps);
  shares.remove(2);
  CHECK_FALSE(shares.needed());
}
