// A mount's status as JSON: what --json prints and what travels over the control socket. The names
// are a promise to scripts: rushfs(1), "JSON".
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "fs/client/mount_status.h"

namespace rushfs::tools {

nlohmann::json to_json(const fs::MountStatus& status);

}  // namespace rushfs::tools
