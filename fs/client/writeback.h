// Writeback sends what waits in the write queue to the server: in the order it was written, many
// at once, each naming the operation before it on the same file; asks for stable storage; and
// only then lets the queue forget. Exactly once over restarts of either end, because operations
// keep their numbers (docs/file-protocol.md, "Queued changes").
//
// Pure: the queue is behind a DiskLoop, the server behind Remote. Owner: the file loop.
#pragma once

#include <absl/functional/any_invocable.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "fs/client/client_parts.h"
#include "fs/client/mount_status.h"
#include "fs/client/reply.h"
#include "fs/protocol/messages.h"

namespace rushfs::fs {

/// One operation, or neighbouring writes sent as one, as the server applied it.
struct AppliedOperation {
  std::uint64_t offset = 0, length = 0;  // of a write
  std::shared_ptr<const Buffer> data;    // and its bytes
  std::optional<std::uint64_t> set_size;
  bool append = false;      // `offset` is where it went, or was expected to go
  bool xattrs = false;      // extended attributes were changed
  Change change;
};

/// What the server could not do, its disk being full or the like, is tried again soon, then rarely.
inline constexpr std::chrono::seconds kFirstBackoff{1};
inline constexpr std::chrono::seconds kLongestBackoff{30};

inline transport::Duration longer_backoff(transport::Duration last) {
  return std::clamp<transport::Duration>(last * 2, kFirstBackoff, kLongestBackoff);
}

/// What Writeback tells its owner, on the file loop.
class WritebackListener {
 public:
  virtual ~WritebackListener() = default;
  /// Sent and not yet answered operations of the node: one more, or one less.
  virtual void sending(const NodeId&) = 0;
  virtual void not_sending(const NodeId&) = 0;
  /// In order of the node's operations. The queue still has it.
  virtual void applied(const NodeId&, const AppliedOperation&) = 0;
  /// `operations` more of the node are on stable storage and forgotten by the queue.
  virtual void completed(const NodeId&, std::uint64_t operations) = 0;
  /// All its operations were forgotten: it is gone, a person gave them up, or another has them now.
  virtual void discarded(const NodeId&) = 0;
  /// The server has no such file any more: what is queued waits for resume(), refuse() or move().
  virtual void missing(const NodeId&) = 0;
  /// Of what the server had done to the file itself, something did not get onto its disk.
  virtual void lost(const NodeId&) = 0;
  /// How many changes it has made to the file past the queue; and so many are on its disk.
  virtual std::uint64_t made_there(const NodeId&) = 0;
  virtual void kept_there(const NodeId&, std::uint64_t changes) = 0;
};

class Writeback {
 public:
  /// `timeout`: how long sync() waits while nothing is heard of the server.
  Writeback(const ClientParts& parts, WritebackListener& listener, transport::Duration timeout);

  /// What an earlier run left in the queue; before the first attached().
  void restore(const std::vector<cache::PendingNode>& nodes,
               const std::vector<cache::ParkedOperation>& parked);
  /// Calls can be made now. `restarted`: the server forgot what was not committed.
  void attached(std::uint32_t max_write, bool restarted);
  /// An operation is on its way into the queue, behind those before it: one of the next two comes.
  void appending(const NodeId&);
  bool is_appending(const NodeId&) const;
  void appended(const NodeId&, const std::string& name, std::uint64_t sequence,
                std::uint64_t bytes);
  void not_appended(const NodeId&);
  /// Nobody has the file open for writing (any more): bring it to stable storage soon.
  void closed(const NodeId&);
  /// Somebody has.
  void opened(const NodeId&);

  /// Nothing is sent, or sent again, before the next attached().
  void hold_back();
  /// What is queued, or on its way there, must not be sent: as if the server had refused it.
  void refuse(const NodeId&, int error);

  /// For fsync(): `done` when what was appended is on stable storage. Its operations overtake those
  /// of other files. Errors: what the server says (the operations stay queued), or ETIMEDOUT.
  void sync(const NodeId&, Reply<void> done);
  /// What the server has changed past the queue comes to its disk some time; nobody waits.
  void keep_there(const NodeId&);
  /// For `rushfs wait`: as sync(), without haste, and patient where retrying may help.
  void wait(const NodeId&, Reply<void> done);
  void wait_all(Reply<void> done);

  /// What the path holds; 0: not known yet.
  void set_path(std::uint64_t bytes);

  /// A node of which nothing is sent until resume(); what is on its way counts as unsent.
  struct Suspended {
    NodeId node;
    std::optional<std::uint64_t> in_flight;  // first operation the server may have applied unheard
    bool uncommitted = false;                // a server that restarts may have lost some of it
    bool refused = false;                    // and may have been carried out in part
  };
  /// Of which something is queued, or on its way there.
  void each_queued(const std::function<void(const NodeId&)>& visit) const;
  /// All with something queued, or on its way there, before attached().
  std::vector<Suspended> suspend_all();
  void resume(const NodeId&);
  /// It stays so for now, for this reason: whoever waits for stable storage is told.
  void cannot_resume(const NodeId&, int error);
  /// Forgets what is queued for the node: it is of no use, as where we removed its last name and
  /// nobody has it open.
  void give_up(const NodeId&);
  /// The same: it is queued for another node now. Who waits for it waits for that.
  void move(const NodeId& from, const NodeId& to);

  void retry_now();
  void discard_parked(std::uint64_t operation, Reply<void> done);

  void tick(bool connected);
  /// When to call send_gathered(): small changes have waited for company by then. Early and late
  /// calls do no harm.
  std::optional<transport::TimePoint> deadline() const;
  void send_gathered() { pump(); }
  /// Told when there is a deadline(), perhaps again.
  void on_due(std::function<void()> due) { due_ = std::move(due); }
  /// Whoever waits is told ENOTCONN.
  void stop();
  QueueStatus status() const;

 private:
  struct Sent {
    std::uint64_t last = 0;                // sequence it was sent under
    std::vector<std::uint64_t> sequences;  // of the queue's operations that it carries
    std::uint64_t bytes = 0;
    CallId call;
    AppliedOperation operation;
    bool answered = false;
    transport::TimePoint since{};
  };
  struct Waiter {
    std::uint64_t through = 0;
    bool urgent = false;
    transport::TimePoint since{};
    Reply<void> done;
  };
  struct Node {
    std::string name;
    std::deque<std::uint64_t> unsent;  // in order; complete above `known_after`
    std::uint64_t known_after = 0;
    std::deque<Sent> sent;             // in order, not yet on stable storage
    std::size_t reported = 0;          // of `sent`, from the front: told to the listener
    std::uint64_t last = 0;            // highest sequence appended
    std::uint64_t appending = 0;       // operations on their way into the queue
    std::uint64_t operations = 0, bytes = 0;  // queued
    std::uint64_t uncommitted = 0;     // bytes sent and not committed
    std::uint64_t committed = 0;       // the server said: through here
    std::optional<CallId> commit;
    std::uint64_t lost = 0;            // a commit failed: through here the server may know nothing
    bool open = false;                 // somebody may write on
    std::uint64_t append_through = 0;  // highest append taken up for sending
    bool after_append = false;         // what comes next waits for the answer to an append
    std::uint64_t appends_sent = 0;    // highest ever: the server may have them
    std::optional<std::uint64_t> parked_from;  // this operation and later ones wait for a person
    bool missing = false;              // so the listener was told since the server last took some
    int error = 0;                     // the server's last refusal
    transport::Duration backoff{};
    std::optional<transport::TimePoint> retry_at;  // nothing is sent before then
    bool suspended = false;            // nor before resume()
    transport::TimePoint active{};     // when something was last sent
    std::vector<Waiter> waiters;

    bool wanted_urgently() const;
    std::uint64_t sent_through() const;
    std::uint64_t commit_through() const;
    bool idle() const;
    void note_unsent(std::uint64_t sequence);
    bool append_under_way() const;
    void hold_from(std::uint64_t sequence);
    bool waits() const { return suspended || retry_at; }
    bool any() const { return operations + appending > 0; }
  };
  using Nodes = std::unordered_map<NodeId, Node>;
  struct Batch {
    NodeId node;
    std::vector<std::uint64_t> sequences;
    std::uint64_t after = 0;
    cache::OperationKind kind = cache::OperationKind::write;
    std::uint64_t offset = 0;
    std::optional<std::uint64_t> set_size;
    cache::Buffer data;
  };

  struct Loaded {
    std::vector<cache::Operation> operations;
    std::uint64_t parked = 0;  // operations the queue holds back
  };

  // Loading (writeback_load.cc).
  bool may_load() const;
  bool gathering() const;
  bool alone() const;
  void hurry();
  void pump();
  std::optional<NodeId> next_urgent();
  void load_again_from(std::uint64_t sequence);
  void load_in_order();
  void load_chosen(const NodeId&, Node&);
  bool may_choose(const Node&) const;
  void take_in(Loaded loaded);
  void look_at_parked();
  bool wanted_now(const cache::Operation&, Node&);
  std::vector<Batch> merge(std::vector<cache::Operation> operations) const;
  bool may_grow(const Batch&, const cache::Operation&) const;
  void compute_floor();

  // Sending and answers (writeback_send.cc).
  void send(Batch batch);
  void send_request(Batch& batch, Sent& sent, const QueuePosition& position,
                    Priority priority);
  void answered(const NodeId&, std::uint64_t last, Result<AppendReply> result);
  void place(Sent& append, std::uint64_t offset);
  void refused(const NodeId&, Node&, std::size_t index, int error);
  void take_back(const NodeId&, Node&, std::size_t from);
  void park(const NodeId&, Node&, int error);
  void hold(Node&, std::uint64_t from, int error);
  void learn_parked(std::vector<cache::ParkedOperation>);

  // Stable storage (writeback_commit.cc).
  void consider_commit(const NodeId&, Node&);
  void send_commit(const NodeId&, Node&);
  CallId ask_commit(const Commit&, Priority, Patience,
                    absl::AnyInvocable<void(Result<Answer<CommitReply>>) &&> done);
  void told_of_loss(const NodeId&);
  void committed(const NodeId&, std::uint64_t through, Result<Change> reply);
  void retire(const NodeId&, Node&);
  void wake(Node&, boost::system::error_code error, bool only_urgent);
  void end_late_waits(Node&);
  void drop_if_idle(const NodeId&);
  void settle(const NodeId&, Node&, bool connected);

  ClientParts parts_;
  WritebackListener& listener_;
  transport::Duration timeout_;
  Nodes nodes_;
  bool attached_ = false;
  std::uint32_t max_write_ = kDefaultTransfer;
  std::uint64_t window_;
  std::uint64_t in_flight_ = 0;     // bytes sent and unanswered
  std::uint64_t highest_ = 0;       // sequence appended, as far as known
  std::uint64_t cursor_ = 0;        // loaded in order through here
  std::uint64_t gathered_ = 0;      // bytes above it, or enough not to wait for company
  transport::TimePoint gathers_until_{};  // small changes wait so long
  std::uint64_t generation_ = 0;    // loads asked for before a restart are thrown away
  bool loading_ = false;
  std::uint64_t floor_ = 0;
  std::uint64_t repeated_through_ = 0;  // may have reached another instance, or an earlier run's
  std::set<NodeId> chosen_;         // nodes whose `unsent` goes before, or lies behind, the cursor
  std::set<NodeId> urgent_;         // perhaps some that nobody waits for any more
  NodeId last_urgent_;              // taken
  std::map<NodeId, int> discarding_;  // what the queue has of them is about to go
  std::set<NodeId> settling_;       // nodes that may need a commit or a retry by time
  std::vector<cache::ParkedOperation> parked_;
  std::function<void()> due_ = [] {};
  // For status().
  std::uint64_t operations_ = 0, bytes_ = 0, bytes_total_ = 0, bytes_done_ = 0;
};

}  // namespace rushfs::fs
