// What is said to limit a transfer: each cause is made, and has to be named by the end that sends.
#include <catch2/catch.hpp>

#include <set>
#include <string>

#include "tests/sim/traffic.h"

using namespace rushfs::sim;
using namespace std::chrono_literals;

namespace {

struct Scene {
  Scene(std::uint64_t seed, const LinkConfig& links, EndpointConfig server_config = {})
      : world(seed_or(seed)), server(add_server(server_config)), responder(world, server) {
    UNSCOPED_INFO("RUSHFS_SEED=" << world.seed());
    client = &world.add_client();
    world.set_links(*client, server, links);
    requester.emplace(world, *client, server);
    REQUIRE(requester->wait_connected());
  }
  Node& add_server(EndpointConfig config) {
    if (!config.accept_client) {
      config.accept_client = [](const PublicKey&, const Address&) { return true; };
    }
    return world.add(std::move(config));
  }
  void load(bool up, std::size_t window = 64) {
    requester->start({.up = up,
                      .total = 1ull << 40,
                      .message = 1 << 20,
                      .window = window,
                      .priority = up ? Priority::behind : Priority::demand});
  }
  /// Of the end that sends in this direction.
  PathReport report(bool up) {
    return up ? requester->report()
              : server.endpoint->report(*responder.last_connection, world.now());
  }
  /// Every cause that the sender named in looks, ten a second, or that the receiver had heard of.
  std::set<std::string> named(bool up, Duration time) {
    std::set<std::string> names;
    for (Duration passed{}; passed < time; passed += 100ms) {
      world.run_for(100ms);
      names.insert(name_of(report(up).limit));
      if (const auto heard = report(!up).peer) names.insert(name_of(heard->limit));
    }
    return names;
  }

  World world;
  Node& server;
  Responder responder;
  Node* client = nullptr;
  std::optional<Requester> requester;
};

using Names = std::set<std::string>;

}  // namespace

TEST_CASE("a clean path is limited by the network, and congestion is never named") {
  const bool up = GENERATE(true, false);
  const auto delay = GENERATE(2ms, 20ms, 50ms);
  const auto rate = GENERATE(20_Mbps, 100_Mbps, 400_Mbps);
  CAPTURE(up, delay.count(), rate.bits_per_second);
  Scene scene(3, {.rate = rate, .delay = delay});
  scene.load(up);
  scene.world.run_for(3s);
  CHECK(scene.named(up, 10s) == Names{"network"});
}

TEST_CASE("random loss is told from a policer") {
  const bool up = GENERATE(true, false);
  const auto delay = GENERATE(20ms, 50ms);
  CAPTURE(up, delay.count());
  SECTION("two packets of a hundred") {
    Scene scene(3, {.rate = 100_Mbps, .delay = delay, .loss = 0.02});
    scene.load(up);
    scene.world.run_for(6s);
    CHECK(scene.named(up, 10s) == Names{"random loss"});
    const PathReport report = scene.report(up);
    CHECK(report.loss_ratio == Approx(0.02).margin(0.015));
  }
  SECTION("what exceeds a rate") {
    Scene scene(3, {.rate = 200_Mbps, .delay = delay, .policer = Policer{50_Mbps}});
    scene.load(up);
    scene.world.run_for(15s);
    CHECK(scene.named(up, 10s) == Names{"policer"});
  }
}

TEST_CASE("a cap of the server is named at both ends") {
  const bool up = GENERATE(true, false);
  EndpointConfig config;
  config.accept_client = [](const PublicKey&, const Address&) {
    Admission admission = true;
    admission.max_rate = 40_Mbps;
    return admission;
  };
  Scene scene(3, {.rate = 100_Mbps, .delay = 20ms}, config);
  scene.load(up);
  scene.world.run_for(5s);
  CHECK(scene.named(up, 5s) == Names{"remote cap"});
}

TEST_CASE("a sender that computes all the time says so") {
  const bool up = GENERATE(true, false);
  Scene scene(3, {.rate = 100_Mbps, .delay = 20ms});
  (up ? *scene.client : scene.server).endpoint->set_load(0.97);
  scene.load(up);
  scene.world.run_for(5s);
  CHECK(scene.named(up, 5s) == Names{"CPU"});
}

TEST_CASE("a program that asks for little is the limit itself") {
  const bool up = GENERATE(true, false);
  Scene scene(3, {.rate = 100_Mbps, .delay = 20ms});
  const std::function<void()> now_and_then = [&] {
    scene.requester->ask(up ? Priority::behind : Priority::demand, up ? 1 << 18 : 16,
                         up ? 16 : 1 << 18);
    scene.world.after(100ms, now_and_then);
  };
  now_and_then();
  scene.world.run_for(3s);
  CHECK(scene.named(up, 5s) == Names{"application"});
}

TEST_CASE("a slow disk at either end is named, slows the sender and makes nothing be sent again") {
  const bool up = GENERATE(true, false);
  const double loss = GENERATE(0.0, 0.02);
  CAPTURE(up, loss);
  Scene scene(3, {.rate = 100_Mbps, .delay = 20ms, .loss = loss});
  scene.responder.works_at = 20_Mbps;
  scene.load(up, up ? 64 : 4);
  scene.world.run_for(5s);
  const std::uint64_t before = scene.requester->answers();
  CHECK(scene.named(up, 10s) == Names{up ? "receiver's disk" : "sender's disk"});
  CHECK(static_cast<double>(scene.requester->answers() - before) * (1 << 20) * 8 / 10 > 0.9 * 20e6);
  const PathReport report = scene.report(up);
  CHECK(static_cast<double>(report.packets_spurious) <
        1e-3 * static_cast<double>(report.packets_sent));
  const auto again = static_cast<double>(report.bytes_retransmitted.count);
  const auto sent = static_cast<double>(report.bytes_sent.count);
  CHECK(again < (loss > 0 ? 1.2 * loss + 1e-3 : 1e-3) * sent);
}

TEST_CASE("a client that takes a fifth of what the path carries slows the server") {
  Scene scene(3, {.rate = 100_Mbps, .delay = 20ms});
  scene.load(false);
  // Its credit is 16 MiB: so much is taken every 6.7 s, which is 20 Mbit/s.
  scene.client->polls = false;
  const std::function<void()> look = [&] {
    scene.client->polls = true;
    scene.world.after(1ms, [&] { scene.client->polls = false; });
    scene.world.after(6700ms, look);
  };
  scene.world.after(5s, look);
  scene.world.run_for(20s);
  const std::uint64_t before = scene.report(false).bytes_sent.count;
  scene.world.run_for(40s);
  const PathReport report = scene.report(false);
  CHECK(static_cast<double>(report.bytes_sent.count - before) * 8 / 40 < 25e6);
  CHECK(report.bytes_retransmitted == 0_B);
  CHECK(report.packets_lost == 0);
  CHECK(report.limit == SendLimit::receiver_credit);
}
