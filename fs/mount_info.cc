#include "fs/mount_info.h"

#include <charconv>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>

namespace rushfs::fs {

namespace {

/// Space, tab, newline, backslash and # are written as three octal digits.
std::string unescape(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned code = 0;
    const char* digits = text.data() + i + 1;
    if (text[i] == '\\' && i + 3 < text.size() &&
        std::from_chars(digits, digits + 3, code, 8).ptr == digits + 3) {
      result += static_cast<char>(code);
      i += 3;
    } else {
      result += text[i];
    }
  }
  return result;
}

// "36 35 0:98 /root /point options [optional fields] - type source options". The file system itself
// may write odd bytes into its source; the kernel escapes them as it does those of paths.
std::optional<MountInfo> parse_line(const std::string& line) {
  const auto separator = line.find(" - ");
  if (separator == std::string::npos) return std::nullopt;
  std::istringstream before(line.substr(0, separator));
  std::istringstream after(line.substr(separator + 3));
  MountInfo info;
  std::string parent, root, point, source;
  char colon = 0;
  before >> info.mount >> parent >> info.device_major >> colon >> info.device_minor >> root >>
      point;
  if (!before || colon != ':') return std::nullopt;
  after >> info.type >> source >> info.options;
  info.point = unescape(point);
  info.source = unescape(source);
  return info;
}

}  // namespace

std::vector<MountInfo> parse_mount_info(std::string_view text) {
  std::vector<MountInfo> mounts;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    if (auto info = parse_line(line)) mounts.push_back(std::move(*info));
  }
  return mounts;
}

std::vector<MountInfo> read_mount_info() {
  std::ifstream in("/proc/self/mountinfo");
  return parse_mount_info(std::string(std::istreambuf_iterator<char>(in), {}));
}

std::vector<MountInfo> mounts_beneath(const std::string& folder) {
  const std::string prefix = folder == "/" ? folder : folder + "/";
  auto found = read_mount_info();
  std::erase_if(found, [&](const MountInfo& info) { return !info.point.starts_with(prefix); });
  return found;
}

std::optional<MountInfo> mount_at(const std::string& point) {
  std::optional<MountInfo> top;
  for (MountInfo& info : read_mount_info()) {
    if (info.point == point) top = std::move(info);
  }
  return top;
}

}  // namespace rushfs::fs
