#include "fs/client/listing.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>

#include "fs/client/inodes.h"

namespace rushfs::fs {

namespace {

/// About 40 MiB with their attributes.
constexpr std::size_t kMostEntries = 100'000;
constexpr std::size_t kMostAbsent = 4'000;  // of one folder

}  // namespace

const DirectoryEntry* Listing::find(const std::string& name) const {
  const auto found = entries_.find(name);
  return found == entries_.end() ? nullptr : &found->second;
}

void Listing::put(DirectoryEntry entry) {
  DirectoryEntry& kept = entries_[entry.name];
  unlink(kept);
  kept = std::move(entry);
  if (kept.entry) by_node_.emplace(tag_of(kept.entry->node), &kept);
}

void Listing::put(const std::string& name, const Entry& entry) {
  const auto type = static_cast<std::uint8_t>(IFTODT(entry.attributes.mode));
  put({0, entry.attributes.inode, type, name, entry});
}

void Listing::erase(const std::string& name) {
  const auto found = entries_.find(name);
  if (found == entries_.end()) return;
  unlink(found->second);
  entries_.erase(found);
}

void Listing::unlink(DirectoryEntry& entry) {
  if (entry.entry) by_node_.erase({tag_of(entry.entry->node), &entry});
}

void Listing::heard(const NodeId& node, const Attributes& attributes) {
  const NodeTag tag = tag_of(node);
  for (auto kept = by_node_.lower_bound({tag, nullptr});
       kept != by_node_.end() && kept->first == tag; ++kept) {
    kept->second->entry->attributes = attributes;
  }
}

void AbsentNames::add(const std::string& name, const Version& folder, transport::TimePoint now) {
  if (version != folder || asked.size() >= kMostAbsent) asked.clear();
  version = folder;
  asked[name] = now;
}

bool ListingDraft::add(std::uint64_t cookie, const ReadDirectoryReply& page) {
  const Version version = page.directory.version;
  if (cookie == 0) {
    listing_ = {};
    listing_.version = version;
  } else if (cookie != next_ || listing_.entries().empty()) {
    next_ = 0;
    listing_ = {};
    return false;
  }
  if (listing_.version != version) listing_.version = {};
  for (const auto& entry : page.entries) {
    next_ = entry.cookie;
    listing_.put(entry);
  }
  if (listing_.entries().size() > kMostEntries) listing_ = {};
  return (page.end || page.entries.empty()) && !listing_.entries().empty();
}

void Listings::keep(const std::shared_ptr<Inode>& directory, Listing listing) {
  const bool listed_before = directory->listing != nullptr;
  const std::size_t count = listing.entries().size();
  directory->listing = std::make_shared<Listing>(std::move(listing));
  if (listed_before) return;  // counted as it was then; folders seldom grow by much
  kept_.push_back(directory);
  counts_.push_back(count);
  entries_ += count;
  while (entries_ > kMostEntries && kept_.size() > 1) {
    kept_.front()->listing.reset();
    entries_ -= counts_.front();
    kept_.pop_front();
    counts_.pop_front();
  }
}

}  // namespace rushfs::fs
