// The seam to what is exported. A Store runs blocking calls; Export decides which, when and in what
// order, and hands each to a worker.
//
// Threads: every function may be called from several workers at once. A Store keeps no state that
// a call changes, but for what Node and StoreFile objects own. Errors are errno values.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fs/protocol/messages.h"
#include "fs/result.h"

namespace rushfs::fs {

/// A file, directory or anything else of the store, held so that it cannot become another one.
class Node {
 public:
  Node(NodeId id, std::uint32_t type) : id_(std::move(id)), type_(type) {}
  virtual ~Node() = default;
  const NodeId& id() const { return id_; }
  std::uint32_t type() const { return type_; }  // S_IFMT part of the mode

 private:
  NodeId id_;
  std::uint32_t type_;
};
using NodeRef = std::shared_ptr<const Node>;

/// A regular file, open for reading or for writing.
class StoreFile {
 public:
  virtual ~StoreFile() = default;
};
using FileRef = std::shared_ptr<StoreFile>;

struct Found {
  NodeRef node;
  Attributes attributes;
};

/// Names from the export's root down to a node.
using NamePath = std::vector<std::string>;

/// What SetAttributes asks for, without its order.
struct AttributeChanges {
  std::optional<std::uint32_t> mode, uid, gid;
  std::optional<std::uint64_t> size;
  std::optional<TimeChange> atime, mtime;
  bool drop_set_id = false;

  /// As chown(2) of nobody: the change time moves all the same.
  bool nothing() const { return !mode && !uid && !gid && !size && !atime && !mtime; }
};

/// A new name in a directory.
struct NewName {
  const Node& directory;
  const std::string& name;
  Caller caller;
};

/// Where a node is.
struct NodePlace {
  NodeId directory;
  std::string name;
  NodeId node;
};

struct OrphanFile {
  std::string name;  // in the store's place for orphans
  NodeRef node;
};

/// Something that a program on this machine did to a node, beside us.
struct StoreChange {
  NodeId node;
  std::string name;  // not empty: `node` is a directory, and this is the name in it that changed
};

/// Tells of such changes. Owner: the file loop.
class StoreWatch {
 public:
  virtual ~StoreWatch() = default;
  /// Readable when there is something to take.
  virtual int descriptor() const = 0;
  /// None: there was more than could be remembered, anything may have changed.
  virtual std::optional<std::vector<StoreChange>> take() = 0;
};

class Store {
 public:
  virtual ~Store() = default;

  /// False: what is exported is gone (directory removed, disk unplugged) or replaced; every node of
  /// this Store is void, and reopen() is the way on.
  virtual bool present() const = 0;
  /// A new Store on what is exported now. Errors: it is still gone.
  virtual Result<std::shared_ptr<const Store>> reopen() const = 0;
  /// Errors: such changes cannot be told here.
  virtual Result<std::unique_ptr<StoreWatch>> watch() const = 0;
  virtual Result<Found> root() const = 0;
  virtual const NodeId& root_id() const = 0;

  /// The node of an id. `path`: where it was last seen, for stores that cannot open by id. ESTALE:
  /// gone, not beneath the root, or not an id of ours.
  virtual Result<NodeRef> resolve(const NodeId& id, const NamePath* path) const = 0;
  /// resolve() needs paths.
  virtual bool needs_paths() const = 0;
  /// For stores that need paths: searches the tree for nodes whose paths nobody knows, such as
  /// after a restart. For each one found, its place and those of the directories above it.
  virtual std::vector<NodePlace> find(const std::vector<NodeId>& wanted) const = 0;
  /// ESTALE if the node is not beneath the root (any more).
  virtual Result<void> check_inside(const Node& node) const = 0;

  // Looking. Names are single components; "." and ".." only in lookup().
  virtual Result<Attributes> attributes(const Node& node) const = 0;
  virtual Result<Found> lookup(const Node& directory, const std::string& name) const = 0;
  virtual Result<ReadDirectoryReply> list(const ReadDirectory& request,
                                          const Node& directory) const = 0;
  virtual Result<std::string> readlink(const Node& node) const = 0;
  virtual Result<StatFsReply> statfs(const Node& node) const = 0;
  /// Reads it as a program would, which may give it a new access time. No other function does,
  /// where this process may read without.
  virtual void touch(const Node& node) const = 0;

  // Data. EISDIR, EINVAL: not a regular file. Devices, FIFOs and sockets are never opened.
  virtual Result<FileRef> open(const Node& node, bool for_writing) const = 0;
  /// Short only at the end of the file.
  virtual Result<std::size_t> read(StoreFile& file, std::uint64_t offset,
                                   std::span<std::uint8_t> into) const = 0;
  /// All of it or an error; on an error some of it may have been written.
  virtual Result<void> write(StoreFile& file, std::uint64_t offset,
                             std::span<const std::uint8_t> data, bool drop_set_id) const = 0;
  /// Starts bringing the data to the disk, without waiting: before many sync() calls. Errors: as of
  /// sync().
  virtual Result<void> start_sync(StoreFile& file) const = 0;
  /// The same for a range that was just written. Waits for what was written in sequence well before
  /// it, so that a disk slower than the writer is felt by him and not only by whoever syncs; what
  /// went wrong there is for sync() to tell.
  virtual Result<void> write_out(StoreFile& file, std::uint64_t offset,
                                 std::uint64_t length) const = 0;
  /// To stable storage: the file, and with `name` also the directory its name is in. `file` may be
  /// null for what is not a regular file. An error is told once: what was written before it may be
  /// lost, and later calls know nothing of that.
  virtual Result<void> sync(const Node& node, StoreFile* file, bool data_only, bool name) const = 0;
  /// False: the file has lost its last name.
  virtual bool has_name(const Node& node) const = 0;

  // Changes. `file`: the node open for writing, for `size`; may be null otherwise.
  virtual Result<void> set_attributes(const Node& node, StoreFile* file,
                                      const AttributeChanges& changes) const = 0;
  /// Always a new file, open for writing; EEXIST if the name is taken.
  struct Created {
    Found found;
    FileRef file;
  };
  virtual Result<Created> create(const NewName& where, std::uint32_t mode) const = 0;
  virtual Result<Found> make_directory(const NewName& where, std::uint32_t mode) const = 0;
  virtual Result<Found> make_node(const NewName& where, std::uint32_t mode, std::uint32_t major,
                                  std::uint32_t minor) const = 0;
  virtual Result<Found> symlink(const NewName& where, const std::string& target) const = 0;
  virtual Result<void> link(const Node& node, const Node& directory,
                            const std::string& name) const = 0;
  virtual Result<void> unlink(const Node& directory, const std::string& name) const = 0;
  virtual Result<void> remove_directory(const Node& directory, const std::string& name) const = 0;
  virtual Result<void> rename(const Node& from_directory, const std::string& from_name,
                              const Node& to_directory, const std::string& to_name,
                              RenameMode mode) const = 0;

  // Extended attributes, of any node.
  virtual Result<std::vector<Xattr>> list_xattrs(const Node& node) const = 0;
  virtual Result<std::string> get_xattr(const Node& node, const std::string& name) const = 0;
  /// No value: removes it.
  virtual Result<void> set_xattr(const Node& node, const std::string& name,
                                 const std::optional<std::string>& value,
                                 XattrMode mode) const = 0;

  // Space, holes and copies. `file` is open for writing, but where it is only looked at.
  virtual Result<void> allocate(StoreFile& file, std::uint32_t mode, std::uint64_t offset,
                                std::uint64_t length) const = 0;
  /// Where data begins, at `offset` or behind it; where the file ends, if there is none.
  virtual Result<std::uint64_t> next_data(StoreFile& file, std::uint64_t offset) const = 0;
  /// Fills in all but the attributes.
  virtual Result<DataRangesReply> data_ranges(StoreFile& file, std::uint64_t offset,
                                              std::uint32_t count) const = 0;
  /// Returns how much was copied.
  virtual Result<std::uint64_t> copy_range(StoreFile& from, std::uint64_t from_offset,
                                           StoreFile& to, std::uint64_t to_offset,
                                           std::uint64_t length) const = 0;
  /// Returns where the data went: all of it, in one piece, or nothing and an error. Whoever else
  /// appends to the file, or cuts it, meanwhile.
  virtual Result<std::uint64_t> append(StoreFile& file, const Append& request) const = 0;

  /// A file without a name; `found` has no links.
  virtual Result<Created> create_unnamed(const Node& directory, const Caller& caller,
                                         std::uint32_t mode) const = 0;
  /// As FileFlags.
  virtual Result<std::uint32_t> file_flags(const Node& node,
                                           std::optional<std::uint32_t> set) const = 0;

  // Files that lost their last name while a client holds them get a hidden one, so that they
  // outlive this process. Names are chosen by the caller.
  virtual Result<void> keep_orphan(const Node& node, const std::string& orphan) const = 0;
  virtual void drop_orphan(const std::string& orphan) const = 0;
  virtual std::vector<OrphanFile> orphans() const = 0;
};

}  // namespace rushfs::fs
