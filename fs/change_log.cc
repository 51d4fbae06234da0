#include "fs/change_log.h"

#include <cerrno>

namespace rushfs::fs {

LocalChanges local_changes(const cache::PendingNode& pending,
                           const std::vector<cache::Buffer>& attributes, Timestamp now) {
  LocalChanges local;
  for (const auto& encoded : attributes) {
    auto decoded = decode_request(encoded);
    auto* request = std::get_if<Request>(&decoded);
    auto* change = request ? std::get_if<SetAttributes>(request) : nullptr;
    if (change) local.set(*change, now);
  }
  local.operations = pending.operations;
  local.size = pending.size;
  return local;
}

void ChangeLog::write(const InodeRef& inode, std::uint64_t offset, Buffer data,
                      Reply<void> reply) {
  append({inode, offset, std::move(data), std::nullopt, true, std::move(reply)});
}

void ChangeLog::set_attributes(const InodeRef& inode, SetAttributes change, Reply<void> reply) {
  change.node = inode->node;
  change.order = QueuePosition{};
  append({inode, 0, encode(change), change.size, false, std::move(reply)});
}

void ChangeLog::append(Change change) {
  if (!waiting_.empty()) {
    waiting_.push_back(std::move(change));  // in order, also among those that wait
    return;
  }
  note(change);
  ++change.inode->appending;
  struct Appended {
    Change change;
    Result<std::uint64_t> sequence;
  };
  std::string name = parts_.inodes.path(*change.inode);
  const std::chrono::system_clock::time_point time(
      std::chrono::duration_cast<std::chrono::system_clock::duration>(parts_.time.wall));
  parts_.queue_loop.run(
      [&queue = parts_.queue, change = std::move(change), name = std::move(name), time]() mutable {
        const cache::Origin origin{change.inode->node.bytes, name, time};
        const auto put = [&] {
          return change.write ? queue.append_write(origin, change.offset, change.bytes)
                              : queue.append_attributes(origin, change.bytes, change.set_size);
        };
        auto sequence = put();
        // What has arrived gives its space back with a commit only.
        if (!sequence && sequence.error().value() == ENOSPC && queue.commit()) sequence = put();
        return Appended{std::move(change), sequence};
      },
      [this](Appended result) { appended(std::move(result.change), result.sequence); });
}

// Programs see the change from here on.
void ChangeLog::note(const Change& change) {
  auto& local = change.inode->local;
  const auto now = wall_time(parts_.time);
  if (change.write) {
    local.wrote(change.offset, change.bytes.size(), now);
  } else {
    auto request = decode_request(change.bytes);
    local.set(std::get<SetAttributes>(std::get<Request>(request)), now);
  }
  ++local.operations;
  ++local.generation;
}

void ChangeLog::appended(Change change, Result<std::uint64_t> sequence) {
  --change.inode->appending;
  if (!sequence && sequence.error().value() == EDQUOT) {
    undo(change.inode);  // noted again when it is its turn
    waiting_.push_back(std::move(change));
    return;
  }
  if (!sequence) {
    undo(change.inode);
    return change.reply.fail(sequence.error());
  }
  unflushed_ = true;
  const std::uint64_t bytes = change.write ? change.bytes.size() : 0;
  parts_.writeback.appended(change.inode->node, parts_.inodes.path(*change.inode), *sequence,
                            bytes);
  if (change.inode->abandoned && change.inode->appending == 0) {
    parts_.writeback.removed(change.inode->node);
  }
  change.reply.ok();
}

// The queue knows what is left of the file's changes; changes made meanwhile ask for another look.
void ChangeLog::undo(const InodeRef& inode) {
  const auto generation = ++inode->local.generation;
  struct Left {
    cache::PendingNode pending;
    std::vector<cache::Buffer> attributes;
  };
  parts_.queue_loop.run(
      [&queue = parts_.queue, node = inode->node.bytes] {
        return Left{queue.pending(node), queue.queued_attributes(node)};
      },
      [this, inode, generation](Left left) {
        if (inode->local.generation != generation) return undo(inode);
        const auto unstamped = inode->local.unstamped;
        inode->local = local_changes(left.pending, left.attributes, wall_time(parts_.time));
        inode->local.generation = generation;
        inode->local.unstamped = unstamped;
      });
}

void ChangeLog::space_freed() {
  unflushed_ = true;
  auto waiting = std::move(waiting_);
  waiting_.clear();
  for (auto& change : waiting) append(std::move(change));
}

void ChangeLog::flush(Reply<void> reply) {
  if (!unflushed_ && !committing_) return reply.ok();
  flushing_.push_back(std::move(reply));
  if (!committing_) commit();
}

void ChangeLog::stop() {
  auto waiting = std::move(waiting_);
  waiting_.clear();
  auto flushing = std::move(flushing_);
  flushing_.clear();
  for (auto& change : waiting) change.reply.fail(ENOTCONN);
  for (auto& reply : flushing) reply.fail(ENOTCONN);
}

void ChangeLog::tick() {
  if (unflushed_ && !committing_) commit();
}

void ChangeLog::commit() {
  committing_ = true;
  unflushed_ = false;
  parts_.queue_loop.run(
      [&queue = parts_.queue] { return queue.commit(); },
      [this, answered = std::move(flushing_)](Result<void> result) mutable {
        committing_ = false;
        if (!result) unflushed_ = true;
        for (auto& reply : answered) reply(result);
        if (!flushing_.empty()) commit();
      });
  flushing_.clear();
}

}  // namespace rushfs::fs
