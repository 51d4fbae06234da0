// rushfs status: what the mounts of this machine are doing.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstring>
#include <memory>
#include <thread>

#include "tools/command.h"
#include "tools/control_client.h"
#include "tools/error.h"
#include "tools/quantity.h"

namespace rushfs::tools {
namespace {

using nlohmann::json;

struct Arguments {
  std::string directory;
  bool as_json = false;
  bool watch = false;
};

std::vector<MountEntry> wanted_mounts(const std::string& directory) {
  if (!directory.empty()) return {require_mount(directory)};
  return read_mount_table();
}

std::string size(const json& bytes) { return format_size({bytes.get<std::uint64_t>()}); }

std::string link_line(const json& status) {
  const json& link = status.at("link");
  const std::string state = link.at("state");
  if (state != "connected") {
    return fmt::format("{} for {} s: {}", state == "refused" ? "REFUSED" : "NO CONNECTION",
                       link.at("seconds_in_state").get<long>(),
                       link.at("reason").get<std::string>());
  }
  const json& path = status.at("path");
  if (path.is_null()) return "connected";
  const double loss = path.at("loss");
  const json& bandwidth = path.at("bandwidth_bps");
  return fmt::format("connected, {:.1f} ms round trip, {:.2f} % loss, {}",
                     path.at("round_trip_ms").get<double>(), loss * 100,
                     bandwidth.is_null() ? "rate not known yet"
                                         : format_rate({bandwidth.get<double>()}));
}

/// What each direction waits for: "random loss" with how much of it.
std::string limits_line(const json& path) {
  const auto limit = [](const json& way) {
    const std::string name = way.at("limited_by");
    if (name != "random loss") return name;
    return fmt::format("{} ({:.2f} %)", name, way.at("loss").get<double>() * 100);
  };
  const json& receiving = path.at("receiving");
  std::string text = "sending by " + limit(path);
  if (!receiving.is_null()) text += ", receiving by " + limit(receiving);
  return text;
}

std::string queue_line(const json& queue) {
  const auto operations = queue.at("operations").get<std::uint64_t>();
  if (operations == 0) return "empty: everything written is on the server";
  std::string text = fmt::format("{} of {} files to be sent ({} operations)",
                                 size(queue.at("bytes")), queue.at("files").get<long>(),
                                 operations);
  if (const int error = queue.at("retry_errno"); error != 0) {
    text += fmt::format("; the server answers: {}", std::strerror(error));
  }
  return text;
}

void print_status(const json& status) {
  const json& cache = status.at("cache");
  fmt::print("{} on {}\n", status.at("server").get<std::string>() + ":/" +
             status.at("export").get<std::string>(), status.at("mount_point").get<std::string>());
  fmt::print("  link    {}\n", link_line(status));
  if (!status.at("path").is_null()) {
    fmt::print("  limits  {}\n", limits_line(status.at("path")));
  }
  fmt::print("  queue   {}\n", queue_line(status.at("queue")));
  fmt::print("  cache   {} of {}, {} read from it, {} fetched\n", size(cache.at("bytes")),
             size(cache.at("budget")), size(cache.at("hit_bytes")), size(cache.at("miss_bytes")));
  fmt::print("  files   {} open, {} read, {} written\n", status.at("open_files").get<long>(),
             size(status.at("bytes_read")), size(status.at("bytes_written")));
  for (const json& parked : status.at("queue").at("parked")) {
    fmt::print("  PARKED  {}: {}: {}\n", parked.at("file").get<std::string>(),
               parked.at("what").get<std::string>(), std::strerror(parked.at("errno").get<int>()));
  }
  for (const json& conflict : status.at("queue").at("conflicts")) {
    fmt::print("  CONFLICT  {} was changed by somebody else too; our version is {}\n",
               conflict.at("file").get<std::string>(), conflict.at("copy").get<std::string>());
    if (const auto missing = conflict.at("missing_bytes").get<long>(); missing > 0) {
      fmt::print("            {} of it could not be had any more and are zeros\n", size(missing));
    }
  }
  const std::string advice = status.at("advice");
  if (!advice.empty()) fmt::print("  advice  {}\n", advice);
}

/// One mount's answer, or what kept it from answering.
json status_of(const MountEntry& mount) {
  try {
    return ask_mount(mount, {{"command", "status"}});
  } catch (const CommandError& error) {
    return {{"mount_point", mount.mount_point.string()}, {"error", error.what()}};
  }
}

ExitCode show(const Arguments& arguments) {
  const auto mounts = wanted_mounts(arguments.directory);
  json all = json::array();
  bool failed = false;
  for (const MountEntry& mount : mounts) all.push_back(status_of(mount));
  for (const json& status : all) {
    const bool dead = status.contains("error");
    failed = failed || dead;
    if (arguments.as_json) continue;
    if (dead) {
      fmt::print("{}\n  {}\n", status.at("mount_point").get<std::string>(),
                 status.at("error").get<std::string>());
    } else {
      print_status(status);
    }
  }
  if (arguments.as_json) {
    const bool one = !arguments.directory.empty();
    fmt::print("{}\n", (one ? all.at(0) : all).dump(arguments.watch ? -1 : 2));
  } else if (mounts.empty()) {
    fmt::print("No rushfs mounts here. rushfs mount --help shows how to make one.\n");
  }
  std::fflush(stdout);
  return failed ? ExitCode::not_mounted : ExitCode::success;
}

ExitCode status(const Arguments& arguments) {
  if (!arguments.watch) return show(arguments);
  const bool terminal = isatty(STDOUT_FILENO) == 1 && !arguments.as_json;
  for (;;) {
    if (terminal) fmt::print("\033[H\033[2J");
    const ExitCode code = show(arguments);
    if (code != ExitCode::success && !arguments.directory.empty()) return code;
    std::this_thread::sleep_for(std::chrono::seconds(1));
  }
}

}  // namespace

void add_status(CLI::App& program, Action& action) {
  CLI::App* command = program.add_subcommand(
      "status",
      "Show what mounts are doing: the link, what is still to be sent, the cache, and what limits\n"
      "the rate. Without DIR: all rushfs mounts of this machine.");
  command->footer(
      "Examples:\n"
      "  rushfs status\n"
      "  rushfs status /mnt/footage --watch           again every second\n"
      "  rushfs status /mnt/footage --json            for scripts: one object\n"
      "  rushfs status --json                         a list of such objects");
  auto arguments = std::make_shared<Arguments>();
  command->add_option("dir", arguments->directory, "a mounted directory, or anything in it");
  command->add_flag("--json", arguments->as_json, "print JSON; rushfs(1) explains the names");
  command->add_flag("--watch", arguments->watch, "print again every second");
  command->callback([&action, arguments] { action = [arguments] { return status(*arguments); }; });
}

}  // namespace rushfs::tools
