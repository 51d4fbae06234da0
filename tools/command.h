// What main.cc knows of a subcommand: a function that adds it to the program's grammar and, when
// the user chose it, leaves behind what to run.
#pragma once

#include <functional>

#include "tools/exit_code.h"

namespace CLI {
class App;
}

namespace rushfs::tools {

/// Runs after the whole command line was understood. May throw CommandError.
using Action = std::function<ExitCode()>;

void add_keygen(CLI::App& program, Action& action);
void add_serve(CLI::App& program, Action& action);
void add_trust(CLI::App& program, Action& action);
void add_mount(CLI::App& program, Action& action);
void add_unmount(CLI::App& program, Action& action);
void add_status(CLI::App& program, Action& action);
void add_wait(CLI::App& program, Action& action);
void add_bench(CLI::App& program, Action& action);
void add_set(CLI::App& program, Action& action);

/// `mount.rushfs SOURCE DIR [-sfnv] [-o OPTIONS]` as mount(8) calls it.
int run_mount_helper(int argc, char** argv);

}  // namespace rushfs::tools
