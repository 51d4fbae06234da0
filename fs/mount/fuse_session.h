// FuseSession shows a Volume to the kernel: the one user of libfuse. It turns kernel requests into
// Volume operations and their results into replies, and decides nothing else.
//
// Runs on the file loop: the session's descriptor is non-blocking and read until it is empty, so
// that kernel requests, answers of the server and results of the disk loops share one thread.
// Kernel notifications leave on two threads of their own: the kernel may block them until a request
// we have in hand is answered.
#pragma once

#include <absl/functional/any_invocable.h>

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "fs/client/volume.h"

namespace rushfs::fs {

class MountGuard;
class ReplayProcess;

struct FuseOptions {
  std::string mount_point;
  std::string source;          // first column of mount(8), e.g. "studio:/footage"
  bool allow_other = false;
  bool read_only = false;
  std::vector<std::string> options;  // further ones of mount(8): noexec, nodev ...
  ReplayProcess* replay = nullptr;   // tells watchers of changes by others; outlives the session
  MountGuard* guard = nullptr;       // outlives the session
};

class FuseSession : public KernelCache {
 public:
  /// `turn` is called before each batch of kernel requests: whoever keeps LoopTime sets it.
  FuseSession(boost::asio::io_context& loop, Volume& volume, FuseOptions options,
              std::function<void()> turn);
  /// Unmounts what is still mounted.
  ~FuseSession() override;
  FuseSession(const FuseSession&) = delete;
  FuseSession& operator=(const FuseSession&) = delete;

  /// Mounts and begins to answer on the loop. `ended` is called once, on the loop, when the file
  /// system was unmounted by anyone. Throws std::runtime_error naming the mount point.
  void mount(absl::AnyInvocable<void() &&> ended);
  /// Unmounts, lazily if it is in use. `ended` follows.
  void unmount();
  /// About once a second: looks after requests whose caller was killed.
  void tick();

  void invalidate(NodeNumber number, const Spans& pages) override;
  void invalidate_name(NodeNumber parent, const std::string& name) override;
  bool tells_events() const override;
  void happened(RemoteEvent event) override;
  void settle(absl::AnyInvocable<void() &&> then) override;

  class Kernel;  // fs/mount/fuse_kernel.h

 private:
  std::unique_ptr<Kernel> kernel_;
};

}  // namespace rushfs::fs
