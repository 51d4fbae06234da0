// The inside of Export, shared by its source files: export.cc (clients, leases), export_jobs.cc
// (nodes and workers), export_reads.cc, export_extended.cc, export_names.cc, export_queue.cc,
// export_commit.cc, export_writing.cc.
//
// Owned by Export alone. What waits for a worker, a gate or a turn holds `this`: either a member
// keeps it, or WorkQueue drops it when we are gone.
#pragma once

#include <deque>
#include <limits>
#include <map>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "fs/recent_map.h"
#include "fs/server/export.h"
#include "fs/server/export_locks.h"
#include "fs/server/held_files.h"
#include "fs/server/name_calls.h"
#include "fs/server/node_gates.h"
#include "fs/server/promises.h"
#include "fs/server/reply_log.h"
#include "fs/server/uncommitted_calls.h"
#include "fs/server/work_queue.h"
#include "fs/server/write_order.h"

namespace rushfs::fs {

using transport::TimePoint;

/// What an export keeps open at most. Each node is one O_PATH descriptor, each file one more.
struct KeptOpen {
  std::size_t nodes = 4096;
  std::size_t reading = 1024;
  std::size_t writing = 8192;   // all of it on stable storage
  std::size_t unsynced = 8192;  // but for what is being synced; then writes are held back
  std::size_t held = 4096;      // by clients

  std::size_t descriptors() const { return nodes + 2 * reading + writing + unsynced + held; }
  /// Less of each where the process may not have so many.
  static KeptOpen within(std::size_t descriptors);
};
inline constexpr std::size_t kMaxRememberedNames =
    65536;                                        // about 20 MiB; only without file handles
inline constexpr std::size_t kMaxClients = 4096;  // remembered, connected or not
inline constexpr std::chrono::seconds kPresenceInterval{1};
inline constexpr std::chrono::seconds kSearchAgain{60};  // for a node that was not found
inline constexpr std::chrono::seconds kIdleWriteFile{
    30};  // an open one forbids running it (ETXTBSY)

/// A client that was not heard for so long has lost its locks.
inline constexpr std::chrono::seconds kLockLease{60};
/// After a restart of the server, those who had locks say so before anybody gets new ones: twice
/// the longest pause between two attempts of a client to connect, and some for the handshake.
inline constexpr std::chrono::seconds kLockGrace{15};

/// What a worker gets, and brings back.
struct Job {
  struct Want {
    NodeId id;
    NodeRef known;  // null: to be resolved
    bool held = false;
    std::optional<NamePath> path;
  };
  std::vector<Want> wants;
  std::vector<bool> orphans;   // of each
  std::vector<NodeRef> nodes;  // of each; filled before the work begins
  FileRef reading, writing;    // of nodes[0]; null: not open yet

  std::optional<NodeId> unseen;  // nobody knows where it is
  std::size_t searches = 0;      // made for this job
  int error = 0;                 // why the work was not begun
  Buffer reply;
  std::uint64_t asked = 0;       // Promises::clock() before the worker looks
  std::vector<NodeId> shown;     // what the reply tells of, beside wants
  std::vector<NodeRef> met;      // further nodes, worth keeping
  std::vector<NodePlace> names;  // where nodes are
};

/// On a worker: then the error is the answer.
template <class T>
bool failed(Job& job, const Result<T>& result) {
  if (result) return false;
  job.reply = encode_error(result.error().value());
  return true;
}

inline Turn turn_of(const RequestContext& context) {
  return {context.priority, context.client.key()};
}

/// A file to be brought to stable storage, and who waits for it.
struct SyncWanted {
  struct Answer {
    ClientTag client;
    std::uint64_t through = 0;
    Responder respond;
  };
  NodeId node;
  Priority priority = Priority::behind;  // demand: somebody waits for it
  bool data_only = false;
  std::vector<Answer> answers;
};

class Export::Implementation {
 public:
  Implementation(ExportOptions options, std::shared_ptr<const Store> store, Loop& home,
                 Loop& workers, TimePoint now);

  void start();
  const ExportOptions& options() const { return options_; }
  void attach(const ClientTag& tag, const Attach& request, bool read_only, TimePoint now,
              Attached done);
  void detached(const ClientTag& tag, TimePoint last_heard, TimePoint now);
  void handle(RequestContext context, Request request, Buffer body, Responder respond);
  void tick(TimePoint now);
  void on_replaced(std::function<void()> replaced) { replaced_ = std::move(replaced); }
  void on_notice(Tell tell, Later later);
  void notice_answered(const ClientTag& client);
  std::optional<int> disk_descriptor() const;
  void look_at_disk();

 private:
  struct Client {
    std::uint64_t incarnation = 0;
    std::optional<TimePoint> gone_since;
    std::uint64_t attachment = 0;         // of all there were; 0: none now
    std::uint64_t clients_forgotten = 0;  // before it was met: it may have been one of them
    WriteOrder order;
  };
  struct OpenForWriting {
    FileRef file;
    TimePoint used;
  };
  using OpenFiles = RecentMap<NodeId, OpenForWriting>;

  // Jobs: export_jobs.cc.
  using Work = absl::AnyInvocable<void(const Store&, Job&) &&>;
  using Done = absl::AnyInvocable<void(Job&) &&>;
  std::shared_ptr<Job> job_on(const std::vector<NodeId>& nodes);
  void run(Turn turn, std::shared_ptr<Job> job, Work work, Done done);
  /// The common case: what the work puts into job.reply is the answer.
  void answer(const RequestContext& context, const NodeId& node, Work work, Responder respond);
  void answer_locked(const RequestContext& context, const LockRequest& lock, Responder respond);
  void learn(Job& job);
  void forget(const NodeId& node);
  std::optional<NamePath> remembered_path(const NodeId& node);
  void run_again(Turn turn, const Job& before, Work work, Done done);
  bool worth_a_search(const Job& job);
  void search_for(const NodeId& node, Loop::Job then);
  void start_search();
  void vanished();
  void try_to_reopen();
  void restore_orphans();
  void returned(std::shared_ptr<const Store> store);
  void drop(HeldFiles::LetGo let_go);
  void sweep();

  // Requests. Each alternative of Request has one.
  void on(RequestContext, Attach&, Buffer, Responder);
  void on(RequestContext, Measure&, Buffer, Responder);
  void on(RequestContext, Detach&, Buffer, Responder);
  void on(RequestContext, Touch&, Buffer, Responder);
  void on(RequestContext, Lookup&, Buffer, Responder);
  void on(RequestContext, GetAttributes&, Buffer, Responder);
  void on(RequestContext, Readlink&, Buffer, Responder);
  void on(RequestContext, ReadDirectory&, Buffer, Responder);
  void on(RequestContext, StatFs&, Buffer, Responder);
  void on(RequestContext, Open&, Buffer, Responder);
  void on(RequestContext, Release&, Buffer, Responder);
  void on(RequestContext, Read&, Buffer, Responder);
  void on(RequestContext, Write&, Buffer, Responder);
  void on(RequestContext, SetAttributes&, Buffer, Responder);
  void on(RequestContext, Commit&, Buffer, Responder);
  void on(RequestContext, Lock&, Buffer, Responder);
  void on(RequestContext, TestLock&, Buffer, Responder);
  void on(RequestContext, CancelLock&, Buffer, Responder);
  void on(RequestContext, ListXattrs&, Buffer, Responder);
  void on(RequestContext, GetXattr&, Buffer, Responder);
  void on(RequestContext, DataRanges&, Buffer, Responder);
  void on(RequestContext, FileFlags&, Buffer, Responder);
  void on(RequestContext, SetXattr&, Buffer, Responder);
  void on(RequestContext, Allocate&, Buffer, Responder);
  void on(RequestContext, Append&, Buffer, Responder);
  template <class R>
  void on(RequestContext context, R& request, Buffer, Responder respond) {
    names(std::move(context), Request(std::move(request)), std::move(respond));
  }

  // Calls that happen once: export_names.cc.
  struct Naming;
  void names(RequestContext context, Request request, Responder respond);
  void names_check(std::shared_ptr<Naming> naming);
  void names_begin(std::shared_ptr<Naming> naming);
  void names_look(std::shared_ptr<Naming> naming);
  void names_act(std::shared_ptr<Naming> naming);
  void names_end(std::shared_ptr<Naming> naming);
  void names_answer_again(std::shared_ptr<Naming> naming);
  void names_answer(const Naming& naming);
  void remember_names(const NameCall& call, const NameOutcome& outcome);

  // Queued changes: export_queue.cc, export_commit.cc.
  template <class R>
  void call_or_queue(RequestContext context, R& request, Buffer body, Responder respond);
  template <class R>
  void queue(RequestContext context, const QueuePosition& position, R& request, Buffer body,
             Responder respond);
  void queue(RequestContext context, const NodeId& node, QueuedOperation operation);
  void answer_applied(const NodeId& node, QueuedOperation operation);
  void pump(const ClientTag& tag, const NodeId& node);
  void apply(const ClientTag& tag, const NodeId& node, std::vector<QueuedOperation> run,
             std::uint64_t pass, bool one_more);
  void commit(const ClientTag& tag, Priority priority, const Commit& request, Responder respond);
  void sync_later(const NodeId& node, Priority priority, bool data_only,
                  SyncWanted::Answer answer);
  void meet(const NodeId& node, Priority priority, Loop::Job then);
  void start_syncs();
  std::vector<SyncWanted> next_syncs(Priority priority);
  void sync_batch(Priority priority, std::vector<SyncWanted> batch);
  void synced(const SyncWanted& wanted);
  void lost(const NodeId& node, int error);
  int loss_told(const ClientTag& client, const NodeId& node, int error);

  // Files open for writing: export_writing.cc.
  static bool hand_over(OpenFiles& from, OpenFiles& to, const NodeId& node);
  void keep_writing(const NodeId& node, FileRef file);
  void now_unsynced(const NodeId& node);
  void still_unsynced(const NodeId& node, FileRef file, bool gone);
  void sync_unasked(const NodeId& node);
  void sync_oldest();
  bool room_for_unsynced() const;
  void hold_back(const ClientTag& tag, Loop::Job job);
  void admit();
  void close_idle();

  // What clients were told: export_notices.cc.
  std::uint64_t listen(const ClientTag& client, std::uint64_t features);
  void promise(const ClientTag& client, const Job& job);
  /// Before the promise: what others have changed of job.wants[0] and the client may not know.
  void add_untold_to(Job& job, const ClientTag& client) const;
  void promise_again(const ClientTag& client, const Request& request, const Buffer& reply);
  void names_changed(const NameCall& call, const NameOutcome& outcome,
                     const RequestContext& context, std::uint64_t asked);
  void tell();
  void watch_disk();

  Holder holder(const ClientTag& tag) const;
  /// False: it holds too many.
  bool hold(const Holder& by, const NodeRef& node);
  void keep_orphan(const NodeId& node, const std::string& orphan);
  /// As the client is told. Who was forgotten and comes back is told of another than before.
  InstanceId instance(const ClientTag& tag) const;
  Client& enter(const ClientTag& tag);
  void forget(const ClientTag& tag);
  void forget_longest_gone();

  ExportOptions options_;
  std::shared_ptr<const Store> store_;  // null: what is exported has vanished
  std::shared_ptr<const Store> lost_;   // then: whom to ask for it again
  std::shared_ptr<WorkQueue> work_;     // never shared: jobs that outlive it know it weakly
  bool restoring_ = false;              // files without a name are being looked for
  std::vector<Loop::Job> unrestored_;   // requests that wait for that
  TimePoint now_;                       // as last told
  TimePoint presence_checked_{};
  bool reopening_ = false;
  std::function<void()> replaced_;
  Tell tell_;
  Later later_;
  bool resting_ = false;  // clients were told something a moment ago
  Promises promises_;
  std::unique_ptr<StoreWatch> disk_;

  const KeptOpen kept_open_ = KeptOpen::within(options_.descriptors);
  RecentMap<NodeId, NodeRef> nodes_{kept_open_.nodes};
  RecentMap<NodeId, FileRef> reading_{kept_open_.reading};
  OpenFiles writing_{kept_open_.writing};
  OpenFiles unsynced_{std::numeric_limits<std::size_t>::max()};  // written to since the last sync
  std::size_t coming_ = 0;         // files that what is being carried out may add to these
  std::size_t unasked_syncs_ = 0;  // wanted by nobody but us
  std::map<std::uint64_t, std::deque<Loop::Job>> held_back_;  // by key; none is empty
  std::set<std::pair<ClientTag, NodeId>> runs_held_back_;     // of these
  std::uint64_t admitted_last_ = 0;                           // the key
  RecentMap<NodeId, std::pair<NodeId, std::string>> names_{kMaxRememberedNames};
  // Searches for nodes without a known path: one at a time, for all that wait.
  std::vector<std::pair<NodeId, Loop::Job>> to_search_;
  bool searching_ = false;
  RecentMap<NodeId, TimePoint> not_found_{KeptOpen().nodes};
  HeldFiles held_{kept_open_.held};
  NodeGates gates_;
  ExportLocks locks_;
  ReplyLog replies_;
  std::map<ClientTag, Client> clients_;
  std::uint64_t clients_forgotten_ = 0, attachments_ = 0;

  UncommittedCalls calls_;
  std::deque<SyncWanted> syncs_;
  std::unordered_set<NodeId> syncing_;  // one after the other: each error is told once
  std::map<Priority, unsigned> sync_jobs_;
  std::unordered_set<NodeId> names_synced_;  // their directories are on stable storage
};

}  // namespace rushfs::fs
