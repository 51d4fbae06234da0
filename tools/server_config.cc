#include "tools/server_config.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <fstream>
#include <iterator>

#include "tools/default_files.h"
#include "tools/error.h"
#include "tools/quantity.h"

namespace rushfs::tools {
namespace {

namespace file = std::filesystem;

constexpr std::int64_t kLargestDscp = 63;
constexpr std::size_t kLongestExportName = 255;  // bytes: docs/file-protocol.md

void check_name(const std::string& name) {
  const bool good = !name.empty() && name.size() <= kLongestExportName && name != "." &&
                    name != ".." && name.find('/') == std::string::npos;
  if (!good) {
    throw usage_error(fmt::format("\"{}\" cannot be the name of an export: up to 255 bytes "
                                  "without /.", name));
  }
}

CommandError at(const file::path& path, const toml::node& node, const std::string& message) {
  return usage_error(fmt::format("{}:{}: {}", path.string(), node.source().begin.line, message));
}

std::string text_of(const toml::node& node, const file::path& path, std::string_view key) {
  if (const auto value = node.value<std::string>()) return *value;
  throw at(path, node, fmt::format("{} must be a text in quotes.", key));
}

ExportConfig parse_export_table(const std::string& name, const toml::node& node,
                                const file::path& path) {
  check_name(name);
  ExportConfig result{name, {}, false};
  const auto relative_to = path.parent_path();
  if (!node.is_table()) {
    result.directory = relative_to / text_of(node, path, name);
    return result;
  }
  for (const auto& [key, value] : *node.as_table()) {
    if (key == "directory") {
      result.directory = relative_to / text_of(value, path, "directory");
    } else if (key == "read_only" && value.is_boolean()) {
      result.read_only = value.value<bool>().value();
    } else {
      throw at(path, value, fmt::format("{} is not known here: directory = \"...\" and read_only = "
                                        "true or false are.", key.str()));
    }
  }
  if (result.directory.empty()) {
    throw at(path, node, fmt::format("the export {} lacks directory = \"...\".", name));
  }
  return result;
}

void take(ServerConfig& config, std::string_view key, const toml::node& value,
          const file::path& path) {
  if (key == "listen") {
    config.listen = text_of(value, path, key);
  } else if (key == "identity") {
    config.identity = path.parent_path() / text_of(value, path, key);
  } else if (key == "authorized_keys") {
    config.authorized_keys = path.parent_path() / text_of(value, path, key);
  } else if (key == "state") {
    config.state = path.parent_path() / text_of(value, path, key);
  } else if (key == "max_rate") {
    config.max_rate = parse_rate(text_of(value, path, key));
  } else if (key == "max_rate_per_client") {
    config.max_rate_per_client = parse_rate(text_of(value, path, key));
  } else if (key == "dscp") {
    const auto number = value.value<std::int64_t>();
    if (!number || *number < 0 || *number > kLargestDscp) {
      throw at(path, value, "dscp is a number from 0 to 63.");
    }
    config.dscp = static_cast<unsigned>(*number);
  } else if (key == "identity_mapping") {
    config.identity_mapping = text_of(value, path, key);
    if (config.identity_mapping != "auto" && config.identity_mapping != "preserve" &&
        config.identity_mapping != "squash") {
      throw at(path, value, "identity_mapping is \"auto\", \"preserve\" or \"squash\".");
    }
  } else if (key == "exports" && value.is_table()) {
    for (const auto& [name, node] : *value.as_table()) {
      config.exports.push_back(parse_export_table(std::string(name.str()), node, path));
    }
  } else {
    throw at(path, value, fmt::format("{} is not known: listen, identity, authorized_keys, "
                                      "state, max_rate, max_rate_per_client, dscp, "
                                      "identity_mapping and [exports] are.", key));
  }
}

}  // namespace

ExportConfig parse_export(std::string_view text) {
  const auto equals = text.find('=');
  if (equals == std::string_view::npos) {
    throw usage_error(fmt::format(
        "\"{}\" is not an export. Write NAME=DIR, or NAME=DIR,ro for a read-only one.", text));
  }
  ExportConfig result;
  result.name = text.substr(0, equals);
  std::string_view directory = text.substr(equals + 1);
  if (directory.ends_with(",ro") || directory.ends_with(",rw")) {
    result.read_only = directory.ends_with(",ro");
    directory.remove_suffix(3);
  }
  check_name(result.name);
  if (directory.empty()) throw usage_error(fmt::format("The export {} lacks its folder.", text));
  result.directory = directory;
  return result;
}

ServerConfig default_server_config() {
  ServerConfig config;
  config.identity = default_identity();
  config.authorized_keys = default_authorized_keys();
  config.state = default_state_directory();
  return config;
}

ServerConfig parse_server_config(std::string_view text, const file::path& path) {
  ServerConfig config = default_server_config();
  try {
    const toml::table table = toml::parse(text, path.string());
    for (const auto& [key, value] : table) take(config, key.str(), value, path);
  } catch (const toml::parse_error& error) {
    throw usage_error(fmt::format("{}:{}: {}", path.string(), error.source().begin.line,
                                  error.description()));
  }
  return config;
}

ServerConfig load_server_config(const file::path& path) {
  std::ifstream in(path);
  std::string text(std::istreambuf_iterator<char>(in), {});
  if (!in.is_open()) {
    throw CommandError(ExitCode::failure, fmt::format("Cannot read {}.", path.string()));
  }
  return parse_server_config(text, path);
}

}  // namespace rushfs::tools
