// Has changes by others done once more on the mount by the replay process, so that whoever watches
// is told, and answers its requests with what is so already. Owner: the file loop.
#pragma once

#include <boost/asio/posix/stream_descriptor.hpp>
#include <deque>
#include <optional>

#include "fs/client/remote_event.h"
#include "fs/mount/fuse_kernel.h"
#include "fs/mount/replay_process.h"

namespace rushfs::fs {

class FuseReplay {
 public:
  FuseReplay(boost::asio::io_context& loop, FuseSession::Kernel& kernel, ReplayProcess& process,
             std::string mount_point);
  ~FuseReplay();

  void add(RemoteEvent event);
  bool works() const { return works_; }

  /// The process's requests. True: answered.
  bool lookup(fuse_req_t request, NodeNumber parent, const char* name);
  bool attributes(fuse_req_t request, NodeNumber node);
  bool made(fuse_req_t request, NodeNumber parent, const char* name);
  bool created(fuse_req_t request, NodeNumber parent, const char* name, const fuse_file_info& file);
  bool opened(fuse_req_t request, NodeNumber node, const fuse_file_info& file);
  bool removed(fuse_req_t request, NodeNumber parent, const char* name);
  bool renamed(fuse_req_t request, NodeNumber parent, const char* name);
  bool is_process(fuse_req_t request) const;

 private:
  void next();
  void order();
  void wait_answer();
  void answered(int error);
  void give_up(const char* why);
  bool at(const RemoteEvent& event, NodeNumber parent, const char* name) const;
  void found(fuse_req_t request, const InodeRef& node);

  FuseSession::Kernel& kernel_;
  pid_t process_;
  std::string mount_point_;
  boost::asio::posix::stream_descriptor channel_;
  std::optional<std::pair<std::uint32_t, std::uint32_t>> device_;
  std::deque<RemoteEvent> waiting_;
  std::optional<RemoteEvent> current_;
  int attempts_ = 0;
  bool looked_up_ = false, looked_up_to_ = false;  // by the process, in this attempt
  bool works_ = true;
  std::int32_t answer_ = 0;
  bool full_ = false;
};

/// Puts the replay before the operations of everybody else.
void add_replay(fuse_lowlevel_ops& operations);

/// The handle of what the replay process opens.
inline constexpr HandleNumber kReplayHandle{~0ULL};

}  // namespace rushfs::fs
