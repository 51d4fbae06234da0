// How the export gets at nodes and at workers, and what it does when the tree is gone.
#include <spdlog/spdlog.h>

#include <algorithm>

#include "fs/server/export_implementation.h"

namespace rushfs::fs {
namespace {

/// On a worker: fills job.nodes. errno, 0 for success.
int reach_nodes(const Store& store, Job& job) {
  for (const Job::Want& want : job.wants) {
    NodeRef node = want.known;
    if (!node) {
      auto resolved = store.resolve(want.id, want.path ? &*want.path : nullptr);
      if (!resolved) {
        if (store.needs_paths() && resolved.error() == errno_code(ESTALE)) job.unseen = want.id;
        return resolved.error().value();
      }
      node = std::move(*resolved);
    } else if (auto inside = store.check_inside(*node); !inside) {
      // A held file that has lost its last name is nowhere.
      if (!want.held || store.has_name(*node)) return inside.error().value();
    }
    job.nodes.push_back(std::move(node));
  }
  return 0;
}

}  // namespace

std::shared_ptr<Job> Export::Implementation::job_on(const std::vector<NodeId>& nodes) {
  auto job = std::make_shared<Job>();
  job->asked = promises_.clock();
  for (const NodeId& id : nodes) {
    Job::Want want;
    want.id = id;
    want.known = held_.node(id);
    want.held = held_.is_held(id);
    if (!want.known) {
      if (NodeRef* known = nodes_.find(id)) want.known = *known;
    }
    if (!want.known && store_ && store_->needs_paths()) want.path = remembered_path(id);
    job->wants.push_back(std::move(want));
    job->orphans.push_back(held_.is_orphan(id));
  }
  if (!nodes.empty()) {
    if (FileRef* open = reading_.find(nodes[0])) job->reading = *open;
    OpenForWriting* open = unsynced_.find(nodes[0]);
    if (open == nullptr) open = writing_.find(nodes[0]);
    if (open != nullptr) {
      open->used = now_;
      job->writing = open->file;
    }
  }
  return job;
}

void Export::Implementation::run(Turn turn, std::shared_ptr<Job> job, Work work, Done done) {
  if (!store_) {
    try_to_reopen();
    job->error = EIO;
    job->reply = encode_error(EIO);
    // Not now: the next that waits for the same node would be answered from within this answer.
    return work_->later([job, done = std::move(done)]() mutable { std::move(done)(*job); });
  }
  const bool check = now_ - presence_checked_ >= kPresenceInterval;
  if (check) presence_checked_ = now_;
  auto kept = std::make_shared<Work>(std::move(work));
  work_->run(
      turn,
      [store = store_, job, check, kept] {
        if (check && !store->present()) return false;
        job->error = reach_nodes(*store, *job);
        if (job->error != 0) {
          job->reply = encode_error(job->error);
        } else {
          (std::move(*kept))(*store, *job);
        }
        return true;
      },
      [this, store = store_, turn, job, kept, done = std::move(done)](bool present) mutable {
        if (!present) {
          job->error = EIO;
          job->reply = encode_error(EIO);
          if (store_ == store) vanished();
        } else if (store_ == store) {
          learn(*job);
          if (job->unseen && worth_a_search(*job)) {
            return search_for(*job->unseen,
                              [this, turn, job, kept, done = std::move(done)]() mutable {
                                run_again(turn, *job, std::move(*kept), std::move(done));
                              });
          }
        }
        look_at_disk();  // a reply that shows a change does not overtake the news of it
        std::move(done)(*job);
      });
}

/// After a search: with the path that was found, or with none and the answer that there is none.
void Export::Implementation::run_again(Turn turn, const Job& before, Work work, Done done) {
  std::vector<NodeId> nodes;
  for (const Job::Want& want : before.wants) nodes.push_back(want.id);
  auto job = job_on(nodes);
  job->searches = before.searches + 1;
  run(turn, std::move(job), std::move(work), std::move(done));
}

bool Export::Implementation::worth_a_search(const Job& job) {
  const TimePoint* missed = not_found_.find(*job.unseen);
  return job.searches < job.wants.size() && (missed == nullptr || now_ - *missed >= kSearchAgain);
}

void Export::Implementation::search_for(const NodeId& node, Loop::Job then) {
  to_search_.emplace_back(node, std::move(then));
  if (!searching_) start_search();
}

void Export::Implementation::start_search() {
  searching_ = true;
  auto waiting = std::make_shared<std::vector<std::pair<NodeId, Loop::Job>>>();
  waiting->swap(to_search_);
  std::vector<NodeId> wanted;
  for (const auto& [node, then] : *waiting) wanted.push_back(node);
  work_->run(
      {Priority::demand},
      [store = store_, wanted = std::move(wanted)] { return store->find(wanted); },
      [this, waiting](std::vector<NodePlace> found) {
        std::unordered_set<NodeId> seen;
        for (NodePlace& place : found) {
          seen.insert(place.node);
          names_.put(place.node, {std::move(place.directory), std::move(place.name)});
        }
        for (auto& [node, then] : *waiting) {
          if (!seen.contains(node)) not_found_.put(node, now_);
        }
        searching_ = false;
        for (auto& [node, then] : *waiting) std::move(then)();
        if (!searching_ && !to_search_.empty() && store_) start_search();
      });
}

void Export::Implementation::answer(const RequestContext& context, const NodeId& node, Work work,
                                    Responder respond) {
  run(turn_of(context), job_on({node}), std::move(work),
      [this, client = context.client, respond = std::move(respond)](Job& job) mutable {
        promise(client, job);
        std::move(respond)(std::move(job.reply));
        tell();
      });
}

void Export::Implementation::learn(Job& job) {
  // Not met yet is not gone: it may have been found, and written to, since this job was given out.
  const bool gone = job.error == ESTALE && !(job.unseen && worth_a_search(job));
  for (std::size_t i = 0; i < job.wants.size(); ++i) {
    const NodeId& id = job.wants[i].id;
    if (i < job.nodes.size()) {
      nodes_.put(id, job.nodes[i]);
    } else if (gone && i == job.nodes.size()) {  // those behind it were not looked for
      const bool unsynced = unsynced_.contains(id);
      forget(id);
      if (unsynced) lost(id, EIO);  // it may be found again
    }
  }
  for (const NodeRef& node : job.met) nodes_.put(node->id(), node);
  if (store_->needs_paths()) {
    for (NodePlace& name : job.names) {
      names_.put(name.node, {std::move(name.directory), std::move(name.name)});
    }
  }
  if (job.nodes.empty()) return;
  if (job.reading) reading_.put(job.nodes[0]->id(), job.reading);
  if (job.writing) keep_writing(job.nodes[0]->id(), job.writing);
}

void Export::Implementation::forget(const NodeId& node) {
  nodes_.erase(node);
  reading_.erase(node);
  writing_.erase(node);
  unsynced_.erase(node);
}

std::optional<NamePath> Export::Implementation::remembered_path(const NodeId& node) {
  constexpr std::size_t kDeepest = 4096;  // levels; a loop can arise when directories swap places
  NamePath path;
  NodeId at = node;
  while (at != store_->root_id()) {
    const auto* name = names_.find(at);
    if (name == nullptr || path.size() >= kDeepest) return std::nullopt;
    path.push_back(name->second);
    at = name->first;
  }
  std::reverse(path.begin(), path.end());
  return path;
}

void Export::Implementation::vanished() {
  spdlog::error("export {}: what is exported is gone; clients get EIO until it returns",
                options_.name);
  lost_ = std::move(store_);
  store_ = nullptr;
  nodes_.clear();
  reading_.clear();
  writing_.clear();
  unsynced_.clear();
  names_.clear();
  try_to_reopen();
}

void Export::Implementation::try_to_reopen() {
  if (reopening_ || now_ - presence_checked_ < kPresenceInterval) return;
  reopening_ = true;
  presence_checked_ = now_;
  work_->run(
      {Priority::urgent}, [lost = lost_] { return lost->reopen(); },
      [this](Result<std::shared_ptr<const Store>> again) {
        reopening_ = false;
        if (again) returned(std::move(*again));
      });
}

/// What was written before and not committed may be lost: to clients this is a new server.
void Export::Implementation::returned(std::shared_ptr<const Store> store) {
  spdlog::info("export {}: what is exported is back", options_.name);
  store_ = std::move(store);
  lost_ = nullptr;
  disk_ = nullptr;  // what it watched may be another disk
  options_.instance.value += 1ULL << 32;  // as after a boot: docs/file-protocol.md, "Attach"
  for (auto& [tag, client] : clients_) client.order = WriteOrder();
  held_ = HeldFiles(kept_open_.held);
  locks_.restart(now_ + kLockGrace);
  calls_ = UncommittedCalls();
  names_synced_.clear();
  not_found_.clear();
  restore_orphans();
  if (replaced_) replaced_();
}

void Export::Implementation::restore_orphans() {
  if (options_.read_only) return;
  restoring_ = true;
  work_->run(
      {Priority::urgent}, [store = store_] { return store->orphans(); },
      [this](std::vector<OrphanFile> orphans) {
        restoring_ = false;
        for (const OrphanFile& orphan : orphans) {
          if (!held_.is_held(orphan.node->id())) {
            held_.restore(orphan, now_ + kHoldLease);
          }
        }
        auto waiting = std::exchange(unrestored_, {});
        for (Loop::Job& job : waiting) std::move(job)();
      });
}

void Export::Implementation::drop(HeldFiles::LetGo let_go) {
  for (const NodeId& node : let_go.nodes) forget(node);
  if (let_go.orphans.empty() || !store_) return;
  work_->run(
      {Priority::behind},
      [store = store_, orphans = std::move(let_go.orphans)] {
        for (const std::string& orphan : orphans) store->drop_orphan(orphan);
        return true;
      },
      [](bool) {});
}

/// A file somebody removed beside us keeps its space while we have it open.
void Export::Implementation::sweep() {
  if (!store_ || nodes_.size() == 0) return;
  std::vector<NodeRef> nodes;
  for (const auto& [id, node] : nodes_.all()) {
    if (!held_.is_held(id)) nodes.push_back(node);
  }
  work_->run(
      {Priority::behind},
      [store = store_, nodes = std::move(nodes)] {
        std::vector<NodeId> gone;
        for (const NodeRef& node : nodes) {
          if (!store->has_name(*node)) gone.push_back(node->id());
        }
        return gone;
      },
      [this](const std::vector<NodeId>& gone) {
        for (const NodeId& node : gone) {
          if (!held_.is_held(node)) forget(node);
        }
      });
}

}  // namespace rushfs::fs
