// Runs one scenario of the rate control's simulator and prints what came of it; with trace=SECONDS
// also how. For people: the suite has its own cases.
//   rate_probe rate=100 rtt=100 loss=1 [buffer=MS] [jitter=MS kind=held|each|overtaking] [reorder=%
//   by=MS] [burst=% length=PACKETS] [acks=% ack_length=ACKS]
//              [policer=MS] [pause=MS every=MS]
//              [flows=N] [stagger=S] [rtts=MS,...] [seconds=S] [warm=S] [bytes=MIB]
//              [control=ours,cubic,bbr1,bbr3] [target=MBPS] [policy=fair] [seed=N] [trace=S]
//              [at=S rate2= rtt2= loss2= [back=S] [settle=S]]
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include "tests/transport/rate_simulation.h"

namespace {

using namespace rushfs::transport;
using namespace rushfs::transport::simulation;

std::map<std::string, std::string> options;

double number(const char* name, double fallback) {
  const auto found = options.find(name);
  return found == options.end() ? fallback : std::atof(found->second.c_str());
}
Duration milliseconds(const char* name, double fallback) {
  return from_seconds(number(name, fallback) / 1000);
}

RatePolicy policy() {
  const std::string name = options["policy"];
  if (name == "fixed") return RatePolicy::fixed;
  if (name == "high") return RatePolicy::high;
  if (name == "low") return RatePolicy::low;
  return RatePolicy::fair;
}

// "ours,cubic,bbr3": of one flow after the other; the last is that of all others, too.
Control control(std::size_t flow) {
  std::string names = options["control"];
  for (; flow > 0 && names.find(',') != std::string::npos; --flow) {
    names = names.substr(names.find(',') + 1);
  }
  if (names.starts_with("cubic")) return Control::cubic;
  if (names.starts_with("bbr1")) return Control::bbr1;
  return names.starts_with("bbr3") ? Control::bbr3 : Control::ours;
}

Link link_from_options() {
  Link link;
  link.rate = {number("rate", 100) * 1e6};
  link.round_trip = milliseconds("rtt", 100);
  link.buffer = milliseconds("buffer", std::max(5.0, number("rtt", 100)));
  link.loss = number("loss", 0) / 100;
  link.burst_loss = number("burst", 0) / 100;
  link.burst_length = number("length", link.burst_length);
  link.ack_loss = number("acks", 0) / 100;
  link.ack_burst = number("ack_length", link.ack_burst);
  link.jitter = milliseconds("jitter", 0);
  if (options["kind"] == "each") link.jitter_kind = Link::Jitter::each;
  if (options["kind"] == "overtaking") link.jitter_kind = Link::Jitter::overtaking;
  link.reordered = number("reorder", 0) / 100;
  link.reordering = milliseconds("by", 0);
  link.pause = milliseconds("pause", 0);
  link.pause_interval = milliseconds("every", 150);
  link.policer_bucket = milliseconds("policer", 0);
  return link;
}

void print_state(Simulation& simulation, std::size_t flows, std::vector<std::uint64_t>& before,
                 double interval) {
  static const char* const kNames[] = {"start", "drain", "down", "cruise", "refill", "up", "dip"};
  std::printf("%7.2f", seconds(simulation.elapsed()));
  for (std::size_t i = 0; i < flows; ++i) {
    const RateControl& control = simulation.recovery(i).control();
    const std::uint64_t bytes = simulation.result(i).goodput_bytes;
    std::printf(
        " | %-6s%s got %7.2f bw %7.2f pace %7.2f Mb/s win %6llu inflight %6llu base %.1f q %.1f "
        "jitter %.1f ms floor %.3f loss %.3f capacity %.1f",
        kNames[static_cast<int>(control.phase())], control.competing() ? "*" : " ",
        static_cast<double>(bytes - before[i]) * 8e-6 / interval,
        control.bandwidth().bits_per_second / 1e6, control.pacing_rate().bits_per_second / 1e6,
        static_cast<unsigned long long>(control.window() / 1472),
        static_cast<unsigned long long>(simulation.recovery(i).bytes_in_flight() / 1472),
        seconds(control.queue().base()) * 1e3, seconds(control.queue().standing()) * 1e3,
        seconds(control.queue().jitter()) * 1e3, control.loss().value(), control.loss().recent(),
        control.competition().answered_capacity().value_or(0) * 8e-6);
    before[i] = bytes;
  }
  std::printf("\n");
}

// The path becomes another, and with back= what it was. Returns when the last of it happened.
double change(Simulation& simulation) {
  const Link before = simulation.link();
  const double at = number("at", 10);
  simulation.run_until(from_seconds(at));
  if (options.count("rate2")) simulation.link().rate = {number("rate2", 0) * 1e6};
  if (options.count("rtt2")) simulation.link().round_trip = milliseconds("rtt2", 0);
  if (options.count("loss2")) simulation.link().loss = number("loss2", 0) / 100;
  if (!options.count("back")) return at;
  simulation.run_until(from_seconds(number("back", 20)));
  simulation.link() = before;
  return number("back", 20);
}

}  // namespace

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const auto equals = argument.find('=');
    if (equals == std::string::npos) return std::fprintf(stderr, "bad: %s\n", argv[i]), 2;
    options[argument.substr(0, equals)] = argument.substr(equals + 1);
  }
  Simulation simulation(link_from_options(), static_cast<std::uint64_t>(number("seed", 1)));
  const auto flows = static_cast<std::size_t>(number("flows", 1));
  std::string extra = options["rtts"];
  for (std::size_t i = 0; i < flows; ++i) {
    FlowOptions flow;
    flow.control = control(i);
    flow.limits.policy = policy();
    if (options.count("target")) flow.limits.target = {number("target", 0) * 1e6};
    if (i > 0)
      flow.start = TimePoint{} + from_seconds(number("stagger", 2) * static_cast<double>(i));
    if (options.count("bytes")) {
      flow.bytes = static_cast<std::uint64_t>(number("bytes", 64) * 1048576);
    }
    if (!extra.empty()) {
      flow.extra_round_trip =
          from_seconds(std::atof(extra.c_str()) / 1000) - simulation.link().round_trip;
      const auto comma = extra.find(',');
      extra = comma == std::string::npos ? "" : extra.substr(comma + 1);
    }
    simulation.add(flow);
  }
  std::vector<std::uint64_t> before(flows, 0);
  const double interval = number("trace", 0);
  if (interval > 0) {
    simulation.trace(from_seconds(interval),
                     [&] { print_state(simulation, flows, before, interval); });
  }
  const double length = number("seconds", 30);
  double warm = number("warm", 8);
  if (options.count("at")) warm = change(simulation) + number("settle", 10);
  simulation.run_until(from_seconds(warm));
  simulation.mark();
  std::fill(before.begin(), before.end(), 0);
  simulation.run_until(from_seconds(length));
  double sum = 0;
  double squares = 0;
  std::uint64_t wire = 0;
  std::uint64_t goodput = 0;
  for (std::size_t i = 0; i < flows; ++i) {
    const FlowResult result = simulation.result(i);
    const double rate = static_cast<double>(result.goodput_bytes) / (length - warm);
    sum += rate;
    squares += rate * rate;
    wire += result.wire_bytes;
    goodput += result.goodput_bytes;
    std::printf("flow %zu: %.2f Mb/s, sent %llu, spurious %llu, again %llu B", i, rate * 8e-6,
                static_cast<unsigned long long>(result.packets_sent),
                static_cast<unsigned long long>(result.packets_spurious),
                static_cast<unsigned long long>(result.payload_sent_again));
    if (result.finished) std::printf(", finished %.3f s", seconds(*result.finished - TimePoint{}));
    std::printf("\n");
  }
  const double yield = (1 - simulation.link().loss) * (1 - simulation.link().burst_loss);
  std::printf(
      "utilisation %.3f, mean queue %.1f ms, dropped %.4f, wire/(goodput/(1-p)) %.3f, Jain %.3f\n",
      sum / simulation.payload_limit(), seconds(simulation.mean_queue()) * 1e3,
      simulation.dropped_share(),
      static_cast<double>(wire) * 1428 / 1472 * yield /
          static_cast<double>(std::max<std::uint64_t>(goodput, 1)),
      squares > 0 ? sum * sum / (static_cast<double>(flows) * squares) : 0);
}
