// What the exit status of a rushfs command says. Scripts rely on these numbers: rushfs(1).
#pragma once

namespace rushfs::tools {

enum class ExitCode : int {
  success = 0,
  failure = 1,      // something of this machine failed; the message names it
  usage = 2,        // the command line or a configuration file is wrong
  unreachable = 3,  // the server's name is unknown, or nothing answers there
  refused = 4,      // a key is not trusted, by us or by the server, or the export is not ours
  not_arrived = 5,  // wait, unmount: something that was written is not on the server
  not_mounted = 6,  // the directory is not a rushfs mount, or its process is gone
  mount_helper_usage = 1,     // mount(8): what `mount -t rushfs` exits with instead of `usage`
  mount_helper_failure = 32,  // mount(8): and instead of everything else
};

}  // namespace rushfs::tools
