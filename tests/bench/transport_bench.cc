// rushfs-transport-bench: how fast messages move from memory to memory, and at what cost.
//
//   rushfs-transport-bench                                both ends on loopback, a thread each
//   rushfs-transport-bench --serve 10.77.0.2:7874         one end ...
//   rushfs-transport-bench --connect 10.77.0.2:7874       ... and the other
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <thread>
#include <vector>

#include "tests/bench/bench_peer.h"
#include "transport/heap.h"
#include "transport/udp/resolve.h"

namespace {

using namespace rushfs;
using transport::Clock;

struct CommandLine {
  std::string serve, connect, paths;
  std::uint64_t megabytes = 2048, outstanding = 64, message = 1024, datagram = 1472;
  std::string direction = "up";
  double target = 0, fixed = 0;
  bool progress = false;
  transport::UdpOptions udp;
  bool no_segmentation = false, no_receive_offload = false;
};

double cpu_of_this_thread() {
  rusage usage{};
  ::getrusage(RUSAGE_THREAD, &usage);
  const auto time = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return time(usage.ru_utime) + time(usage.ru_stime);
}

transport::EndpointConfig endpoint_config(const CommandLine& line, std::uint8_t seed) {
  transport::EndpointConfig config;
  config.identity = bench::bench_identity(seed);
  config.accept_client = [](const transport::PublicKey&, const transport::Address&) {
    return true;
  };
  config.largest_datagram = transport::Bytes{line.datagram};
  if (line.target > 0) config.rate.target = {line.target * 1e6};
  if (line.fixed > 0) {
    config.rate.policy = transport::RatePolicy::fixed;
    config.rate.target = {line.fixed * 1e6};
  }
  return config;
}

void print_udp(const char* end, const transport::UdpReport& r, double cpu) {
  const auto per = [](std::uint64_t a, std::uint64_t b) {
    return b == 0 ? 0.0 : static_cast<double>(a) / static_cast<double>(b);
  };
  std::printf(
      "%-7s CPU %.2f s, %.0f ns/datagram; sent %llu (%.1f/call), received %llu (%.1f/call), "
      "dropped by kernel %llu, blocked %llu\n",
      end, cpu, cpu * 1e9 / static_cast<double>(r.datagrams_sent + r.datagrams_received + 1),
      static_cast<unsigned long long>(r.datagrams_sent), per(r.datagrams_sent, r.send_calls),
      static_cast<unsigned long long>(r.datagrams_received),
      per(r.datagrams_received, r.receive_calls),
      static_cast<unsigned long long>(r.dropped_by_kernel),
      static_cast<unsigned long long>(r.send_blocked));
  const std::string advice = transport::buffer_advice(r);
  if (!advice.empty()) std::printf("%-7s %s\n", end, advice.c_str());
}

void print_path(const transport::PathReport& p) {
  const auto ms = [](transport::Duration d) { return transport::seconds(d) * 1000; };
  std::printf("path    round trip %.2f ms (least %.2f), rate %.0f Mbit/s, bandwidth %.0f Mbit/s, "
              "in flight %llu KiB, lost %llu of %llu, spurious %llu, datagram %llu B, limit %s\n",
              ms(p.smoothed_round_trip), ms(p.minimum_round_trip),
              p.pacing_rate.bits_per_second / 1e6, p.bandwidth.bits_per_second / 1e6,
              static_cast<unsigned long long>(p.bytes_in_flight.count >> 10),
              static_cast<unsigned long long>(p.packets_lost),
              static_cast<unsigned long long>(p.packets_sent),
              static_cast<unsigned long long>(p.packets_spurious),
              static_cast<unsigned long long>(p.datagram_size.count), transport::name_of(p.limit));
}

/// Prints what was moved each half second.
class Progress {
 public:
  Progress(boost::asio::io_context& loop, bench::BenchClient& client)
      : client_(client), timer_(loop) {}
  void start() {
    timer_.expires_after(std::chrono::milliseconds(500));
    timer_.async_wait([this](const boost::system::error_code& error) {
      if (error) return;
      const auto moved = client_.moved();
      std::printf("%.0f Mbit/s; ", static_cast<double>((moved - before_).count) * 16e-6);
      before_ = moved;
      print_path(client_.path_report(Clock::now()));
      start();
    });
  }

 private:
  bench::BenchClient& client_;
  boost::asio::steady_timer timer_;
  transport::Bytes before_;
};

std::chrono::seconds wall_clock() {
  return std::chrono::duration_cast<std::chrono::seconds>(
      std::chrono::system_clock::now().time_since_epoch());
}

/// What an earlier run learned of the path, as a mount has it from the one before.
void load_paths(const std::string& file, transport::UdpDriver& driver) {
  std::ifstream in(file, std::ios::binary);
  const std::vector<std::uint8_t> learned{std::istreambuf_iterator<char>(in), {}};
  driver.post([learned](transport::Endpoint& endpoint, transport::TimePoint now) {
    endpoint.load_paths(learned, now, wall_clock());
  });
}

void save_paths(const std::string& file, transport::UdpDriver& driver) {
  driver.post([file](transport::Endpoint& endpoint, transport::TimePoint now) {
    const auto learned = endpoint.save_paths(now, wall_clock());
    std::ofstream(file, std::ios::binary)
        .write(reinterpret_cast<const char*>(learned.data()),
               static_cast<std::streamsize>(learned.size()));
  });
}

bool run_client(const CommandLine& line, const transport::Address& server) {
  boost::asio::io_context loop(1);
  bench::BenchClient client(loop, endpoint_config(line, 2), line.udp);
  bench::Load load;
  load.message = transport::Bytes{line.message << 10};
  load.outstanding = transport::Bytes{line.outstanding << 20};
  if (line.direction != "down") load.up = transport::Bytes{line.megabytes << 20};
  if (line.direction != "up") load.down = transport::Bytes{line.megabytes << 20};
  Clock::time_point done_at;
  Progress progress(loop, client);
  if (line.progress) progress.start();
  if (!line.paths.empty()) load_paths(line.paths, client.driver());
  client.start(server, load, [&] {
    done_at = Clock::now();
    print_path(client.path_report(done_at));
    if (!line.paths.empty()) save_paths(line.paths, client.driver());
    client.driver().shutdown({}, [&loop] { loop.stop(); });
  });
  const double cpu_before = cpu_of_this_thread();
  loop.run();
  const double cpu = cpu_of_this_thread() - cpu_before;
  if (!client.failure().empty() || client.damaged() != 0) {
    std::fprintf(stderr, "failed: %s; damaged replies: %llu\n", client.failure().c_str(),
                 static_cast<unsigned long long>(client.damaged()));
    return false;
  }
  print_udp("client", client.driver().report(), cpu);
  const double seconds = transport::seconds(done_at - client.connected_at());
  std::printf("%s %llu MiB in %.2f s: %.3f Gbit/s each way\n", line.direction.c_str(),
              static_cast<unsigned long long>(line.megabytes), seconds,
              static_cast<double>(line.megabytes << 20) * 8e-9 / seconds);
  return true;
}

int run_both(CommandLine& line) {
  boost::asio::io_context server_loop(1);
  auto options = line.udp;
  options.listen = transport::parse_address("127.0.0.1:0");
  bench::BenchServer server(server_loop, endpoint_config(line, 1), options);
  double server_cpu = 0;
  std::thread server_thread([&] {
    auto guard = boost::asio::make_work_guard(server_loop);
    server_loop.run();
    server_cpu = cpu_of_this_thread();
  });
  const bool good = run_client(line, server.driver().local_address());
  server_loop.stop();
  server_thread.join();
  print_udp("server", server.driver().report(), server_cpu);
  if (server.damaged() != 0) std::fprintf(stderr, "damaged requests: %llu\n",
                                          static_cast<unsigned long long>(server.damaged()));
  return good && server.damaged() == 0 ? 0 : 1;
}

int run_server(CommandLine& line) {
  boost::asio::io_context loop(1);
  line.udp.listen = transport::parse_address(line.serve);
  bench::BenchServer server(loop, endpoint_config(line, 1), line.udp);
  loop.run();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  rushfs::transport::give_back_idle_memory();  // as rushfs does
  CLI::App app("Moves messages between two endpoints, memory to memory.");
  CommandLine line;
  app.add_option("--serve", line.serve, "be the server on this ADDRESS:PORT");
  app.add_option("--connect", line.connect, "be the client of the server at HOST:PORT");
  app.add_option("--paths", line.paths, "with --connect: what was learned of paths, kept here");
  app.add_option("--megabytes", line.megabytes, "MiB to move each way")->capture_default_str();
  app.add_option("--direction", line.direction, "up, down or both")
      ->check(CLI::IsMember({"up", "down", "both"}))->capture_default_str();
  app.add_option("--outstanding", line.outstanding, "MiB asked for at a time")
      ->capture_default_str();
  app.add_option("--message", line.message, "KiB per message")->capture_default_str();
  app.add_option("--datagram", line.datagram, "largest datagram, bytes")->capture_default_str();
  app.add_option("--target", line.target, "Mbit/s never to exceed");
  app.add_option("--fixed", line.fixed, "Mbit/s to send at whatever happens");
  app.add_flag("--progress", line.progress, "a line each half second");
  app.add_flag("--no-segmentation-offload", line.no_segmentation, "without UDP_SEGMENT");
  app.add_flag("--no-receive-offload", line.no_receive_offload, "without UDP_GRO");
  CLI11_PARSE(app, argc, argv);
  line.udp.segmentation_offload = !line.no_segmentation;
  line.udp.receive_offload = !line.no_receive_offload;
  try {
    if (!line.serve.empty()) return run_server(line);
    if (line.connect.empty()) return run_both(line);
    const auto addresses = transport::resolve_now(transport::parse_host_port(line.connect));
    return run_client(line, addresses.front()) ? 0 : 1;
  } catch (const std::exception& error) {
    std::cerr << "rushfs-transport-bench: " << error.what() << "\n";
    return 1;
  }
}
