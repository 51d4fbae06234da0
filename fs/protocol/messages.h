// What client and server say to each other about files: one struct per request and reply, exactly
// as docs/file-protocol.md lists them. Structs only; messages.cc is the one place that lays them
// out in bytes, for both directions from one description each.
//
// A decoded message may hold views (spans) into the buffer it was decoded from.
#pragma once

#include <array>
#include <boost/system/result.hpp>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "fs/protocol/extended_messages.h"
#include "fs/protocol/lock_messages.h"
#include "fs/protocol/message_types.h"
#include "fs/protocol/spans.h"

namespace rushfs::fs {

inline constexpr std::uint32_t kFileProtocolVersion = 2;

// ---- Attaching ----------------------------------------------------------------------------------

struct AttachReply {
  NodeId root;  // of the sub-folder that was asked for
  Attributes attributes;
  InstanceId instance;              // changes with every start of the server
  std::uint32_t max_read = 0;       // bytes in one Read
  std::uint32_t max_write = 0;      // bytes in one Write
  bool read_only = false;           // every change is answered EROFS
  bool squashed = false;            // everything belongs to the two ids below; chown gives EPERM
  std::uint32_t squash_uid = 0;     // meaningful when squashed
  std::uint32_t squash_gid = 0;
  std::uint64_t features = 0;       // of those offered, the ones the server has
  std::uint64_t applied_through = 0;  // highest number of this queue applied by this instance
};
struct Attach {
  using Reply = AttachReply;
  std::uint32_t version = kFileProtocolVersion;
  std::string export_name;
  std::string subpath;          // below the export's root, "" for all of it; `..` and links refused
  ClientId client;              // one per mount, persistent
  std::uint64_t incarnation = 0;  // random per start of the client; call numbers begin anew with it
  std::string hostname;         // for display
  std::uint64_t features = 0;   // what the client offers to use: bits of Feature (notices.h)
};

/// Orderly end: forget my call numbers and let go of the files I hold.
struct Detach {
  using Reply = EmptyReply;
};

// ---- Looking ------------------------------------------------------------------------------------

struct LookupReply {
  std::optional<Entry> entry;  // none: there is no such name (not an error)
  Attributes directory;
};
struct Lookup {
  using Reply = LookupReply;
  NodeId directory;
  std::string name;  // 1 to 255 bytes without '/' and NUL; "." and ".." allowed here, ".." at the
                     // root is the root
};

struct AttributesReply {
  Attributes attributes;
};
struct GetAttributes {
  using Reply = AttributesReply;
  NodeId node;
};

/// A program has read the node (docs/file-protocol.md): the server's disk may note the time.
struct Touch {
  using Reply = AttributesReply;
  NodeId node;
};

struct ReadlinkReply {
  std::string target;
  Attributes attributes;
};
struct Readlink {
  using Reply = ReadlinkReply;
  NodeId node;
};

struct DirectoryEntry {
  std::uint64_t cookie = 0;  // pass it to continue after this entry
  std::uint64_t inode = 0;
  std::uint8_t type = 0;     // DT_* of readdir(3)
  std::string name;          // "." and ".." are included, always without `entry`
  std::optional<Entry> entry;  // none: attributes not asked for, or gone since
};
struct ReadDirectoryReply {
  Attributes directory;
  bool end = false;  // nothing follows the last entry
  std::vector<DirectoryEntry> entries;
};
struct ReadDirectory {
  using Reply = ReadDirectoryReply;
  NodeId directory;
  std::uint64_t cookie = 0;      // 0: from the start
  std::uint32_t max_bytes = 0;   // of the reply; at most max_read; at least one entry is returned
  bool with_entries = true;      // node ids and attributes too
};

struct StatFsReply {
  std::uint64_t block_size = 0;
  std::uint64_t blocks = 0, blocks_free = 0, blocks_available = 0;  // in block_size
  std::uint64_t inodes = 0, inodes_free = 0, inodes_available = 0;
  std::uint32_t name_max = 255;
};
struct StatFs {
  using Reply = StatFsReply;
  NodeId node;
};

// ---- Opening and reading ------------------------------------------------------------------------

/// Beside what the client was told, only these parts of the file may differ from what it was when
/// the client heard of it last on this connection.
struct Untold {
  Moment as_of;  // or a little later
  Spans parts;   // none: only attributes
  bool operator==(const Untold&) const = default;
};
struct OpenReply {
  Attributes attributes;
  std::span<const std::uint8_t> head;
  std::uint64_t head_zeros = 0;  // bytes after it that are zero
  std::uint64_t tail_offset = 0;
  std::span<const std::uint8_t> tail;  // empty when head covers the file
  std::optional<Untold> untold = std::nullopt;  // as of ReadReply
};
/// Checks that a regular file is there and can be opened, and optionally brings its head and tail
/// in the same round trip. With `hold`, the file stays readable and writable for this client after
/// its last name is gone, until Release, Detach, or kHoldLease after it was last seen. Holding is a
/// yes or no per client and node, not a count. After a restart of the server (new instance) hold
/// again.
struct Open {
  using Reply = OpenReply;
  NodeId node;
  bool hold = false;
  std::uint32_t head_bytes = 0;  // head and tail together at most max_read
  std::uint32_t tail_bytes = 0;
};

struct Release {
  using Reply = EmptyReply;
  NodeId node;
};

struct ReadReply {
  Attributes attributes;
  bool end = false;  // what was asked reaches the end of the file
  std::span<const std::uint8_t> data;
  std::uint64_t zeros_before = 0;  // bytes from the offset to the data that are zero
  std::uint64_t zeros_after = 0;   // bytes after it; may go on beyond what was asked
  // None: the client was told of all that is known to have changed, or nobody can say.
  std::optional<Untold> untold = std::nullopt;
};
/// Of what is asked, the reply tells all, or all up to the end of the file.
struct Read {
  using Reply = ReadReply;
  NodeId node;
  std::uint64_t offset = 0;
  std::uint32_t length = 0;  // at most max_read
};

// ---- Queued changes -----------------------------------------------------------------------------

struct WriteReply {
  Change change;
};
struct Write {
  using Reply = WriteReply;
  NodeId node;
  QueuePosition position;
  std::uint64_t offset = 0;
  bool drop_set_id = false;  // the writer lacks CAP_FSETID: clear set-id bits as write(2) would
  std::span<const std::uint8_t> data;  // at most max_write
};

struct CommitReply {
  InstanceId instance;
  std::uint64_t through = 0;
  Attributes attributes;
};
/// Brings everything applied to the node to stable storage (also the name it was created under).
/// Answered after the operation `through` of this client on this node was applied, and the disk
/// has it. `through` 0: what is applied now.
struct Commit {
  using Reply = CommitReply;
  NodeId node;
  std::uint64_t through = 0;
  bool data_only = false;  // fdatasync(2) is enough
};

// ---- Changes that are waited for ----------------------------------------------------------------

struct SetAttributes {
  using Reply = ChangeReply;
  std::variant<CallNumber, QueuePosition> order;  // a call, or an operation of the queue
  NodeId node;
  std::optional<std::uint32_t> mode;  // permission and set-id bits only
  std::optional<std::uint32_t> uid, gid;
  std::optional<std::uint64_t> size;
  std::optional<TimeChange> atime, mtime;
  bool drop_set_id = false;  // with size: the caller lacks CAP_FSETID
};

struct Create {
  using Reply = EntryReply;
  CallNumber call;
  NodeId directory;
  std::string name;
  Caller caller;
  std::uint32_t mode = 0;  // permission bits before umask
  bool exclusive = false;
  bool truncate = false;
  bool hold = false;  // as in Open
};
struct MakeDirectory {
  using Reply = EntryReply;
  CallNumber call;
  NodeId directory;
  std::string name;
  Caller caller;
  std::uint32_t mode = 0;
};
struct MakeNode {
  using Reply = EntryReply;
  CallNumber call;
  NodeId directory;
  std::string name;
  Caller caller;
  std::uint32_t mode = 0;  // with the type: S_IFREG, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK
  std::uint32_t device_major = 0, device_minor = 0;
};
struct Symlink {
  using Reply = EntryReply;
  CallNumber call;
  NodeId directory;
  std::string name;
  Caller caller;
  std::string target;
};
struct Link {
  using Reply = EntryReply;
  CallNumber call;
  NodeId node;  // what gets another name
  NodeId directory;
  std::string name;
};

struct RemoveReply {
  Change directory;
  std::optional<Entry> removed;  // what had the name, where it still exists (other names, held)
};
struct Unlink {
  using Reply = RemoveReply;
  CallNumber call;
  NodeId directory;
  std::string name;
  bool hold = false;  // this client has it open: as in Open
};
struct RemoveDirectory {
  using Reply = RemoveReply;
  CallNumber call;
  NodeId directory;
  std::string name;
};

/// As renameat2(2); a whiteout is what overlay file systems leave under the old name.
enum class RenameMode : std::uint8_t {
  replace = 0,
  no_replace = 1,
  exchange = 2,
  whiteout = 3,
  no_replace_whiteout = 4
};
/// What had the new name loses it.
constexpr bool replaces(RenameMode mode) {
  return mode == RenameMode::replace || mode == RenameMode::whiteout;
}
struct RenameReply {
  Change from_directory, to_directory;  // the same twice when they are one
  Entry moved;
  std::optional<Entry> replaced;  // what had the new name, where it still exists (also exchanged)
};
struct Rename {
  using Reply = RenameReply;
  CallNumber call;
  NodeId from_directory;
  std::string from_name;
  NodeId to_directory;
  std::string to_name;
  RenameMode mode = RenameMode::replace;
  bool hold_replaced = false;  // this client has the file open that loses its name
};

// ---- Measuring ----------------------------------------------------------------------------------

struct MeasureReply {
  std::span<const std::uint8_t> data;
};
/// Memory to memory, for `rushfs bench`; needs no Attach.
struct Measure {
  using Reply = MeasureReply;
  std::uint32_t reply_bytes = 0;  // at most kMaxTransfer
  std::span<const std::uint8_t> data;
};

// ---- Bytes --------------------------------------------------------------------------------------

/// Any request; the order of the alternatives is not on the wire.
using Request = std::variant<Attach, Detach, Lookup, GetAttributes, Readlink, ReadDirectory, StatFs,
                             Open, Release, Read, Write, Commit, SetAttributes, Create,
                             MakeDirectory, MakeNode, Symlink, Link, Unlink, RemoveDirectory,
                             Rename, Measure, ListXattrs, GetXattr, SetXattr, Allocate, DataRanges,
                             CopyRange, Append, CreateUnnamed, FileFlags, Touch, Lock,
                             TestLock, CancelLock>;

/// The request as bytes. Defined for every alternative of Request.
template <class R>
Buffer encode(const R& request);

/// The request, which carries a number, made anew.
Buffer with_lowest_unanswered(std::span<const std::uint8_t> request, std::uint64_t lowest);

/// Outcome of decode_request(): a request; or "unknown operation" (answer ENOSYS, a newer client
/// asks); or "malformed" (the peer's fault: close the connection).
enum class DecodeError : std::uint8_t { unknown_operation, malformed };
std::variant<Request, DecodeError> decode_request(std::span<const std::uint8_t> message);

/// A successful reply as bytes. Defined for every Reply type.
template <class Reply>
Buffer encode_reply(const Reply& reply);
/// A failed one. `error` is a Linux errno, not 0.
Buffer encode_error(int error);

/// The reply to an R. Errors: the errno the server answered; EBADMSG for what no correct server
/// sends.
template <class Reply>
boost::system::result<Reply> decode_reply(std::span<const std::uint8_t> message);

/// A ReadReply whose data part is filled in place: `bytes` ends in room for the data, which starts
/// at `data_at`. Call finish_read_reply with the reply, whose data lies in that room.
struct ReadReplyDraft {
  Buffer bytes;
  std::size_t data_at = 0;
  std::span<std::uint8_t> room() { return std::span(bytes).subspan(data_at); }
};
ReadReplyDraft begin_read_reply(std::uint32_t length);
Buffer finish_read_reply(ReadReplyDraft draft, const ReadReply& reply);
/// To an encoded ReadReply or OpenReply that has none.
void add_untold(Buffer& reply, const Untold& untold);

/// The operation a message begins with, for logs and statistics; "?" if unknown.
const char* operation_name(std::span<const std::uint8_t> message);

}  // namespace rushfs::fs
