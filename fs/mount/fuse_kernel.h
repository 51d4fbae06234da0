// Inside of FuseSession: requests of the kernel under way and the replies to them. Included by
// fs/mount/fuse_*.cc only.
#pragma once

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

#include "fs/asio_loop.h"
#include "fs/mount/fuse_session.h"
#include "fs/protocol/spans.h"

namespace rushfs::fs {

class FuseReplay;

/// Seconds for which the kernel need not ask.
inline constexpr double kKernelValidity = std::chrono::duration<double>(kValidity).count();

/// What a server says of its blocks, before programs make buffers of that size, or divide by it.
inline constexpr std::uint32_t kSmallestBlock = 512, kLargestBlock = 1 << 20;
inline std::uint32_t buffer_size(const Attributes& attributes) {
  return std::clamp(attributes.block_size, kSmallestBlock, kLargestBlock);
}

/// A kernel request until it is answered. Whoever answers takes it; a caller that was killed is
/// answered EINTR early, and the late result undone.
struct FuseRequest {
  fuse_req_t handle = nullptr;  // none: answered
  pid_t thread = 0;             // of the caller; 0: of another pid namespace
  std::function<void()> on_signal;  // for what any signal interrupts
};
using FuseRequestRef = std::shared_ptr<FuseRequest>;

class FuseSession::Kernel {
 public:
  Kernel(boost::asio::io_context& loop, Volume& volume, FuseOptions options,
         std::function<void()> turn);
  ~Kernel();

  void mount(absl::AnyInvocable<void() &&> ended);
  void unmount();
  void tick();
  void invalidate(NodeNumber number, const Spans& pages = Spans::everything());
  /// Whoever is told of a file's new size must not find its old pages: answers at once, or when the
  /// kernel has dropped them. Not for reads: the dropping waits for pages that are being read.
  void after_invalidation(NodeNumber number, absl::AnyInvocable<void() &&> then);
  /// The same, but only for a moment.
  void after_quick_invalidation(NodeNumber number, std::function<void()> then);
  bool invalidating(NodeNumber number) const { return invalidations_.contains(number.value); }
  void invalidate_name(NodeNumber parent, const std::string& name);
  void settle(absl::AnyInvocable<void() &&> then);
  void attributes_asked(NodeNumber number);
  void attributes_answered(NodeNumber number);

  Volume& volume() { return volume_; }
  /// Null: changes by others are not told to watchers.
  FuseReplay* replay() { return replay_.get(); }
  /// The request being processed is FUSE_STATX, handed to libfuse as GETATTR.
  bool asked_statx() const { return asked_statx_; }
  FuseRequestRef begin(fuse_req_t request);
  /// The same for what the kernel waits for without telling of signals.
  FuseRequestRef begin_direct(fuse_req_t request);
  /// Of the wait for a lock.
  std::uint64_t lock_ticket() { return ++lock_tickets_; }
  void initialise(fuse_conn_info& connection);

  // Replies. Each takes the request; a request that was answered already has its result undone.
  void fail(FuseRequest& request, int error);
  void done(FuseRequest& request, const Result<void>& result);
  void entry(FuseRequest& request, const Result<NodeReference>& found,
             double valid = kKernelValidity);
  void created(FuseRequest& request, const Result<Created>& created, fuse_file_info file,
               double valid = kKernelValidity);
  void opened(FuseRequest& request, const Result<Opened>& opened, fuse_file_info file);
  void opened_directory(FuseRequest& request, const Result<HandleNumber>& handle,
                        fuse_file_info file);
  void attributes(FuseRequest& request, const Result<Attributes>& attributes,
                  double valid = kKernelValidity);
  void status(FuseRequest& request, const Result<Attributes>& attributes);
  /// Answers a change that takes the set-group-ID bit away where its caller may not set it.
  void without_set_group_id(const FuseRequestRef& request, NodeNumber number,
                            absl::AnyInvocable<void() &&> answer);
  /// `room`: bytes the caller has for it; 0: only the length is asked for.
  void value(FuseRequest& request, const Result<std::string>& value, std::size_t room);
  void position(FuseRequest& request, const Result<std::uint64_t>& position);
  void flags(FuseRequest& request, const Result<std::uint32_t>& flags, unsigned command);
  void target(FuseRequest& request, const Result<std::string>& target);
  void bytes(FuseRequest& request, const Result<Slices>& slices);
  void written(FuseRequest& request, const Result<std::uint64_t>& length);
  void lock_found(FuseRequest& request, const Result<TestLockReply>& found);
  void space(FuseRequest& request, const Result<StatFsReply>& space);
  void listed(FuseRequest& request, NodeNumber directory, const Result<Listed>& listed,
              std::size_t size, bool with_attributes);

 private:
  fuse_req_t take(FuseRequest& request);
  void translate();
  void wait_readable();
  void receive();
  void end();
  void interrupted(fuse_req_t request);
  void begin_invalidation(NodeNumber number, Spans pages);
  void catch_up(NodeNumber number);
  void invalidated(NodeNumber number);
  static void on_interrupt(fuse_req_t request, void* kernel);
  void raise_read_ahead();

  boost::asio::io_context& loop_;
  Volume& volume_;
  FuseOptions options_;
  std::function<void()> turn_;
  absl::AnyInvocable<void() &&> ended_;
  fuse_session* session_ = nullptr;
  std::uint64_t generation_ = 0;  // handles that programs kept from an earlier mount are not ours
  bool mounted_ = false;
  bool initialised_ = false, read_ahead_raised_ = false;
  fuse_buf buffer_{};
  bool asked_statx_ = false;
  std::optional<boost::asio::posix::stream_descriptor> descriptor_;
  std::unordered_map<fuse_req_t, FuseRequestRef> under_way_;
  std::set<fuse_req_t> interrupted_;
  std::uint64_t lock_tickets_ = 0;
  struct Invalidation {
    int under_way = 0;
    std::vector<absl::AnyInvocable<void() &&>> settled;
  };
  std::unordered_map<std::uint64_t, Invalidation> invalidations_;
  struct Asked {
    int requests = 0;
    std::optional<Spans> invalidate;  // these pages, a moment after they are answered
    std::optional<boost::asio::steady_timer> taken_in;
  };
  std::unique_ptr<FuseReplay> replay_;
  std::unordered_map<std::uint64_t, Asked> asked_;  // requests for attributes under way
  LoopThread pages_, names_;  // calls that make the kernel drop pages, or names, and wait for it
};

// Locks (fuse_locks.cc).
void set_lock(fuse_req_t request, fuse_ino_t, fuse_file_info* file, struct flock* lock, int sleep);
void get_lock(fuse_req_t request, fuse_ino_t, fuse_file_info* file, struct flock* lock);
void whole_lock(fuse_req_t request, fuse_ino_t, fuse_file_info* file, int operation);

/// The table of operations for libfuse; its user data is a Kernel.
const fuse_lowlevel_ops& fuse_operations();
/// Fills in those of fuse_extended.cc.
void add_extended_operations(fuse_lowlevel_ops& operations);
/// The name under which a file without a name is created.
inline constexpr const char* kUnnamed = "/";

inline FuseSession::Kernel& kernel_of(fuse_req_t request) {
  return *static_cast<FuseSession::Kernel*>(fuse_req_userdata(request));
}
inline HandleNumber handle_of(const fuse_file_info* file) { return {file->fh}; }

}  // namespace rushfs::fs
