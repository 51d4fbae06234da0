// Lets a worker thread create files as the caller would have: the kernel itself then applies owner,
// group inheritance of set-gid directories, default ACLs and umask, in the same step in which the
// name appears. credentials(7), acl(5).
#pragma once

#include <sys/types.h>

#include "fs/protocol/message_types.h"

namespace rushfs::fs {

/// While it lives, this thread's umask is the caller's, and with `become` also its file system user
/// and group id. All capabilities stay: what the caller may do was decided by its own kernel.
class CallerScope {
 public:
  CallerScope(const Caller& caller, bool become);
  ~CallerScope();
  CallerScope(const CallerScope&) = delete;
  CallerScope& operator=(const CallerScope&) = delete;

 private:
  bool become_;
  mode_t umask_before_ = 0;
};

/// While it lives, this thread lacks CAP_FSETID, so that the kernel clears set-id bits on write(2)
/// and truncate(2) as it does for ordinary users (inode(7)). Without privilege, nothing changes.
class NoSetIdScope {
 public:
  explicit NoSetIdScope(bool wanted);
  ~NoSetIdScope();
  NoSetIdScope(const NoSetIdScope&) = delete;
  NoSetIdScope& operator=(const NoSetIdScope&) = delete;

 private:
  bool active_;
};

}  // namespace rushfs::fs
