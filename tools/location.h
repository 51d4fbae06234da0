// How a user names what is far away: HOST[:PORT]:/NAME[/SUB]. Pure.
#pragma once

#include <string>
#include <string_view>

#include "transport/udp/resolve.h"

namespace rushfs::tools {

struct RemoteLocation {
  transport::HostPort server;
  std::string export_name;
  std::string subdirectory;  // below the export, without slashes at its ends; may be empty
  bool operator==(const RemoteLocation&) const = default;
  std::string text() const;
};

// Both throw CommandError (usage).

/// HOST, HOST:PORT, 192.0.2.1:PORT, [2001:db8::1], [2001:db8::1]:PORT.
transport::HostPort parse_server(std::string_view text);
/// The same, then :/NAME and perhaps /SUB.
RemoteLocation parse_location(std::string_view text);

}  // namespace rushfs::tools
