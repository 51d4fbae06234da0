#include "fs/server/caller_scope.h"

#include <linux/capability.h>
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace rushfs::fs {
namespace {

struct Capabilities {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};  // 0: this thread
  __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3]{};

  Capabilities() { syscall(SYS_capget, &header, sets); }
  void apply() { syscall(SYS_capset, &header, sets); }
  bool effective(int capability) const {
    return (sets[CAP_TO_INDEX(capability)].effective & CAP_TO_MASK(capability)) != 0;
  }
};

/// Leaving user 0 takes the file system capabilities from the effective set; they may be put back.
void regain_permitted() {
  Capabilities capabilities;
  for (auto& set : capabilities.sets) set.effective = set.permitted;
  capabilities.apply();
}

/// The umask belongs to a process unless a thread asks for one of its own. Nothing that workers do
/// depends on the working directory, which is unshared with it.
void own_umask() {
  thread_local const bool done = unshare(CLONE_FS) == 0;
  static_cast<void>(done);
}

}  // namespace

CallerScope::CallerScope(const Caller& caller, bool become) : become_(become) {
  own_umask();
  umask_before_ = ::umask(static_cast<mode_t>(caller.umask & 0777));
  if (!become_) return;
  setfsgid(caller.gid);
  setfsuid(caller.uid);
  if (caller.uid != 0) regain_permitted();
}

CallerScope::~CallerScope() {
  if (become_) {
    setfsuid(0);
    setfsgid(0);
  }
  ::umask(umask_before_);
}

NoSetIdScope::NoSetIdScope(bool wanted) : active_(false) {
  if (!wanted) return;
  Capabilities capabilities;
  active_ = capabilities.effective(CAP_FSETID);
  if (!active_) return;
  capabilities.sets[CAP_TO_INDEX(CAP_FSETID)].effective &= ~CAP_TO_MASK(CAP_FSETID);
  capabilities.apply();
}

NoSetIdScope::~NoSetIdScope() {
  if (!active_) return;
  Capabilities capabilities;
  capabilities.sets[CAP_TO_INDEX(CAP_FSETID)].effective |= CAP_TO_MASK(CAP_FSETID);
  capabilities.apply();
}

}  // namespace rushfs::fs
