// rushfs unmount: sends what is queued, then takes the mount down.
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <thread>

#include "tools/arrival.h"
#include "tools/command.h"
#include "tools/control_client.h"
#include "tools/error.h"

extern char** environ;

namespace rushfs::tools {
namespace {

// How long a link may be silent before unmount stops hoping; the queue stays for the next mount.
constexpr auto kWithoutLink = std::chrono::seconds(20);
// How long the mount's process may take to close its queue after the unmount.
constexpr int kFarewellMilliseconds = 30'000;
/// Whoever only looks (df, a file manager) makes a mount busy for a moment; without a link until he
/// is told what was known (fs::kGlance).
constexpr auto kBusyPatience = std::chrono::seconds(6);
constexpr auto kBusyPoll = std::chrono::milliseconds(50);

struct Arguments {
  std::string directory;
  bool now = false;
};

/// fusermount3 lets the user who mounted unmount. Returns 0 or an errno.
int fusermount(const std::string& mount_point, bool lazy) {
  const char* arguments[] = {"fusermount3", "-u", "-q", lazy ? "-z" : "--", mount_point.c_str(),
                             nullptr};
  pid_t child = 0;
  if (const int error = posix_spawnp(&child, "fusermount3", nullptr, nullptr,
                                     const_cast<char**>(arguments), environ);
      error != 0) {
    return error;
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status == 0 ? 0 : EBUSY;
}

int take_down(const std::string& mount_point, bool lazy) {
  if (geteuid() != 0) return fusermount(mount_point, lazy);
  return umount2(mount_point.c_str(), lazy ? MNT_DETACH : 0) == 0 ? 0 : errno;
}

int take_down_patiently(const std::string& mount_point) {
  const auto until = std::chrono::steady_clock::now() + kBusyPatience;
  int error = take_down(mount_point, false);
  while (error == EBUSY && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(kBusyPoll);
    error = take_down(mount_point, false);
  }
  return error;
}

void remove_dead_mount(const std::string& mount_point) {
  if (const int error = take_down(mount_point, true); error != 0) {
    throw CommandError(ExitCode::failure, fmt::format("Cannot unmount {}: {}", mount_point,
                                                      std::strerror(error)));
  }
  fmt::print(stderr,
             "rushfs: the process of {} was gone already. What it had queued is kept in the cache "
             "and is sent after the next mount.\n", mount_point);
}

/// A handle on the mount's process, to see its end by; negative when it cannot be had.
int process_of(const MountEntry& mount) {
  const nlohmann::json status = ask_mount(mount, {{"command", "status"}});
  return static_cast<int>(syscall(SYS_pidfd_open, status.at("pid").get<pid_t>(), 0));
}

/// The process ends when it has closed its queue.
void await_end(int process, const std::string& mount_point) {
  if (process < 0) return;
  pollfd ended{process, POLLIN, 0};
  if (poll(&ended, 1, kFarewellMilliseconds) == 0) {
    fmt::print(stderr, "rushfs: {} is unmounted; its process still closes the queue.\n",
               mount_point);
  }
  close(process);
}

ExitCode unmount(const Arguments& arguments) {
  const MountEntry mount = require_mount(arguments.directory);
  const std::string mount_point = mount.mount_point.string();
  int process = -1;
  try {
    process = process_of(mount);
    if (!arguments.now) wait_for_arrival(mount, std::nullopt, {std::nullopt, kWithoutLink});
  } catch (const CommandError& error) {
    if (error.exit_code() == ExitCode::not_mounted) {
      remove_dead_mount(mount_point);
      return ExitCode::success;
    }
    if (error.exit_code() != ExitCode::not_arrived) throw;
    throw CommandError(ExitCode::not_arrived,
                       fmt::format("{}\n{} stays mounted. rushfs unmount {} --now takes it down "
                                   "and keeps the queue for the next mount.",
                                   error.what(), mount_point, mount_point));
  }
  if (const int error = take_down_patiently(mount_point); error != 0) {
    throw CommandError(
        ExitCode::failure,
        fmt::format("Cannot unmount {0}: {1}.{2}", mount_point, std::strerror(error),
                    error == EBUSY ? " A program has a file or folder open in it; fuser -vm " +
                                         mount_point + " names it." : ""));
  }
  await_end(process, mount_point);
  return ExitCode::success;
}

}  // namespace

void add_unmount(CLI::App& program, Action& action) {
  CLI::App* command = program.add_subcommand(
      "unmount",
      "Send what is queued, with a progress bar, then unmount. When the server cannot be reached\n"
      "or refuses something, the mount stays and the reason is shown (exit 5). With --now the\n"
      "queue stays on the local disk and is sent after the next mount of the same folder.");
  command->alias("umount");
  command->footer(
      "Examples:\n"
      "  rushfs unmount /mnt/footage\n"
      "  rushfs unmount /mnt/footage --now       close the laptop; the rest goes another day");
  auto arguments = std::make_shared<Arguments>();
  command->add_option("dir", arguments->directory, "the mounted directory")->required();
  command->add_flag("--now", arguments->now, "do not wait for the queue; keep it");
  command->callback([&action, arguments] { action = [arguments] { return unmount(*arguments); }; });
}

}  // namespace rushfs::tools
