// Stable storage: commits of many files are gathered while the disk is busy with earlier ones.
#include <sys/stat.h>

#include <algorithm>

#include "fs/export_implementation.h"

namespace rushfs::fs {
namespace {

constexpr unsigned kMaxSyncJobs = 4;       // more do not make a disk faster
constexpr std::size_t kMaxSyncBatch = 64;  // files: their first fsync flushes the journal for all
constexpr std::size_t kMaxNamesSynced = 65536;  // remembered; some 8 MiB

/// One file of a batch, and what becomes of it.
struct Part {
  SyncWanted wanted;
  bool name = false;  // its directory too
  std::shared_ptr<Job> job;
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

/// On a worker: all data is under way before the first fsync waits for it.
void sync_all(const Store& store, std::vector<Part>& parts) {
  for (Part& part : parts) {
    if (auto reached = reach(store, *part.job); !reached) {
      part.outcome = reached.error();
    } else if (part.job->writing && parts.size() > 1) {
      store.start_sync(*part.job->writing);
    }
  }
  for (Part& part : parts) {
    if (part.job->nodes.empty()) continue;
    const Node& node = *part.job->nodes[0];
    auto synced = store.sync(node, part.job->writing.get(), part.wanted.data_only, part.name);
    if (synced) {
      part.outcome = visible_attributes(store, node, part.job->orphans[0]);
    } else {
      part.outcome = synced.error();
    }
  }
}

}  // namespace

void Export::Implementation::on(RequestContext context, Commit& request, Buffer,
                                Responder respond) {
  if (context.read_only || options_.read_only) return std::move(respond)(encode_error(EROFS));
  WriteOrder& order = clients_[context.client].order;
  const std::uint64_t through = std::max(request.through, order.applied_through(request.node));
  order.when_applied(
      request.node, request.through,
      [this, node = request.node, through, data_only = request.data_only, client = context.client,
       respond = std::move(respond)](bool applied) mutable {
        promises_.promise(client, node, promises_.clock());
        if (!applied) return std::move(respond)(encode_error(ECANCELED));
        meet(node, [this, node, data_only, through, respond = std::move(respond)]() mutable {
          sync_later(node, data_only, through, std::move(respond));
        });
      });
}

/// A store that needs paths is asked to search for a node it has not met in this life: a batch of
/// commits does not stop for that.
void Export::Implementation::meet(const NodeId& node, Loop::Job then) {
  const bool known = held_.is_held(node) || nodes_.find(node) != nullptr;
  if (known || !store_ || !store_->needs_paths()) return std::move(then)();
  run(
      Priority::behind, job_on({node}), [](const Store&, Job&) {},
      [then = std::move(then)](Job&) mutable { std::move(then)(); });
}

void Export::Implementation::sync_later(const NodeId& node, bool data_only, std::uint64_t through,
                                        Responder respond) {
  auto same = std::find_if(syncs_.begin(), syncs_.end(),
                           [&](const SyncWanted& wanted) { return wanted.node == node; });
  if (same == syncs_.end()) {
    syncs_.push_back({node, true, {}});
    same = std::prev(syncs_.end());
  }
  same->data_only = same->data_only && data_only;
  same->answers.emplace_back(through, std::move(respond));
  start_syncs();
}

/// Data that could not be brought to the disk is gone from memory too: it must be written again.
void Export::Implementation::note_sync(const NodeId& node, bool done) {
  if (done) {
    names_synced_.insert(node);
    return;
  }
  for (auto& [tag, client] : clients_) client.order.forget(node);
}

void Export::Implementation::start_syncs() {
  while (sync_jobs_ < kMaxSyncJobs && !syncs_.empty()) {
    std::vector<SyncWanted> batch;
    while (!syncs_.empty() && batch.size() < kMaxSyncBatch) {
      batch.push_back(std::move(syncs_.front()));
      syncs_.pop_front();
    }
    sync_batch(std::move(batch));
  }
}

void Export::Implementation::sync_batch(std::vector<SyncWanted> batch) {
  ++sync_jobs_;
  if (names_synced_.size() > kMaxNamesSynced) names_synced_.clear();
  auto parts = std::make_shared<std::vector<Part>>();
  for (SyncWanted& wanted : batch) {
    const bool name = !names_synced_.contains(wanted.node);
    auto job = job_on({wanted.node});
    parts->push_back({std::move(wanted), name, std::move(job), errno_code(EIO)});
  }
  run(
      Priority::behind, job_on({}), [parts](const Store& store, Job&) { sync_all(store, *parts); },
      [this, parts](Job&) {
        --sync_jobs_;
        for (Part& part : *parts) {
          note_sync(part.wanted.node, part.outcome.has_value());
          for (auto& [through, respond] : part.wanted.answers) {
            std::move(respond)(
                part.outcome ? encode_reply(CommitReply{options_.instance, through, *part.outcome})
                             : encode_error(part.outcome.error().value()));
          }
        }
        start_syncs();
      });
}

}  // namespace rushfs::fs
