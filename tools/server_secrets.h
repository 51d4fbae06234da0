// What follows from a server's private key: the same after a restart, and nobody else's.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>

#include "fs/protocol/message_types.h"
#include "tools/server_config.h"
#include "transport/security/identity.h"

namespace rushfs::tools {

// Each throws CommandError when the machine gives no randomness, or OpenSSL no key.

/// Under which an export makes its node ids: docs/file-protocol.md, "Node ids".
std::array<std::uint8_t, 16> node_key(const transport::Identity& identity,
                                      const std::string& export_name);

/// Random per start, but for the half that is of this boot of the machine.
fs::InstanceId new_instance(const transport::Identity& identity);

/// Where one export's answers are remembered: by server key, name and directory, so that two
/// servers of one machine never share.
std::filesystem::path state_folder(const ServerConfig& config, const ExportConfig& exported,
                                   const transport::Identity& identity);

}  // namespace rushfs::tools
