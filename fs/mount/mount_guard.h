// A process that ends the kernel's side of a mount when the mount's process dies, however it dies.
// The kernel does that by itself once the last thread is gone; but a thread that has the kernel
// drop a name or pages may wait there for somebody who waits for an answer of ours: killed in that
// moment, neither would ever end. docs/decisions/0003.
//
// It needs root, or /sys/fs/fuse/connections, as systemd mounts it; without, it does nothing.
#pragma once

#include "fs/mount/helper_process.h"

namespace rushfs::fs {

class MountGuard {
 public:
  /// Forks: to be made before the first thread is, by the thread that lives as long as the mount.
  /// Throws std::system_error. Its end means that the mount has ended as it should.
  MountGuard();
  /// `device_minor`: of the mount, once it is there; its connection's number.
  void watch(unsigned device_minor);

 private:
  HelperProcess process_;
};

}  // namespace rushfs::fs
