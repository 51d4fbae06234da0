// What a server holds its clients to: rates they may not exceed, and where they may come from.
#include <catch2/catch.hpp>

#include <algorithm>

#include "tests/sim/traffic.h"

using namespace rushfs::sim;
using namespace std::chrono_literals;

namespace {

EndpointConfig open_to_all() {
  EndpointConfig config;
  config.accept_client = [](const PublicKey&, const Address&) { return true; };
  return config;
}

/// A server and clients on links of their own.
struct House {
  House(std::uint64_t seed, EndpointConfig config, int count)
      : world(seed_or(seed)), server(world.add(std::move(config))), responder(world, server) {
    UNSCOPED_INFO("RUSHFS_SEED=" << world.seed());
    for (int i = 0; i < count; ++i) {
      Node& client = world.add_client();
      world.set_links(client, server, {.rate = 200_Mbps, .delay = 10ms});
      nodes.push_back(&client);
      clients.push_back(std::make_unique<Requester>(world, client, server));
      REQUIRE(clients.back()->wait_connected());
    }
  }
  void load(Requester& client, bool up) {
    client.start({.up = up, .total = 1ull << 40, .message = 256 << 10, .window = 64});
  }
  /// Mbit/s of bulk that each client's application moved in `time`.
  std::vector<double> rates(Duration time) {
    std::vector<std::uint64_t> before;
    for (const auto& client : clients) before.push_back(client->answers());
    world.run_for(time);
    std::vector<double> rates;
    for (std::size_t i = 0; i < clients.size(); ++i) {
      const auto messages = static_cast<double>(clients[i]->answers() - before[i]);
      rates.push_back(messages * (256 << 10) * 8e-6 / seconds(time));
    }
    return rates;
  }

  World world;
  Node& server;
  Responder responder;
  std::vector<Node*> nodes;
  std::vector<std::unique_ptr<Requester>> clients;
};

}  // namespace

TEST_CASE("a client's max-rate holds in both directions") {
  const bool up = GENERATE(true, false);
  EndpointConfig config = open_to_all();
  config.accept_client = [](const PublicKey&, const Address&) {
    Admission admission = true;
    admission.max_rate = 40_Mbps;
    return admission;
  };
  House house(41, config, 1);
  house.load(*house.clients[0], up);
  house.world.run_for(3s);
  const double rate = house.rates(10s)[0];
  CAPTURE(up, rate);
  CHECK(rate < 40);
  CHECK(rate > 34);
  const PathReport client = house.clients[0]->report();
  CHECK(house.server.endpoint->counters().over_cap == 0);
  CHECK(client.packets_lost == 0);
  if (up) {
    CHECK(client.limit == SendLimit::remote_cap);
  } else {
    REQUIRE(client.peer);
    CHECK(client.peer->limit == SendLimit::remote_cap);
  }
}

TEST_CASE("a client's own rate holds for what it is sent, and can be changed while it is") {
  House house(44, open_to_all(), 1);
  house.load(*house.clients[0], false);
  house.world.run_for(3s);
  CHECK(house.rates(3s)[0] > 150);
  house.nodes[0]->endpoint->set_rate({.target = 30_Mbps});
  house.world.run_for(3s);
  const double rate = house.rates(5s)[0];
  CAPTURE(rate);
  CHECK(rate < 30);
  CHECK(rate > 25);
  house.nodes[0]->endpoint->set_rate({});
  house.world.run_for(8s);
  CHECK(house.rates(3s)[0] > 150);
}

TEST_CASE("moving to another address costs less than two round trips and a probe") {
  House house(45, open_to_all(), 1);
  Requester& client = *house.clients[0];
  std::vector<double> times;
  const auto ask_often = [&](int count) {
    for (int i = 0; i < count; ++i) {
      house.world.after(std::chrono::milliseconds(5 * i), [&] {
        client.ask(Priority::urgent, 100, 100,
                   [&](Duration took) { times.push_back(seconds(took) * 1e3); });
      });
    }
  };
  ask_often(200);
  house.world.after(500ms, [&] { house.nodes[0]->address.ip[15] = 77; });
  house.world.run_for(5s);
  REQUIRE(times.size() == 200);
  constexpr double kRoundTrip = 20;  // ms
  constexpr double kProbe = 3 * kRoundTrip;
  const double longest = *std::max_element(times.begin(), times.end());
  CAPTURE(longest);
  CHECK(longest < 3 * kRoundTrip + kProbe);
  const auto late = std::count_if(times.begin(), times.end(),
                                  [](double time) { return time > 1.5 * kRoundTrip; });
  CHECK(late * 5 < 2 * kRoundTrip + kProbe);  // so long was the pause
}

TEST_CASE("a transfer whose client moves pauses for less than two round trips and a probe") {
  const bool up = GENERATE(true, false);
  const int seed = GENERATE(61, 62);
  House house(static_cast<std::uint64_t>(seed), open_to_all(), 1);
  Requester& client = *house.clients[0];
  client.start({.up = up, .total = 1ull << 40, .message = 8 << 10, .window = 1024});
  house.world.run_for(5s);
  const auto longest_pause = [&](Duration time) {
    Duration longest{};
    TimePoint last = house.world.now();
    std::uint64_t before = client.answers();
    for (const TimePoint end = last + time; house.world.now() < end;) {
      house.world.run_for(1ms);
      if (client.answers() == before) continue;
      longest = std::max<Duration>(longest, house.world.now() - last);
      before = client.answers();
      last = house.world.now();
    }
    return seconds(std::max<Duration>(longest, house.world.now() - last)) * 1e3;
  };
  const double undisturbed = longest_pause(2s);
  house.nodes[0]->address.ip[15] = 77;
  const double moving = longest_pause(3s);
  constexpr double kRoundTrip = 20;  // ms
  constexpr double kProbe = 3 * kRoundTrip;
  CAPTURE(up, undisturbed, moving);
  CHECK(undisturbed < kRoundTrip);
  CHECK(moving < 2 * kRoundTrip + kProbe);
  CHECK(house.rates(1s)[0] * (8 << 10) / (256 << 10) > 100);
}

TEST_CASE("clients share what the server may give, and one that is alone has all of it") {
  const bool up = GENERATE(true, false);
  EndpointConfig config = open_to_all();
  config.max_rate = 90_Mbps;
  House house(42, config, 3);
  for (const auto& client : house.clients) house.load(*client, up);
  house.world.run_for(5s);
  const auto together = house.rates(10s);
  CAPTURE(up, together);
  for (const double rate : together) CHECK(rate == Approx(30).epsilon(0.15));
  for (int i = 1; i < 3; ++i) {
    house.nodes[static_cast<std::size_t>(i)]->endpoint->close(
        house.clients[static_cast<std::size_t>(i)]->handle(), {}, house.world.now());
  }
  house.world.run_for(5s);
  const double alone = house.rates(5s)[0];
  CAPTURE(alone);
  CHECK(alone > 75);
}

TEST_CASE("a client may roam only to where it may connect from") {
  const bool allowed = GENERATE(true, false);
  EndpointConfig config = open_to_all();
  config.accept_client = [](const PublicKey&, const Address& from) {
    return from.ip[15] < 128;
  };
  House house(43, config, 1);
  Node& client = *house.nodes[0];
  house.clients[0]->ask(Priority::urgent, 100, 100);
  house.world.run_for(1s);
  REQUIRE(house.clients[0]->answers() == 1);
  client.address.ip[15] = allowed ? 77 : 177;
  std::uint64_t to_new = 0;
  house.server.on_send = [&](std::vector<std::uint8_t>&, const Address& to) {
    to_new += to == client.address;
    return true;
  };
  house.clients[0]->ask(Priority::urgent, 100, 100);
  house.world.run_for(5s);
  CHECK(house.clients[0]->answers() == (allowed ? 2 : 1));
  CHECK(house.responder.requests == (allowed ? 2 : 1));
  CHECK((to_new > 0) == allowed);
  CHECK((house.server.endpoint->counters().forbidden_address > 0) == !allowed);
}
