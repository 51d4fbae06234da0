// What the client knows of each file, by the number it has given the kernel.
//
// Two views of a file's attributes: the server's, as last heard, and ours, which adds what waits
// in the write queue. Programs are shown ours until the queue has drained. Owner: the file loop.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "cache/operation.h"
#include "fs/client/kernel_pages.h"
#include "fs/client/listing.h"
#include "fs/client/remote.h"
#include "fs/loop_time.h"
#include "fs/protocol/message_types.h"
#include "fs/protocol/messages.h"
#include "fs/protocol/notices.h"
#include "fs/recent_map.h"

namespace rushfs::fs {

/// The kernel's name for a file of this mount; never reused.
struct NodeNumber {
  std::uint64_t value = 0;
  auto operator<=>(const NodeNumber&) const = default;
};
inline constexpr NodeNumber kRootNode{1};  // FUSE_ROOT_ID

/// What queued operations make of a file's attributes.
struct LocalChanges {
  std::uint64_t operations = 0;  // appended and not yet known to be on stable storage
  cache::SizeEffect size;
  bool zeros = false;            // some of it was made zeros
  std::uint64_t allocated = 0;   // bytes that may take space: written, or allocated
  std::optional<std::uint32_t> mode, uid, gid;
  std::optional<std::uint32_t> permissions;  // the nine bits, of an ACL set after `mode`
  std::optional<Timestamp> atime, mtime;
  Timestamp ctime;
  std::uint64_t generation = 0;  // counts changes of this record
  /// Extended attributes set, or removed (no value), by queued operations.
  std::map<std::string, std::optional<std::string>> xattrs;
  bool unstamped = false;  // written to since a time was queued: the last close queues `mtime`

  void wrote(std::uint64_t offset, std::uint64_t length, Timestamp now);
  void set(const SetAttributes& change, Timestamp now);
  void set(const SetXattr& change, Timestamp now);
  void set(const Allocate& change, Timestamp now);
};

/// A file's extended attributes at a version of it; no value: too long, to be asked for.
struct KnownXattrs {
  Version version;
  std::map<std::string, std::optional<std::string>> values;
};

/// Where the server's file has data at a version of it, as DataRangesReply.
struct KnownRanges {
  Version version;
  std::uint64_t from = 0, known_to = 0;
  std::vector<Span> ranges;
};

/// A folder, and a name in it.
using PlaceName = std::pair<NodeNumber, std::string>;

struct Extent;

/// What is in memory or on local disk of a file's content, at `Inode::server.version`. Kept by
/// Reader.
struct Content {
  std::map<std::uint64_t, std::shared_ptr<Extent>> extents;  // by offset, without overlap
  std::unordered_set<std::uint64_t> on_disk;  // blocks in the block cache, as far as we know
  bool disk_known = false;
  std::uint64_t drops = 0;  // how often some of it was found not to be good any more

  bool maybe_on_disk(std::uint64_t block) const { return !disk_known || on_disk.contains(block); }
};

struct Inode {
  NodeNumber number;
  NodeId node;
  Attributes server;                      // as last heard; version 0 and mode 0: never
  transport::TimePoint validated{};       // when that was
  std::uint64_t lookups = 0;              // the kernel's references
  std::uint32_t ended = 0;                // how often the kernel was told that the folder is gone
  std::uint32_t opens = 0, writers = 0;   // handles, and what is being opened
  bool held = false;                      // the server keeps it for us without a name
  std::optional<CallId> releasing;        // we told it to stop, and it has not answered
  transport::TimePoint closed_at{};       // when the last handle went, or the last name after it
  bool unlinked = false;                  // we removed its last name
  std::uint32_t removals = 0;             // of a name of it, sent by us; what became of it unknown
  bool suspect = false;                   // changed by others since we last asked
  Moment told_at;                         // `server` is of then, or a little later; 0: not known
  bool abandoned = false;                 // we removed it, and nobody has it open: what is queued
                                          // is of no use
  bool rescuing = false;                  // what is queued moves to a file of its own
  bool base_unknown = false;              // a change of ours may have been applied, or undone by a
                                          // restart, since `server` was heard
  std::optional<InstanceId> made_at;      // by us, at this run of the server; its disk may not have
                                          // the name yet
  std::shared_ptr<Inode> made_again;      // the server has lost it: what it is now
  bool base_kept = false;                 // the queue has it: nothing queued was ever sent
  bool kernel_has_pages = false;          // the kernel may have some in its cache
  std::optional<KernelPages> kernel_page_bytes;  // from the first lock to the last close
  bool kernel_pages_stale = false;        // changed by somebody else since the last open
  std::uint32_t changes_in_flight = 0;    // sent by us, not answered
  std::uint64_t epoch = 0;                // of the last change that was answered or noticed
  std::uint64_t own_epoch = 0;            // of the last of ours
  std::uint64_t shown_epoch = 0;          // of the last reply that was shown, though not believed
  LocalChanges local;
  Content content;
  std::optional<Timestamp> read_at;       // by a program here; until the server has a time for it
  bool read_untold = false;               // and the server is still to be told
  std::optional<KnownXattrs> xattrs;      // of the server's, when somebody asked
  std::optional<KnownRanges> data_ranges;
  std::uint64_t made_there = 0;           // changes at the server, past the queue
  std::uint64_t made_there_kept = 0;      // of these, on its disk
  std::uint64_t made_there_asked = 0;     // of these, asked to be brought there
  std::uint64_t last_copy = 0;            // which of them was one
  std::uint32_t losses = 0;               // how often something of them, or the like, was not
  std::uint32_t losses_told = 0;          // of these, to anybody
  std::shared_ptr<Listing> listing;       // of a folder
  AbsentNames absent;                     // from it
  bool listing_asked = false;             // for a name that was looked for in vain
  bool crowded = false;                   // too many names for that
  std::optional<std::string> target;      // of a symlink: never changes
  std::deque<Version> our_versions;       // earlier ones that only our own changes led away from
  NodeNumber parent;                      // where it was seen last, with `name`: for people
  std::string name;
  std::set<const PlaceName*> names;       // all that Inodes knows of it

  bool known() const { return server.mode != 0; }
  bool regular() const;
  bool directory() const;
  /// And nobody can have given it one.
  bool nameless() const { return unlinked && !suspect; }
  /// `listing` is what the folder held when we last heard of it.
  bool listed() const { return listing && listing->version == server.version; }
  void forget_names() { listing.reset(), absent = {}; }
  /// The server changed what it holds, and the queue has not all of it: it cannot be made again
  /// from that.
  void changed_there() { ++made_there, made_at.reset(); }
  /// As programs see it.
  Attributes view() const;
  std::uint64_t size() const { return local.size.apply(server.size); }
};
using InodeRef = std::shared_ptr<Inode>;

/// A name as found. `number` 0: there is nothing of this name, which is known for kValidity too.
/// Each one given out with a number counts as a reference, until Inodes::forget().
struct NodeReference {
  NodeNumber number;
  Attributes attributes;
  std::uint32_t ended = 0;  // Inode::ended
};
/// For the kernel once more. Null: there is nothing of the name.
NodeReference reference_to(const InodeRef& inode);

class Inodes {
 public:
  /// A kernel that is short of memory forgets files which programs use again; what is known of
  /// them must be there when the link is not. About 12 MiB.
  static constexpr std::size_t kRemembered = 8192;

  explicit Inodes(const LoopTime& time) : time_(time) {}

  void set_root(const NodeId& node, const Attributes& attributes);
  /// Nothing for a number the kernel cannot know. Of a lost file that was made again: the new one.
  InodeRef find(NodeNumber number) const;
  InodeRef find(const NodeId& node) const;
  /// Nothing for what we were never told of, or have given up.
  InodeRef find(NodeTag tag) const;
  /// The inode of this node id, made when new; `attributes` are not looked at.
  InodeRef get(const NodeId& node);
  /// Also one that was given up: somebody may have a handle of it (name_to_handle_at(2)). Nothing
  /// for what was given up long ago.
  InodeRef recall(NodeNumber number);
  /// What was last seen under this name; nothing if unknown.
  InodeRef child(NodeNumber parent, const std::string& name) const;
  /// `asked`: the server said so when it was asked, and nothing has changed the folder since.
  void set_name(Inode& inode, NodeNumber parent, const std::string& name, bool asked = false);
  /// Since when the name is as the server said; the beginning of time: nobody asked.
  transport::TimePoint named_since(NodeNumber parent, const std::string& name) const;
  /// The name is gone, or means something else.
  void drop_name(NodeNumber parent, const std::string& name);
  /// Where people find it: "reel/clip.mov".
  std::string path(const Inode& inode) const;
  /// Looks for inodes that neither the kernel, nor a handle, nor the queue, nor a call needs, and
  /// gives up all but the last kRemembered of them. `let_go` is told of each, perhaps twice.
  void sweep(const std::function<void(Inode&)>& let_go);
  /// The kernel let go of `count` references.
  void forget(NodeNumber number, std::uint64_t count);
  std::size_t size() const { return by_number_.size(); }
  void each(const std::function<void(Inode&)>& visit);

 private:
  InodeRef numbered(NodeNumber number) const;
  bool needed(const InodeRef& inode) const;
  /// False: it is needed.
  bool give_up(NodeNumber number, const std::function<void(Inode&)>& let_go);
  NodeNumber number_for(const NodeId& node);

  static constexpr std::size_t kGivenUp = 16384;

  const LoopTime& time_;
  std::uint64_t next_ = kRootNode.value + 1;
  RecentMap<std::uint64_t, NodeId> given_up_{kGivenUp};
  RecentMap<NodeId, NodeNumber> given_up_numbers_{kGivenUp};  // the same the other way round
  std::unordered_map<std::uint64_t, InodeRef> by_number_;
  std::unordered_map<NodeId, InodeRef> by_node_;
  struct Named {
    NodeNumber number;
    transport::TimePoint since{};
  };
  std::unordered_map<NodeTag, std::weak_ptr<Inode>> by_tag_;
  std::map<PlaceName, Named> by_name_;  // of what is in by_number_
  std::deque<NodeNumber> candidates_;  // forgotten; looked at by sweep()
  struct Remembered {};
  RecentMap<std::uint64_t, Remembered> remembered_{kRemembered};  // of these, found not needed
};

Timestamp wall_time(const LoopTime& time);

}  // namespace rushfs::fs
