// The locks that programs of this mount hold at the server, and what has to be said of them again
// after a reconnection. docs/semantics.md, "Locks". Owner: the file loop.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <vector>

#include "fs/inodes.h"
#include "fs/lock_table.h"
#include "fs/remote.h"
#include "fs/reply.h"

namespace rushfs::fs {

/// What a program asks for.
struct LockAsk {
  std::uint64_t owner = 0;  // as the kernel numbers them
  std::uint32_t process = 0;
  LockSpan span;
  bool wait = false;
};

class FileLocks {
 public:
  explicit FileLocks(Remote& remote) : remote_(remote) {}

  /// `handle`: through which it is asked; its locks end with it. Gives the ticket to cancel with.
  std::uint64_t acquire(const InodeRef& inode, std::uint64_t handle, const LockAsk& ask,
                        Reply<LockReply> reply);
  /// The wait ends with EINTR, unless the lock was granted meanwhile.
  void cancel(std::uint64_t ticket);
  void give_up(const InodeRef& inode, const LockAsk& ask, Reply<void> reply);
  void test(const InodeRef& inode, const LockAsk& ask, Reply<TestLockReply> reply);

  /// The owner has some of the span to himself: what he wrote may be meant for whoever comes next.
  bool excludes(const InodeRef& inode, const LockAsk& ask) const;
  bool holds_any(const InodeRef& inode, std::uint64_t owner, LockKind kind) const;
  bool any() const { return !table_.empty(); }
  /// Owners that have locked through the handle; it is forgotten.
  std::set<std::pair<std::uint64_t, LockKind>> closed(std::uint64_t handle);

  /// After a reconnection: says all of them again; `lost` hears of each file whose locks somebody
  /// else may have had meanwhile, `done` when all are answered.
  void reclaim(const std::function<InodeRef(const NodeId&)>& find,
               std::function<void(const InodeRef&)> lost, std::function<void()> done);

 private:
  void forget(const InodeRef& inode);

  Remote& remote_;
  LockTable table_;
  std::map<std::uint64_t, std::set<std::pair<std::uint64_t, LockKind>>> by_handle_;
  std::uint64_t next_ticket_ = 1;
};

}  // namespace rushfs::fs
