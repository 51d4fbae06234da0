// rushfs wait: returns when all that was written before is on the server.
#include <CLI/CLI.hpp>
#include <memory>

#include "tools/arrival.h"
#include "tools/command.h"
#include "tools/control_client.h"
#include "tools/error.h"
#include "tools/quantity.h"

namespace rushfs::tools {
namespace {

struct Arguments {
  std::vector<std::string> paths;
  std::string timeout;
};

/// The path below the mount's root; none: it is the root. The mount knows what is a folder; asking
/// the file system could wait for a dead link.
std::optional<std::string> file_in(const MountEntry& mount, const std::string& path) {
  const auto absolute = absolute_path(path, {mount});
  if (absolute == mount.mount_point) return std::nullopt;
  return absolute.lexically_relative(mount.mount_point).string();
}

ExitCode wait(const Arguments& arguments) {
  ArrivalLimits limits;
  if (!arguments.timeout.empty()) limits.patience = parse_duration(arguments.timeout);
  for (const std::string& path : arguments.paths) {
    const MountEntry mount = require_mount(path);
    wait_for_arrival(mount, file_in(mount, path), limits);
  }
  return ExitCode::success;
}

}  // namespace

void add_wait(CLI::App& program, Action& action) {
  CLI::App* command = program.add_subcommand(
      "wait",
      "Return when all that was written before is on the server's stable storage: everything in\n"
      "the mount for a directory, or just the files named. Exits with 5, naming the files, when\n"
      "the server refuses something; what it refuses is kept, never dropped.");
  command->footer(
      "Examples:\n"
      "  cp -r card/ /mnt/footage/day12 && rushfs wait /mnt/footage && echo safe to format\n"
      "  rushfs wait /mnt/footage/a.mov /mnt/footage/b.mov\n"
      "  rushfs wait /mnt/footage --timeout 10m");
  auto arguments = std::make_shared<Arguments>();
  command->add_option("path", arguments->paths, "mounted directories or files in them")->required();
  command->add_option("--timeout", arguments->timeout, "give up after so long, for example 10m");
  command->callback([&action, arguments] { action = [arguments] { return wait(*arguments); }; });
}

}  // namespace rushfs::tools
