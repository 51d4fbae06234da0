#include "fs/mount/fuse_session.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/post.hpp>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <stdexcept>

#include "fs/mount/fuse_kernel.h"
#include "fs/mount/fuse_replay.h"
#include "fs/mount/host.h"
#include "fs/mount/mount_guard.h"
#include "fs/mount_info.h"

namespace rushfs::fs {

namespace {

/// FUSE's largest request on kernels before 6.13, and enough to stream at local speed.
constexpr unsigned kLargestRequest = 1 << 20;
/// Requests the kernel may have under way for read-ahead and the like.
constexpr unsigned kBackground = 64;
/// Requests answered before other events of the loop get their turn.
constexpr int kRequestsPerTurn = 64;
/// Pages the kernel reads ahead of a sequential reader, where we may say so (root). Its default of
/// 128 KiB keeps too few requests under way to stream at local speed.
constexpr int kReadAheadKiB = 8192;

/// Whether the thread was sent a signal that ends it: then, and only then, the kernel lets nobody
/// see what we answer. Other signals wait until the request is done, as on a local disk.
bool being_killed(pid_t thread) {
  if (thread == 0) return true;  // another pid namespace: we cannot look
  std::ifstream status("/proc/" + std::to_string(thread) + "/status");
  if (!status) return true;
  constexpr unsigned long long kKill = 1ULL << (SIGKILL - 1);
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("SigPnd:", 0) != 0 && line.rfind("ShdPnd:", 0) != 0) continue;
    if (std::strtoull(line.c_str() + 7, nullptr, 16) & kKill) return true;
  }
  return false;
}

/// A mount whose process was killed answers ENOTCONN to everybody until it is unmounted.
void clear_dead_mount(const std::string& mount_point) {
  struct stat ignored {};
  if (stat(mount_point.c_str(), &ignored) == 0 || errno != ENOTCONN) return;
  if (umount2(mount_point.c_str(), MNT_DETACH) == 0) {
    spdlog::info("'{}' was left over from a mount that was killed", mount_point);
  }
}

}  // namespace

FuseSession::FuseSession(boost::asio::io_context& loop, Volume& volume, FuseOptions options,
                         std::function<void()> turn)
    : kernel_(std::make_unique<Kernel>(loop, volume, std::move(options), std::move(turn))) {}
FuseSession::~FuseSession() = default;
void FuseSession::mount(absl::AnyInvocable<void() &&> ended) { kernel_->mount(std::move(ended)); }
void FuseSession::unmount() { kernel_->unmount(); }
void FuseSession::tick() { kernel_->tick(); }
void FuseSession::invalidate(NodeNumber number, const Spans& pages) {
  kernel_->invalidate(number, pages);
}
void FuseSession::invalidate_name(NodeNumber parent, const std::string& name) {
  kernel_->invalidate_name(parent, name);
}
bool FuseSession::tells_events() const { return kernel_->replay() && kernel_->replay()->works(); }
void FuseSession::happened(RemoteEvent event) { kernel_->replay()->add(std::move(event)); }
void FuseSession::settle(absl::AnyInvocable<void() &&> then) { kernel_->settle(std::move(then)); }

FuseSession::Kernel::Kernel(boost::asio::io_context& loop, Volume& volume, FuseOptions options,
                            std::function<void()> turn)
    : loop_(loop), volume_(volume), options_(std::move(options)), turn_(std::move(turn)) {}

FuseSession::Kernel::~Kernel() {
  unmount();
  while (!under_way_.empty()) fail(*under_way_.begin()->second, ENOTCONN);
  pages_.stop();
  names_.stop();
  if (session_) fuse_session_destroy(session_);
  std::free(buffer_.mem);
}

void FuseSession::Kernel::mount(absl::AnyInvocable<void() &&> ended) {
  std::string joined = "default_permissions,subtype=rushfs,fsname=" + options_.source;
  if (options_.allow_other) joined += ",allow_other";
  if (options_.read_only) joined += ",ro";
  for (const auto& option : options_.options) joined += "," + option;
  const char* words[] = {"rushfs", "-o", joined.c_str()};
  fuse_args arguments = FUSE_ARGS_INIT(3, const_cast<char**>(words));
  session_ = fuse_session_new(&arguments, &fuse_operations(), sizeof(fuse_lowlevel_ops), this);
  fuse_opt_free_args(&arguments);
  clear_dead_mount(options_.mount_point);
  if (!session_) throw std::runtime_error("the mount options were refused: " + joined);
  if (fuse_session_mount(session_, options_.mount_point.c_str()) != 0) {
    throw std::runtime_error("cannot mount on '" + options_.mount_point +
                             "': see the message of the kernel or fusermount3 above");
  }
  mounted_ = true;
  ended_ = std::move(ended);
  const int descriptor = fuse_session_fd(session_);
  fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK);
  descriptor_.emplace(loop_, descriptor);
  pages_.start();
  names_.start();
  if (options_.replay) {
    replay_ = std::make_unique<FuseReplay>(loop_, *this, *options_.replay, options_.mount_point);
  }
  if (const auto mounted = mount_at(options_.mount_point); mounted && options_.guard) {
    options_.guard->watch(mounted->device_minor);
  }
  wait_readable();
}

void FuseSession::Kernel::wait_readable() {
  descriptor_->async_wait(boost::asio::posix::stream_descriptor::wait_read,
                          [this](const boost::system::error_code& error) {
                            if (!error && descriptor_) receive();
                          });
}

void FuseSession::Kernel::receive() {
  turn_();
  for (int count = 0; count < kRequestsPerTurn; ++count) {
    const int size = fuse_session_receive_buf(session_, &buffer_);
    if (size == -EINTR) continue;
    if (size == -EAGAIN) break;
    if (size <= 0 || fuse_session_exited(session_)) return end();
    translate();
    fuse_session_process_buf(session_, &buffer_);
    if (!descriptor_) return;  // unmounted by what the request caused
  }
  if (initialised_ && !read_ahead_raised_) raise_read_ahead();
  wait_readable();
}

void FuseSession::Kernel::end() {
  if (!descriptor_) return;
  descriptor_->release();
  descriptor_.reset();
  auto ended = std::exchange(ended_, nullptr);
  if (ended) std::move(ended)();
}

void FuseSession::Kernel::unmount() {
  if (!mounted_) return;
  mounted_ = false;
  if (descriptor_) {
    descriptor_->release();  // libfuse closes it
    descriptor_.reset();
  }
  fuse_session_unmount(session_);
  auto ended = std::exchange(ended_, nullptr);
  if (ended) boost::asio::post(loop_, [ended = std::move(ended)]() mutable { std::move(ended)(); });
}

// Without privilege the kernel's default stays; our own prefetcher works either way.
void FuseSession::Kernel::raise_read_ahead() {
  read_ahead_raised_ = true;
  if (geteuid() != 0) return;
  const auto mount = mount_at(options_.mount_point);  // asking the mount itself would wait for us
  if (!mount) return;
  const std::string device =
      std::to_string(mount->device_major) + ":" + std::to_string(mount->device_minor);
  std::ofstream setting("/sys/class/bdi/" + device + "/read_ahead_kb");
  setting << kReadAheadKiB << std::flush;
  if (!setting) spdlog::info("the kernel's read-ahead stays at its default for this mount");
}

void FuseSession::Kernel::initialise(fuse_conn_info& connection) {
  const unsigned wanted = FUSE_CAP_ASYNC_READ | FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_DONT_MASK |
                          FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO |
                          FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ASYNC_DIO |
                          FUSE_CAP_EXPLICIT_INVAL_DATA | FUSE_CAP_POSIX_ACL |
                          FUSE_CAP_EXPORT_SUPPORT;
  const unsigned unwanted = FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_SPLICE_READ |
                            FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE |
                            FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_HANDLE_KILLPRIV;
  connection.want |= connection.capable & wanted;
  connection.want &= ~unwanted;
  connection.max_write = kLargestRequest;
  connection.max_background = kBackground;
  connection.congestion_threshold = kBackground * 3 / 4;
  connection.time_gran = 1;
  generation_ = static_cast<std::uint32_t>(random_number());
  initialised_ = true;
}

FuseRequestRef FuseSession::Kernel::begin(fuse_req_t handle) {
  auto request = std::make_shared<FuseRequest>(
      FuseRequest{handle, fuse_req_ctx(handle)->pid, nullptr});
  under_way_.emplace(handle, request);
  fuse_req_interrupt_func(handle, on_interrupt, this);
  return request;
}

FuseRequestRef FuseSession::Kernel::begin_direct(fuse_req_t handle) {
  interrupted_.insert(handle);
  return begin(handle);
}

// libfuse holds a lock of the request here.
void FuseSession::Kernel::on_interrupt(fuse_req_t request, void* kernel) {
  auto* self = static_cast<Kernel*>(kernel);
  boost::asio::post(self->loop_, [self, request] { self->interrupted(request); });
}

void FuseSession::Kernel::interrupted(fuse_req_t handle) {
  const auto found = under_way_.find(handle);
  if (found == under_way_.end()) return;
  const auto on_signal = std::exchange(found->second->on_signal, nullptr);
  if (on_signal) on_signal();
  if (being_killed(found->second->thread)) {
    fail(*found->second, EINTR);
  } else {
    interrupted_.insert(handle);
  }
}

void FuseSession::Kernel::tick() {
  // The kernel tells of the first signal only; a later one may be the end.
  for (const auto handle : std::set<fuse_req_t>(interrupted_)) interrupted(handle);
}

}  // namespace rushfs::fs
