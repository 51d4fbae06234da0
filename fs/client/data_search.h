// Where a file has data and where holes, for lseek(2): what the server told of its own, with what
// is queued over it. docs/semantics.md, "Space and holes". Owner: the file loop.
#pragma once

#include <cstdint>
#include <memory>

#include "fs/client/client_parts.h"
#include "fs/client/known.h"
#include "fs/client/reply.h"
#include "fs/client/volume_types.h"

namespace rushfs::fs {

class DataSearch {
 public:
  DataSearch(const ClientParts& parts, Known& known) : parts_(parts), known_(known) {}

  /// The first byte from `offset` on that is `what`. ENXIO: there is none. There is a hole behind
  /// every file (lseek(2)).
  void seek(const InodeRef& inode, std::uint64_t offset, Seek what, Reply<std::uint64_t> reply);

 private:
  struct Walk;

  void search(const InodeRef& inode, std::uint64_t offset, Seek what, Reply<std::uint64_t> reply);
  void with_ranges(const InodeRef& inode, std::uint64_t offset, Reply<void> reply);
  void go_on(std::shared_ptr<Walk> walk);

  ClientParts parts_;
  Known& known_;
};

}  // namespace rushfs::fs
