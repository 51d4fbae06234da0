// The `-o` list of the commands that connect, and of fstab's fourth column. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/client/access_times.h"
#include "transport/endpoint.h"
#include "transport/units.h"

namespace rushfs::tools {

/// Paths of keys and how long to wait: what every command that connects takes.
struct ConnectOptions {
  std::optional<std::string> identity;     // default: default_files.h
  std::optional<std::string> known_hosts;  // default: default_files.h
  transport::Duration timeout = std::chrono::seconds(60);  // deadline of one file operation
};

struct MountOptions {
  ConnectOptions connect;
  std::optional<std::string> cache_dir;
  transport::Bytes cache_size{20ull << 30};
  transport::RateLimits rate;
  std::uint8_t dscp = 0;            // marks what we send: 0 to 63, RFC 2474
  bool allow_other = false;
  bool tell_watchers = true;
  bool read_only = false;
  bool remount = false;  // only change how the kernel uses what is mounted
  bool no_exec = false;
  bool no_suid = true;    // whoever has the server could make himself root here
  bool no_device = true;  // likewise
  fs::AccessTimes::Options access_times;
  std::vector<std::string> kernel;  // understood by the kernel for any file system: noatime ...
};

// Both throw CommandError (usage) that names the option and lists what is known.

/// identity=, known_hosts=, timeout=.
ConnectOptions parse_connect_options(const std::vector<std::string>& lists);
/// Those, what rushfs(1) lists for mount, and the generic ones of mount(8) and fstab(5), of which
/// those that concern others (_netdev, nofail, x-...) are accepted and dropped.
MountOptions parse_mount_options(const std::vector<std::string>& lists);
/// `now` with what rate=, min_rate= and policy= change of it; nothing else is known here.
transport::RateLimits change_rate(transport::RateLimits now,
                                  const std::vector<std::string>& lists);

}  // namespace rushfs::tools
