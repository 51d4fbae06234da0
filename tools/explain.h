// Why a connection failed, in words that say what to do. Pure.
#pragma once

#include <string>

#include "tools/credentials.h"
#include "tools/error.h"
#include "tools/server_connection.h"

namespace rushfs::tools {

CommandError explain_failure(const transport::HostPort& server, const ConnectOutcome& outcome,
                             const Credentials& credentials, const std::string& comment);

}  // namespace rushfs::tools
