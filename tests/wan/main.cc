// wan-emulator: an emulated wide-area link between two network namespaces. See tests/wan/run.
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <iostream>

#include "tests/wan/emulator.h"

namespace {

using namespace rushfs::wan;

struct CommandLine {
  EmulatorOptions emulator;
  std::string namespace_a, namespace_b, device = "wan0", json;
  int ready_fd = -1;
};

Duration milliseconds(double value) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double, std::milli>(value));
}

void add_link_options(CLI::App& app, LinkPair& pair) {
  for (const char* prefix : {"", "ab-", "ba-"}) {
    for (const Setting& setting : settings()) {
      const std::string name = prefix + std::string(setting.name);
      auto* group =
          setting.flag
              ? app.add_flag_callback(
                    "--" + name, [&pair, name] { apply(pair, name, "1"); }, setting.help)
              : app.add_option_function<std::string>(
                    "--" + name, [&pair, name](const std::string& v) { apply(pair, name, v); },
                    setting.help);
      group->group(*prefix == '\0' ? "Link (both directions)" : "Link (one direction)")
          ->trigger_on_parse();
    }
  }
}

void add_options(CLI::App& app, CommandLine& line) {
  EmulatorOptions& o = line.emulator;
  app.add_option("--ns-a", line.namespace_a, "path of network namespace A")->required();
  app.add_option("--ns-b", line.namespace_b, "path of network namespace B")->required();
  app.add_option("--device", line.device, "name of the TUN device in each")->capture_default_str();
  app.add_option("--json", line.json, "write the counters here at the end; else to stdout");
  app.add_option("--series", o.series_path, "write a time series (CSV) here");
  app.add_option("--seed", o.seed, "of the link's randomness")->capture_default_str();
  app.add_option("--ready-fd", line.ready_fd, "a byte is written here when the devices exist");
  app.add_option_function<double>(
      "--series-every", [&o](double v) { o.series_every = milliseconds(v); }, "ms");
  app.add_option_function<double>(
      "--turn", [&o](double v) { o.turn = milliseconds(v / 1000); },
      "us within which packets leave together (50)");
  app.add_option_function<double>(
      "--cut-at", [&o](double v) { o.cut_at = milliseconds(v * 1000); },
      "cut the link this many seconds after the start (also: SIGUSR1)");
  app.add_option_function<double>(
      "--cut-for", [&o](double v) { o.cut_for = milliseconds(v * 1000); },
      "and heal it after so many (also: SIGUSR2)");
  app.add_option_function<std::vector<std::string>>(
      "--at",
      [&o](const std::vector<std::string>& all) {
        for (const std::string& text : all) o.changes.push_back(parse_change(text));
      },
      "SECONDS:NAME=VALUE[,NAME=VALUE]: change the link while it runs; repeatable");
}

/// A link does not get slower when its ends are busy. As far as this user may; root may both.
void go_first() {
  constexpr sched_param kRealTime{20};  // before what a benchmark runs as real-time
  ::setpriority(PRIO_PROCESS, 0, -10);
  ::sched_setscheduler(0, SCHED_RR, &kRealTime);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Carries packets between two network namespaces through an emulated link.");
  CommandLine line;
  add_options(app, line);
  add_link_options(app, line.emulator.links);
  try {
    app.parse(argc, argv);
    ::prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    go_first();
    TunDevice a(line.namespace_a, line.device);
    TunDevice b(line.namespace_b, line.device);
    Emulator emulator(a, b, line.emulator);
    if (line.ready_fd >= 0 && ::write(line.ready_fd, "r", 1) == 1) ::close(line.ready_fd);
    emulator.run();
    const std::string report = emulator.report(Clock::now());
    if (line.json.empty()) {
      std::cout << report << "\n";
    } else {
      std::ofstream(line.json) << report << "\n";
    }
    return 0;
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  } catch (const std::exception& error) {
    std::cerr << "wan-emulator: " << error.what() << "\n";
    return 1;
  }
}
