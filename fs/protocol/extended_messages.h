// Messages about what goes beyond names, bytes and the classic attributes: extended attributes,
// space and holes, copies within the server, appending, files without a name, file flags.
// Operations 32 to 40 of docs/file-protocol.md. Included through fs/protocol/messages.h.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "fs/protocol/message_types.h"
#include "fs/protocol/spans.h"

namespace rushfs::fs {

// ---- Extended attributes ------------------------------------------------------------------------

inline constexpr std::size_t kMaxXattrName = 255;      // bytes; XATTR_NAME_MAX
inline constexpr std::size_t kMaxXattrValue = 65'536;  // bytes; XATTR_SIZE_MAX
/// Values together in one ListXattrs; more are fetched one by one.
inline constexpr std::size_t kMaxXattrsListed = 256u << 10;  // bytes

struct Xattr {
  std::string name;                  // with its namespace: "user.", "security.", "system." ...
  std::optional<std::string> value;  // none: did not fit, ask with GetXattr
};
struct ListXattrsReply {
  Attributes attributes;
  std::vector<Xattr> xattrs;
};
/// All of a file's extended attributes, with their values. ENOTSUP: its file system has none.
struct ListXattrs {
  using Reply = ListXattrsReply;
  NodeId node;
};

struct GetXattrReply {
  Attributes attributes;
  std::string value;
};
/// ENODATA: the file has none of this name.
struct GetXattr {
  using Reply = GetXattrReply;
  NodeId node;
  std::string name;
};

enum class XattrMode : std::uint8_t { any = 0, create = 1, replace = 2 };
/// As setxattr(2), and removexattr(2) when there is no value.
struct SetXattr {
  using Reply = ChangeReply;
  std::variant<CallNumber, QueuePosition> order;
  NodeId node;
  std::string name;
  std::optional<std::string> value;
  XattrMode mode = XattrMode::any;
};

// ---- Space and holes ----------------------------------------------------------------------------

/// As fallocate(2); `mode` is its mode.
struct Allocate {
  using Reply = ChangeReply;
  std::variant<CallNumber, QueuePosition> order;
  NodeId node;
  std::uint32_t mode = 0;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

inline constexpr std::uint32_t kMaxDataRanges = 16'384;
struct DataRangesReply {
  Attributes attributes;
  std::uint64_t known_to = 0;  // between the ranges, up to here, are holes; what follows is unknown
  std::vector<Span> ranges;
};
/// Where a file has data, from `offset` on: at most `count` ranges.
struct DataRanges {
  using Reply = DataRangesReply;
  NodeId node;
  std::uint64_t offset = 0;
  std::uint32_t count = 0;
};

// ---- Copies and appending -----------------------------------------------------------------------

struct CopyRangeReply {
  std::uint64_t copied = 0;  // 0: `from_offset` is at or past the end
  Change change;             // of the node copied to
};
/// As copy_file_range(2). Less may be copied than asked for.
struct CopyRange {
  using Reply = CopyRangeReply;
  CallNumber call;
  NodeId from;
  std::uint64_t from_offset = 0;
  NodeId to;
  std::uint64_t to_offset = 0;
  std::uint64_t length = 0;
};

struct AppendReply {
  Change change;
  std::optional<std::uint64_t> offset;  // where the data went; none: applied before, not known now
};
/// Data at the end of the file, wherever that is when it is applied; in one piece or not at all.
struct Append {
  using Reply = AppendReply;
  NodeId node;
  QueuePosition position;
  std::uint64_t expected = 0;  // where the client believed the end to be
  bool repeated = false;       // another instance may have applied it: look for it there first
  std::span<const std::uint8_t> data;
};

// ---- Files without a name, flags ----------------------------------------------------------------

/// A file without a name, as O_TMPFILE, held by the client. Link can give it one.
struct CreateUnnamed {
  using Reply = EntryReply;
  CallNumber call;
  NodeId directory;
  Caller caller;
  std::uint32_t mode = 0;
};

struct FileFlagsReply {
  std::uint32_t flags = 0;
  Change change;
};
/// FS_IOC_GETFLAGS of ioctl_iflags(2), after FS_IOC_SETFLAGS where `set` is there. ENOTTY: the file
/// system has none.
struct FileFlags {
  using Reply = FileFlagsReply;
  CallNumber call;
  NodeId node;
  std::optional<std::uint32_t> set;
};

}  // namespace rushfs::fs
