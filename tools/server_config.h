// What serve is to do, from the command line or from server.toml. Pure but for reading the file.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "transport/units.h"

namespace rushfs::tools {

struct ExportConfig {
  std::string name;
  std::filesystem::path directory;
  bool read_only = false;
  bool operator==(const ExportConfig&) const = default;
};

struct ServerConfig {
  std::string listen = "*:7874";  // ADDR:PORT
  std::vector<ExportConfig> exports;
  std::filesystem::path identity;
  std::filesystem::path authorized_keys;
  std::filesystem::path state;  // where answers are remembered over a restart
  transport::BitRate max_rate = transport::BitRate::infinite();  // of all clients, each way
  transport::BitRate max_rate_per_client = transport::BitRate::infinite();
  unsigned dscp = 0;                      // of what we send: RFC 2474
  std::string identity_mapping = "auto";  // preserve, squash, or auto: preserve when root
  bool operator==(const ServerConfig&) const = default;
};

/// No exports; the default files of default_files.h.
ServerConfig default_server_config();

// Each throws CommandError (usage) naming the file, the line and what would be right.

/// NAME=DIR[,ro]
ExportConfig parse_export(std::string_view text);
/// The text of a server.toml; relative paths are relative to its directory.
ServerConfig parse_server_config(std::string_view toml, const std::filesystem::path& file);
ServerConfig load_server_config(const std::filesystem::path& file);

}  // namespace rushfs::tools
