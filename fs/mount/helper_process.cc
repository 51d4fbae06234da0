#include "fs/mount/helper_process.h"

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <string>
#include <system_error>

namespace rushfs::fs {

HelperProcess::HelperProcess(const char* name, const std::function<void(int channel)>& life) {
  constexpr int kChannel = 3;
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    throw std::system_error(errno, std::generic_category(),
                            "a channel to the " + std::string(name) + " process");
  }
  channel_ = Descriptor(ends[0]);
  process_ = fork();
  if (process_ == 0) {
    // Whatever else is open belongs to the mount: a lock held twice would outlive it.
    if (ends[1] != kChannel) dup2(ends[1], kChannel);
    close_range(kChannel + 1, ~0U, 0);
    close_range(0, kChannel - 1, 0);
    life(kChannel);
    std::abort();
  }
  const int error = errno;
  ::close(ends[1]);
  if (process_ < 0) {
    throw std::system_error(error, std::generic_category(),
                            "starting the " + std::string(name) + " process");
  }
}

HelperProcess::~HelperProcess() {
  channel_ = Descriptor();
  kill(process_, SIGKILL);
  while (waitpid(process_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace rushfs::fs
