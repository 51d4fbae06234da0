// What a file is like, and changing that.
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <xxhash.h>

#include <climits>

#include "fs/server/caller_scope.h"
#include "fs/server/directory_node.h"
#include "fs/server/squash.h"

namespace rushfs::fs {
namespace {

Timestamp timestamp(const struct statx_timestamp& time) {
  return {time.tv_sec, time.tv_nsec};
}

timespec time_argument(const std::optional<TimeChange>& change) {
  if (!change) return {0, UTIME_OMIT};
  if (change->now) return {0, UTIME_NOW};
  return {static_cast<time_t>(change->time.seconds), static_cast<long>(change->time.nanoseconds)};
}

/// Any change of content or attributes moves ctime. Kernels since 6.13 give it a new value for
/// every change that somebody could have noticed; older ones once per tick (1 to 10 ms), so that
/// size and mtime add what they can.
Version version_of(const struct statx& status) {
  struct {
    std::int64_t ctime, mtime;
    std::uint64_t nanoseconds, size;
  } const parts{status.stx_ctime.tv_sec, status.stx_mtime.tv_sec,
                (std::uint64_t{status.stx_ctime.tv_nsec} << 32) | status.stx_mtime.tv_nsec,
                status.stx_size};
  return {XXH3_64bits(&parts, sizeof(parts))};
}

}  // namespace

Attributes DirectoryStore::describe(const struct statx& status,
                                    const FileSystem& file_system, int at,
                                    const char* name) const {
  Attributes out;
  out.version = version_of(status);
  out.inode = status.stx_ino;
  if (file_system.inode_salt != 0) out.inode ^= file_system.inode_salt;
  out.mode = status.stx_mode;
  out.links = status.stx_nlink;
  out.uid = status.stx_uid;
  out.gid = status.stx_gid;
  out.device_major = status.stx_rdev_major;
  out.device_minor = status.stx_rdev_minor;
  out.size = status.stx_size;
  out.blocks = status.stx_blocks;
  out.block_size = status.stx_blksize;
  out.atime = timestamp(status.stx_atime);
  out.mtime = timestamp(status.stx_mtime);
  out.ctime = timestamp(status.stx_ctime);
  if ((status.stx_mask & STATX_BTIME) != 0) out.btime = timestamp(status.stx_btime);
  out.traits = traits_of(at, name);
  if (&file_system != &mounts_.own() && !file_system.watched) out.traits |= kUnwatched;
  if ((status.stx_attributes & STATX_ATTR_IMMUTABLE) != 0) out.traits |= kImmutable;
  if ((status.stx_attributes & STATX_ATTR_APPEND) != 0) out.traits |= kAppendOnly;
  return out;
}

Result<Attributes> DirectoryStore::attributes(const Node& node) const {
  struct statx status;
  if (!status_of(reach(node), "", status)) return last_error();
  return describe(status, mounts_.of(reach(node), status), reach(node), "");
}

bool DirectoryStore::has_name(const Node& node) const {
  struct statx status;
  return ::statx(reach(node), "", AT_EMPTY_PATH, STATX_NLINK, &status) == 0 && status.stx_nlink > 0;
}

Result<std::string> DirectoryStore::readlink(const Node& node) const {
  std::array<char, PATH_MAX> target;
  if (node.type() != S_IFLNK) return errno_code(EINVAL);
  const ssize_t length = ::readlinkat(reach(node), "", target.data(), target.size());
  if (length < 0) return last_error();
  return std::string(target.data(), static_cast<std::size_t>(length));
}

Result<StatFsReply> DirectoryStore::statfs(const Node& node) const {
  struct statfs status {};
  if (::fstatfs(reach(node), &status) != 0) return last_error();
  StatFsReply reply;
  reply.block_size =
      static_cast<std::uint64_t>(status.f_frsize != 0 ? status.f_frsize : status.f_bsize);
  reply.blocks = status.f_blocks;
  reply.blocks_free = status.f_bfree;
  reply.blocks_available = status.f_bavail;
  reply.inodes = status.f_files;
  reply.inodes_free = reply.inodes_available = status.f_ffree;
  reply.name_max = static_cast<std::uint32_t>(status.f_namelen);
  return reply;
}

void DirectoryStore::touch(const Node& node) const {
  std::array<char, 4096> bytes;
  if (node.type() == S_IFLNK) {
    static_cast<void>(::readlinkat(reach(node), "", bytes.data(), bytes.size()));
  }
  if (node.type() != S_IFREG && node.type() != S_IFDIR) return;
  const Descriptor file(::open(proc_path(reach(node)).c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return;
  if (node.type() == S_IFDIR) {
    static_cast<void>(::syscall(SYS_getdents64, file.get(), bytes.data(), bytes.size()));
  } else {
    static_cast<void>(::pread(file.get(), bytes.data(), 1, 0));
  }
}

Result<void> DirectoryStore::set_attributes(const Node& node, StoreFile* file,
                                            const AttributeChanges& changes) const {
  const std::string path = proc_path(reach(node));
  if (!options_.preserve_identity) {
    struct stat now {};
    if (::fstat(reach(node), &now) != 0) return last_error();
    const bool gives_away = changes.uid.value_or(now.st_uid) != now.st_uid ||
                            changes.gid.value_or(now.st_gid) != now.st_gid;
    if (gives_away || squash::grants(node.type(), changes.mode.value_or(0))) {
      return errno_code(EPERM);
    }
  }
  if (changes.size) {
    if (file == nullptr) return errno_code(node.type() == S_IFDIR ? EISDIR : EINVAL);
    if (*changes.size > static_cast<std::uint64_t>(std::numeric_limits<off_t>::max())) {
      return errno_code(EFBIG);
    }
    const NoSetIdScope scope(changes.drop_set_id || !options_.preserve_identity);
    if (::ftruncate(descriptor(*file), static_cast<off_t>(*changes.size)) != 0) return last_error();
  }
  // The owner before the mode: changing the owner takes set-id bits away, the mode may grant them.
  if (changes.uid || changes.gid || changes.nothing()) {
    const uid_t uid = changes.uid.value_or(static_cast<uid_t>(-1));
    const gid_t gid = changes.gid.value_or(static_cast<gid_t>(-1));
    if (::fchownat(reach(node), "", uid, gid, AT_EMPTY_PATH) != 0) return last_error();
  }
  if (changes.mode) {
    if (node.type() == S_IFLNK) return errno_code(EOPNOTSUPP);
    if (::chmod(path.c_str(), *changes.mode & 07777) != 0) return last_error();
  }
  if (changes.atime || changes.mtime) {
    const timespec times[2] = {time_argument(changes.atime), time_argument(changes.mtime)};
    if (::utimensat(reach(node), "", times, AT_EMPTY_PATH) != 0) return last_error();
  }
  return boost::system::in_place_value;
}

}  // namespace rushfs::fs
