// What the server tells unasked, and what we may believe because it would tell us:
// docs/file-protocol.md, "Notices".
#include <algorithm>

#include "fs/volume.h"

namespace rushfs::fs {

/// A notice may overtake the reply that first tells of a file.
void Volume::met(Inode& inode) const {
  const std::uint64_t* epoch = recently_noticed_.find(tag_of(inode.node));
  if (epoch == nullptr) return;
  inode.epoch = std::max(inode.epoch, *epoch);
  inode.suspect = true;
}

void Volume::noticed(Inode& inode) {
  inode.epoch = epoch_;
  inode.suspect = true;
  if (inode.listing) inode.listing->version = {};
  // What we wrote is older than that, and so is the time that we wrote it.
  if (inode.local.operations == 0) inode.local.unstamped = false;
  if (inode.regular()) {
    inode.kernel_pages_stale = true;
    reader_.discard(inode);
  }
  inode.kernel_pages = false;
  if (kernel_) kernel_->invalidate(inode.number);
}

void Volume::noticed_all() {
  promised_since_ = parts_.time.now;
  inodes_.each([this](Inode& inode) {
    inode.epoch = epoch_;
    inode.suspect = true;
    if (inode.opens > 0 && inode.regular()) noticed(inode);
  });
}

void Volume::noticed(const Notice& notice) {
  ++epoch_;
  ++notices_heard_;
  const auto seen = remember(notice);
  if (notice.everything) noticed_all();
  for (const NoticedChange& change : notice.changes) {
    recently_noticed_.put(change.node, epoch_);
    const auto inode = inodes_.find(change.node);
    if (!inode) continue;
    noticed(*inode);
    if (change.name.empty()) continue;
    inodes_.drop_name(inode->number, change.name);
    if (kernel_) kernel_->invalidate_name(inode->number, change.name);
  }
  serve_behind_notices(false);
  compare(seen);
}

}  // namespace rushfs::fs
