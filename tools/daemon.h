// Going to the background without losing the first errors: the command returns when what it started
// is usable, or says why it is not.
#pragma once

#include "tools/exit_code.h"

namespace rushfs::tools {

/// fork() is split in two because loops and threads must be born in the child.
class Daemon {
 public:
  /// Forks. The parent stays inside until the child calls ready() or ends, and then exits with the
  /// child's code; only the child returns. Call before there is any thread. `foreground`: does not
  /// fork, and ready() does nothing.
  explicit Daemon(bool foreground);
  /// In the child: lets go of the terminal and of the directory, and lets the parent exit with 0.
  void ready();

 private:
  int parent_ = -1;  // pipe to the parent
};

}  // namespace rushfs::tools
