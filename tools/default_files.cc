#include "tools/default_files.h"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cstdlib>

#include "tools/error.h"

namespace rushfs::tools {
namespace {

namespace file = std::filesystem;

file::path home() {
  if (const char* variable = std::getenv("HOME"); variable != nullptr && *variable == '/') {
    return variable;
  }
  if (const passwd* entry = getpwuid(getuid()); entry != nullptr) return entry->pw_dir;
  throw CommandError(ExitCode::failure, "Neither HOME nor the password file says where home is.");
}

/// A directory of the XDG base directory specification; a relative value is to be ignored.
file::path base_directory(const char* variable, const char* below_home) {
  if (const char* value = std::getenv(variable); value != nullptr && *value == '/') return value;
  return home() / below_home;
}

bool is_root() { return geteuid() == 0; }

}  // namespace

file::path configuration_directory() {
  if (is_root()) return "/etc/rushfs";
  return base_directory("XDG_CONFIG_HOME", ".config") / "rushfs";
}
file::path default_identity() { return configuration_directory() / "id_ed25519"; }
file::path default_known_hosts() { return configuration_directory() / "known_hosts"; }
file::path default_authorized_keys() { return configuration_directory() / "authorized_keys"; }
file::path default_server_configuration() { return configuration_directory() / "server.toml"; }

file::path default_state_directory() {
  if (is_root()) return "/var/lib/rushfs";
  return base_directory("XDG_STATE_HOME", ".local/state") / "rushfs";
}

file::path default_cache_directory() {
  if (is_root()) return "/var/cache/rushfs";
  return base_directory("XDG_CACHE_HOME", ".cache") / "rushfs";
}

file::path mount_cache_directory(const file::path& cache_directory, const RemoteLocation& location,
                                 const file::path& mountpoint) {
  const std::string identity = location.text() + '\0' + mountpoint.string();
  std::string name = location.server.host + "-" + location.export_name;
  std::ranges::replace_if(
      name,
      [](unsigned char c) { return std::isalnum(c) == 0 && c != '.' && c != '-' && c != '_'; },
      '_');
  constexpr std::size_t kReadablePart = 80;
  name.resize(std::min(name.size(), kReadablePart));
  return cache_directory /
         fmt::format("{}-{:016x}", name, XXH3_64bits(identity.data(), identity.size()));
}

file::path runtime_directory() {
  if (is_root()) return "/run/rushfs";
  if (const char* value = std::getenv("XDG_RUNTIME_DIR"); value != nullptr && *value == '/') {
    return file::path(value) / "rushfs";
  }
  return fmt::format("/tmp/rushfs-{}", getuid());
}

}  // namespace rushfs::tools
