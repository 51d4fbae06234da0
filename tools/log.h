// Where messages go. Each process chooses once, before there are threads.
#pragma once

#include <string>

namespace rushfs::tools {

/// To the terminal or the journal, by way of standard error: time and level on each line.
void log_to_terminal();
/// To the terminal as long as there is one, and to the system's log under this name: for a process
/// that goes to the background.
void log_to_system(const std::string& name);

}  // namespace rushfs::tools
