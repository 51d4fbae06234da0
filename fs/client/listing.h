// What a folder held when it was last listed, with our own changes since: what can be told of its
// names without the server. Owner: the file loop.
#pragma once

#include <deque>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>

#include "fs/protocol/messages.h"
#include "fs/protocol/notices.h"
#include "transport/units.h"

namespace rushfs::fs {

struct Inode;

class Listing {
 public:
  using Entries = std::unordered_map<std::string, DirectoryEntry>;

  Listing() = default;
  Listing(Listing&&) = default;
  Listing& operator=(Listing&&) = default;

  const Entries& entries() const { return entries_; }
  /// Null: it is not in it.
  const DirectoryEntry* find(const std::string& name) const;
  /// In the place of what had the name.
  void put(DirectoryEntry entry);
  void put(const std::string& name, const Entry& entry);
  void erase(const std::string& name);
  /// The file was heard of, whatever its names here are.
  void heard(const NodeId& node, const Attributes& attributes);

  /// The folder's, when this is exactly what it holds; 0: others have changed it since.
  Version version;

 private:
  void unlink(DirectoryEntry& entry);

  Entries entries_;
  std::set<std::pair<NodeTag, DirectoryEntry*>> by_node_;  // those that tell of one; it may have
                                                            // 65,000 names here
};

/// Names that a folder has not, as the server said when it was asked for them.
struct AbsentNames {
  std::unordered_map<std::string, transport::TimePoint> asked;
  Version version;  // of the folder at that time

  /// Of more than some thousand names the earlier ones are forgotten.
  void add(const std::string& name, const Version& folder, transport::TimePoint now);
};

/// Puts a listing together from its pages.
class ListingDraft {
 public:
  /// A page that was fetched with `cookie`. True: it was the last, and take() has it all.
  bool add(std::uint64_t cookie, const ReadDirectoryReply& page);
  Listing take() { return std::move(listing_); }

 private:
  Listing listing_;
  std::uint64_t next_ = 0;  // cookie the next page must have
};

/// The listings kept, in inodes, which are needed as long, and the bound on their memory.
class Listings {
 public:
  void keep(const std::shared_ptr<Inode>& directory, Listing listing);

 private:
  std::deque<std::shared_ptr<Inode>> kept_;  // oldest first
  std::size_t entries_ = 0;                  // in them, when they were kept
  std::deque<std::size_t> counts_;           // of each
};

}  // namespace rushfs::fs
