// Stable storage: commits of many files are gathered while the disk is busy with earlier ones.
#include <sys/stat.h>

#include <algorithm>

#include "fs/server/export_implementation.h"

namespace rushfs::fs {
namespace {

constexpr unsigned kMaxSyncJobs = 4;       // more do not make a disk faster; of each priority
constexpr std::size_t kMaxSyncBatch = 64;  // files: their first fsync flushes the journal for all
constexpr std::size_t kMaxNamesSynced = 65536;  // remembered; some 8 MiB

/// One file of a batch, and what becomes of it.
struct Part {
  SyncWanted wanted;
  bool name = false;        // its directory too
  bool written = false;     // since it was last synced
  std::uint64_t begun = 0;  // UncommittedCalls::clock()
  std::shared_ptr<Job> job;
  bool tried = false;
  Result<void> synced{};
  Result<Attributes> outcome = errno_code(EIO);
};

/// On a worker: the node and, of a regular file, a descriptor; any one of the file will do.
Result<void> reach(const Store& store, Job& job) {
  const Job::Want& want = job.wants[0];
  NodeRef node = want.known;
  if (!node) {
    auto resolved = store.resolve(want.id, want.path ? &*want.path : nullptr);
    if (!resolved) return resolved.error();
    node = std::move(*resolved);
  }
  if (!job.writing) job.writing = job.reading;
  if (!job.writing && node->type() == S_IFREG) {
    auto opened = store.open(*node, false);
    if (!opened) return opened.error();
    job.writing = std::move(*opened);
  }
  job.nodes = {std::move(node)};
  return boost::system::in_place_value;
}

/// On a worker.
void sync_one(const Store& store, Part& part) {
  const Node& node = *part.job->nodes[0];
  part.tried = true;
  if (part.synced) {
    part.synced = store.sync(node, part.job->writing.get(), part.wanted.data_only, part.name);
  }
  if (part.synced) {
    part.outcome = visible_attributes(store, node, part.job->orphans[0]);
  } else {
    part.outcome = part.synced.error();
  }
}

/// On a worker: all data is under way before the first fsync waits for it.
void sync_all(const Store& store, std::vector<Part>& parts) {
  for (Part& part : parts) {
    if (auto reached = reach(store, *part.job); !reached) {
      part.outcome = reached.error();
      continue;
    }
    if (part.job->writing && parts.size() > 1) part.synced = store.start_sync(*part.job->writing);
  }
  for (Part& part : parts) {
    if (!part.job->nodes.empty()) sync_one(store, part);
  }
}

}  // namespace

void Export::Implementation::on(RequestContext context, Commit& request, Buffer,
                                Responder respond) {
  if (context.read_only || options_.read_only) return std::move(respond)(encode_error(EROFS));
  const bool awaited = context.priority <= Priority::demand;
  const Priority priority = awaited ? Priority::demand : Priority::behind;
  meet(request.node, priority,
       [this, tag = context.client, priority, request, respond = std::move(respond)]() mutable {
         commit(tag, priority, request, std::move(respond));
       });
}

void Export::Implementation::commit(const ClientTag& tag, Priority priority,
                                    const Commit& request, Responder respond) {
  const auto client = clients_.find(tag);
  if (client == clients_.end()) return std::move(respond)(encode_error(ECANCELED));
  if (const int loss = loss_told(tag, request.node, 0)) {
    return std::move(respond)(encode_error(loss));
  }
  using Outcome = WriteOrder::Outcome;
  auto then = [this, tag, priority, request,
               respond = std::move(respond)](Outcome outcome) mutable {
    promises_.promise(tag, request.node, promises_.clock());
    if (outcome == Outcome::failed) return std::move(respond)(encode_error(ECANCELED));
    if (outcome == Outcome::lost) {
      return std::move(respond)(encode_error(loss_told(tag, request.node, EIO)));
    }
    const auto applied = clients_[tag].order.applied_through(request.node);
    sync_later(request.node, priority, request.data_only,
               {tag, std::max(request.through, applied), std::move(respond)});
  };
  client->second.order.when_applied(request.node, request.through, std::move(then));
}

/// A store that needs paths is asked to search for a node it has not met in this life: a batch of
/// commits does not stop for that.
void Export::Implementation::meet(const NodeId& node, Priority priority, Loop::Job then) {
  const bool known = held_.is_held(node) || nodes_.find(node) != nullptr;
  if (known || !store_ || !store_->needs_paths()) return std::move(then)();
  run(
      {priority}, job_on({node}), [](const Store&, Job&) {},
      [then = std::move(then)](Job&) mutable { std::move(then)(); });
}

void Export::Implementation::sync_later(const NodeId& node, Priority priority, bool data_only,
                                        SyncWanted::Answer answer) {
  auto same = std::find_if(syncs_.begin(), syncs_.end(),
                           [&](const SyncWanted& wanted) { return wanted.node == node; });
  if (same == syncs_.end()) {
    syncs_.push_back({node, priority, true, {}});
    same = std::prev(syncs_.end());
  }
  same->priority = std::min(same->priority, priority);
  same->data_only = same->data_only && data_only;
  same->answers.push_back(std::move(answer));
  start_syncs();
}

void Export::Implementation::start_syncs() {
  for (const Priority priority : {Priority::demand, Priority::behind}) {
    while (sync_jobs_[priority] < kMaxSyncJobs) {
      auto batch = next_syncs(priority);
      if (batch.empty()) break;
      sync_batch(priority, std::move(batch));
    }
  }
}

std::vector<SyncWanted> Export::Implementation::next_syncs(Priority priority) {
  std::vector<SyncWanted> batch;
  for (auto each = syncs_.begin(); each != syncs_.end() && batch.size() < kMaxSyncBatch;) {
    if (each->priority != priority || !syncing_.insert(each->node).second) {
      ++each;
      continue;
    }
    batch.push_back(std::move(*each));
    each = syncs_.erase(each);
  }
  return batch;
}

void Export::Implementation::sync_batch(Priority priority, std::vector<SyncWanted> batch) {
  ++sync_jobs_[priority];
  if (names_synced_.size() > kMaxNamesSynced) names_synced_.clear();
  auto parts = std::make_shared<std::vector<Part>>();
  for (SyncWanted& wanted : batch) {
    // Now, for who moves it meanwhile has its new name synced.
    const bool name = names_synced_.insert(wanted.node).second;
    auto job = job_on({wanted.node});
    const bool written = hand_over(unsynced_, writing_, wanted.node);
    parts->push_back({std::move(wanted), name, written, calls_.clock(), std::move(job)});
  }
  run(
      {priority}, job_on({}),
      [parts](const Store& store, Job&) { sync_all(store, *parts); },
      [this, priority, parts, before = options_.instance](Job&) {
        --sync_jobs_[priority];
        const bool replaced = before != options_.instance;  // meanwhile: it was another disk
        for (Part& part : *parts) {
          syncing_.erase(part.wanted.node);
          if (replaced) part.tried = false, part.outcome = errno_code(EIO);
          if (part.written && !part.tried && store_ && !replaced) {
            const bool gone = part.outcome.error() == errno_code(ESTALE);
            still_unsynced(part.wanted.node, part.job->writing, gone);
          }
          if (part.name && !(part.tried && part.synced)) names_synced_.erase(part.wanted.node);
          if (part.tried && part.synced) {
            synced(part.wanted);
            calls_.synced(part.wanted.node, part.begun);
          }
          if (part.tried && !part.synced) lost(part.wanted.node, part.synced.error().value());
          for (auto& answer : part.wanted.answers) {
            const auto at = instance(answer.client);
            std::move(answer.respond)(
                part.outcome ? encode_reply(CommitReply{at, answer.through, *part.outcome})
                             : encode_error(loss_told(answer.client, part.wanted.node,
                                                      part.outcome.error().value())));
          }
        }
        start_syncs();
        // Or else the same would fail the same way, again and again; tick() asks for more.
        if (std::ranges::any_of(*parts, &Part::tried)) sync_oldest();
        admit();
      });
}

void Export::Implementation::synced(const SyncWanted& wanted) {
  for (const auto& answer : wanted.answers) {
    const auto client = clients_.find(answer.client);
    if (client != clients_.end()) client->second.order.settled(wanted.node, answer.through);
  }
}

/// Data that could not be brought to the disk is gone from memory too: all clients must write it
/// again. The next sync would find nothing amiss, so nobody may wait for that.
void Export::Implementation::lost(const NodeId& node, int error) {
  calls_.lost(node);
  std::vector<WriteOrder::Told> told;
  for (auto& [tag, client] : clients_) {
    std::ranges::move(client.order.forget(node), std::back_inserter(told));
  }
  for (auto& waiter : told) std::move(waiter)();
  const auto queued = std::ranges::find(syncs_, node, &SyncWanted::node);
  if (queued == syncs_.end()) return;
  auto answers = std::move(queued->answers);
  syncs_.erase(queued);
  for (auto& answer : answers) {
    std::move(answer.respond)(encode_error(loss_told(answer.client, node, error)));
  }
}

/// What a Commit is answered: `error`, where nothing was lost but what will be sent again.
int Export::Implementation::loss_told(const ClientTag& client, const NodeId& node, int error) {
  return calls_.tell_lost(client, node) ? ENOTRECOVERABLE : error;
}

}  // namespace rushfs::fs
