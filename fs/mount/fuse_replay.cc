#include "fs/mount/fuse_replay.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/read.hpp>
#include <cerrno>
#include <cstring>

#include "fs/mount_info.h"

namespace rushfs::fs {

namespace {

/// Events waiting for their turn; inotify(7) itself keeps 16,384 for a watcher, and drops more.
constexpr std::size_t kMaxWaiting = 4096;
/// A name that somebody looked up in the very moment is known to the kernel before it is made.
constexpr int kMaxAttempts = 3;
/// Seconds. An invalidation may reach the kernel before the answer that it was meant for.
constexpr double kNotValid = 0;

ReplayOrder::What to_order(RemoteEvent::What what) {
  switch (what) {
    case RemoteEvent::What::created:
      return ReplayOrder::What::create;
    case RemoteEvent::What::changed:
      return ReplayOrder::What::change;
    case RemoteEvent::What::attributes:
      return ReplayOrder::What::attributes;
    case RemoteEvent::What::removed:
      return ReplayOrder::What::remove;
    case RemoteEvent::What::renamed:
      break;
  }
  return ReplayOrder::What::rename;
}

}  // namespace

FuseReplay::FuseReplay(boost::asio::io_context& loop, FuseSession::Kernel& kernel,
                       ReplayProcess& process, std::string mount_point)
    : kernel_(kernel),
      process_(process.number()),
      mount_point_(std::move(mount_point)),
      channel_(loop, process.channel()) {
  wait_answer();
}

FuseReplay::~FuseReplay() { channel_.release(); }

void FuseReplay::add(RemoteEvent event) {
  if (!works_) return;
  const bool again = !waiting_.empty() && waiting_.back().what == RemoteEvent::What::changed &&
                     event.what == RemoteEvent::What::changed &&
                     waiting_.back().node == event.node;
  if (again) return;
  if (waiting_.size() >= kMaxWaiting) {
    if (!std::exchange(full_, true)) spdlog::info("more changes by others than can be watched");
    return;
  }
  full_ = false;
  waiting_.push_back(std::move(event));
  if (!current_) next();
}

void FuseReplay::next() {
  current_.reset();
  if (waiting_.empty() || !works_) return;
  current_ = std::move(waiting_.front());
  waiting_.pop_front();
  attempts_ = 0;
  order();
}

// The kernel first forgets what it knows under the names: that there was nothing where something is
// made, or what has come since where something goes.
void FuseReplay::order() {
  ++attempts_;
  looked_up_ = looked_up_to_ = false;
  const RemoteEvent& event = *current_;
  if (event.what != RemoteEvent::What::changed && event.what != RemoteEvent::What::attributes) {
    kernel_.invalidate_name(event.folder->number, event.name);
  }
  if (event.to_folder) kernel_.invalidate_name(event.to_folder->number, event.to_name);
  kernel_.settle([this] {
    if (!current_ || !works_) return;
    if (const auto mount = mount_at(mount_point_); mount && !device_) {
      device_ = {mount->device_major, mount->device_minor};
    }
    if (!device_) return next();
    const Volume& volume = kernel_.volume();
    const Attributes view = current_->node->view();
    ReplayOrder order{to_order(current_->what), view.mode,     view.size,
                      device_->first,           device_->second, volume.path_of(*current_->folder),
                      current_->name,           "",              current_->to_name};
    if (current_->to_folder) order.to_folder = volume.path_of(*current_->to_folder);
    const auto bytes = encode(order);
    if (write(channel_.native_handle(), bytes.data(), bytes.size()) < 0) {
      give_up(std::strerror(errno));
    }
  });
}

void FuseReplay::wait_answer() {
  channel_.async_read_some(boost::asio::buffer(&answer_, sizeof answer_),
                           [this](const boost::system::error_code& error, std::size_t length) {
                             if (error == boost::asio::error::operation_aborted) return;
                             if (error || length != sizeof answer_) return give_up("it has ended");
                             answered(answer_);
                             wait_answer();
                           });
}

void FuseReplay::answered(int error) {
  if (!current_) return;
  // Somebody looked up the name before the process did.
  if ((error == EEXIST || error == ECANCELED) && attempts_ < kMaxAttempts) return order();
  if (error != 0) {
    spdlog::debug("'{}' is not told to watchers: {}", current_->name,
                  std::strerror(error));
  }
  next();
}

void FuseReplay::give_up(const char* why) {
  if (!std::exchange(works_, false)) return;
  spdlog::warn("changes by others are no longer told to programs that watch the mount "
               "(inotify): the process for it failed: {}", why);
  process_ = 0;
  waiting_.clear();
  current_.reset();
}

bool FuseReplay::is_process(fuse_req_t request) const {
  return works_ && fuse_req_ctx(request)->pid == process_;
}

bool FuseReplay::at(const RemoteEvent& event, NodeNumber parent, const char* name) const {
  return event.folder->number == parent && event.name == name;
}

void FuseReplay::found(fuse_req_t request, const InodeRef& node) {
  kernel_.entry(*kernel_.begin(request), reference_to(node), kNotValid);
}

bool FuseReplay::lookup(fuse_req_t request, NodeNumber parent, const char* name) {
  if (!is_process(request) || !current_) return false;
  const RemoteEvent& event = *current_;
  if (event.to_folder && event.to_folder->number == parent && event.to_name == name) {
    looked_up_to_ = true;
    if (event.replaced) return found(request, event.replaced), true;
    return fuse_reply_err(request, ENOENT), true;
  }
  if (!at(event, parent, name)) return false;
  looked_up_ = true;
  if (event.what == RemoteEvent::What::created) return fuse_reply_err(request, ENOENT), true;
  return found(request, event.node), true;
}

bool FuseReplay::attributes(fuse_req_t request, NodeNumber node) {
  if (!is_process(request) || !current_) return false;
  for (const InodeRef& known : {current_->node, current_->replaced}) {
    if (!known || known->number != node) continue;
    kernel_.attributes(*kernel_.begin(request), known->view(), kNotValid);
    return true;
  }
  return false;
}

// From here on, nothing that the process asks for is carried out. What goes is what the process
// found under the name: the kernel holds the folder from the lookup on. Without a lookup the kernel
// would take away what has come in its place, and a folder would be dead for good. So it is for who
// has it open; where it comes back, moved out of the export and in again, it is another for the
// kernel.

bool FuseReplay::made(fuse_req_t request, NodeNumber parent, const char* name) {
  if (!is_process(request)) return false;
  if (!current_ || current_->what != RemoteEvent::What::created || !at(*current_, parent, name)) {
    return fuse_reply_err(request, ECANCELED), true;
  }
  return found(request, current_->node), true;
}

bool FuseReplay::created(fuse_req_t request, NodeNumber parent, const char* name,
                         const fuse_file_info& file) {
  if (!is_process(request)) return false;
  if (!current_ || current_->what != RemoteEvent::What::created || !at(*current_, parent, name)) {
    return fuse_reply_err(request, ECANCELED), true;
  }
  kernel_.created(*kernel_.begin(request),
                  Created{reference_to(current_->node), {kReplayHandle, true, false}},
                  file, kNotValid);
  return true;
}

bool FuseReplay::opened(fuse_req_t request, NodeNumber node, const fuse_file_info& file) {
  if (!is_process(request)) return false;
  if (!current_ || current_->node->number != node) return fuse_reply_err(request, ECANCELED), true;
  kernel_.opened(*kernel_.begin(request), Opened{kReplayHandle, true, false}, file);
  return true;
}

bool FuseReplay::removed(fuse_req_t request, NodeNumber parent, const char* name) {
  if (!is_process(request)) return false;
  const bool asked = current_ && current_->what == RemoteEvent::What::removed && looked_up_ &&
                     at(*current_, parent, name);
  if (asked && current_->node->directory()) ++current_->node->ended;
  return fuse_reply_err(request, asked ? 0 : ECANCELED), true;
}

bool FuseReplay::renamed(fuse_req_t request, NodeNumber parent, const char* name) {
  if (!is_process(request)) return false;
  const bool asked = current_ && current_->what == RemoteEvent::What::renamed && looked_up_ &&
                     looked_up_to_ && at(*current_, parent, name);
  const InodeRef replaced = asked ? current_->replaced : nullptr;
  if (replaced && replaced->directory()) ++replaced->ended;
  return fuse_reply_err(request, asked ? 0 : ECANCELED), true;
}

namespace {

fuse_lowlevel_ops usual;

FuseReplay* replay_of(fuse_req_t request) { return kernel_of(request).replay(); }

void lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  FuseReplay* replay = replay_of(request);
  if (!replay || !replay->lookup(request, {parent}, name)) usual.lookup(request, parent, name);
}

void getattr(fuse_req_t request, fuse_ino_t node, fuse_file_info* file) {
  FuseReplay* replay = replay_of(request);
  const bool statx = kernel_of(request).asked_statx();
  if (statx || !replay || !replay->attributes(request, {node})) usual.getattr(request, node, file);
}

void setattr(fuse_req_t request, fuse_ino_t node, struct stat* wanted, int to_set,
             fuse_file_info* file) {
  FuseReplay* replay = replay_of(request);
  if (!replay || !replay->is_process(request)) {
    return usual.setattr(request, node, wanted, to_set, file);
  }
  if (!replay->attributes(request, {node})) fuse_reply_err(request, ECANCELED);
}

void mknod(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, dev_t device) {
  FuseReplay* replay = replay_of(request);
  if (replay && replay->made(request, {parent}, name)) return;
  usual.mknod(request, parent, name, mode, device);
}

void mkdir(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode) {
  FuseReplay* replay = replay_of(request);
  if (!replay || !replay->made(request, {parent}, name)) usual.mkdir(request, parent, name, mode);
}

void symlink(fuse_req_t request, const char* target, fuse_ino_t parent, const char* name) {
  FuseReplay* replay = replay_of(request);
  if (replay && replay->made(request, {parent}, name)) return;
  usual.symlink(request, target, parent, name);
}

void create(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode,
            fuse_file_info* file) {
  FuseReplay* replay = replay_of(request);
  if (replay && replay->created(request, {parent}, name, *file)) return;
  usual.create(request, parent, name, mode, file);
}

void open(fuse_req_t request, fuse_ino_t node, fuse_file_info* file) {
  FuseReplay* replay = replay_of(request);
  if (!replay || !replay->opened(request, {node}, *file)) usual.open(request, node, file);
}

void unlink(fuse_req_t request, fuse_ino_t parent, const char* name) {
  FuseReplay* replay = replay_of(request);
  if (!replay || !replay->removed(request, {parent}, name)) usual.unlink(request, parent, name);
}

void rmdir(fuse_req_t request, fuse_ino_t parent, const char* name) {
  FuseReplay* replay = replay_of(request);
  if (!replay || !replay->removed(request, {parent}, name)) usual.rmdir(request, parent, name);
}

void rename(fuse_req_t request, fuse_ino_t parent, const char* name, fuse_ino_t to_parent,
            const char* to, unsigned flags) {
  FuseReplay* replay = replay_of(request);
  if (replay && replay->renamed(request, {parent}, name)) return;
  usual.rename(request, parent, name, to_parent, to, flags);
}

// Before the kernel lets a file be changed it asks for the capability that the change takes away.
void getxattr(fuse_req_t request, fuse_ino_t node, const char* name, std::size_t size) {
  FuseReplay* replay = replay_of(request);
  const bool capability = std::strcmp(name, "security.capability") == 0;
  if (capability && replay && replay->is_process(request)) {
    return void(fuse_reply_err(request, ENODATA));
  }
  usual.getxattr(request, node, name, size);
}

// Who closes a file need not be who opened it.
void flush(fuse_req_t request, fuse_ino_t node, fuse_file_info* file) {
  if (handle_of(file) == kReplayHandle) return void(fuse_reply_err(request, 0));
  usual.flush(request, node, file);
}

void release(fuse_req_t request, fuse_ino_t node, fuse_file_info* file) {
  if (handle_of(file) == kReplayHandle) return void(fuse_reply_err(request, 0));
  usual.release(request, node, file);
}

}  // namespace

void add_replay(fuse_lowlevel_ops& operations) {
  usual = operations;
  operations.lookup = lookup;
  operations.getattr = getattr;
  operations.setattr = setattr;
  operations.mknod = mknod;
  operations.mkdir = mkdir;
  operations.symlink = symlink;
  operations.create = create;
  operations.open = open;
  operations.unlink = unlink;
  operations.rmdir = rmdir;
  operations.rename = rename;
  operations.getxattr = getxattr;
  operations.flush = flush;
  operations.release = release;
}

}  // namespace rushfs::fs
