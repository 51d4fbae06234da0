// Changes of a file that is copied meanwhile.
#include <limits>

#include "fs/client/change_log.h"

namespace rushfs::fs {

using Kind = cache::OperationKind;

void ChangeLog::watch(const InodeRef& inode) { watched_.try_emplace(inode); }

// What grows a file touches nothing: what comes to it are zeros.
void ChangeLog::Watched::note(const Change& change) {
  if (change.writes() && !change.bytes.empty()) {
    touched.add(change.offset, change.offset + change.bytes.size() - 1);
  } else if (change.kind == Kind::set_attributes && change.size) {
    touched.add(*change.size, std::numeric_limits<std::uint64_t>::max());
  } else if (change.kind == Kind::zero && *change.size > change.offset) {
    touched.add(change.offset, *change.size - 1);
  }
}

transport::RangeSet ChangeLog::touched(const InodeRef& inode) {
  Watched& watched = watched_.at(inode);
  auto touched = watched.touched;
  watched.touched.clear();
  return touched;
}

void ChangeLog::copy(const InodeRef& inode, const InodeRef& to, std::uint64_t offset, Buffer data,
                     Reply<void> reply) {
  append({to, offset, std::move(data), std::nullopt, Kind::write, std::move(reply),
          parts_.time.now, inode});
}

void ChangeLog::hold(const InodeRef& inode, absl::AnyInvocable<void() &&> ready) {
  Watched& watched = watched_.at(inode);
  watched.held = true;
  if (!writeback_.is_appending(inode->node)) return std::move(ready)();
  watched.ready = std::move(ready);
}

bool ChangeLog::held_back(Change& change) {
  const auto watched = watched_.find(change.inode);
  if (watched == watched_.end() || !watched->second.held) return false;
  watched->second.changes.push_back(std::move(change));
  return true;
}

// They come before what waits for room: that was asked for later.
void ChangeLog::put_back(Watched& watched) {
  watched.held = false;
  watched.ready = nullptr;
  for (; !watched.changes.empty(); watched.changes.pop_back()) {
    waiting_.push_front(std::move(watched.changes.back()));
  }
}

void ChangeLog::release(const InodeRef& inode) {
  put_back(watched_.at(inode));
  go_on();
}

void ChangeLog::move(const InodeRef& inode, const InodeRef& to) {
  put_back(watched_.at(inode));
  watched_.erase(inode);
  for (Change& change : waiting_) {
    if (change.inode == inode) change.inode = to;
  }
  go_on();
}

}  // namespace rushfs::fs
