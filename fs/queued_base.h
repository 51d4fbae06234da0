// What the queue keeps of a file beside its changes, for the next process: what the file was before
// the first of them. docs/disk-format.md, "node".
#pragma once

#include <string>

#include "fs/inodes.h"

namespace rushfs::fs {

/// `unsent`: nothing of what is queued was ever sent. Empty: there is nothing to keep.
std::string encode_base(const Inode& inode, bool unsent);
/// What an earlier process knew of it.
void restore_base(Inode& inode, const std::string& base);

}  // namespace rushfs::fs
