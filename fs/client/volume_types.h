// What Volume and those who use it say to each other.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "fs/client/inodes.h"
#include "fs/protocol/messages.h"

namespace rushfs::fs {

struct HandleNumber {
  std::uint64_t value = 0;
  auto operator<=>(const HandleNumber&) const = default;
};

struct OpenFlags {
  bool read = false, write = false;
  bool append = false;    // each write goes to the end
  bool truncate = false;
  bool exclusive = false; // create only
  bool drop_set_id = false;  // changing content takes set-id bits away: the caller is no root
  bool sync = false;      // O_SYNC, O_DSYNC: a write is answered when the server has it on disk
  bool untouched = false; // O_NOATIME: what is read leaves no access time
};
struct Opened {
  HandleNumber handle;
  bool keep_pages = false;  // what the kernel has cached of the file is still good
  /// Writes must come in one piece each: through its cache the kernel splits them at pages.
  bool whole_writes = false;
};
struct Created {
  NodeReference found;
  Opened opened;
};

/// What a change of content by somebody else than root leaves of a mode; none: all of it.
std::optional<std::uint32_t> without_set_id(std::uint32_t mode);

/// How the kernel reads and writes: by its cached pages, past them, or since a program has changed
/// them through a mapping.
enum class Through : std::uint8_t { pages, nothing, mapping };

/// Entries of a folder, from `first` on; the page may end before the folder does. Empty: the end.
struct Listed {
  std::shared_ptr<const std::vector<DirectoryEntry>> page;
  std::size_t first = 0;
  bool last_known = false;  // the server could not be asked
};

/// What lseek(2) looks for.
enum class Seek : std::uint8_t { data, hole };

/// What of a file setattr() changes. Size, mode ... as in SetAttributes.
using AttributeChange = SetAttributes;

}  // namespace rushfs::fs
