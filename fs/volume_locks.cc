// Locks of programs: what was written under a lock is at the server before the lock is given up,
// and whoever gets a lock sees the file as the one before left it. docs/semantics.md, "Locks".
#include <cerrno>

#include "fs/volume.h"

namespace rushfs::fs {

/// Runs `then` when `count` notices of this connection have come.
void Volume::after_notices(std::uint64_t count, absl::AnyInvocable<void() &&> then) {
  if (count <= notices_heard_) return std::move(then)();
  if (count - notices_heard_ <= kMaxWaitingNotices) {
    behind_notices_.emplace_back(count, std::move(then));
    return;
  }
  noticed_all();
  std::move(then)();
}

/// Runs `then` when the kernel has dropped what it was told to.
void Volume::after_kernel(absl::AnyInvocable<void() &&> then) {
  if (!kernel_) return std::move(then)();
  kernel_->settle(std::move(then));
}

void Volume::serve_behind_notices(bool all) {
  auto waiting = std::exchange(behind_notices_, {});
  for (auto& [count, then] : waiting) {
    if (all || count <= notices_heard_) {
      std::move(then)();
    } else {
      behind_notices_.emplace_back(count, std::move(then));
    }
  }
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
  if (wanted.span.type == LockType::shared && locks_.excludes(inode, wanted)) {
    // Lets others in, as giving up does. It never waits: nobody else can have any of it.
    publish(inode, [this, inode, number, wanted,
                    reply = std::move(reply)](Result<void> published) mutable {
      if (!published) return reply.fail(published.error());
      acquire(inode, number, wanted, std::move(reply));
    });
    return 0;
  }
  return acquire(inode, number, wanted, std::move(reply));
}

std::uint64_t Volume::acquire(const InodeRef& inode, HandleNumber number, const LockAsk& wanted,
                              Reply<void> reply) {
  know_pages(*inode);
  return locks_.acquire(
      inode, number.value, wanted,
      [this, inode, epoch = epoch_, reply = std::move(reply)](Result<LockReply> held) mutable {
        if (!held) return reply.fail(held.error());
        after_notices(held->notices, [this, inode, epoch, held = *held,
                                      reply = std::move(reply)]() mutable {
          // A notice beyond those may tell of a change after the attributes were looked up.
          learn(*inode, held.attributes, notices_heard_ == held.notices ? epoch_ : epoch);
          after_kernel([reply = std::move(reply)]() mutable { reply.ok(); });
        });
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
  if (!locks_.excludes(inode, wanted)) return locks_.give_up(inode, wanted, std::move(reply));
  publish(inode, [this, inode, wanted,
                  reply = std::move(reply)](Result<void> published) mutable {
    if (!published) return reply.fail(published.error());
    locks_.give_up(inode, wanted, std::move(reply));
  });
}

/// Answered when the server has what was written to the file and to those beside it, through
/// mappings too: a lock on one file of a folder commonly guards others of it.
void Volume::publish(const InodeRef& inode, Reply<void> reply) {
  std::set<InodeRef> files;
  const auto consider = [&](const InodeRef& file) {
    if (file == inode || (file->parent == inode->parent && file->regular())) files.insert(file);
  };
  for (const auto& [number, handle] : handles_) {
    if (handle.flags.write) consider(handle.inode);
  }
  if (kernel_) {
    for (const auto& file : files) kernel_->invalidate(file->number);
  }
  writeback_.each_queued([&](const NodeId& node) { consider(inodes_.get(node)); });
  after_kernel([this, files = std::move(files), reply = std::move(reply)]() mutable {
    sync_files(std::move(files), std::move(reply));
  });
}

void Volume::sync_files(std::set<InodeRef> files, Reply<void> reply) {
  std::erase_if(files, [](const InodeRef& file) {
    return file->local.operations == 0 && file->appending == 0;
  });
  const auto joint = std::make_shared<JointReply>(std::move(reply), files.size());
  for (const auto& file : files) {
    sync_inode(file, [joint](Result<void> synced) { joint->arrive(synced); });
  }
  joint->arrive({});
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
