#include "tools/mount_table.h"

#include <charconv>
#include <fstream>
#include <iterator>
#include <sstream>

namespace rushfs::tools {
namespace {

namespace file = std::filesystem;

/// Spaces, tabs, newlines and backslashes are written \040 and so on (fs/proc_namespace.c).
std::string unescape(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned code = 0;
    if (text[i] == '\\' && i + 3 < text.size() &&
        std::from_chars(text.data() + i + 1, text.data() + i + 4, code, 8).ptr ==
            text.data() + i + 4) {
      result += static_cast<char>(code);
      i += 3;
    } else {
      result += text[i];
    }
  }
  return result;
}

unsigned to_number(std::string_view digits) {
  unsigned value = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return value;
}

/// "36 35 0:98 /root /point options [optional fields] - type source options"
std::optional<MountEntry> parse_line(const std::string& line) {
  const auto separator = line.find(" - ");
  if (separator == std::string::npos) return std::nullopt;
  std::istringstream before(line.substr(0, separator));
  std::istringstream after(line.substr(separator + 3));
  std::string id, parent, device, root, point, type, source, options;
  before >> id >> parent >> device >> root >> point;
  after >> type >> source >> options;
  if (type != "fuse.rushfs" && type != "rushfs") return std::nullopt;
  MountEntry entry;
  const auto colon = device.find(':');
  entry.device_major = to_number(std::string_view(device).substr(0, colon));
  if (colon != std::string::npos) {
    entry.device_minor = to_number(std::string_view(device).substr(colon + 1));
  }
  entry.mount_point = unescape(point);
  entry.source = unescape(source);
  constexpr std::string_view kUser = "user_id=";
  if (const auto user = options.find(kUser); user != std::string::npos) {
    entry.user_id = to_number(std::string_view(options).substr(user + kUser.size()));
  }
  return entry;
}

bool contains(const file::path& directory, const file::path& path) {
  const file::path rest = path.lexically_relative(directory);
  return !rest.empty() && *rest.begin() != "..";
}

}  // namespace

std::vector<MountEntry> parse_mount_table(std::string_view mountinfo) {
  std::vector<MountEntry> entries;
  std::istringstream lines{std::string(mountinfo)};
  for (std::string line; std::getline(lines, line);) {
    if (auto entry = parse_line(line)) entries.push_back(std::move(*entry));
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
