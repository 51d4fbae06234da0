#include "fs/client/locking.h"

#include <spdlog/spdlog.h>

#include <cerrno>

namespace rushfs::fs {

void Locking::lock(HandleNumber number, const LockAsk& wanted, Reply<void> reply) {
  const auto handle = handles_.usable(number);
  if (!handle) return reply.fail(handle.error());
  const InodeRef inode = (*handle)->inode;
  if (wanted.span.type == LockType::none) {
    return unlock(inode, wanted, in_time(inode, std::move(reply)));
  }
  if (unlocks_.contains(inode)) {
    return after_unlocks(inode, later(number, wanted, std::move(reply)));
  }
  if (wanted.span.type == LockType::shared && locks_.excludes(inode, wanted)) {
    // Lets others in, as giving up does. It never waits: nobody else can have any of it.
    return publish(inode, [this, inode, number, wanted,
                           reply = std::move(reply)](Result<void> published) mutable {
      if (!published) return reply.fail(published.error());
      acquire(inode, number, wanted, std::move(reply));
    });
  }
  acquire(inode, number, wanted, std::move(reply));
}

Locking::Then Locking::later(HandleNumber number, const LockAsk& wanted, Reply<void> reply) {
  const auto waiting = std::make_shared<std::optional<Reply<void>>>(std::move(reply));
  if (wanted.ticket != 0) later_[wanted.ticket] = waiting;
  return [this, number, wanted, waiting](Result<void> over) {
    if (!*waiting) return;  // cancelled
    later_.erase(wanted.ticket);
    if (!over) return (*waiting)->fail(over.error());
    lock(number, wanted, std::move(**waiting));
  };
}

void Locking::cancel(std::uint64_t ticket) {
  const auto found = later_.find(ticket);
  if (found == later_.end()) return locks_.cancel(ticket);
  const auto waiting = std::move(found->second);
  later_.erase(found);
  Reply<void> reply = std::move(**waiting);
  waiting->reset();
  reply.fail(EINTR);
}

void Locking::acquire(const InodeRef& inode, HandleNumber number, const LockAsk& wanted,
                      Reply<void> reply) {
  // Programs that lock may change neighbouring bytes through mappings at once. Pages that the
  // kernel has by now nobody remembers.
  const bool may_change = inode->writers > 0 || wanted.span.type == LockType::exclusive;
  if (!inode->kernel_page_bytes && may_change) {
    inode->kernel_page_bytes.emplace();
    kernel_.drop_pages(*inode);
  }
  locks_.acquire(
      inode, number.value, wanted,
      [this, inode, number, wanted, epoch = known_.epoch(),
       reply = std::move(reply)](Result<LockReply> held) mutable {
        if (!held) return reply.fail(held.error());
        const Handle* handle = handles_.find(number);
        if (!handle || handle->inode != inode) {
          // It is that of a conflict copy by now; as its file's, the lock would never be given up.
          closed(inode, number);
          lock(number, wanted, std::move(reply));
          return;
        }
        acquired(inode, number, *held, epoch, std::move(reply));
      });
}

void Locking::acquired(const InodeRef& inode, HandleNumber number, const LockReply& held,
                       std::uint64_t epoch, Reply<void> reply) {
  settling_.insert(inode);
  notice_order_.after(held.notices, [this, inode, number, epoch, held,
                                     reply = std::move(reply)]() mutable {
    const Handle* handle = handles_.find(number);
    if (handle && handle->lost) {
      settling_.erase(settling_.find(inode));
      return reply.fail(EIO);
    }
    // A notice beyond those may tell of a change after the attributes were looked up; and a change
    // of our own that was answered meanwhile may have come after it.
    const bool nothing_since =
        notice_order_.heard_count() == held.notices && inode->own_epoch <= epoch;
    known_.learn(*inode, held.attributes, nothing_since ? known_.epoch() : epoch);
    kernel_.settle([this, inode, reply = std::move(reply)]() mutable {
      settling_.erase(settling_.find(inode));
      reply.ok();
    });
  });
}

void Locking::test(HandleNumber number, const LockAsk& wanted, Reply<TestLockReply> reply) {
  const Handle* handle = handles_.find(number);
  if (!handle) return reply.fail(EBADF);
  const InodeRef inode = handle->inode;
  after_unlocks(inode, [this, inode, wanted,
                        reply = std::move(reply)](Result<void> unlocked) mutable {
    if (!unlocked) return reply.fail(unlocked.error());
    locks_.test(inode, wanted, std::move(reply));
  });
}

/// First what was written under it.
void Locking::unlock(const InodeRef& inode, LockAsk wanted, Reply<void> reply) {
  wanted.span.type = LockType::none;
  if (!locks_.excludes(inode, wanted)) return locks_.give_up(inode, wanted, std::move(reply));
  publish(inode, [this, inode, wanted, reply = std::move(reply)](Result<void> published) mutable {
    if (!published) return reply.fail(published.error());
    locks_.give_up(inode, wanted, std::move(reply));
  });
}

/// Answered when the server has what was written to the file and to those beside it, through
/// mappings too: a lock on one file of a folder commonly guards others of it.
void Locking::publish(const InodeRef& inode, Reply<void> reply) {
  std::map<NodeNumber, InodeRef> files;  // sent in an order that a seed repeats
  const auto consider = [&](const InodeRef& file) {
    const bool beside = file->parent == inode->parent && file->regular();
    if (file == inode || beside) files.emplace(file->number, file);
  };
  handles_.each([&](HandleNumber, const Handle& handle) {
    if (handle.flags.write) consider(handle.inode);
  });
  for (const auto& [number, file] : files) kernel_.invalidate(number);
  writeback_.each_queued([&](const NodeId& node) { consider(known_.inodes().get(node)); });
  kernel_.settle([this, files = std::move(files), reply = std::move(reply)]() mutable {
    sync_files(std::move(files), std::move(reply));
  });
}

void Locking::sync_files(std::map<NodeNumber, InodeRef> files, Reply<void> reply) {
  std::erase_if(files, [this](const auto& each) {
    const auto& file = *each.second;
    return file.local.operations == 0 && !file.local.unstamped &&
           !writeback_.is_appending(file.node) && !log_.has_loss(each.second);
  });
  const auto joint = std::make_shared<JointReply>(std::move(reply), files.size());
  for (const auto& [number, file] : files) {
    log_.sync(file, [joint](Result<void> synced) {
      // What somebody removed, nobody will look for.
      const bool gone =
          !synced && (synced.error().value() == ESTALE || synced.error().value() == ENOENT);
      joint->arrive(gone ? Result<void>() : synced);
    });
  }
  joint->arrive({});
}

/// A process that closes any descriptor of a file gives up all its record locks of it (fcntl(2)).
void Locking::closed_by(HandleNumber number, std::uint64_t owner, Reply<void> reply) {
  const Handle* handle = handles_.find(number);
  if (!handle) return reply.ok();
  const InodeRef inode = handle->inode;
  if (!locks_.holds_any(inode, owner, LockKind::record)) return reply.ok();
  LockAsk all;
  all.owner = owner;
  unlock_for_good(inode, all, in_time(inode, std::move(reply)));
}

/// The server may hear in any order: whoever locks next waits until it has heard.
FileLocks::Ended Locking::unlock_begins(const InodeRef& inode) {
  auto& unlocks = unlocks_[inode];
  if (!unlocks) unlocks = std::make_shared<Unlocks>();
  ++unlocks->under_way;
  return [this, inode, still = std::weak_ptr(unlocks)] {
    const auto mine = still.lock();  // null: all of this is coming down
    if (!mine || --mine->under_way > 0) return;
    unlocks_.erase(inode);
    for (Waiting& waiting : mine->waiting) std::move(waiting.then)({});
  };
}

/// What the server refuses does not keep others out for ever. Where it could not be asked, it is
/// asked later: were the lock forgotten until then, nobody would learn that it was lost.
void Locking::unlock_for_good(const InodeRef& inode, LockAsk wanted, Reply<void> reply) {
  wanted.span.type = LockType::none;
  auto ended = unlock_begins(inode);
  unlock(inode, wanted, [this, inode, wanted, ended = std::move(ended),
                         reply = std::move(reply)](Result<void> done) mutable {
    if (done) {
      ended();
    } else if (done.error() == errno_code(ETIMEDOUT)) {
      unpublished_.push_back({inode, wanted, std::move(ended)});
    } else {
      locks_.give_up(inode, wanted, [ended = std::move(ended)](Result<void>) { ended(); });
    }
    reply(done);
  });
}

void Locking::publish_rest() {
  if (!parts_.remote.reachable()) return;
  for (const auto& [inode, wanted, ended] : std::exchange(unpublished_, {})) {
    unlock_for_good(inode, wanted, [](Result<void>) {});
    ended();
  }
}

void Locking::closed(const InodeRef& inode, HandleNumber number) {
  for (const auto& [owner, kind] : locks_.closed(number.value)) {
    if (!locks_.holds_any(inode, owner, kind)) continue;
    LockAsk all;
    all.owner = owner;
    all.span.kind = kind;
    unlock_for_good(inode, all, [](Result<void>) {});
  }
}

/// close(2) does not wait for flock(2)'s and open file descriptions' locks to be given up; whoever
/// asks next does, so that for programs here they end with it.
void Locking::after_unlocks(const InodeRef& inode, Then then) {
  const auto found = unlocks_.find(inode);
  if (found == unlocks_.end()) return std::move(then)({});
  found->second->waiting.push_back({parts_.time.now, std::move(then)});
}

/// The server hears of it in any case; who waits for that does not wait for ever.
Reply<void> Locking::in_time(const InodeRef& inode, Reply<void> reply) {
  const auto waiting = std::make_shared<Unlock>();
  waiting->inode = inode;
  waiting->since = parts_.time.now;
  waiting->then = [reply = std::move(reply)](Result<void> done) mutable { reply(done); };
  unlocking_.push_back(waiting);
  return [waiting](Result<void> done) {
    if (auto ended = std::exchange(waiting->ended, nullptr)) ended();
    if (auto then = std::exchange(waiting->then, nullptr)) std::move(then)(done);
  };
}

void Locking::tick() {
  std::erase_if(unlocking_, [](const auto& waiting) { return !waiting->then; });
  publish_rest();
  if (parts_.time.now - parts_.remote.last_heard() < timeout_) return;
  const auto then = parts_.time.now - timeout_;
  locks_.end_waits_since(then);
  std::vector<Then> late;
  const auto consider = [&](Waiting& waiting) {
    if (waiting.since <= then) late.push_back(std::exchange(waiting.then, nullptr));
  };
  for (const auto& waiting : unlocking_) {
    if (waiting->then && waiting->since <= then) waiting->ended = unlock_begins(waiting->inode);
    consider(*waiting);
  }
  for (const auto& [inode, unlocks] : unlocks_) {
    for (Waiting& waiting : unlocks->waiting) consider(waiting);
    std::erase_if(unlocks->waiting, [](const Waiting& waiting) { return !waiting.then; });
  }
  for (Then& each : late) std::move(each)(errno_code(ETIMEDOUT));
}

void Locking::reclaim(std::function<void()> then) {
  if (!locks_.any()) return then();
  locks_.reclaim([this](const NodeId& node) { return known_.inodes().find(node); },
                 [this](const InodeRef& inode) { lost(inode); }, std::move(then));
}

void Locking::lost(const InodeRef& inode) {
  spdlog::warn("a lock of '{}' was lost while there was no link: who held it gets an error",
               known_.inodes().path(*inode));
  handles_.each([&](HandleNumber, Handle& handle) {
    if (handle.inode == inode) handle.lost = true;
  });
  log_.refuse(inode, EIO);
  writeback_.refuse(inode->node, EIO);
  known_.noticed(*inode);
}

}  // namespace rushfs::fs
