#include "tools/arrival.h"

#include <fmt/format.h>

#include <cstring>

#include "tools/control_client.h"
#include "tools/error.h"
#include "tools/progress.h"
#include "tools/quantity.h"

namespace rushfs::tools {
namespace {

using nlohmann::json;

constexpr auto kLookEvery = std::chrono::milliseconds(300);

bool concerns(const json& parked, const std::optional<std::string>& file) {
  if (!file) return true;
  std::string name = parked.at("file");
  if (name.starts_with('/')) name.erase(0, 1);
  return name == *file;
}

void refuse_parked(const json& status, const std::optional<std::string>& file) {
  std::string lines;
  for (const json& parked : status.at("queue").at("parked")) {
    if (!concerns(parked, file)) continue;
    lines += fmt::format("\n  {}: {}: {}", parked.at("file").get<std::string>(),
                         parked.at("what").get<std::string>(),
                         std::strerror(parked.at("errno").get<int>()));
  }
  if (lines.empty()) return;
  throw CommandError(
      ExitCode::not_arrived,
      fmt::format("The server refuses this, and it is kept here until somebody acts:{}\nMend the "
                  "reason on the server, then: rushfs set {} --retry", lines,
                  status.at("mount_point").get<std::string>()));
}

std::string not_moving(const json& status) {
  const json& link = status.at("link");
  if (link.at("state") == "connected") return {};
  return fmt::format("no connection to {} for {}: {}", status.at("server").get<std::string>(),
                     format_duration(std::chrono::seconds(link.at("seconds_in_state").get<long>())),
                     link.at("reason").get<std::string>());
}

void refuse_dead_link(const json& status, const ArrivalLimits& limits) {
  const json& link = status.at("link");
  const auto since = std::chrono::seconds(link.at("seconds_in_state").get<long>());
  const bool refused = link.at("state") == "refused";
  const bool silent = link.at("state") == "connecting" && limits.without_link &&
                      since >= *limits.without_link;
  if (!refused && !silent) return;
  throw CommandError(ExitCode::not_arrived,
                     fmt::format("{} waiting to be sent, but there is {}",
                                 format_size({status.at("queue").at("bytes").get<std::uint64_t>()}),
                                 not_moving(status)));
}

void check(const json& reply, const MountEntry& mount) {
  if (!reply.contains("error")) return;
  const ExitCode code = reply.value("errno", 0) == ENOENT ? ExitCode::failure
                                                          : ExitCode::not_arrived;
  throw CommandError(code, fmt::format("{}: {}", mount.mount_point.string(),
                                       reply.at("error").get<std::string>()));
}

}  // namespace

void wait_for_arrival(const MountEntry& mount, const std::optional<std::string>& file,
                      const ArrivalLimits& limits) {
  json request{{"command", "wait"}};
  if (file) request["file"] = *file;
  ControlCall waiting(mount, request);
  Progress progress;
  const auto start = transport::Clock::now();
  std::uint64_t done_before = 0;
  for (bool first = true;; first = false) {
    if (const auto reply = waiting.reply(kLookEvery)) {
      if (reply->contains("error")) refuse_parked(ask_mount(mount, {{"command", "status"}}), file);
      return check(*reply, mount);
    }
    const json status = ask_mount(mount, {{"command", "status"}});
    refuse_parked(status, file);
    refuse_dead_link(status, limits);
    const json& queue = status.at("queue");
    const auto done = queue.at("bytes_done").get<std::uint64_t>();
    const auto left = queue.at("bytes").get<std::uint64_t>();
    if (first) done_before = done;
    progress.show({done - done_before}, {done - done_before + left}, not_moving(status));
    if (limits.patience && transport::Clock::now() - start > *limits.patience) {
      throw CommandError(ExitCode::not_arrived,
                         fmt::format("{} still to be sent after {}.", format_size({left}),
                                     format_duration(*limits.patience)));
    }
  }
}

}  // namespace rushfs::tools
