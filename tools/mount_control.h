// What the control socket of a mount understands: rushfs(1), "Control socket".
#pragma once

#include "fs/mount/mount.h"
#include "tools/control_server.h"

namespace rushfs::tools {

/// `mount` must outlive every use of the handler. Owner: the file loop.
ControlServer::Handler mount_control(fs::Mount& mount, transport::RateLimits rate);

}  // namespace rushfs::tools
