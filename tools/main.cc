// The rushfs program: finds the subcommand, runs it, turns its outcome into an exit status.
#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "tools/command.h"
#include "tools/error.h"

namespace rushfs::tools {
namespace {

constexpr const char* kDescription =
    "rushfs mounts a remote media store as a local folder, fast over long and lossy links.\n"
    "\n"
    "On the machine with the files:\n"
    "  rushfs keygen                                 once; prints a line for the other side\n"
    "  rushfs serve --export footage=/srv/footage    authorized_keys says who may connect\n"
    "On the machine that wants them:\n"
    "  rushfs keygen                                 once; its line goes into authorized_keys\n"
    "  rushfs trust studio.example                   once; shows the server's key and asks\n"
    "  rushfs mount studio.example:/footage /mnt/footage\n"
    "\n"
    "rushfs COMMAND --help explains each; rushfs(1) has everything.";

constexpr const char* kFooter =
    "Exit status: 0 success, 1 failure here, 2 wrong usage, 3 server not reached,\n"
    "4 refused (a key or an export), 5 something written is not on the server, 6 not mounted.";

int run(int argc, char** argv) {
  CLI::App program(kDescription, "rushfs");
  program.footer(kFooter);
  program.set_version_flag("--version", "rushfs " RUSHFS_VERSION);
  program.require_subcommand(1);
  Action action;
  add_keygen(program, action);
  add_serve(program, action);
  add_trust(program, action);
  add_mount(program, action);
  add_unmount(program, action);
  add_status(program, action);
  add_wait(program, action);
  add_bench(program, action);
  add_set(program, action);
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = program.exit(error);
    return code == 0 ? 0 : static_cast<int>(ExitCode::usage);
  }
  return static_cast<int>(action());
}

int report(ExitCode code, const char* message) {
  std::fprintf(stderr, "rushfs: %s\n", message);
  return static_cast<int>(code);
}

}  // namespace
}  // namespace rushfs::tools

int main(int argc, char** argv) {
  using rushfs::tools::ExitCode;
  std::signal(SIGPIPE, SIG_IGN);
  try {
    if (argc > 0 && std::filesystem::path(argv[0]).filename().string().starts_with("mount.")) {
      return rushfs::tools::run_mount_helper(argc, argv);
    }
    return rushfs::tools::run(argc, argv);
  } catch (const rushfs::tools::CommandError& error) {
    return rushfs::tools::report(error.exit_code(), error.what());
  } catch (const std::exception& error) {
    return rushfs::tools::report(ExitCode::failure, error.what());
  }
}
