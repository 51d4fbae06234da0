// What the queue keeps of a file beside its changes, for the next process: what the file was before
// the first of them, and where they are being moved to. docs/disk-format.md, "node".
#pragma once

#include <optional>
#include <string>

#include "fs/client/inodes.h"

namespace rushfs::fs {

/// A file to which all that is queued for another is being copied.
struct BegunCopy {
  NodeId node;
  std::string name;  // in its folder
  std::string base;  // its own, see encode_base()
};

/// `unsent`: nothing of what is queued was ever sent. Empty: there is nothing to keep.
std::string encode_base(const Inode& inode, bool unsent);
std::string encode_base(const Inode& inode, const BegunCopy& copy);
/// What an earlier process knew of it.
std::optional<BegunCopy> restore_base(Inode& inode, std::string_view base);

}  // namespace rushfs::fs
