// The file systems met beneath an exported directory: their lasting ids, and a descriptor for each
// for open_by_handle_at(2). A subvolume of btrfs counts as one of its own. Entries are added, never
// removed, and never change: any thread may look while another adds.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <cstdint>
#include <string>

#include "fs/descriptor.h"
#include "fs/server/disk_marks.h"

namespace rushfs::fs {

struct FileSystem {
  std::uint64_t mount = 0;   // STATX_MNT_ID
  std::uint64_t device = 0;
  std::uint64_t id = 0;  // the same after remounting (f_fsid of statfs(2)), where the kind allows
  std::uint64_t inode_salt = 0;  // 0 for the export's own; makes inode numbers unique in the export
  Descriptor root;               // of the mount; none: a subvolume
  int directory = -1;            // of the mount, for handles; -1: they cannot be opened
  Result<void> watched;          // whether the marks tell of changes there
  const FileSystem* next = nullptr;
};

class MountTable {
 public:
  /// `root`: the exported directory, and `marks`, which each file system is added to; both for as
  /// long as this lives.
  MountTable(int root, const DiskMarks& marks);
  ~MountTable();
  MountTable(const MountTable&) = delete;
  MountTable& operator=(const MountTable&) = delete;

  const FileSystem& own() const { return *own_; }
  /// The file system that `fd`, of which `status` is, is on; added if it is new.
  const FileSystem& of(int fd, const struct statx& status);
  /// Null: of() has not met it yet.
  const FileSystem* find(const struct statx& status) const;
  /// Those with this id are found by walking first()/next. More of them after add_mounts().
  const FileSystem* first() const { return first_.load(std::memory_order_acquire); }
  /// Adds all mounts beneath the root that are not known yet.
  void add_mounts();

 private:
  const FileSystem* add(int fd, const struct statx& status, Descriptor root);
  int directory_of(std::uint64_t mount) const;

  int root_;
  const DiskMarks& marks_;
  const FileSystem* own_ = nullptr;
  std::atomic<const FileSystem*> first_{nullptr};
};

/// As st_dev of stat(2).
std::uint64_t device_of(const struct statx& status);
/// What /proc/self/fd says `fd` is called; empty if longer than a page.
std::string path_of(int fd);

}  // namespace rushfs::fs
