#include "fs/server/mount_table.h"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <cstring>
#include <memory>
#include <system_error>
#include <vector>

#include "fs/mount_info.h"

namespace rushfs::fs {
namespace {

bool mount_of(int fd, struct statx& status) {
  return ::statx(fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_MNT_ID, &status) == 0;
}

std::uint64_t lasting_id(int fd, std::uint64_t device) {
  struct statfs status {};
  if (fstatfs(fd, &status) != 0) return device;
  std::uint64_t id = 0;
  static_assert(sizeof(status.f_fsid) == sizeof(id));
  std::memcpy(&id, &status.f_fsid, sizeof(id));
  return id != 0 ? id : device;
}

}  // namespace

std::uint64_t device_of(const struct statx& status) {
  return makedev(status.stx_dev_major, status.stx_dev_minor);
}

std::string path_of(int fd) {
  std::array<char, PATH_MAX> text;
  const ssize_t length = ::readlink(proc_path(fd).c_str(), text.data(), text.size());
  if (length <= 0 || static_cast<std::size_t>(length) == text.size()) return {};
  return std::string(text.data(), static_cast<std::size_t>(length));
}

MountTable::MountTable(int root, const DiskMarks& marks) : root_(root), marks_(marks) {
  struct statx status;
  Descriptor directory(::openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!mount_of(root, status) || !directory) {
    throw std::system_error(errno, std::generic_category(), "cannot open " + path_of(root));
  }
  own_ = add(root, status, std::move(directory));
}

MountTable::~MountTable() {
  const FileSystem* next = nullptr;
  for (const FileSystem* each = first(); each != nullptr; each = next) {
    next = each->next;
    delete each;
  }
}

const FileSystem* MountTable::find(const struct statx& status) const {
  for (const FileSystem* each = first(); each != nullptr; each = each->next) {
    if (each->mount == status.stx_mnt_id && each->device == device_of(status)) return each;
  }
  return nullptr;
}

const FileSystem* MountTable::add(int fd, const struct statx& status, Descriptor root) {
  auto fresh = std::make_unique<FileSystem>();
  fresh->mount = status.stx_mnt_id;
  fresh->device = device_of(status);
  fresh->id = lasting_id(fd, fresh->device);
  fresh->root = std::move(root);
  fresh->directory = fresh->root ? fresh->root.get() : directory_of(fresh->mount);
  fresh->watched = marks_.add(fd);
  if (own_ != nullptr && fresh->id != own_->id) {
    // The upper half tells file systems apart, the lower half carries the inode number's; the top
    // bit keeps all of them away from the numbers of the export's own file system.
    fresh->inode_salt = (fresh->id * 0x9E3779B97F4A7C15ULL) | (1ULL << 63);
    fresh->inode_salt &= ~0xFFFFFFFFULL;
  }
  FileSystem* added = fresh.release();
  const FileSystem* head = first_.load(std::memory_order_relaxed);
  do {
    added->next = head;
  } while (!first_.compare_exchange_weak(head, added, std::memory_order_release,
                                         std::memory_order_relaxed));
  return added;
}

int MountTable::directory_of(std::uint64_t mount) const {
  for (const FileSystem* each = first(); each != nullptr; each = each->next) {
    if (each->mount == mount && each->root) return each->root.get();
  }
  return -1;
}

const FileSystem& MountTable::of(int fd, const struct statx& status) {
  if (const FileSystem* known = find(status)) return *known;
  add_mounts();
  if (const FileSystem* known = find(status)) return *known;
  return *add(fd, status, Descriptor());
}

void MountTable::add_mounts() {
  for (const MountInfo& info : mounts_beneath(path_of(root_))) {
    // O_PATH first: what is mounted may be a single device node, which must not be opened.
    const Descriptor reached(::open(info.point.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    struct statx status;
    if (!reached || !mount_of(reached.get(), status) || status.stx_mnt_id != info.mount) continue;
    if (find(status) != nullptr) continue;
    Descriptor directory(::openat(reached.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (directory) add(reached.get(), status, std::move(directory));
  }
}

}  // namespace rushfs::fs
