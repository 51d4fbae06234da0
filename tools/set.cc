// rushfs set: changes a running mount.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "tools/command.h"
#include "tools/control_client.h"
#include "tools/error.h"

namespace rushfs::tools {
namespace {

struct Arguments {
  std::string directory;
  std::vector<std::string> settings;
  std::vector<std::string> options;
  bool retry = false;
  std::uint64_t discard = 0;
};

void send(const MountEntry& mount, const nlohmann::json& request) {
  const nlohmann::json reply = ask_mount(mount, request);
  if (reply.contains("error")) {
    throw CommandError(ExitCode::failure, reply.at("error").get<std::string>());
  }
}

ExitCode set(const Arguments& arguments) {
  const MountEntry mount = require_mount(arguments.directory);
  std::vector<std::string> options = arguments.settings;
  options.insert(options.end(), arguments.options.begin(), arguments.options.end());
  if (options.empty() && !arguments.retry && arguments.discard == 0) {
    throw usage_error("Nothing to set: give rate=500M, --retry or --discard N.");
  }
  if (!options.empty()) {
    send(mount, {{"command", "rate"}, {"options", options}});
  }
  if (arguments.discard != 0) {
    send(mount, {{"command", "discard"}, {"operation", arguments.discard}});
  }
  if (arguments.retry) send(mount, {{"command", "retry"}});
  return ExitCode::success;
}

}  // namespace

void add_set(CLI::App& program, Action& action) {
  CLI::App* command = program.add_subcommand(
      "set", "Change a running mount: its rate, or what becomes of operations the server refused.");
  command->footer(
      "Examples:\n"
      "  rushfs set /mnt/footage rate=200M policy=low\n"
      "  rushfs set /mnt/footage rate=unlimited\n"
      "  rushfs set /mnt/footage --retry           after the server's disk was cleared\n"
      "  rushfs set /mnt/footage --discard 4711    give up one refused operation for good;\n"
      "                                            rushfs status --json shows its number");
  auto arguments = std::make_shared<Arguments>();
  command->add_option("dir", arguments->directory, "the mounted directory")->required();
  command->add_option("settings", arguments->settings,
                      "rate=RATE min_rate=RATE policy=fixed|high|fair|low; the rest stays");
  command->add_option("-o", arguments->options, "the same, separated by commas")
      ->allow_extra_args(false);
  command->add_flag("--retry", arguments->retry, "try again now what was refused or waits");
  command->add_option("--discard", arguments->discard, "drop a refused operation for ever");
  command->callback([&action, arguments] { action = [arguments] { return set(*arguments); }; });
}

}  // namespace rushfs::tools
