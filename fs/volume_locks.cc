// Locks of programs: what was written under a lock is at the server before the lock is given up,
// and whoever gets a lock sees the file as the one before left it. docs/semantics.md, "Locks".
#include <cerrno>

#include "fs/volume.h"

namespace rushfs::fs {

void Volume::after_kernel(const InodeRef& inode, absl::AnyInvocable<void() &&> then) {
  if (!kernel_) return std::move(then)();
  kernel_->settle(inode->number, std::move(then));
}

std::uint64_t Volume::lock(HandleNumber number, const LockAsk& wanted, Reply<void> reply) {
  const auto found = handles_.find(number.value);
  if (found == handles_.end()) return reply.fail(EBADF), 0;
  if (found->second.lost) return reply.fail(EIO), 0;
  const InodeRef inode = found->second.inode;
  if (wanted.span.type == LockType::none) {
    unlock(inode, wanted, std::move(reply));
    return 0;
  }
  return locks_.acquire(inode, number.value, wanted,
                        [this, inode, epoch = epoch_,
                         reply = std::move(reply)](Result<Attributes> result) mutable {
                          if (!result) return reply.fail(result.error());
                          learn(*inode, *result, std::max(epoch, inode->epoch));
                          after_kernel(inode, [reply = std::move(reply)]() mutable { reply.ok(); });
                        });
}

void Volume::test_lock(HandleNumber number, const LockAsk& wanted, Reply<TestLockReply> reply) {
  const auto found = handles_.find(number.value);
  if (found == handles_.end()) return reply.fail(EBADF);
  locks_.test(found->second.inode, wanted, std::move(reply));
}

void Volume::cancel_lock(std::uint64_t ticket) { locks_.cancel(ticket); }

/// First what was written under it.
void Volume::unlock(const InodeRef& inode, LockAsk wanted, Reply<void> reply) {
  wanted.span.type = LockType::none;
  auto give_up = [this, inode, wanted](Reply<void> answer) {
    locks_.give_up(inode, wanted, std::move(answer));
  };
  if (inode->writers == 0 && inode->local.operations == 0) return give_up(std::move(reply));
  if (kernel_) kernel_->invalidate(inode->number);
  after_kernel(inode, [this, inode, give_up, reply = std::move(reply)]() mutable {
    if (inode->local.operations == 0 && inode->appending == 0) return give_up(std::move(reply));
    sync_inode(inode, [give_up, reply = std::move(reply)](Result<void> synced) mutable {
      if (!synced) return reply.fail(synced.error());
      give_up(std::move(reply));
    });
  });
}

/// A process that closes any descriptor of a file gives up all its record locks of it (fcntl(2)).
void Volume::unlock_closed(HandleNumber number, std::uint64_t owner, Reply<void> reply) {
  const auto found = handles_.find(number.value);
  if (found == handles_.end()) return reply.ok();
  const InodeRef inode = found->second.inode;
  if (!locks_.holds_any(inode, owner, LockKind::record)) return reply.ok();
  LockAsk all;
  all.owner = owner;
  unlock(inode, all, std::move(reply));
}

void Volume::unlock_handle(const InodeRef& inode, HandleNumber number) {
  for (const auto& [owner, kind] : locks_.closed(number.value)) {
    if (!locks_.holds_any(inode, owner, kind)) continue;
    LockAsk all;
    all.owner = owner;
    all.span.kind = kind;
    unlock(inode, all, [](Result<void>) {});
  }
}

/// After a reconnection: nothing is sent before it is clear which locks we still have, and nothing
/// that was written under a lock we lost.
void Volume::reclaim_locks(std::function<void()> then) {
  if (!locks_.any()) return then();
  locks_.reclaim([this](const NodeId& node) { return inodes_.find(node); },
                 [this](const InodeRef& inode) { lost_locks(inode); }, std::move(then));
}

void Volume::lost_locks(const InodeRef& inode) {
  for (auto& [number, handle] : handles_) {
    if (handle.inode == inode) handle.lost = true;
  }
  writeback_.refuse(inode->node, EIO);
  noticed(*inode);
}

}  // namespace rushfs::fs
