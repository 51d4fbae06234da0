// Where messages go. Each process chooses once, at start-up.
#pragma once

#include <string>

namespace rushfs::tools {

/// To the terminal or the journal, by way of standard error: time and level on each line.
void log_to_terminal();
/// To the system's log, for a process that has no terminal any more.
void log_to_system(const std::string& name);

}  // namespace rushfs::tools
