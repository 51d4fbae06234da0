// So that an open file outlives its name, the server holds it for us: from open() until a moment
// after the last close. docs/semantics.md, "A file without a name"; docs/file-protocol.md, Open and
// Release. Owner: the file loop.
#pragma once

#include <memory>
#include <vector>

#include "fs/client/change_log.h"
#include "fs/client/client_parts.h"
#include "fs/client/known.h"
#include "fs/client/reader.h"
#include "fs/client/reply.h"
#include "fs/client/writeback.h"

namespace rushfs::fs {

class Holds {
 public:
  Holds(const ClientParts& parts, Known& known, Reader& reader, ChangeLog& log,
        Writeback& writeback)
      : parts_(parts), known_(known), reader_(reader), log_(log), writeback_(writeback) {}

  /// Asks the server to hold the file, and how it is. `bring_bytes`: with its head, so that opening
  /// and the first read cost one round trip; and the tail of a file whose index may be there.
  void open(const InodeRef& inode, bool bring_bytes, Patience patience, Reply<void> reply);
  /// The same, and nobody waits for it.
  void hold(const InodeRef& inode);
  /// It is not open any more, or has lost its last name since, or the kernel has forgotten it.
  void closed(const InodeRef& inode);
  /// The mount is about to end: what has no name is not waited for.
  void leave();
  /// The same, and the server does not hold it.
  void abandon(Inode& inode);
  /// At every attach: a restarted server has forgotten whom it holds files for; others never heard
  /// of what was opened without a link.
  void attached(bool restarted);
  /// About once a second.
  void tick(bool connected);

 private:
  void let_go(const InodeRef& inode);
  void release(const InodeRef& inode);

  ClientParts parts_;
  Known& known_;
  Reader& reader_;
  ChangeLog& log_;
  Writeback& writeback_;
  std::vector<std::weak_ptr<Inode>> closed_;  // a moment ago, held by the server
};

}  // namespace rushfs::fs
