// The locks that programs of this mount hold at the server, and what has to be said of them again
// after a reconnection. docs/semantics.md, "Locks". Owner: the file loop.
#pragma once

#include <absl/functional/any_invocable.h>

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "fs/client/client_parts.h"
#include "fs/client/inodes.h"
#include "fs/client/remote.h"
#include "fs/client/reply.h"
#include "fs/lock_table.h"

namespace rushfs::fs {

/// What a program asks for.
struct LockAsk {
  std::uint64_t owner = 0;  // as the kernel numbers them
  std::uint32_t process = 0;
  LockSpan span;
  std::uint64_t ticket = 0;  // to cancel the wait with, never used before; 0: does not wait
};

class FileLocks {
 public:
  using Ended = std::function<void()>;
  /// Messages overtake each other. `withdrawing` hears that locks of a file are taken back, or said
  /// again, of which no program waits to be told; what it gives is called once the server has
  /// heard: until then it must not be asked for a lock of that file.
  FileLocks(const ClientParts& parts, std::function<Ended(const InodeRef&)> withdrawing)
      : remote_(parts.remote), time_(parts.time), withdrawing_(std::move(withdrawing)) {}

  /// `handle`: through which it is asked; its locks end with it.
  /// ETIMEDOUT: the server does not answer, or end_waits_since().
  void acquire(const InodeRef& inode, std::uint64_t handle, const LockAsk& ask,
               Reply<LockReply> reply);
  /// The wait ends with EINTR, unless the lock was granted meanwhile.
  void cancel(std::uint64_t ticket);
  /// Nothing is heard of the server: who has waited since then or longer waits no more.
  void end_waits_since(transport::TimePoint then);
  void give_up(const InodeRef& inode, const LockAsk& ask, Reply<void> reply);
  void test(const InodeRef& inode, const LockAsk& ask, Reply<TestLockReply> reply);

  /// The owner has some of the span to himself: what he wrote may be meant for whoever comes next.
  bool excludes(const InodeRef& inode, const LockAsk& ask) const;
  /// As LockTable::exclusive_until().
  std::uint64_t exclusive_until(const InodeRef& inode, std::uint64_t byte) const {
    return table_.exclusive_until(inode->node, byte);
  }
  bool holds_any(const InodeRef& inode, std::uint64_t owner, LockKind kind) const;
  bool any() const { return !table_.empty(); }
  /// Owners that have locked through the handle; it is forgotten.
  std::set<std::pair<std::uint64_t, LockKind>> closed(std::uint64_t handle);

  /// After a reconnection: says all of them again; `lost` hears of each file whose locks somebody
  /// else may have had meanwhile, `done` when all are answered.
  void reclaim(const std::function<InodeRef(const NodeId&)>& find,
               std::function<void(const InodeRef&)> lost, std::function<void()> done);

 private:
  /// What the server is asked for, or will be once it has heard which locks of the file we had: it
  /// could not tell those that it took from us from those that it gives us now.
  struct Asked {
    InodeRef inode;
    std::uint64_t handle = 0;
    LockAsk what;
    Reply<LockReply> reply;
    transport::TimePoint since;
    std::optional<CallId> call{};  // none: not yet
  };
  using AskedRef = std::map<std::uint64_t, Asked>::iterator;

  /// Locks of a file that are said again, and what must not overtake that.
  struct Reclaim {
    std::size_t unanswered = 0;
    std::vector<absl::AnyInvocable<void() &&>> then;
  };

  void send(AskedRef asked);
  void answered(AskedRef asked, Result<Answer<LockReply>> answer);
  void failed(const Asked& asked);
  void end(AskedRef asked, int error);
  void take_back(AskedRef asked, int error);
  /// Those that were sent: with ETIMEDOUT.
  void end_those(const std::function<bool(const Asked&)>& whom, int error);
  void hold_back(const InodeRef& inode);
  void withdraw(const InodeRef& inode, const LockAsk& ask);
  void say_again(const InodeRef& inode, const LockAsk& what);
  Ended reclaim_begins(const InodeRef& inode);
  void forget(const InodeRef& inode);

  Remote& remote_;
  const LoopTime& time_;
  const std::function<Ended(const InodeRef&)> withdrawing_;
  std::map<std::uint64_t, Asked> asked_;  // in the order asked
  std::uint64_t asked_count_ = 0;
  LockTable table_;
  std::map<NodeNumber, Reclaim> reclaims_;  // under way
  std::map<std::uint64_t, std::set<std::pair<std::uint64_t, LockKind>>> by_handle_;
};

}  // namespace rushfs::fs
