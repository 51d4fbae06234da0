// What a folder held when it was last listed, with our own changes since: what can be told of its
// names without the server. Owner: the file loop.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <unordered_map>

#include "fs/messages.h"
#include "transport/units.h"

namespace rushfs::fs {

struct Inode;

struct Listing {
  std::unordered_map<std::string, DirectoryEntry> entries;  // all of them
  /// The folder's, when this is exactly what it holds; 0: others have changed it since.
  Version version;

  void add(const std::string& name, const Entry& entry);
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

/// The listings kept, in inodes, and the bound on their memory.
class Listings {
 public:
  void keep(const std::shared_ptr<Inode>& directory, Listing listing);

 private:
  std::deque<std::weak_ptr<Inode>> kept_;  // oldest first
  std::size_t entries_ = 0;                // in them, when they were kept
  std::deque<std::size_t> counts_;         // of each
};

}  // namespace rushfs::fs
