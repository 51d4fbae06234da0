// What somebody else did to something the kernel knows, and programs may be watching.
#pragma once

#include <string>

#include "fs/client/inodes.h"

namespace rushfs::fs {

struct RemoteEvent {
  enum class What : std::uint8_t { created, changed, attributes, removed, renamed };
  What what = What::created;
  InodeRef node;
  InodeRef folder;  // where it is, or was
  std::string name;
  // renamed: to where, and what had the name before, if anything
  InodeRef to_folder;
  std::string to_name;
  InodeRef replaced;
};

}  // namespace rushfs::fs
