// Talks to a running mount: control_server.h from the other side.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "tools/mount_table.h"
#include "transport/units.h"

namespace rushfs::tools {

/// Where the mount's socket is: named by its device number, which no two live mounts share.
std::filesystem::path control_socket(const MountEntry& mount);

/// One request under way. The reply may take as long as the link does.
class ControlCall {
 public:
  /// Sends. Throws CommandError (not_mounted) when the mount's process is gone.
  ControlCall(const MountEntry& mount, const nlohmann::json& request);
  ~ControlCall();
  ControlCall(const ControlCall&) = delete;
  ControlCall& operator=(const ControlCall&) = delete;

  /// The reply, if it comes within `patience`. Throws CommandError (not_mounted) when the mount's
  /// process ends without a reply.
  std::optional<nlohmann::json> reply(transport::Duration patience);

 private:
  int socket_ = -1;
  std::string received_;
  std::string mount_point_;
};

/// Sends and waits; no reply within ten seconds is an error. Throws CommandError.
nlohmann::json ask_mount(const MountEntry& mount, const nlohmann::json& request);

/// The rushfs mount that `path` lies in. Throws CommandError (not_mounted).
MountEntry require_mount(const std::filesystem::path& path);

}  // namespace rushfs::tools
