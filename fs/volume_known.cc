// What can be told without asking the server: because it is fresh, or because the server cannot be
// asked and what was known is better than nothing. docs/semantics.md, "Without a link".
#include <dirent.h>

#include <cerrno>

#include "fs/volume.h"

namespace rushfs::fs {

// While changes of ours wait, ours is the view; asking could not make it newer. A file without
// a name belongs to its handles.
bool Volume::ours(const Inode& inode) const {
  return inode.known() && (inode.local.operations > 0 || inode.changes_in_flight > 0);
}

bool Volume::fresh(const Inode& inode) const {
  if (!inode.known()) return false;
  if (inode.suspect) return false;
  if (ours(inode)) return true;
  if (inode.unlinked && !inode.held) return false;
  const auto age = parts_.time.now - inode.validated;
  if (age < kValidity) return true;
  return promised_ && inode.validated >= promised_since_ && age < kPromisedValidity;
}

bool Volume::lost(const boost::system::error_code& error) { return error.value() == ETIMEDOUT; }

// Only a listing that is exactly the folder's tells that there is no such name; where the server
// tells us of changes, a name that it told us of stays.
std::optional<InodeRef> Volume::fresh_name(const Inode& directory, const std::string& name) const {
  const auto since = inodes_.named_since(directory.number, name);
  if (promised_ && since >= promised_since_ && parts_.time.now - since < kPromisedValidity) {
    const auto inode = inodes_.child(directory.number, name);
    if (inode && fresh(*inode)) return inode;
  }
  const auto& listing = directory.listing;
  if (!listing || !fresh(directory) || listing->version != directory.server.version) return {};
  if (name == "." || name == "..") return {};
  const auto entry = listing->entries.find(name);
  if (entry == listing->entries.end()) return InodeRef();
  if (!entry->second.entry) return {};
  const auto inode = inodes_.find(entry->second.entry->node);
  if (!inode || !fresh(*inode)) return {};
  return inode;
}

std::optional<InodeRef> Volume::last_known_name(const Inode& directory, const std::string& name) {
  if (name == "." || name == "..") return {};
  if (const auto child = inodes_.child(directory.number, name); child && child->known()) {
    return child;
  }
  if (!directory.listing) return {};
  const auto entry = directory.listing->entries.find(name);
  if (entry == directory.listing->entries.end()) return InodeRef();
  if (!entry->second.entry) return {};
  return remembered_entry(directory.number, entry->second);
}

/// The inode of an entry listed a while ago, made again if it was given up since.
InodeRef Volume::remembered_entry(NodeNumber directory, const DirectoryEntry& entry) {
  const auto inode = inodes_.get(entry.entry->node);
  if (!inode->known()) inode->server = entry.entry->attributes;
  inodes_.set_name(*inode, directory, entry.name);
  return inode;
}

NodeReference Volume::answer(const InodeRef& inode) {
  return inode ? found(inode) : NodeReference{};
}

void Volume::name_made(const InodeRef& directory, const std::string& name, const Entry& entry) {
  if (directory->listing) directory->listing->add(name, entry);
}

void Volume::name_gone(const InodeRef& directory, const std::string& name) {
  inodes_.drop_name(directory->number, name);
  if (directory->listing) directory->listing->entries.erase(name);
}

// A folder of our own making is empty. (A call repeated after a crash of the server may find one
// that others have used: that one is not as old as its last change.)
void Volume::folder_made(const InodeRef& inode) {
  const auto& attributes = inode->server;
  if (!inode->directory() || attributes.btime == Timestamp{} ||
      attributes.btime != attributes.mtime) {
    return;
  }
  Listing listing;
  listing.version = attributes.version;
  for (const auto* name : {".", ".."}) {
    listing.entries[name] = {0, attributes.inode, DT_DIR, name, std::nullopt};
  }
  listings_.keep(inode, std::move(listing));
}

}  // namespace rushfs::fs
