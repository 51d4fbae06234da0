#include "tools/mount_table.h"

#include <charconv>
#include <fstream>
#include <iterator>

#include "fs/mount_info.h"

namespace rushfs::tools {
namespace {

namespace file = std::filesystem;

unsigned user_in(const std::string& options) {
  constexpr std::string_view kUser = "user_id=";
  const auto at = options.find(kUser);
  unsigned user = 0;
  if (at != std::string::npos) {
    std::from_chars(options.data() + at + kUser.size(), options.data() + options.size(), user);
  }
  return user;
}

bool contains(const file::path& directory, const file::path& path) {
  const file::path rest = path.lexically_relative(directory);
  return !rest.empty() && *rest.begin() != "..";
}

}  // namespace

std::vector<MountEntry> parse_mount_table(std::string_view mountinfo) {
  std::vector<MountEntry> entries;
  for (const fs::MountInfo& info : fs::parse_mount_info(mountinfo)) {
    if (info.type != "fuse.rushfs" && info.type != "rushfs") continue;
    entries.push_back({info.device_major, info.device_minor, info.point, info.source,
                       user_in(info.options)});
  }
  return entries;
}

std::optional<MountEntry> find_mount(const std::vector<MountEntry>& entries,
                                     const file::path& path) {
  std::optional<MountEntry> best;
  for (const MountEntry& entry : entries) {
    if (!contains(entry.mount_point, path)) continue;
    if (!best || entry.mount_point.native().size() >= best->mount_point.native().size()) {
      best = entry;
    }
  }
  return best;
}

std::vector<MountEntry> read_mount_table() {
  std::ifstream in("/proc/self/mountinfo");
  return parse_mount_table(std::string(std::istreambuf_iterator<char>(in), {}));
}

file::path absolute_path(const file::path& path, const std::vector<MountEntry>& entries) {
  file::path lexical = file::absolute(path).lexically_normal();
  if (!lexical.has_filename() && lexical.has_parent_path() && lexical != lexical.root_path()) {
    lexical = lexical.parent_path();
  }
  if (find_mount(entries, lexical)) return lexical;
  std::error_code error;
  file::path resolved = file::weakly_canonical(lexical, error);
  return error ? lexical : resolved;
}

}  // namespace rushfs::tools
