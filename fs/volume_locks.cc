// Locks of programs: what was written under a lock is at the server before the lock is given up,
// and whoever gets a lock sees the file as the one before left it. docs/semantics.md, "Locks".
#include <cerrno>

#include "fs/volume.h"

namespace rushfs::fs {

std::uint64_t Volume::lock(HandleNumber number, const LockAsk& wanted, Reply<void> reply) {
  const auto found = handles_.find(number.value);
  if (found == handles_.end()) return reply.fail(EBADF), 0;
  if (found->second.lost) return reply.fail(EIO), 0;
  const InodeRef inode = found->second.inode;
  if (wanted.span.type == LockType::none) {
    unlock(inode, wanted, std::move(reply));
    return 0;
  }
  if (unlocks_.contains(inode)) {
    after_unlocks(inode, [this, number, wanted, reply = std::move(reply)]() mutable {
      lock(number, wanted, std::move(reply));
    });
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
      [this, inode, number, wanted, epoch = known_.epoch(),
       reply = std::move(reply)](Result<LockReply> held) mutable {
        if (!held) return reply.fail(held.error());
        const auto handle = handles_.find(number.value);
        if (handle == handles_.end() || handle->second.inode != inode) {
          // It is that of a conflict copy by now; as its file's, the lock would never be given up.
          unlock_handle(inode, number);
          lock(number, wanted, std::move(reply));
          return;
        }
        notice_order_.after(held->notices, [this, inode, epoch, held = *held,
                                      reply = std::move(reply)]() mutable {
          // A notice beyond those may tell of a change after the attributes were looked up.
          const bool nothing_since = notice_order_.heard_count() == held.notices;
          known_.learn(*inode, held.attributes, nothing_since ? known_.epoch() : epoch);
          kernel_.settle([reply = std::move(reply)]() mutable { reply.ok(); });
        });
      });
}

void Volume::test_lock(HandleNumber number, const LockAsk& wanted, Reply<TestLockReply> reply) {
  const auto found = handles_.find(number.value);
  if (found == handles_.end()) return reply.fail(EBADF);
  const InodeRef inode = found->second.inode;
  after_unlocks(inode, [this, inode, wanted, reply = std::move(reply)]() mutable {
    locks_.test(inode, wanted, std::move(reply));
  });
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
  std::map<NodeNumber, InodeRef> files;  // sent in an order that a seed repeats
  const auto consider = [&](const InodeRef& file) {
    const bool beside = file->parent == inode->parent && file->regular();
    if (file == inode || beside) files.emplace(file->number, file);
  };
  for (const auto& [number, handle] : handles_) {
    if (handle.flags.write) consider(handle.inode);
  }
  for (const auto& [number, file] : files) kernel_.invalidate(number);
  writeback_.each_queued([&](const NodeId& node) { consider(inodes_.get(node)); });
  kernel_.settle([this, files = std::move(files), reply = std::move(reply)]() mutable {
    sync_files(std::move(files), std::move(reply));
  });
}

void Volume::sync_files(std::map<NodeNumber, InodeRef> files, Reply<void> reply) {
  std::erase_if(files, [](const auto& each) {
    const auto& file = *each.second;
    return file.local.operations == 0 && file.appending == 0 && !file.local.unstamped;
  });
  const auto joint = std::make_shared<JointReply>(std::move(reply), files.size());
  for (const auto& [number, file] : files) {
    sync_inode(file, [joint](Result<void> synced) {
      // What somebody removed, nobody will look for.
      const bool gone =
          !synced && (synced.error().value() == ESTALE || synced.error().value() == ENOENT);
      joint->arrive(gone ? Result<void>() : synced);
    });
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
  unlock_for_good(inode, all, std::move(reply));
}

/// What could not be published does not keep others out for ever.
void Volume::unlock_for_good(const InodeRef& inode, LockAsk wanted, Reply<void> reply) {
  wanted.span.type = LockType::none;
  unlock(inode, wanted, [this, inode, wanted, reply = std::move(reply)](Result<void> done) mutable {
    if (!done) locks_.give_up(inode, wanted, [](Result<void>) {});
    reply(done);
  });
}

void Volume::unlock_handle(const InodeRef& inode, HandleNumber number) {
  for (const auto& [owner, kind] : locks_.closed(number.value)) {
    if (!locks_.holds_any(inode, owner, kind)) continue;
    LockAsk all;
    all.owner = owner;
    all.span.kind = kind;
    auto& unlocks = unlocks_[inode];
    if (!unlocks) unlocks = std::make_shared<Unlocks>();
    ++unlocks->under_way;
    unlock_for_good(inode, all, [this, inode, still = std::weak_ptr(unlocks)](Result<void>) {
      const auto mine = still.lock();  // null: all of this is coming down
      if (!mine || --mine->under_way > 0) return;
      unlocks_.erase(inode);
      for (auto& then : mine->waiting) std::move(then)();
    });
  }
}

/// close(2) does not wait for flock(2)'s and open file descriptions' locks to be given up; whoever
/// asks next does, so that for programs here they end with it.
void Volume::after_unlocks(const InodeRef& inode, absl::AnyInvocable<void() &&> then) {
  const auto found = unlocks_.find(inode);
  if (found == unlocks_.end()) return std::move(then)();
  found->second->waiting.push_back(std::move(then));
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
  known_.noticed(*inode);
}

}  // namespace rushfs::fs
