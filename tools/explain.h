// Why a connection failed, in words that say what to do. Pure.
#pragma once

#include <string>

#include "tools/credentials.h"
#include "tools/error.h"
#include "tools/server_connection.h"

namespace rushfs::tools {

CommandError explain_failure(const transport::HostPort& server, const ConnectOutcome& outcome,
                             const Credentials& credentials, const std::string& comment);

/// Looks up the server's name. Throws CommandError (unreachable).
std::vector<transport::Address> resolve_server(const transport::HostPort& server);

/// Connects with the options' keys and patience, or throws what explain_failure() says.
transport::Address connect_or_explain(ServerConnection& connection,
                                      const transport::HostPort& server,
                                      const Credentials& credentials,
                                      transport::Duration timeout);

}  // namespace rushfs::tools
