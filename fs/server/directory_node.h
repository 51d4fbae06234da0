// The parts of DirectoryStore its source files share: directory_store.cc (opening, node ids),
// directory_attributes.cc, directory_listing.cc, directory_names.cc, directory_data.cc,
// directory_xattrs.cc, directory_space.cc.
#pragma once

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>

#include <atomic>
#include <cerrno>
#include <string>

#include "fs/descriptor.h"
#include "fs/server/directory_store.h"
#include "fs/server/mount_table.h"
#include "fs/server/node_id.h"

namespace rushfs::fs {

inline boost::system::error_code last_error() {
  return errno_code(errno);
}

/// `reach` is O_PATH: it opens nothing, so that FIFOs and devices are never touched.
class DirectoryNode final : public Node {
 public:
  DirectoryNode(NodeId id, std::uint32_t type, Descriptor reach)
      : Node(std::move(id), type), reach_(std::move(reach)) {}
  int reach() const { return reach_.get(); }

 private:
  Descriptor reach_;
};

class DirectoryFile final : public StoreFile {
 public:
  explicit DirectoryFile(Descriptor fd) : fd_(std::move(fd)) {}
  int fd() const { return fd_.get(); }
  /// Where the last read ended: the next one there is sequential. Only a hint.
  std::atomic<std::uint64_t> read_to{0};

 private:
  Descriptor fd_;
};

inline int reach(const Node& node) {
  return static_cast<const DirectoryNode&>(node).reach();
}
inline int descriptor(StoreFile& file) {
  return static_cast<DirectoryFile&>(file).fd();
}
/// statx(2) of the file `name` in `at`, or of `at` itself if it is empty: all that its attributes,
/// its node id and its file system are known by. False: errno.
bool status_of(int at, const char* name, struct statx& status);
/// What Attributes::traits says of the file `name` in `at`, or of `at` itself if it is empty.
std::uint32_t traits_of(int at, const char* name);
/// As openat(2). What is read leaves no access time, where the owner of this process may do so.
int open_untouched(int directory, const char* path, int flags);
int open_beneath(int directory, const char* name, std::uint64_t flags, std::uint64_t mode = 0);

class DirectoryStore final : public Store {
 public:
  explicit DirectoryStore(const DirectoryOptions& options);

  bool present() const override;
  Result<std::shared_ptr<const Store>> reopen() const override;
  Result<std::unique_ptr<StoreWatch>> watch() const override;
  Result<Found> root() const override;
  const NodeId& root_id() const override { return root_id_; }
  Result<NodeRef> resolve(const NodeId& id, const NamePath* path) const override;
  bool needs_paths() const override { return !opens_handles_; }
  std::vector<NodePlace> find(const std::vector<NodeId>& wanted) const override;
  Result<void> check_inside(const Node& node) const override;

  Result<Attributes> attributes(const Node& node) const override;
  Result<Found> lookup(const Node& directory, const std::string& name) const override;
  Result<ReadDirectoryReply> list(const ReadDirectory& request,
                                  const Node& directory) const override;
  Result<std::string> readlink(const Node& node) const override;
  Result<StatFsReply> statfs(const Node& node) const override;
  void touch(const Node& node) const override;

  Result<FileRef> open(const Node& node, bool for_writing) const override;
  Result<std::size_t> read(StoreFile& file, std::uint64_t offset,
                           std::span<std::uint8_t> into) const override;
  Result<void> write(StoreFile& file, std::uint64_t offset, std::span<const std::uint8_t> data,
                     bool drop_set_id) const override;
  Result<void> start_sync(StoreFile& file) const override;
  Result<void> write_out(StoreFile& file, std::uint64_t offset,
                         std::uint64_t length) const override;
  Result<void> sync(const Node& node, StoreFile* file, bool data_only, bool name) const override;
  bool has_name(const Node& node) const override;

  Result<void> set_attributes(const Node& node, StoreFile* file,
                              const AttributeChanges& changes) const override;
  Result<Created> create(const NewName& where, std::uint32_t mode) const override;
  Result<Found> make_directory(const NewName& where, std::uint32_t mode) const override;
  Result<Found> make_node(const NewName& where, std::uint32_t mode, std::uint32_t major,
                          std::uint32_t minor) const override;
  Result<Found> symlink(const NewName& where, const std::string& target) const override;
  Result<void> link(const Node& node, const Node& directory,
                    const std::string& name) const override;
  Result<void> unlink(const Node& directory, const std::string& name) const override;
  Result<void> remove_directory(const Node& directory, const std::string& name) const override;
  Result<void> rename(const Node& from_directory, const std::string& from_name,
                      const Node& to_directory, const std::string& to_name,
                      RenameMode mode) const override;

  Result<std::vector<Xattr>> list_xattrs(const Node& node) const override;
  Result<std::string> get_xattr(const Node& node, const std::string& name) const override;
  Result<void> set_xattr(const Node& node, const std::string& name,
                         const std::optional<std::string>& value, XattrMode mode) const override;
  Result<void> allocate(StoreFile& file, std::uint32_t mode, std::uint64_t offset,
                        std::uint64_t length) const override;
  Result<std::uint64_t> next_data(StoreFile& file, std::uint64_t offset) const override;
  Result<DataRangesReply> data_ranges(StoreFile& file, std::uint64_t offset,
                                      std::uint32_t count) const override;
  Result<std::uint64_t> copy_range(StoreFile& from, std::uint64_t from_offset, StoreFile& to,
                                   std::uint64_t to_offset, std::uint64_t length) const override;
  Result<std::uint64_t> append(StoreFile& file, const Append& request) const override;
  Result<Created> create_unnamed(const Node& directory, const Caller& caller,
                                 std::uint32_t mode) const override;
  Result<std::uint32_t> file_flags(const Node& node,
                                   std::optional<std::uint32_t> set) const override;

  Result<void> keep_orphan(const Node& node, const std::string& orphan) const override;
  void drop_orphan(const std::string& orphan) const override;
  std::vector<OrphanFile> orphans() const override;

 private:
  struct Search;
  void search(const NodeRef& directory, Search& search) const;
  Result<Found> found(Descriptor reach) const;
  /// Of an open() that made a file; what it returned.
  Result<Created> created(Descriptor opened) const;
  Result<NodeId> identify(int at, const char* name, const FileSystem& file_system,
                          const struct statx& status) const;
  Result<Descriptor> open_handle(const NodeIdentity& identity) const;
  Descriptor open_in_subvolume(const NodeIdentity& identity, struct file_handle* handle) const;
  Result<NodeRef> walk(const NodeId& id, const NamePath& path) const;
  bool beneath_by_walking_up(int directory) const;
  bool is_root(const Node& node) const { return node.id() == root_id_; }
  bool hidden(const Node& directory, const std::string& name) const;
  /// `at`, `name`: what `status` is of, as for statx(2).
  Attributes describe(const struct statx& status, const FileSystem& file_system, int at,
                      const char* name) const;
  Result<DirectoryEntry> list_entry(const ReadDirectory& request, const Node& directory, int fd,
                                    const char* name) const;
  Result<void> change_link(const Node& node, int directory, const std::string& name) const;
  Descriptor orphan_folder(bool make) const;

  DirectoryOptions options_;
  Descriptor root_;
  struct statx root_status_ {};
  bool root_is_mount_ = false;
  DiskMarks marks_;
  mutable MountTable mounts_;
  NodeIdCodec codec_;
  NodeId root_id_;
  bool opens_handles_ = false;
};

}  // namespace rushfs::fs
