// Names and listings: which may be believed, and what our own changes make of them.
#include <dirent.h>

#include "fs/client/known.h"
#include "fs/protocol/names.h"

namespace rushfs::fs {

// Only a listing that is exactly the folder's tells that there is no such name; where the server
// tells us of changes, a name that it told us of stays.
std::optional<InodeRef> Known::fresh_name(const Inode& directory, const std::string& name) const {
  const auto since = inodes_.named_since(directory.number, name);
  if (told_since(directory, since) && parts_.time.now - since < kPromisedValidity) {
    const auto inode = inodes_.child(directory.number, name);
    if (inode && fresh(*inode)) return inode;
  }
  if (!fresh(directory) || is_dots(name)) return {};
  if (known_absent(directory, name)) return InodeRef();
  if (!directory.listed()) return {};
  const DirectoryEntry* listed = directory.listing->find(name);
  if (listed == nullptr) return InodeRef();
  if (!listed->entry) return {};
  const auto inode = inodes_.find(listed->entry->node);
  if (!inode || !fresh(*inode)) return {};
  return inode;
}

bool Known::known_absent(const Inode& directory, const std::string& name) const {
  const AbsentNames& absent = directory.absent;
  const auto asked = absent.asked.find(name);
  if (asked == absent.asked.end() || absent.version != directory.server.version) return false;
  const auto age = parts_.time.now - asked->second;
  return age < kValidity || (told_since(directory, asked->second) && age < kPromisedValidity);
}

std::optional<InodeRef> Known::last_known_name(const Inode& directory, const std::string& name) {
  if (is_dots(name)) return {};
  if (const auto child = inodes_.child(directory.number, name); child && child->known()) {
    return child;
  }
  if (!directory.listing) return {};
  const DirectoryEntry* listed = directory.listing->find(name);
  if (listed == nullptr) return InodeRef();
  if (!listed->entry) return {};
  return remembered_entry(directory.number, *listed);
}

InodeRef Known::remembered_entry(NodeNumber directory, const DirectoryEntry& entry) {
  const auto inode = inodes_.get(entry.entry->node);
  if (!inode->known()) inode->server = entry.entry->attributes;
  inodes_.set_name(*inode, directory, entry.name);
  return inode;
}

// Pages from before a change of ours do not have it; the listing kept before does.
void Known::keep_listing(const InodeRef& directory, Listing listing, std::uint64_t sent_epoch) {
  if (directory->own_epoch > sent_epoch) return;
  if (directory->epoch > sent_epoch) listing.version = {};
  listings_.keep(directory, std::move(listing));
}

std::string Known::name_key(NodeNumber directory, const std::string& name) {
  return std::to_string(directory.value) + '/' + name;
}

void Known::directory_changed(const InodeRef& directory, const Change& change) {
  const auto follow = [&](Version& version) {
    version = version == change.before ? change.after.version : Version{};
  };
  attributes_changed(*directory, change);
  follow(directory->absent.version);
  if (directory->listing) follow(directory->listing->version);
}

void Known::name_made(const InodeRef& directory, const std::string& name, const Entry& entry) {
  inodes_.set_name(*inodes_.get(entry.node), directory->number, name);
  recently_named_.put(name_key(directory->number, name), directory->own_epoch);
  directory->absent.asked.erase(name);
  if (directory->listing) directory->listing->put(name, entry);
}

void Known::name_gone(const InodeRef& directory, const std::string& name) {
  inodes_.drop_name(directory->number, name);
  recently_named_.put(name_key(directory->number, name), directory->own_epoch);
  if (directory->listing) directory->listing->erase(name);
}

// Where the link is gone, all is asked anew when it is back, and until then the old is all we have.
void Known::name_doubted(const InodeRef& directory, const std::string& name) {
  if (!parts_.remote.reachable()) return;
  ++epoch_;
  const auto child = inodes_.child(directory->number, name);
  noticed(*directory);
  if (child) noticed(*child);
  inodes_.drop_name(directory->number, name);
  kernel_.invalidate_name(directory->number, name);
}

void Known::name_absent(const InodeRef& directory, const std::string& name,
                        const Version& version) {
  name_gone(directory, name);
  directory->absent.add(name, version, parts_.time.now);
}

// A folder of our own making is empty. (A call repeated after a crash of the server may find one
// that others have used: that one is not as old as its last change.)
void Known::folder_made(const InodeRef& inode) {
  const auto& attributes = inode->server;
  if (!inode->directory() || attributes.btime == Timestamp{} ||
      attributes.btime != attributes.mtime) {
    return;
  }
  Listing listing;
  listing.version = attributes.version;
  for (const auto* name : {".", ".."}) {
    listing.put({0, attributes.inode, DT_DIR, name, std::nullopt});
  }
  listings_.keep(inode, std::move(listing));
}

// What is known of a file outlives its inode in the folder it was listed in, or the listing would
// tell of it as it was before our own changes.
void Known::sweep() {
  inodes_.sweep([this](Inode& inode) {
    const auto folder = inodes_.find(inode.parent);
    const bool listed = folder && folder->listing;
    if (listed && inode.known()) folder->listing->heard(inode.node, inode.server);
    reader_.forget(inode);
  });
}

}  // namespace rushfs::fs
