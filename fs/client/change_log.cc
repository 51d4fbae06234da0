#include "fs/client/change_log.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>

#include "fs/client/queued_base.h"

namespace rushfs::fs {

using Kind = cache::OperationKind;

namespace {

/// What the block cache gives up at once for a queue that has no room: some files of photographs.
constexpr std::uint64_t kRoom = 64 << 20;

void note_change(const Buffer& encoded, LocalChanges& local, Timestamp now) {
  const auto decoded = decode_request(encoded);
  const auto* request = std::get_if<Request>(&decoded);
  if (!request) return;
  std::visit(
      [&](const auto& change) {
        if constexpr (requires { local.set(change, now); }) local.set(change, now);
      },
      *request);
}

}  // namespace

LocalChanges local_changes(const cache::PendingNode& pending,
                           const std::vector<cache::Buffer>& changes, Timestamp now) {
  LocalChanges local;
  for (const auto& encoded : changes) note_change(encoded, local, now);
  local.operations = pending.operations;
  local.allocated += pending.data_bytes;
  local.size = pending.size;
  return local;
}

void ChangeLog::write(const InodeRef& inode, std::uint64_t offset, Buffer data,
                      Reply<void> reply) {
  append({inode, offset, std::move(data), std::nullopt, Kind::write, std::move(reply),
          parts_.time.now});
}

void ChangeLog::append(const InodeRef& inode, Buffer data, Reply<void> reply) {
  append({inode, inode->size(), std::move(data), std::nullopt, Kind::append, std::move(reply),
          parts_.time.now});
}

template <class R>
void ChangeLog::append_request(const InodeRef& inode, Kind kind, R request, std::uint64_t offset,
                               std::optional<std::uint64_t> size, Reply<void> reply) {
  request.node = inode->node;
  request.order = QueuePosition{};
  append({inode, offset, encode(request), size, kind, std::move(reply), parts_.time.now});
}

void ChangeLog::set_attributes(const InodeRef& inode, SetAttributes change, Reply<void> reply) {
  const auto size = change.size;
  append_request(inode, Kind::set_attributes, std::move(change), 0, size, std::move(reply));
}

void ChangeLog::set_xattr(const InodeRef& inode, SetXattr change, Reply<void> reply) {
  append_request(inode, Kind::change, std::move(change), 0, std::nullopt, std::move(reply));
}

// What makes zeros and grows the file at once is two operations: zeros, and at least so long.
void ChangeLog::allocate(const InodeRef& inode, Allocate change, Reply<void> reply) {
  constexpr std::uint32_t kZeros = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;
  const bool grows = (change.mode & FALLOC_FL_KEEP_SIZE) == 0;
  const std::uint64_t end = change.offset + change.length;
  if ((change.mode & kZeros) == 0) {
    const auto size = grows ? std::optional(end) : std::nullopt;
    return append_request(inode, grows ? Kind::extend : Kind::change, std::move(change), 0, size,
                          std::move(reply));
  }
  Allocate zeros = change;
  zeros.mode |= FALLOC_FL_KEEP_SIZE;
  const std::uint64_t begin = change.offset;
  if (!grows) {
    return append_request(inode, Kind::zero, std::move(zeros), begin, end, std::move(reply));
  }
  append_request(inode, Kind::zero, std::move(zeros), begin, end, [](Result<void>) {});
  change.mode = 0;
  append_request(inode, Kind::extend, std::move(change), 0, end, std::move(reply));
}

Result<std::uint64_t> ChangeLog::put(cache::WriteQueue& queue, const cache::Origin& origin,
                                     const Change& change) {
  if (change.writes()) {
    return queue.append_write(origin, change.offset, change.bytes, change.kind);
  }
  if (change.kind == Kind::set_attributes) {
    return queue.append_attributes(origin, change.bytes, change.size);
  }
  return queue.append_change(origin, change.kind, change.bytes, change.offset,
                             change.size.value_or(change.offset));
}

bool ChangeLog::certain(const Change& change) const {
  const std::uint64_t operations = posted_.operations + 1;
  const std::uint64_t bytes = posted_.bytes + change.bytes.size() + operations * cache::kWriteCost;
  // What is queued without a link is judged when there is one: nobody may be ahead of it then.
  const bool judged = parts_.remote.attached() && !change.instead_of;
  return change.writes() && judged && bytes <= certain_ &&
         change.offset <= cache::kMaximumFileBytes - change.bytes.size();
}

// Who is answered before the queue has his write sees it all the same: whatever asks for it, a
// read, a commit, comes to the queue's loop behind it.
void ChangeLog::append(Change change) {
  if (!waiting_.empty() && !change.instead_of) {
    waiting_.push_back(std::move(change));  // in order, also among those that wait
    return;
  }
  if (held_back(change)) return;
  note(change);
  unflushed_ = true;  // a commit from here on comes behind it
  writeback_.appending(change.inode->node);
  std::string name = inodes_.path(*change.inode);
  std::string base = base_of(change);
  const std::chrono::system_clock::time_point time(
      std::chrono::duration_cast<std::chrono::system_clock::duration>(parts_.time.wall));
  std::optional<Reply<void>> early;
  change.answered = certain(change);
  if (change.answered) early.emplace(std::move(change.reply));
  ++posted_.operations;
  posted_.bytes += change.data_bytes();
  parts_.queue_loop.run(
      [&queue = parts_.queue, change = std::move(change), name = std::move(name),
       base = std::move(base), time]() mutable {
        cache::Origin origin{change.inode->node.bytes, name, time, base};
        if (change.instead_of) origin.instead_of = change.instead_of->node.bytes;
        auto sequence = put(queue, origin, change);
        // What has arrived gives its space back with a commit only.
        if (!sequence && sequence.error().value() == ENOSPC && queue.commit()) {
          sequence = put(queue, origin, change);
        }
        Appended result{std::move(change), sequence, queue.certain_bytes()};
        if (sequence) return result;
        const auto stats = queue.stats();
        result.others_queued = stats.operations > stats.parked_operations;
        return result;
      },
      [this](Appended result) { appended(std::move(result)); });
  if (early) early->ok();
}

// What the next process may compare the file with, should this one end before anything is sent; or
// make it from again, should the server lose it.
std::string ChangeLog::base_of(const Change& change) {
  Inode& inode = *change.inode;
  const bool first = inode.local.operations == 1;  // it is noted already
  if (!first || !inode.known()) return {};
  inode.base_kept = !parts_.remote.attached();
  return encode_base(inode, inode.base_kept);
}

// Programs see the change from here on.
void ChangeLog::note(const Change& change) {
  auto& local = change.inode->local;
  const auto now = wall_time(parts_.time);
  if (change.writes()) {
    local.wrote(change.offset, change.bytes.size(), now);
  } else {
    note_change(change.bytes, local, now);
  }
  ++local.operations;
  ++local.generation;
  const auto watched = watched_.find(change.inode);
  if (watched != watched_.end()) watched->second.note(change);
}

void ChangeLog::appended(Appended result) {
  const InodeRef inode = result.change.inode;
  --posted_.operations;
  posted_.bytes -= result.change.data_bytes();
  certain_ = result.certain;
  take_in(std::move(result));
  const auto watched = watched_.find(inode);
  if (watched == watched_.end() || !watched->second.ready) return;
  if (writeback_.is_appending(inode->node)) return;
  std::exchange(watched->second.ready, nullptr)();
}

void ChangeLog::take_in(Appended result) {
  Change& change = result.change;
  const auto& sequence = result.sequence;
  const int error = sequence ? 0 : sequence.error().value();
  if (error != 0) writeback_.not_appended(change.inode->node);
  if (error != 0 && change.answered) return lost(change, error);
  if (error == EDQUOT || error == ENOSPC) {
    undo(change.inode);  // noted again when it is its turn
    if (change.instead_of) {
      waiting_.push_front(std::move(change));
    } else {
      waiting_.push_back(std::move(change));
    }
    if (error == ENOSPC) make_room(result.others_queued);
    return;
  }
  if (!sequence) {
    undo(change.inode);
    return change.reply.fail(sequence.error());
  }
  writeback_.appended(change.inode->node, inodes_.path(*change.inode), *sequence,
                      change.data_bytes());
  const auto& inode = *change.inode;
  if (inode.abandoned && !inode.rescuing && !writeback_.is_appending(inode.node)) {
    writeback_.give_up(inode.node);
  }
  if (!change.answered) change.reply.ok();
}

// Only this machine's disk failing can take what was certain.
void ChangeLog::lost(const Change& change, int error) {
  spdlog::error("'{}': {} bytes written at {} are lost, this machine's disk: {}",
                inodes_.path(*change.inode), change.bytes.size(), change.offset,
                std::strerror(error));
  ++change.inode->losses;
  lost_.insert(change.inode);
  undo(change.inode);
  on_loss_(*change.inode);
}

// What was read before gives way to what is written now.
void ChangeLog::make_room(bool others_queued) {
  if (std::exchange(making_room_, true)) return;
  parts_.blocks_loop.run([&blocks = parts_.blocks] { return blocks.give_way(kRoom); },
                         [this, others_queued](std::uint64_t freed) {
                           making_room_ = false;
                           if (freed > 0) return go_on();
                           // Something will be sent, and leave its room.
                           if (others_queued && parts_.remote.attached()) return;
                           refuse_waiting(ENOSPC);
                         });
}

void ChangeLog::refuse_waiting(int error) {
  auto waiting = std::move(waiting_);
  waiting_.clear();
  for (auto& change : waiting) change.reply.fail(error);
}

void ChangeLog::refuse(const InodeRef& inode, int error) {
  std::deque<Change> refused;
  const auto take_from = [&](std::deque<Change>& changes) {
    auto all = std::move(changes);
    changes.clear();
    for (auto& change : all) {
      const bool mine = change.inode == inode && !change.instead_of;
      (mine ? refused : changes).push_back(std::move(change));
    }
  };
  take_from(waiting_);
  if (const auto held = watched_.find(inode); held != watched_.end()) {
    take_from(held->second.changes);
  }
  for (auto& change : refused) change.reply.fail(error);
}

void ChangeLog::go_on() {
  auto waiting = std::move(waiting_);
  waiting_.clear();
  for (auto& change : waiting) append(std::move(change));
}

// The queue knows what is left of the file's changes; changes made meanwhile ask for another look.
void ChangeLog::undo(const InodeRef& inode) {
  ++inode->local.generation;
  look_again(inode);
}

void ChangeLog::look_again(const InodeRef& inode) {
  const auto generation = inode->local.generation;
  struct Left {
    cache::PendingNode pending;
    std::vector<cache::Buffer> attributes;
  };
  parts_.queue_loop.run(
      [&queue = parts_.queue, node = inode->node.bytes] {
        return Left{queue.pending(node), queue.queued_changes(node)};
      },
      [this, inode, generation](Left left) {
        if (inode->local.generation != generation) return look_again(inode);
        const auto unstamped = inode->local.unstamped;
        inode->local = local_changes(left.pending, left.attributes, wall_time(parts_.time));
        inode->local.generation = generation;
        inode->local.unstamped = unstamped;
      });
}

void ChangeLog::completed(const NodeId& node, std::uint64_t operations) {
  const auto inode = inodes_.get(node);
  auto& local = inode->local;
  assert(local.operations >= operations);
  local.operations -= operations;
  ++local.generation;
  if (local.operations == 0) {
    LocalChanges left;
    left.generation = local.generation;
    left.unstamped = local.unstamped;
    if (local.unstamped) left.mtime = local.mtime;
    local = left;
    inode->base_kept = false;
  } else {
    measure(inode);
  }
  forgot(node);
}

void ChangeLog::discarded(const NodeId& node) {
  const auto inode = inodes_.get(node);
  const auto generation = inode->local.generation;
  inode->local = {};
  inode->local.generation = generation + 1;
  inode->base_unknown = inode->base_kept = false;
  forgot(node);
}

// The queue has room again.
void ChangeLog::forgot(const NodeId& node) {
  forgotten_.insert(node);
  unflushed_ = true;
  go_on();
}

// As many are left that the file's size may be another without those that are gone. Should more be
// queued meanwhile, that is sent too, and then asks again.
void ChangeLog::measure(const InodeRef& inode) {
  parts_.queue_loop.run(
      [&queue = parts_.queue, node = inode->node.bytes] { return queue.pending(node); },
      [inode, generation = inode->local.generation](const cache::PendingNode& left) {
        if (inode->local.generation != generation || inode->local.operations == 0) return;
        inode->local.size = left.size;
      });
}

bool ChangeLog::may_remember(const NodeId& node) const {
  return forgotten_.contains(node) || being_forgotten_.contains(node);
}

}  // namespace rushfs::fs
