// Volume is the mounted file system without FUSE: it turns what programs ask of files into calls
// to the server, reads through the cache, and changes in the write queue. docs/semantics.md says
// what it promises; architecture.md how a read and a write go through it.
//
// Every operation answers its Reply exactly once, perhaps before it returns. Errors are the errno
// a local disk would give, or ETIMEDOUT where the server could not be reached. Owner: the file
// loop; time comes from LoopTime.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "fs/client/access_times.h"
#include "fs/client/change_log.h"
#include "fs/client/client_parts.h"
#include "fs/client/conflicts.h"
#include "fs/client/data_search.h"
#include "fs/client/folders.h"
#include "fs/client/handles.h"
#include "fs/client/holds.h"
#include "fs/client/kernel_side.h"
#include "fs/client/known.h"
#include "fs/client/locking.h"
#include "fs/client/mount_status.h"
#include "fs/client/notice_order.h"
#include "fs/client/questions.h"
#include "fs/client/reader.h"
#include "fs/client/reply.h"
#include "fs/client/volume_types.h"
#include "fs/client/watchers.h"
#include "fs/client/writeback.h"
#include "fs/client/xattrs.h"
#include "transport/path_report.h"
#include "transport/rate/limit_shares.h"

namespace rushfs::fs {

class Volume : private WritebackListener {
 public:
  struct Options {
    transport::Duration timeout = std::chrono::seconds(60);  // of one operation without a link
    bool read_only = false;
    std::string hostname = "localhost";  // names our version where two meet
    AccessTimes::Options access_times{};
  };
  Volume(const ClientParts& parts, Options options);
  ~Volume() override;

  void set_kernel(KernelCache* kernel) { kernel_.set(kernel); }
  /// Takes up what an earlier run left in the queue. Before anything else, while the queue loop
  /// does not run yet.
  void restore();
  /// Before the first attach: what the server said last time, so that there is a root.
  void remembered(const AttachReply& reply);
  /// From Session, at every attach.
  void attached(const AttachReply& reply, bool restarted);
  /// From Session: what others have changed.
  void noticed(const Notice& notice);
  /// What holds back sending, this machine's disk included.
  transport::SendLimit set_path(const transport::PathReport& report);
  /// About once a second.
  void tick(bool connected);
  /// When to call send_gathered(), which sends what waited for company; and who is told that there
  /// is such a moment now.
  std::optional<transport::TimePoint> deadline() const { return writeback_.deadline(); }
  void send_gathered() { writeback_.send_gathered(); }
  void on_due(std::function<void()> due) { writeback_.on_due(std::move(due)); }
  /// Whoever still waits for the queue is told ENOTCONN; what is queued stays queued.
  void stop();

  // Names (volume_namespace.cc).
  void lookup(NodeNumber parent, std::string name, Reply<NodeReference> reply) {
    questions_.lookup(parent, std::move(name), std::move(reply));
  }
  void make_directory(NodeNumber parent, std::string name, Caller, std::uint32_t mode,
                      Reply<NodeReference> reply);
  void make_node(NodeNumber parent, std::string name, Caller, std::uint32_t mode,
                 std::uint32_t device_major, std::uint32_t device_minor,
                 Reply<NodeReference> reply);
  void symlink(NodeNumber parent, std::string name, Caller, std::string target,
               Reply<NodeReference> reply);
  void link(NodeNumber node, NodeNumber parent, std::string name, Reply<NodeReference> reply);
  void unlink(NodeNumber parent, std::string name, Reply<void> reply);
  void remove_directory(NodeNumber parent, std::string name, Reply<void> reply);
  void rename(NodeNumber from_parent, std::string from, NodeNumber to_parent, std::string to,
              RenameMode mode, Reply<void> reply);
  void read_link(NodeNumber node, Reply<std::string> reply) {
    questions_.target(node, std::move(reply));
  }
  /// The kernel let go of so many references.
  void forget(NodeNumber node, std::uint64_t count);
  /// From the root, without a slash at the front; "." is the root.
  std::string path_of(const Inode& inode) const { return inodes_.path(inode); }

  // Open folders: see Folders.
  void open_directory(NodeNumber node, Reply<HandleNumber> reply) {
    folders_.open(node, std::move(reply));
  }
  void read_directory(HandleNumber handle, std::uint64_t cookie, Reply<Listed> reply) {
    folders_.read(handle, cookie, std::move(reply));
  }
  std::optional<NodeReference> enter(NodeNumber directory, const DirectoryEntry& entry,
                                     bool last_known) {
    return folders_.enter(directory, entry, last_known);
  }
  void release_directory(HandleNumber handle) { folders_.release(handle); }
  /// fsync(2) of a folder: what was queued for it is on the server's stable storage.
  void sync_directory(NodeNumber node, Reply<void> reply);

  // Attributes (volume_attributes.cc).
  void get_attributes(NodeNumber node, Reply<Attributes> reply) {
    questions_.attributes(node, std::move(reply));
  }
  /// The file that an open one is now: another than was opened, if ours was kept apart meanwhile.
  std::optional<NodeNumber> behind(HandleNumber handle);
  void set_attributes(NodeNumber node, AttributeChange change, Reply<Attributes> reply);
  void stat_fs(NodeNumber node, Reply<StatFsReply> reply) {
    questions_.space(node, std::move(reply));
  }
  /// FS_IOC_GETFLAGS, after FS_IOC_SETFLAGS where `set` is there.
  void file_flags(NodeNumber node, std::optional<std::uint32_t> set, Reply<std::uint32_t> reply);

  // Extended attributes, ACLs among them: see Xattrs.
  void get_xattr(NodeNumber node, std::string name, Reply<std::string> reply);
  void list_xattrs(NodeNumber node, Reply<std::vector<std::string>> reply);
  /// No value: removes it.
  void set_xattr(NodeNumber node, std::string name, std::optional<std::string> value,
                 XattrMode mode, Reply<void> reply);

  // Open files (volume_open.cc).
  void create(NodeNumber parent, std::string name, Caller, std::uint32_t mode, OpenFlags flags,
              Reply<Created> reply);
  /// O_TMPFILE: a file without a name. link() can give it one.
  void create_unnamed(NodeNumber parent, Caller, std::uint32_t mode, OpenFlags flags,
                      Reply<Created> reply);
  void open(NodeNumber node, OpenFlags flags, Reply<Opened> reply);
  /// A descriptor was closed: answered when the queue holds what was written, durably.
  void flush(HandleNumber handle, Reply<void> reply);
  /// Answered when the server has the file's bytes on stable storage.
  void sync(HandleNumber handle, Reply<void> reply);
  void release(HandleNumber handle);
  /// The kernel is gone, and what it had still to say of closed files with it. Answered when the
  /// queue keeps nothing of files that nobody can reach.
  void close_all(Reply<void> reply);

  // Locks: see Locking.
  void lock(HandleNumber handle, const LockAsk& wanted, Reply<void> reply) {
    locking_.lock(handle, wanted, std::move(reply));
  }
  void cancel_lock(std::uint64_t ticket) { locking_.cancel(ticket); }
  void test_lock(HandleNumber handle, const LockAsk& wanted, Reply<TestLockReply> reply) {
    locking_.test(handle, wanted, std::move(reply));
  }
  void unlock_closed(HandleNumber handle, std::uint64_t owner, Reply<void> reply) {
    locking_.closed_by(handle, owner, std::move(reply));
  }

  // Bytes (volume_data.cc).
  void read(HandleNumber handle, std::uint64_t offset, std::uint64_t length, Reply<Slices> reply,
            Through through = Through::pages);
  void write(HandleNumber handle, std::uint64_t offset, Buffer data, Reply<std::uint64_t> reply,
             Through through = Through::pages);

  // Space, holes and copies (volume_space.cc).
  /// fallocate(2), without the modes that move what follows.
  void allocate(HandleNumber handle, std::uint32_t mode, std::uint64_t offset,
                std::uint64_t length, Reply<void> reply);
  void seek(HandleNumber handle, std::uint64_t offset, Seek what, Reply<std::uint64_t> reply);
  /// copy_file_range(2) at the server. EXDEV: copy by reading and writing.
  void copy_range(HandleNumber from, std::uint64_t from_offset, HandleNumber to,
                  std::uint64_t to_offset, std::uint64_t length, Reply<std::uint64_t> reply);

  // For `rushfs wait` and status.
  void wait_all(Reply<void> reply);
  /// For a folder as wait_all().
  void wait_file(std::string path, Reply<void> reply);
  void retry_now();
  void discard_parked(std::uint64_t operation, Reply<void> reply);
  QueueStatus queue_status() const;
  const CacheStatus& cache_status() const { return reader_.status(); }
  std::uint64_t bytes_read() const { return bytes_read_; }
  std::uint64_t bytes_written() const { return bytes_written_; }
  std::uint64_t open_files() const { return handles_.size(); }

 private:
  struct Renaming;

  // WritebackListener.
  void sending(const NodeId&) override;
  void not_sending(const NodeId&) override;
  void applied(const NodeId&, const AppliedOperation&) override;
  void completed(const NodeId&, std::uint64_t operations) override;
  void discarded(const NodeId&) override;
  void missing(const NodeId&) override;
  void lost(const NodeId&) override;
  std::uint64_t made_there(const NodeId&) override;
  void kept_there(const NodeId&, std::uint64_t changes) override;

  void entry_made(const InodeRef& directory, const std::string& name, const EntryReply& made,
                  Reply<NodeReference>& reply);
  template <class Request>
  void make_entry(NodeNumber parent, Request request, Reply<NodeReference> reply);
  static bool loses_content(const Renaming& renaming, const InodeRef& source);
  void send(Renaming renaming, Reply<void> reply);
  void moved(const Renaming& renaming, const RenameReply& done);
  void name_removed(const InodeRef& target, const std::optional<Entry>& left);
  bool in_use(const Inode& inode) const;
  bool refuses_change(const InodeRef& inode, int& error) const;
  /// A change of anything but what comes behind the end, or of a folder's names.
  bool refuses_rewrite(const InodeRef& inode, int& error) const;
  bool must_see_reads(const Inode& inode, const OpenFlags& flags) const;
  Opened add_handle(const InodeRef& inode, OpenFlags flags);
  void open_created(const InodeRef& inode, OpenFlags flags, Reply<Created> reply);
  void finish_open(const InodeRef& inode, OpenFlags flags, Reply<Opened> reply);
  void open_known(const InodeRef& inode, OpenFlags flags, Reply<Opened> reply);
  void open_unasked(const InodeRef& inode, OpenFlags flags, Reply<Opened> reply);
  void check_open(const InodeRef& inode, OpenFlags flags, Reply<Opened> reply);
  void unused(const InodeRef& inode);
  void write_mapped(const InodeRef& inode, std::uint64_t offset, Buffer data, Reply<void> reply);
  /// Nobody here may change anything.
  bool nothing_to_sync(const Inode& inode) const;
  void sync(const InodeRef& inode, HandleNumber number, Reply<void> reply);
  void server_restarted();
  void keep_made_there(const InodeRef& inode);
  void set_at_server(const InodeRef& inode, AttributeChange change, Reply<Attributes> reply);

  ClientParts parts_;
  Options options_;
  KernelSide kernel_;
  Reader reader_;
  Known known_;
  Inodes& inodes_;  // of known_
  NoticeOrder notice_order_;
  Writeback writeback_;
  ChangeLog log_;
  AccessTimes access_times_;
  Questions questions_;
  Watchers watchers_;
  Handles handles_;
  Locking locking_;
  Holds holds_;
  Conflicts conflicts_;
  Folders folders_;
  Xattrs xattrs_;
  DataSearch data_search_;
  transport::LimitShares sending_;
  bool server_read_only_ = false;
  bool squashed_ = false;
  std::optional<std::uint32_t> server_user_;  // may change only what is his; none: root
  std::set<std::uint32_t> allocation_modes_;  // that the server's disk is known to have
  std::uint64_t bytes_read_ = 0, bytes_written_ = 0;
};

}  // namespace rushfs::fs
