// Stable storage: when to ask for it, what follows from it, and who waits for it.
#include <algorithm>
#include <cerrno>

#include "fs/client/writeback.h"

namespace rushfs::fs {

namespace {

using namespace std::chrono_literals;

/// A long recording is brought to stable storage in pieces of this size.
constexpr std::uint64_t kCommitBytes = 256 << 20;
/// A file that stays open is committed when its writer pauses for this long.
constexpr transport::Duration kCommitPause = 1s;
/// Or this long after it went on, so that one who never pauses does not fill the queue.
constexpr transport::Duration kCommitInterval = 5s;

}  // namespace

// What the server has lost it must have again before it is asked to commit it.
std::uint64_t Writeback::Node::commit_through() const {
  if (committed >= lost) return sent_through();
  return reported == 0 ? committed : std::max(committed, sent[reported - 1].last);
}

void Writeback::consider_commit(const NodeId& id, Node& node) {
  if (node.commit || node.waits() || node.sent.empty()) return;
  const std::uint64_t through = node.commit_through();
  if (through <= node.committed) return;
  const bool all_sent = node.unsent.empty() && node.last <= through;
  const bool waited_for =
      std::any_of(node.waiters.begin(), node.waiters.end(), [&](const Waiter& waiter) {
        return waiter.through <= through && waiter.through > node.committed;
      });
  if ((all_sent && !node.open) || waited_for || node.uncommitted >= kCommitBytes) {
    send_commit(id, node);
  } else {
    settling_.insert(id);
  }
}

CallId Writeback::ask_commit(const Commit& commit, Priority priority, Patience patience,
                             absl::AnyInvocable<void(Result<Answer<CommitReply>>) &&> done) {
  return ask(
      parts_.remote, priority, commit,
      [this, id = commit.node, made = listener_.made_there(commit.node),
       done = std::move(done)](Result<Answer<CommitReply>> reply) mutable {
        if (reply) listener_.kept_there(id, made);
        std::move(done)(std::move(reply));
      },
      patience);
}

void Writeback::send_commit(const NodeId& id, Node& node) {
  const std::uint64_t through = node.commit_through();
  node.commit = ask_commit(
      Commit{id, through, false}, node.wanted_urgently() ? Priority::demand : Priority::behind,
      Patience::patient, [this, id, through](Result<Answer<CommitReply>> reply) {
        if (!reply) return committed(id, through, reply.error());
        // The server may remember more of an earlier run of ours; what was not sent by this one is
        // sent, recognised, and committed in its turn.
        committed(id, through, Change{{}, (*reply)->attributes});
      });
}

void Writeback::committed(const NodeId& id, std::uint64_t through, Result<Change> reply) {
  const auto found = nodes_.find(id);
  if (found == nodes_.end()) return;
  Node& node = found->second;
  if (!reply) {
    const int error = reply.error().value();
    if (error == ENOTCONN) return;
    node.commit.reset();
    settling_.insert(id);
    if (error == ENOTRECOVERABLE) return told_of_loss(id);
    // What it was to cover failed, and says so itself.
    if (error == ECANCELED || node.sent.empty()) return;
    node.lost = std::max(node.lost, node.sent_through());
    refused(id, node, 0, error);
    return pump();
  }
  node.commit.reset();
  node.committed = std::max(node.committed, through);
  retire(id, node);
}

// Who waits for stable storage must hear; what is queued is asked for once more.
void Writeback::told_of_loss(const NodeId& id) {
  listener_.lost(id);
  if (const auto found = nodes_.find(id); found != nodes_.end()) {
    wake(found->second, errno_code(EIO), true);
  }
  if (const auto found = nodes_.find(id); found != nodes_.end()) {
    consider_commit(id, found->second);
  }
}

void Writeback::retire(const NodeId& id, Node& node) {
  std::uint64_t operations = 0, through = 0;
  while (node.reported > 0 && node.sent.front().last <= node.committed) {
    const Sent& sent = node.sent.front();
    operations += sent.sequences.size();
    through = sent.last;
    node.uncommitted -= sent.bytes;
    node.bytes -= sent.bytes;
    bytes_ -= sent.bytes;
    bytes_done_ += sent.bytes;
    node.sent.pop_front();
    --node.reported;
  }
  if (operations > 0) {
    node.operations -= operations;
    operations_ -= operations;
    parts_.queue_loop.run(
        [&queue = parts_.queue, id, through] { queue.complete(id.bytes, through); });
    listener_.completed(id, operations);
    std::vector<Waiter> ready, waiting;
    for (auto& waiter : node.waiters) {
      (waiter.through <= through ? ready : waiting).push_back(std::move(waiter));
    }
    node.waiters = std::move(waiting);
    for (auto& waiter : ready) waiter.done.ok();
  }
  // The waiters may have changed the table.
  const auto found = nodes_.find(id);
  if (found == nodes_.end()) return;
  consider_commit(id, found->second);
  drop_if_idle(id);
}

void Writeback::wake(Node& node, boost::system::error_code error, bool only_urgent) {
  std::vector<Waiter> woken, waiting;
  for (auto& waiter : node.waiters) {
    (only_urgent && !waiter.urgent ? waiting : woken).push_back(std::move(waiter));
  }
  node.waiters = std::move(waiting);
  for (auto& waiter : woken) waiter.done.fail(error);
}

// Nothing is heard of the server: fsync() ends, what is queued stays.
void Writeback::end_late_waits(Node& node) {
  std::vector<Waiter> late, others;
  for (auto& waiter : node.waiters) {
    const bool over = waiter.urgent && parts_.time.now - waiter.since >= timeout_;
    (over ? late : others).push_back(std::move(waiter));
  }
  node.waiters = std::move(others);
  for (auto& waiter : late) waiter.done.fail(ETIMEDOUT);
}

void Writeback::settle(const NodeId& id, Node& node, bool connected) {
  if (node.suspended) return;
  if (node.retry_at) {
    if (!connected || parts_.time.now < *node.retry_at) return;
    node.retry_at.reset();
    if (may_choose(node)) chosen_.insert(id);
    return;
  }
  if (node.sent.empty() || node.commit) {
    settling_.erase(id);
    drop_if_idle(id);
    return;
  }
  const bool all_answered = node.reported == node.sent.size() && node.unsent.empty();
  const bool pauses = all_answered && parts_.time.now - node.active >= kCommitPause;
  const bool any = node.commit_through() > node.committed;
  if (any && (pauses || parts_.time.now - node.sent.front().since >= kCommitInterval)) {
    settling_.erase(id);
    send_commit(id, node);
  }
}

void Writeback::sync(const NodeId& id, Reply<void> done) {
  const auto found = nodes_.find(id);
  if (found == nodes_.end() || found->second.operations == 0) {
    // Its name, or what others see of it, may still not be on stable storage.
    ask_commit(Commit{id, 0, false}, Priority::demand, Patience::prompt,
               [this, id, done = std::move(done)](Result<Answer<CommitReply>> reply) mutable {
                 if (reply) return done.ok();
                 if (reply.error() != errno_code(ENOTRECOVERABLE)) return done.fail(reply.error());
                 listener_.lost(id);  // we say that we know, asking again
                 sync(id, [done = std::move(done)](Result<void>) mutable { done.fail(EIO); });
               });
    return;
  }
  Node& node = found->second;
  if (node.parked_from || node.error != 0) {
    int error = node.error != 0 ? node.error : EIO;
    for (const auto& parked : parked_) {
      if (parked.node == id.bytes && parked.error != 0) error = parked.error;
    }
    return done.fail(error);
  }
  node.waiters.push_back({node.last, true, parts_.time.now, std::move(done)});
  urgent_.insert(id);
  consider_commit(id, node);
  pump();
}

void Writeback::keep_there(const NodeId& id) {
  ask_commit(Commit{id, 0, false}, Priority::behind, Patience::patient,
             [this, id](Result<Answer<CommitReply>> reply) {
               if (reply || reply.error() != errno_code(ENOTRECOVERABLE)) return;
               listener_.lost(id);
               keep_there(id);  // we say that we know
             });
}

void Writeback::wait(const NodeId& id, Reply<void> done) {
  const auto found = nodes_.find(id);
  if (found == nodes_.end() || found->second.operations == 0) {
    return done.ok();
  }
  Node& node = found->second;
  if (node.parked_from) return done.fail(EIO);
  node.waiters.push_back({node.last, false, parts_.time.now, std::move(done)});
  consider_commit(id, node);
  hurry();
}

void Writeback::wait_all(Reply<void> done) {
  std::vector<NodeId> waited_for;
  each_queued([&](const NodeId& id) { waited_for.push_back(id); });
  const auto joint = std::make_shared<JointReply>(std::move(done), waited_for.size());
  for (const auto& id : waited_for) wait(id, [joint](Result<void> one) { joint->arrive(one); });
  joint->arrive({});
}

}  // namespace rushfs::fs
