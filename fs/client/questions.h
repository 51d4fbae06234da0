// Questions about files and names: answered from what is known where that may be believed, else by
// the server; and by what was known before, where the server cannot be asked. docs/semantics.md,
// "Round trips" and "Without a link". Owner: the file loop.
#pragma once

#include <optional>
#include <string>

#include "fs/client/access_times.h"
#include "fs/client/known.h"
#include "fs/client/reply.h"

namespace rushfs::fs {

/// ESTALE from all of them: no such node.
class Questions {
 public:
  Questions(Remote& remote, Known& known, AccessTimes& access_times)
      : remote_(remote), known_(known), access_times_(access_times) {}

  /// What it finds counts as a reference.
  void lookup(NodeNumber parent, std::string name, Reply<NodeReference> reply);
  /// A path from the root, name by name. The answer is no reference: good for this turn.
  void find_path(std::string path, Reply<NodeNumber> reply);
  /// With what is queued over them.
  void attributes(NodeNumber node, Reply<Attributes> reply);
  /// Asked behind what programs wait for, however much of it is known: so that the server promises
  /// to tell of its changes.
  void renew(const InodeRef& inode);
  /// Of a symlink.
  void target(NodeNumber node, Reply<std::string> reply);
  /// Of the server's disk.
  void space(NodeNumber node, Reply<StatFsReply> reply);

 private:
  struct PathWalk;

  void find_again(NodeNumber node, Reply<NodeReference> reply);
  void fetch_listing(const InodeRef& directory);

  Remote& remote_;
  Known& known_;
  AccessTimes& access_times_;
  std::optional<StatFsReply> space_;  // as last heard
};

}  // namespace rushfs::fs
