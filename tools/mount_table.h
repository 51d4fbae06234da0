// The kernel's list of mounts, without touching the mounts themselves: a dead one cannot hang us.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rushfs::tools {

/// One line of /proc/self/mountinfo that is a rushfs mount (proc(5)).
struct MountEntry {
  unsigned device_major = 0;
  unsigned device_minor = 0;
  std::filesystem::path mount_point;
  std::string source;  // HOST:/NAME as mounted
  unsigned user_id = 0;  // who mounted it
  bool operator==(const MountEntry&) const = default;
};

/// The rushfs mounts in the text of a mountinfo file, in its order. Pure.
std::vector<MountEntry> parse_mount_table(std::string_view mountinfo);
/// The entry that `path` (absolute, lexically normal) lies in, if that is a rushfs mount; the later
/// of two mounts on one directory, as the kernel sees it. Pure.
std::optional<MountEntry> find_mount(const std::vector<MountEntry>&, const std::filesystem::path&);

std::vector<MountEntry> read_mount_table();
/// `path` as find_mount() takes it: absolute, with the links outside of rushfs mounts followed.
std::filesystem::path absolute_path(const std::filesystem::path& path,
                                    const std::vector<MountEntry>&);

}  // namespace rushfs::tools
