// Extended attributes, ACLs among them. Those of a file are asked for together and kept with its
// version; that a file has none is known from its attributes. Changes go through the queue where
// the file has something in it, else to the server at once. docs/semantics.md, "Extended attributes
// and ACLs". Owner: the file loop.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "fs/client/change_log.h"
#include "fs/client/known.h"
#include "fs/client/reply.h"

namespace rushfs::fs {

/// Errors are those of getxattr(2) and its kin.
class Xattrs {
 public:
  Xattrs(Remote& remote, Known& known, ChangeLog& log)
      : remote_(remote), known_(known), log_(log) {}

  void get(const InodeRef& inode, std::string name, Reply<std::string> reply);
  void list(const InodeRef& inode, Reply<std::vector<std::string>> reply);
  /// No value: removes it.
  void set(const InodeRef& inode, std::string name, std::optional<std::string> value,
           XattrMode mode, Reply<void> reply);

 private:
  void with_xattrs(const InodeRef& inode, Reply<void> reply);
  void set_at_server(const InodeRef& inode, SetXattr change, Reply<void> reply);
  void queue(const InodeRef& inode, SetXattr change, Reply<void> reply);

  Remote& remote_;
  Known& known_;
  ChangeLog& log_;
  std::set<std::string> namespaces_;  // that the server's disk is known to have
};

}  // namespace rushfs::fs
