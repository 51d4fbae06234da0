// Where keys, the cache and the control sockets are when the command line does not say.
#pragma once

#include <filesystem>
#include <string>

#include "tools/location.h"

namespace rushfs::tools {

/// root: /etc/rushfs; others: $XDG_CONFIG_HOME/rushfs or ~/.config/rushfs.
std::filesystem::path configuration_directory();
std::filesystem::path default_identity();         // id_ed25519
std::filesystem::path default_known_hosts();      // known_hosts
std::filesystem::path default_authorized_keys();  // authorized_keys
std::filesystem::path default_server_configuration();  // server.toml

/// root: /var/lib/rushfs; others: $XDG_STATE_HOME/rushfs or ~/.local/state/rushfs.
std::filesystem::path default_state_directory();
/// root: /var/cache/rushfs; others: $XDG_CACHE_HOME/rushfs or ~/.cache/rushfs.
std::filesystem::path default_cache_directory();
/// The folder of one mount below a cache directory: a readable name and a digest of server, export,
/// subdirectory and mountpoint, so that two mounts never share one by accident.
std::filesystem::path mount_cache_directory(const std::filesystem::path& cache_directory,
                                            const RemoteLocation&,
                                            const std::filesystem::path& mountpoint);

/// root: /run/rushfs; others: $XDG_RUNTIME_DIR/rushfs or /tmp/rushfs-UID. Not created here.
std::filesystem::path runtime_directory();

}  // namespace rushfs::tools
