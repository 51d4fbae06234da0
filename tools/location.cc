#include "tools/location.h"

#include <fmt/format.h>

#include "tools/error.h"

namespace rushfs::tools {

std::string RemoteLocation::text() const {
  const std::string path = subdirectory.empty() ? "" : "/" + subdirectory;
  return fmt::format("{}:/{}{}", transport::to_string(server), export_name, path);
}

transport::HostPort parse_server(std::string_view text) {
  transport::HostPort server;
  try {
    server = transport::parse_host_port(text);
  } catch (const std::runtime_error& error) {
    throw usage_error(error.what());
  }
  if (server.port == 0) throw usage_error(fmt::format("\"{}\": no server has port 0.", text));
  return server;
}

RemoteLocation parse_location(std::string_view text) {
  const auto separator = text.find(":/");
  if (separator == std::string_view::npos || separator == 0) {
    throw usage_error(fmt::format(
        "\"{}\" does not name an export. Write HOST:/NAME, for example studio.example:/footage",
        text));
  }
  RemoteLocation location;
  location.server = parse_server(text.substr(0, separator));
  std::string_view path = text.substr(separator + 2);
  while (path.ends_with('/')) path.remove_suffix(1);
  const auto slash = path.find('/');
  location.export_name = path.substr(0, slash);
  if (slash != std::string_view::npos) {
    path.remove_prefix(slash + 1);
    while (path.starts_with('/')) path.remove_prefix(1);
    location.subdirectory = path;
  }
  if (location.export_name.empty()) {
    throw usage_error(fmt::format(
        "\"{}\" lacks the export's name after :/ . Ask the server's owner for it.", text));
  }
  return location;
}

}  // namespace rushfs::tools
