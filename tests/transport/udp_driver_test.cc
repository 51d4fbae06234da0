// Two drivers, two loops, real sockets on loopback.
#include "transport/udp/udp_driver.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <catch2/catch.hpp>
#include <future>
#include <thread>

#include "tests/bench/bench_peer.h"
#include "transport/udp/busy_meter.h"
#include "transport/udp/resolve.h"

using namespace rushfs;
using namespace rushfs::transport;
using namespace std::chrono_literals;

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr Bytes kLoad = 16_MiB;
#else
constexpr Bytes kLoad = 256_MiB;
#endif

EndpointConfig config(std::uint8_t seed) {
  EndpointConfig result;
  result.identity = bench::bench_identity(seed);
  result.accept_client = [](const PublicKey&, const Address&) { return true; };
  return result;
}

UdpOptions listening(const char* address) {
  UdpOptions options;
  options.listen = parse_address(address);
  return options;
}

/// A loop with a thread of its own.
struct LoopThread {
  boost::asio::io_context loop{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> guard =
      boost::asio::make_work_guard(loop);
  std::thread thread{[this] { loop.run(); }};
  ~LoopThread() {
    loop.stop();
    thread.join();
  }
  /// Runs `work` on the loop and waits for it.
  void run(const std::function<void()>& work) {
    std::promise<void> done;
    boost::asio::post(loop, [&] {
      work();
      done.set_value();
    });
    done.get_future().get();
  }
};

struct Transfer {
  const char* address = "127.0.0.1:0";
  UdpOptions options;
  bench::Load load{kLoad, kLoad};
};

/// Moves the load both ways at once and checks that every byte arrived.
UdpReport move_both_ways(const Transfer& transfer) {
  LoopThread server_side, client_side;
  UdpOptions options = transfer.options;
  options.listen = parse_address(transfer.address);
  bench::BenchServer server(server_side.loop, config(1), options);
  bench::BenchClient client(client_side.loop, config(2), options);
  std::promise<void> done;
  boost::asio::post(client_side.loop, [&] {
    client.start(server.driver().local_address(), transfer.load, [&] { done.set_value(); });
  });
  REQUIRE(done.get_future().wait_for(60s) == std::future_status::ready);
  UdpReport report;
  client_side.run([&] {
    report = client.driver().report();
    CHECK(client.failure() == "");
    CHECK(client.damaged() == 0);
  });
  server_side.run([&] { CHECK(server.damaged() == 0); });
  return report;
}

}  // namespace

TEST_CASE("a loop is loaded by its work and by waiting for a processor") {
  BusyMeter meter;
  TimePoint now{1h};
  CHECK(meter.worked(now, now));  // begins a period
  meter.waited(5s);
  CHECK_FALSE(meter.worked(now, now + 50ms));
  CHECK(meter.worked(now + 230ms, now + 250ms));
  CHECK(meter.share() == Approx(0.28));
  meter.waited(5s + 150ms);
  CHECK(meter.share() == Approx(0.88));
}

TEST_CASE("messages cross loopback whole, both ways at once, with offloads") {
  const UdpReport report = move_both_ways({});
  CHECK(report.segmentation_offload);
  CHECK(report.receive_offload);
  CHECK(report.datagrams_sent > 2 * report.send_calls);
}

TEST_CASE("messages cross loopback whole without offloads") {
  Transfer transfer;
  transfer.options.segmentation_offload = transfer.options.receive_offload = false;
  const UdpReport report = move_both_ways(transfer);
  CHECK_FALSE(report.segmentation_offload);
  CHECK_FALSE(report.receive_offload);
}

TEST_CASE("messages cross loopback whole over IPv6") {
  Transfer transfer;
  transfer.address = "[::1]:0";
  move_both_ways(transfer);
}

TEST_CASE("messages cross loopback whole with socket buffers far too small") {
  Transfer transfer;
  transfer.options.receive_buffer = 64_KiB;
  transfer.options.send_buffer = 16_KiB;
  transfer.load = {16_MiB, 16_MiB};
  move_both_ways(transfer);
}

TEST_CASE("events of a connection come in order, on the network loop") {
  LoopThread side;
  bench::BenchServer server(side.loop, config(1), listening("127.0.0.1:0"));
  std::vector<std::string> seen;
  std::promise<void> over;
  std::unique_ptr<UdpDriver> driver;
  std::thread::id loop_thread;
  side.run([&] { loop_thread = std::this_thread::get_id(); });
  const auto on_event = [&](DriverEvent event) {
    CHECK(std::this_thread::get_id() == loop_thread);
    if (const auto* connecting = std::get_if<Connecting>(&event.body)) {
      seen.push_back("connecting " + std::to_string(connecting->token.value));
    } else if (std::holds_alternative<Connected>(event.body)) {
      seen.push_back("connected");
      driver->request(event.connection, Priority::urgent, Buffer{'d', 0, 0, 0, 3}, CallToken{8});
      driver->request(event.connection, Priority::urgent, Buffer{'d', 0, 0, 0, 9}, CallToken{9});
      driver->cancel(event.connection, CallToken{9});
    } else if (const auto* answer = std::get_if<CallAnswered>(&event.body)) {
      seen.push_back("answer " + std::to_string(answer->token.value) + " of " +
                     std::to_string(answer->body.size()));
      driver->close(event.connection, {CloseCode::none, false, "done"});
    } else if (std::holds_alternative<Closed>(event.body)) {
      seen.push_back("closed");
      driver->request(event.connection, Priority::urgent, Buffer{'d', 0, 0, 0, 3}, CallToken{10});
      over.set_value();
    }
  };
  driver = std::make_unique<UdpDriver>(side.loop, config(2), UdpOptions{}, on_event);
  driver->connect(server.driver().local_address(), [](const PublicKey&) { return true; },
                  CallToken{7});
  REQUIRE(over.get_future().wait_for(20s) == std::future_status::ready);
  CHECK(seen == std::vector<std::string>{"connecting 7", "connected", "answer 8 of 3", "closed"});
}

TEST_CASE("shutdown says farewell to the peer, and nothing follows it") {
  LoopThread side;
  std::promise<CloseReason> farewell;
  UdpDriver server(side.loop, config(1), listening("127.0.0.1:0"), [&](DriverEvent event) {
    if (auto* closed = std::get_if<Closed>(&event.body)) farewell.set_value(closed->reason);
  });
  std::promise<void> connected, done;
  bool stopped = false;
  UdpDriver client(side.loop, config(2), UdpOptions{}, [&](DriverEvent event) {
    CHECK_FALSE(stopped);
    if (std::holds_alternative<Connected>(event.body)) connected.set_value();
  });
  client.connect(server.local_address(), [](const PublicKey&) { return true; }, CallToken{1});
  REQUIRE(connected.get_future().wait_for(20s) == std::future_status::ready);
  client.shutdown({CloseCode::none, false, "unmounted"}, [&] {
    stopped = true;
    done.set_value();
  });
  REQUIRE(done.get_future().wait_for(20s) == std::future_status::ready);
  auto reason = farewell.get_future();
  REQUIRE(reason.wait_for(20s) == std::future_status::ready);
  CHECK(reason.get().text == "unmounted");
}

TEST_CASE("shutdown says farewell to every peer of many") {
  constexpr int kConnections = 40;
  LoopThread side;
  std::promise<void> all_connected, all_told;
  int connected = 0, told = 0;
  UdpDriver server(side.loop, config(1), listening("127.0.0.1:0"), [&](DriverEvent event) {
    if (!std::holds_alternative<Connected>(event.body)) return;
    if (++connected == kConnections) all_connected.set_value();
  });
  UdpDriver client(side.loop, config(2), UdpOptions{}, [&](DriverEvent event) {
    const auto* closed = std::get_if<Closed>(&event.body);
    if (closed == nullptr || closed->reason.text != "the server stops") return;
    if (++told == kConnections) all_told.set_value();
  });
  for (int i = 0; i < kConnections; ++i) {
    client.connect(server.local_address(), [](const PublicKey&) { return true; },
                   CallToken{static_cast<std::uint64_t>(i)});
  }
  REQUIRE(all_connected.get_future().wait_for(20s) == std::future_status::ready);
  server.shutdown({CloseCode::none, false, "the server stops"}, [] {});
  CHECK(all_told.get_future().wait_for(5s) == std::future_status::ready);
  side.run([&] { CHECK(told == kConnections); });
}

TEST_CASE("a server on any address speaks from the one that its client asked") {
  LoopThread side;
  bench::BenchServer server(side.loop, config(1), listening("*:0"));
  Address asked = parse_address("127.0.0.2:0");  // the system would choose 127.0.0.1
  asked.port = server.driver().local_address().port;
  std::promise<void> connected;
  UdpDriver client(side.loop, config(2), UdpOptions{}, [&](DriverEvent event) {
    if (std::holds_alternative<Connected>(event.body)) connected.set_value();
  });
  client.connect(asked, [](const PublicKey&) { return true; }, CallToken{1});
  CHECK(connected.get_future().wait_for(5s) == std::future_status::ready);
}

TEST_CASE("a server that is not there is told apart from a slow one") {
  LoopThread side;
  EndpointConfig impatient = config(2);
  impatient.handshake_timeout = 1s;
  Address nobody;
  {
    UdpSocket gone(listening("127.0.0.1:0"));
    nobody = gone.local_address();
  }
  std::promise<CloseReason> closed;
  UdpDriver driver(side.loop, impatient, UdpOptions{}, [&](DriverEvent event) {
    if (auto* end = std::get_if<Closed>(&event.body)) closed.set_value(end->reason);
  });
  driver.connect(nobody, [](const PublicKey&) { return true; }, CallToken{1});
  auto reason = closed.get_future();
  REQUIRE(reason.wait_for(20s) == std::future_status::ready);
  CHECK(reason.get().code == CloseCode::handshake_timeout);
  side.run([&] {
    const auto error = driver.report().last_error;
    REQUIRE(error);
    CHECK(error->error == ECONNREFUSED);
    CHECK(error->to == nobody);
  });
}
