// Locks of programs: what was written under a lock is at the server before the lock is given up,
// and whoever gets a lock sees the file as the one before left it. docs/semantics.md, "Locks".
// Owner: the file loop.
#pragma once

#include <absl/functional/any_invocable.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "fs/client/change_log.h"
#include "fs/client/file_locks.h"
#include "fs/client/handles.h"
#include "fs/client/kernel_side.h"
#include "fs/client/known.h"
#include "fs/client/notice_order.h"
#include "fs/client/writeback.h"

namespace rushfs::fs {

class Locking {
 public:
  /// `timeout`: how long one operation takes while nothing is heard of the server.
  Locking(const ClientParts& parts, transport::Duration timeout, Handles& handles, Known& known,
          NoticeOrder& notice_order, KernelSide& kernel, ChangeLog& log, Writeback& writeback)
      : parts_(parts),
        timeout_(timeout),
        locks_(parts, [this](const InodeRef& inode) { return unlock_begins(inode); }),
        handles_(handles),
        known_(known),
        notice_order_(notice_order),
        kernel_(kernel),
        log_(log),
        writeback_(writeback) {}

  /// To lock, or to unlock. Errors: EBADF, EIO where the handle has lost locks before, what the
  /// server says, EINTR of cancel(), ETIMEDOUT: a lock is not had then, one that was given up ends
  /// once the server hears of it.
  void lock(HandleNumber handle, const LockAsk& wanted, Reply<void> reply);
  void cancel(std::uint64_t ticket);
  void test(HandleNumber handle, const LockAsk& wanted, Reply<TestLockReply> reply);
  /// A descriptor was closed by this owner: his record locks of the file end.
  void closed_by(HandleNumber handle, std::uint64_t owner, Reply<void> reply);
  /// The handle is no longer one of the file: what was locked through it is given up.
  void closed(const InodeRef& inode, HandleNumber handle);

  bool any() const { return locks_.any(); }
  /// Bytes from `byte` to here nobody on another mount may have locked now, and the kernel has what
  /// those before us made of them.
  std::uint64_t exclusive_until(const InodeRef& inode, std::uint64_t byte) const {
    return settling_.contains(inode) ? byte : locks_.exclusive_until(inode, byte);
  }
  /// After a reconnection: finds out which locks we still have, then runs `then`. What was written
  /// under a lock we lost is not sent.
  void reclaim(std::function<void()> then);
  /// About once a second.
  void tick();

 private:
  using Then = absl::AnyInvocable<void(Result<void>) &&>;
  struct Waiting {
    transport::TimePoint since;
    Then then;  // null: it waits no more
  };
  struct Unlock : Waiting {
    InodeRef inode;
    FileLocks::Ended ended{};  // of one that its program no longer waits for
  };
  struct Unpublished {
    InodeRef inode;
    LockAsk wanted;
    FileLocks::Ended ended;
  };
  struct Unlocks {
    int under_way = 0;
    std::vector<Waiting> waiting;
  };

  Then later(HandleNumber number, const LockAsk& wanted, Reply<void> reply);
  void acquire(const InodeRef& inode, HandleNumber number, const LockAsk& wanted,
               Reply<void> reply);
  void acquired(const InodeRef& inode, HandleNumber number, const LockReply& held,
                std::uint64_t epoch, Reply<void> reply);
  void unlock(const InodeRef& inode, LockAsk wanted, Reply<void> reply);
  FileLocks::Ended unlock_begins(const InodeRef& inode);
  void unlock_for_good(const InodeRef& inode, LockAsk wanted, Reply<void> reply);
  void publish_rest();
  void after_unlocks(const InodeRef& inode, Then then);
  Reply<void> in_time(const InodeRef& inode, Reply<void> reply);
  void publish(const InodeRef& inode, Reply<void> reply);
  void sync_files(std::map<NodeNumber, InodeRef> files, Reply<void> reply);
  void lost(const InodeRef& inode);

  ClientParts parts_;
  transport::Duration timeout_;
  FileLocks locks_;
  Handles& handles_;
  Known& known_;
  NoticeOrder& notice_order_;
  KernelSide& kernel_;
  ChangeLog& log_;
  Writeback& writeback_;
  std::multiset<InodeRef> settling_;  // for each lock granted whose program was not told yet
  std::map<InodeRef, std::shared_ptr<Unlocks>> unlocks_;  // under way, and no program waits
  std::vector<std::shared_ptr<Unlock>> unlocking_;       // of programs that wait
  std::vector<Unpublished> unpublished_;  // of descriptors closed without a link
  // By ticket: waits for a lock that the server is not yet asked for.
  std::map<std::uint64_t, std::shared_ptr<std::optional<Reply<void>>>> later_;
};

}  // namespace rushfs::fs
