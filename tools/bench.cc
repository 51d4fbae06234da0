// rushfs bench: what the link and the protocol carry, from memory to memory.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "fs/protocol/messages.h"
#include "tools/command.h"
#include "tools/credentials.h"
#include "tools/error.h"
#include "tools/location.h"
#include "tools/options.h"
#include "tools/quantity.h"
#include "tools/server_connection.h"

namespace rushfs::tools {
namespace {

using transport::Bytes;

// One message, and what is asked for at once: 5 Gbit/s over 200 ms are 125 MB.
constexpr Bytes kMessage{256u << 10};
constexpr std::size_t kUnderWay = 512;
constexpr auto kShowEvery = std::chrono::milliseconds(500);
constexpr double kFullLoad = 0.9;  // a network loop this busy has no more to give

struct Arguments {
  std::string source;
  std::vector<std::string> options;
  double seconds = 10;
  double omit = 0;  // seconds before those
  bool up = false;
  bool down = false;
  bool as_json = false;
};

struct Measured {
  const char* direction = "";
  Bytes amount;
  transport::Duration time{};
  std::optional<transport::PathReport> path;
  double load = 0;  // of our own network loop at the end
  std::string advice{};  // on socket buffers
  transport::BitRate rate() const { return amount / time; }
  bool is_up() const { return direction == std::string_view("up"); }
  /// What held back the end that sends: the server says it of itself.
  transport::SendLimit limit() const {
    if (is_up() || !path->peer) return path->limit;
    // A receiver without time to take datagrams looks like a slow network to the sender.
    const bool slow_here =
        load >= kFullLoad && path->peer->limit == transport::SendLimit::network;
    return slow_here ? transport::SendLimit::processor : path->peer->limit;
  }
  double loss() const { return is_up() || !path->peer ? path->loss_ratio : path->peer->loss_ratio; }
};

/// Keeps kUnderWay messages under way and counts those that were answered in time.
class Measurement {
 public:
  Measurement(ServerConnection& connection, bool up) : connection_(connection), up_(up) {
    request_.reply_bytes = up ? 0 : static_cast<std::uint32_t>(kMessage.count);
    if (!up) return;
    // Bytes that no compression makes shorter.
    data_.resize(kMessage.count);
    std::uint64_t state = 88172645463325252u;  // xorshift64, Marsaglia 2003
    for (std::uint8_t& byte : data_) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
      byte = static_cast<std::uint8_t>(state);
    }
    request_.data = data_;
  }

  Measured run(transport::Duration omitted, transport::Duration wanted, bool progress) {
    for (std::size_t i = 0; i < kUnderWay; ++i) ask();
    const auto begin = transport::Clock::now();  // nothing was sent before the loop runs
    run_until(begin, begin + omitted, progress);
    amount_ = {};
    const auto start = transport::Clock::now();
    run_until(start, start + wanted, progress);
    stopped_ = true;
    if (progress) std::fputs("\r\033[K", stderr);
    if (connection_.closed()) {
      throw CommandError(ExitCode::unreachable,
                         "The connection ended: " + connection_.closed()->text);
    }
    return {up_ ? "up" : "down", amount_, transport::Clock::now() - start, connection_.report(),
            connection_.udp_report().load, transport::buffer_advice(connection_.udp_report())};
  }

 private:
  void run_until(transport::TimePoint start, transport::TimePoint end, bool progress) {
    while (transport::Clock::now() < end && !connection_.closed()) {
      const auto left = end - transport::Clock::now();
      connection_.run_for(std::min<transport::Duration>(left, kShowEvery), [] { return false; });
      if (progress) show(transport::Clock::now() - start);
    }
  }
  void ask() {
    connection_.request(transport::Priority::demand, fs::encode(request_),
                        [this](transport::Buffer reply) { answered(reply.size()); });
  }
  void answered(std::size_t reply_bytes) {
    if (stopped_) return;
    if (!up_ && reply_bytes < kMessage.count) {
      throw CommandError(ExitCode::refused, "The server does not answer measuring requests.");
    }
    amount_ += kMessage;
    ask();
  }
  void show(transport::Duration passed) const {
    fmt::print(stderr, "\r\033[K{} {}", up_ ? "up" : "down", format_rate(amount_ / passed));
    std::fflush(stderr);
  }

  ServerConnection& connection_;
  const bool up_;
  bool stopped_ = false;
  Bytes amount_{};
  fs::Measure request_;
  std::vector<std::uint8_t> data_;
};

nlohmann::json to_json(const Measured& measured) {
  nlohmann::json result{{"direction", measured.direction},
                        {"bytes", measured.amount.count},
                        {"seconds", transport::seconds(measured.time)},
                        {"bits_per_second", measured.rate().bits_per_second}};
  if (measured.path) {
    result["round_trip_ms"] = transport::seconds(measured.path->smoothed_round_trip) * 1e3;
    result["minimum_round_trip_ms"] = transport::seconds(measured.path->minimum_round_trip) * 1e3;
    result["loss"] = measured.loss();
    result["packets_sent"] = measured.path->packets_sent;
    result["packets_lost"] = measured.path->packets_lost;
    result["limited_by"] = transport::name_of(measured.limit());
  }
  if (!measured.advice.empty()) result["advice"] = measured.advice;
  return result;
}

Measured measure(const transport::HostPort& server, const Credentials& credentials,
                 const MountOptions& options, bool up, const Arguments& arguments) {
  ServerConnection connection(credentials.identity, options.rate, options.dscp);
  connect_or_explain(connection, server, credentials, options.connect.timeout);
  Measurement measurement(connection, up);
  const bool progress = !arguments.as_json && isatty(STDERR_FILENO) == 1;
  Measured result = measurement.run(transport::from_seconds(arguments.omit),
                                    transport::from_seconds(arguments.seconds), progress);
  connection.close();
  return result;
}

ExitCode bench(const Arguments& arguments) {
  const RemoteLocation location = parse_location(arguments.source);
  const MountOptions options = parse_mount_options(arguments.options);
  const Credentials credentials = load_credentials(options.connect);
  nlohmann::json all = nlohmann::json::array();
  std::string advice;
  for (const bool up : {false, true}) {
    if ((up ? arguments.down : arguments.up) && arguments.up != arguments.down) continue;
    const Measured measured = measure(location.server, credentials, options, up, arguments);
    all.push_back(to_json(measured));
    advice = measured.advice;
    if (arguments.as_json) continue;
    fmt::print("{:<5} {:>14}   {} in {}", measured.direction, format_rate(measured.rate()),
               format_size(measured.amount), format_duration(measured.time));
    if (measured.path) {
      fmt::print(", {} round trip, {:.2f} % loss, limited by {}",
                 format_duration(measured.path->smoothed_round_trip), measured.loss() * 100,
                 transport::name_of(measured.limit()));
    }
    fmt::print("\n");
  }
  if (!arguments.as_json && !advice.empty()) fmt::print("{}\n", advice);
  if (arguments.as_json) fmt::print("{}\n", (all.size() == 1 ? all.at(0) : all).dump(2));
  return ExitCode::success;
}

}  // namespace

void add_bench(CLI::App& program, Action& action) {
  CLI::App* command = program.add_subcommand(
      "bench",
      "Measure what arrives per second, from memory to memory: no disk, no files. Without --up or\n"
      "--down: one after the other. Compare it with the line's rate.");
  command->footer(
      "Examples:\n"
      "  rushfs bench studio.example:/footage\n"
      "  rushfs bench studio.example:/footage --down --seconds 30 --json\n"
      "  rushfs bench studio.example:/footage --up -o policy=low");
  auto arguments = std::make_shared<Arguments>();
  command->add_option("source", arguments->source, "HOST[:PORT]:/NAME")->required();
  command->add_flag("--up", arguments->up, "towards the server only");
  command->add_flag("--down", arguments->down, "from the server only");
  command->add_option("--seconds", arguments->seconds, "for so long each; 10")
      ->check(CLI::Range(0.1, 86400.0));
  command->add_option("--omit", arguments->omit, "seconds before those, not counted: start-up; 0")
      ->check(CLI::Range(0.0, 3600.0));
  command->add_flag("--json", arguments->as_json, "one object, or a list of two");
  command->add_option("-o", arguments->options,
                      "identity=FILE,known_hosts=FILE,timeout=TIME,rate=RATE,policy=...,dscp=N")
      ->allow_extra_args(false);
  command->callback([&action, arguments] { action = [arguments] { return bench(*arguments); }; });
}

}  // namespace rushfs::tools
