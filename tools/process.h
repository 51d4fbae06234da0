// What a process that holds keys and many files asks of the kernel about itself.
#pragma once

#include <cstddef>

namespace rushfs::tools {

/// No core dump and no debugger of the same user may read our keys; nothing we start gains rights.
void protect_process();
/// Raises the limit of open files to what this user may have.
void raise_file_limit();
std::size_t file_limit();
/// Tells systemd that the service is up, if it asked (sd_notify(3)).
void notify_service_manager(const char* state);

}  // namespace rushfs::tools
