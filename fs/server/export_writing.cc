// Files open for writing. The kernel tells of a failed write whoever had the file open then: so one
// that was written to is not closed before it was synced, and where these are too many, no further
// ones are written to until the disk has some.
#include <algorithm>

#include "fs/server/export_implementation.h"

namespace rushfs::fs {
namespace {

constexpr std::size_t kMaxUnasked = 64;  // syncs at once that nobody has asked for

}  // namespace

/// False: it is not there.
bool Export::Implementation::hand_over(OpenFiles& from, OpenFiles& to, const NodeId& node) {
  OpenForWriting* open = from.find(node);
  if (open == nullptr) return false;
  to.put(node, std::move(*open));
  from.erase(node);
  return true;
}

void Export::Implementation::keep_writing(const NodeId& node, FileRef file) {
  OpenFiles& files = unsynced_.contains(node) ? unsynced_ : writing_;
  files.put(node, {std::move(file), now_});
}

/// It was written to, through what keep_writing() was given.
void Export::Implementation::now_unsynced(const NodeId& node) {
  hand_over(writing_, unsynced_, node);
  sync_oldest();
}

/// It could not be tried. A file that is gone may be found again, but its descriptor is not kept.
void Export::Implementation::still_unsynced(const NodeId& node, FileRef file, bool gone) {
  if (gone) {
    forget(node);
    return lost(node, EIO);
  }
  writing_.erase(node);
  unsynced_.put(node, {std::move(file), now_});
}

void Export::Implementation::sync_unasked(const NodeId& node) {
  ++unasked_syncs_;
  meet(node, Priority::behind, [this, node] {
    sync_later(node, Priority::behind, true, {{}, 0, [this](Buffer) { --unasked_syncs_; }});
  });
}

/// From half of what may be unsynced on, so that nobody need be held back if the disk keeps up.
void Export::Implementation::sync_oldest() {
  const std::size_t half = kept_open_.unsynced / 2;
  if (unsynced_.size() <= half || unasked_syncs_ > 0) return;
  const std::size_t count = std::min(unsynced_.size() - half, kMaxUnasked);
  std::vector<NodeId> oldest;
  for (auto each = unsynced_.all().rbegin(); oldest.size() < count; ++each) {
    oldest.push_back(each->first);
  }
  for (const NodeId& node : oldest) sync_unasked(node);
}

/// For one more file to be written to.
bool Export::Implementation::room_for_unsynced() const {
  return unsynced_.size() + coming_ < kept_open_.unsynced;
}

void Export::Implementation::hold_back(const ClientTag& tag, Loop::Job job) {
  held_back_[tag.key()].push_back(std::move(job));
}

/// Keys in turn.
void Export::Implementation::admit() {
  while (!held_back_.empty() && room_for_unsynced()) {
    auto line = held_back_.upper_bound(admitted_last_);
    if (line == held_back_.end()) line = held_back_.begin();
    admitted_last_ = line->first;
    Loop::Job job = std::move(line->second.front());
    line->second.pop_front();
    if (line->second.empty()) held_back_.erase(line);
    std::move(job)();
  }
}

void Export::Implementation::close_idle() {
  const auto idle = [this](const OpenFiles& files) {
    std::vector<NodeId> nodes;
    for (const auto& [node, open] : files.all()) {
      if (now_ - open.used >= kIdleWriteFile) nodes.push_back(node);
    }
    return nodes;
  };
  for (const NodeId& node : idle(writing_)) {
    if (!syncing_.contains(node)) writing_.erase(node);
  }
  if (unasked_syncs_ > 0) return;
  for (const NodeId& node : idle(unsynced_)) sync_unasked(node);
}

}  // namespace rushfs::fs
