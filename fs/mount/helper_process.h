// A process of a mount's own, with a channel to it: a copy of ours that has nothing else open, and
// ends when it is let go of.
#pragma once

#include <sys/types.h>

#include <functional>

#include "fs/descriptor.h"

namespace rushfs::fs {

class HelperProcess {
 public:
  /// Forks: to be made before the first thread is. `life` is run there with its end of the channel,
  /// of SOCK_SEQPACKET, and does not return. Throws std::system_error that has `name`.
  HelperProcess(const char* name, const std::function<void(int channel)>& life);
  /// Waits for its end, which follows at once.
  ~HelperProcess();
  HelperProcess(const HelperProcess&) = delete;
  HelperProcess& operator=(const HelperProcess&) = delete;

  pid_t number() const { return process_; }
  int channel() const { return channel_.get(); }

 private:
  Descriptor channel_;
  pid_t process_ = 0;
};

}  // namespace rushfs::fs
