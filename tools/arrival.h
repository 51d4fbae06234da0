// Waiting until what was written is on the server, and the truth about what is not: wait, unmount.
#pragma once

#include <optional>
#include <string>

#include "tools/mount_table.h"
#include "transport/units.h"

namespace rushfs::tools {

struct ArrivalLimits {
  std::optional<transport::Duration> patience;       // in all; none: as long as it takes
  std::optional<transport::Duration> without_link;   // without a connection; none: for ever
};

/// Returns when everything written to the mount before (or to `file`, relative to the mount's root)
/// is on the server's stable storage. Shows a progress bar on a terminal. Throws CommandError:
/// not_arrived naming the files the server refuses, or why nothing moves; not_mounted when the
/// mount's process is gone.
void wait_for_arrival(const MountEntry& mount, const std::optional<std::string>& file,
                      const ArrivalLimits& limits);

}  // namespace rushfs::tools
