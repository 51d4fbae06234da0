#include "fs/mount/mount_guard.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <string>

#include "fs/descriptor.h"

namespace rushfs::fs {
namespace {

constexpr int kMountDied = SIGUSR1;

/// The root of fusectl, wherever it is mounted, or not at all.
Descriptor connections() {
  const Descriptor context(fsopen("fusectl", FSOPEN_CLOEXEC));
  if (!context || fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
    return Descriptor(
        open("/sys/fs/fuse/connections", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
  return Descriptor(fsmount(context.get(), FSMOUNT_CLOEXEC, 0));
}

/// Opened while the connection is there, it never means another one that gets the same number.
Descriptor abort_file(unsigned device_minor) {
  const Descriptor root = connections();
  const std::string name = std::to_string(device_minor) + "/abort";
  return Descriptor(root ? openat(root.get(), name.c_str(), O_WRONLY | O_CLOEXEC) : -1);
}

[[noreturn]] void guard(pid_t mount, int channel) {
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, nullptr);
  prctl(PR_SET_PDEATHSIG, kMountDied);
  prctl(PR_SET_NAME, "rushfs-guard");
  // The terminal's signals are for the mount.
  setsid();
  unsigned device_minor = 0;
  if (recv(channel, &device_minor, sizeof device_minor, 0) != sizeof device_minor) _exit(0);
  const Descriptor file = abort_file(device_minor);
  if (!file) _exit(0);
  sigset_t death;
  sigemptyset(&death);
  sigaddset(&death, kMountDied);
  if (getppid() == mount) {  // or it died before we asked to be told
    while (sigwaitinfo(&death, nullptr) < 0) {
    }
  }
  _exit(write(file.get(), "1", 1) == 1 ? 0 : 1);
}

}  // namespace

MountGuard::MountGuard()
    : process_("guard", [mount = getpid()](int channel) { guard(mount, channel); }) {}

void MountGuard::watch(unsigned device_minor) {
  // Where it is gone, the mount does without.
  (void)send(process_.channel(), &device_minor, sizeof device_minor, MSG_NOSIGNAL);
}

}  // namespace rushfs::fs
