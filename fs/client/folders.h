// Folders that programs have open. They are listed a page at a time, with the attributes of every
// entry, and the next page is fetched while the one before is read. Without a link a folder is
// shown as it was last listed. Owner: the file loop.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>

#include "fs/client/access_times.h"
#include "fs/client/known.h"
#include "fs/client/reply.h"
#include "fs/client/volume_types.h"

namespace rushfs::fs {

class Folders {
 public:
  Folders(Remote& remote, Known& known, AccessTimes& access_times)
      : remote_(remote), known_(known), access_times_(access_times) {}

  /// `max_read`: bytes of one reply.
  void attached(std::uint32_t max_read) { max_read_ = max_read; }

  void open(NodeNumber node, Reply<HandleNumber> reply);
  /// Entries after the one whose cookie is `cookie`; 0 begins anew.
  void read(HandleNumber handle, std::uint64_t cookie, Reply<Listed> reply);
  /// The entry of a listing as found, counted as a reference. None: "." or "..", or to be looked up
  /// by its name, for it may have changed since. `last_known`: of the listing it is from.
  std::optional<NodeReference> enter(NodeNumber directory, const DirectoryEntry& entry,
                                     bool last_known);
  void release(HandleNumber handle);

 private:
  struct Directory;

  void fetch_page(const std::shared_ptr<Directory>& directory, std::uint64_t cookie);
  void serve(const std::shared_ptr<Directory>& directory);
  bool serve_last_known(Directory& directory);

  Remote& remote_;
  Known& known_;
  AccessTimes& access_times_;
  std::uint32_t max_read_ = kDefaultTransfer;
  std::uint64_t next_ = 1;
  std::unordered_map<std::uint64_t, std::shared_ptr<Directory>> directories_;
};

}  // namespace rushfs::fs
