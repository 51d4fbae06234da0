// What the kernel says is mounted where: the lines of /proc/self/mountinfo (proc_pid_mountinfo(5)).
// Reading it asks no file system anything, so a dead mount cannot hang the reader.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rushfs::fs {

struct MountInfo {
  std::uint64_t mount = 0;  // as STATX_MNT_ID
  unsigned device_major = 0, device_minor = 0;
  std::string point;        // any bytes but NUL
  std::string type, source;
  std::string options;      // of the file system, separated by commas
  bool operator==(const MountInfo&) const = default;
};

/// In the file's order: a mount that covers another comes later. Lines that are none are left out.
std::vector<MountInfo> parse_mount_info(std::string_view text);
std::vector<MountInfo> read_mount_info();
/// All that is mounted somewhere in `folder`, but not on it.
std::vector<MountInfo> mounts_beneath(const std::string& folder);
/// What is mounted there, on top of all else.
std::optional<MountInfo> mount_at(const std::string& point);

}  // namespace rushfs::fs
