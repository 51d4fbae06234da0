// ChangeLog is the write queue as Volume uses it: it notes a change in the inode at once, appends
// it on the queue loop, and makes what was appended durable for as many callers at once as wait.
// Owner: the file loop.
#pragma once

#include <absl/functional/any_invocable.h>

#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_set>
#include <vector>

#include "fs/client/client_parts.h"
#include "fs/client/inodes.h"
#include "fs/client/reply.h"
#include "fs/client/writeback.h"
#include "transport/range_set.h"

namespace rushfs::fs {

class ChangeLog {
 public:
  /// `timeout`: how long who waits for room waits while nothing is heard of the server.
  ChangeLog(const ClientParts& parts, Inodes& inodes, Writeback& writeback,
            transport::Duration timeout)
      : parts_(parts), inodes_(inodes), writeback_(writeback), timeout_(timeout) {}

  /// Answered when the queue has the data, or will have it for certain; waits while the queue's
  /// budget, or the local disk, is used up and there is something to send to a server that is
  /// there. Errors: ENOSPC, EIO of the local disk, ETIMEDOUT; the file is then as before.
  void write(const InodeRef& inode, std::uint64_t offset, Buffer data, Reply<void> reply);
  /// The same, at what we believe to be the end; the server puts it where the end is.
  void append(const InodeRef& inode, Buffer data, Reply<void> reply);
  // These have neither node nor order yet.
  void set_attributes(const InodeRef& inode, SetAttributes change, Reply<void> reply);
  void set_xattr(const InodeRef& inode, SetXattr change, Reply<void> reply);
  void allocate(const InodeRef& inode, Allocate change, Reply<void> reply);
  /// Everything asked for so far, but what waits for room, survives kill -9 and power loss.
  void flush(Reply<void> reply);
  /// The same, for close(2) of the file. EIO: as sync().
  void flush(const InodeRef& inode, Reply<void> reply);

  /// As whom the server makes changes: he may set the times of his own files only. None: of all.
  void set_server_user(std::optional<std::uint32_t> user) { server_user_ = user; }
  /// Queues the time of the last write behind the data, or the file would show the time at which
  /// it arrived.
  void stamp(const InodeRef& inode);
  /// Answered when the server has what was queued of the file on stable storage. EIO: of what was
  /// answered, this machine's disk did not take all, and nobody was told.
  void sync(const InodeRef& inode, Reply<void> reply);
  /// The same; at once, if nothing is queued.
  void drain(const InodeRef& inode, Reply<void> reply);
  /// For `rushfs wait`: as sync(), without haste; of a file, and of all.
  void wait(const InodeRef& inode, Reply<void> reply);
  void wait_all(Reply<void> reply);

  // For who copies what a file is here while programs go on changing it (change_log_copy.cc).

  /// Notes from now on which parts of it change.
  void watch(const InodeRef& inode);
  /// What has changed since watch(), or since this was last asked.
  transport::RangeSet touched(const InodeRef& inode);
  /// Writes to the copy what the file holds: before what waits for room, and of the queue's budget
  /// nothing that the file has not got already. One piece after the other.
  void copy(const InodeRef& inode, const InodeRef& to, std::uint64_t offset, Buffer data,
            Reply<void> reply);
  /// Changes of it wait from now on. `ready`: those before are in the queue, or wait as well.
  void hold(const InodeRef& inode, absl::AnyInvocable<void() &&> ready);
  /// They go on.
  void release(const InodeRef& inode);
  /// The same, and what waits is a change of `to` from now on, and nothing is noted any more.
  void move(const InodeRef& inode, const InodeRef& to);

  /// Of what was answered, something is lost, and nobody was told.
  bool has_loss(const InodeRef& inode) const { return lost_.contains(inode); }
  /// Told at once: what was written is no longer what the file holds.
  void on_loss(std::function<void(Inode&)> lost) { on_loss_ = std::move(lost); }

  /// What waits for room, or is held, is not done: whoever asked for it is told.
  void refuse(const InodeRef& inode, int error);

  /// On its way into the queue.
  struct Posted {
    std::uint64_t operations = 0, bytes = 0;
  };
  Posted posted() const { return posted_; }

  /// From Writeback: so many operations of the file are on stable storage, or all are of no use.
  void completed(const NodeId& node, std::uint64_t operations);
  void discarded(const NodeId& node);
  /// It may remember them once more if we are killed now.
  bool may_remember(const NodeId& node) const;
  /// Once a second: what nobody flushes becomes durable too, and space of sent data is freed.
  void tick();
  /// Whoever waits is told ENOTCONN.
  void stop();

 private:
  struct Change {
    InodeRef inode;
    std::uint64_t offset = 0;
    Buffer bytes;  // data of a write or append, or the encoded request
    std::optional<std::uint64_t> size;  // as cache::Operation::size_bytes
    cache::OperationKind kind = cache::OperationKind::write;
    Reply<void> reply;
    transport::TimePoint waits_since{};
    InodeRef instead_of{};  // a copy of this is written
    bool answered = false;

    bool writes() const { return cache::carries_data(kind); }
    std::uint64_t data_bytes() const { return writes() ? bytes.size() : 0; }
  };
  template <class R>
  void append_request(const InodeRef& inode, cache::OperationKind kind, R request,
                      std::uint64_t offset, std::optional<std::uint64_t> size, Reply<void> reply);
  bool certain(const Change& change) const;
  static Result<std::uint64_t> put(cache::WriteQueue& queue, const cache::Origin& origin,
                                   const Change& change);
  void append(Change change);
  bool held_back(Change& change);
  std::string base_of(const Change& change);
  void note(const Change& change);
  struct Appended {
    Change change;
    Result<std::uint64_t> sequence;
    std::uint64_t certain = 0;   // what the queue takes from here on
    bool others_queued = false;  // and not parked
  };
  void appended(Appended result);
  void take_in(Appended result);
  void lost(const Change& change, int error);
  void make_room(bool others_queued);
  void refuse_waiting(int error);
  bool take_loss(const InodeRef& inode);
  bool take_losses();
  Reply<void> telling_loss(const InodeRef& inode, Reply<void> reply);
  void go_on();
  void undo(const InodeRef& inode);
  void look_again(const InodeRef& inode);
  void measure(const InodeRef& inode);
  void forgot(const NodeId& node);
  void commit();

  ClientParts parts_;
  Inodes& inodes_;
  Writeback& writeback_;
  transport::Duration timeout_;
  std::optional<std::uint32_t> server_user_;
  std::set<InodeRef> lost_;  // of them something, untold
  std::function<void(Inode&)> on_loss_ = [](Inode&) {};
  Posted posted_;
  std::uint64_t certain_ = 0;  // as the queue said last: WriteQueue::certain_bytes()
  std::deque<Change> waiting_;  // for room in the queue, in order
  struct Watched {
    transport::RangeSet touched{std::numeric_limits<std::size_t>::max()};
    bool held = false;
    std::deque<Change> changes;  // held back, in order
    absl::AnyInvocable<void() &&> ready;
    void note(const Change& change);
  };
  void put_back(Watched& watched);
  std::map<InodeRef, Watched> watched_;
  bool unflushed_ = false;
  bool committing_ = false;
  bool making_room_ = false;
  std::vector<Reply<void>> flushing_;  // to be answered by the next commit
  std::unordered_set<NodeId> forgotten_;        // since the last commit began
  std::unordered_set<NodeId> being_forgotten_;  // by the one under way
};

/// What queued changes (oldest first, encoded as ChangeLog appends them) make of a file.
LocalChanges local_changes(const cache::PendingNode& pending,
                           const std::vector<cache::Buffer>& changes, Timestamp now);

}  // namespace rushfs::fs
