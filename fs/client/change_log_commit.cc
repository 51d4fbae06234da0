// What was appended becomes durable: on this machine's disk, or on the server's.
#include <cerrno>
#include <utility>

#include "fs/client/change_log.h"

namespace rushfs::fs {

void ChangeLog::flush(Reply<void> reply) {
  if (!unflushed_ && !committing_) return reply.ok();
  flushing_.push_back(std::move(reply));
  if (!committing_) commit();
}

void ChangeLog::flush(const InodeRef& inode, Reply<void> reply) {
  flush(telling_loss(inode, std::move(reply)));
}

void ChangeLog::stamp(const InodeRef& inode) {
  if (inode->unlinked || (inode->server.traits & kAppendOnly) != 0) return;
  if (!inode->local.unstamped || !inode->local.mtime) return;
  inode->local.unstamped = false;
  if (server_user_ && *server_user_ != inode->server.uid) return;
  SetAttributes change;
  change.mtime = TimeChange{false, *inode->local.mtime};
  set_attributes(inode, change, [](Result<void>) {});
}

void ChangeLog::sync(const InodeRef& inode, Reply<void> reply) {
  stamp(inode);
  flush([this, inode, made = inode->made_there,
         reply = std::move(reply)](Result<void> result) mutable {
    if (!result) return reply.fail(result.error());
    writeback_.sync(inode->node, [this, inode, made,
                                  reply = std::move(reply)](Result<void> done) mutable {
      // One that was under way does not cover what the server has made since.
      if (done && inode->made_there_kept < made) return sync(inode, std::move(reply));
      telling_loss(inode, std::move(reply))(done);
    });
  });
}

void ChangeLog::drain(const InodeRef& inode, Reply<void> reply) {
  if (inode->local.operations > 0) return sync(inode, std::move(reply));
  telling_loss(inode, std::move(reply)).ok();
}

void ChangeLog::wait(const InodeRef& inode, Reply<void> reply) {
  flush([this, inode, reply = std::move(reply)](Result<void> result) mutable {
    if (!result) return reply.fail(result.error());
    writeback_.wait(inode->node, telling_loss(inode, std::move(reply)));
  });
}

void ChangeLog::wait_all(Reply<void> reply) {
  flush([this, reply = std::move(reply)](Result<void> result) mutable {
    if (!result) return reply.fail(result.error());
    writeback_.wait_all([this, reply = std::move(reply)](Result<void> done) mutable {
      if (done && take_losses()) return reply.fail(EIO);
      reply(done);
    });
  });
}

bool ChangeLog::take_loss(const InodeRef& inode) {
  if (lost_.erase(inode) == 0) return false;
  inode->losses_told = inode->losses;
  return true;
}

Reply<void> ChangeLog::telling_loss(const InodeRef& inode, Reply<void> reply) {
  return [this, inode, reply = std::move(reply)](Result<void> done) mutable {
    if (done && take_loss(inode)) return reply.fail(EIO);
    reply(done);
  };
}

bool ChangeLog::take_losses() {
  const auto lost = lost_;
  for (const auto& inode : lost) take_loss(inode);
  return !lost.empty();
}

void ChangeLog::stop() {
  auto flushing = std::move(flushing_);
  flushing_.clear();
  for (auto& [inode, watched] : watched_) put_back(watched);
  refuse_waiting(ENOTCONN);
  for (auto& reply : flushing) reply.fail(ENOTCONN);
}

void ChangeLog::tick() {
  while (!waiting_.empty()) {
    const auto since = std::max(waiting_.front().waits_since, parts_.remote.last_heard());
    if (parts_.time.now - since < timeout_) break;
    Change change = std::move(waiting_.front());
    waiting_.pop_front();
    change.reply.fail(ETIMEDOUT);
  }
  go_on();  // who else filled the disk may have made room
  if (unflushed_ && !committing_) commit();
}

void ChangeLog::commit() {
  committing_ = true;
  unflushed_ = false;
  being_forgotten_.merge(forgotten_);
  parts_.queue_loop.run(
      [&queue = parts_.queue] { return queue.commit(); },
      [this, answered = std::move(flushing_)](Result<void> result) mutable {
        committing_ = false;
        if (!result) {
          unflushed_ = true;
        } else {
          being_forgotten_.clear();
        }
        for (auto& reply : answered) reply(result);
        if (!flushing_.empty()) commit();
      });
  flushing_.clear();
}

}  // namespace rushfs::fs
