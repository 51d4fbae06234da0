// The content of regular files. Nothing else is ever opened.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "fs/server/caller_scope.h"
#include "fs/server/directory_node.h"

namespace rushfs::fs {
namespace {

/// Opens what `node` reaches. An owner may write through a descriptor that is older than a chmod
/// that forbids it; this process, not root, may have to open anew in between (after a restart), so
/// the owner's bit is lent for the moment of opening.
Descriptor open_regular(int reached, int flags, mode_t needed) {
  const std::string path = proc_path(reached);
  Descriptor opened(open_untouched(AT_FDCWD, path.c_str(), flags));
  if (opened || errno != EACCES) return opened;
  struct stat status {};
  if (::fstat(reached, &status) != 0 || status.st_uid != ::geteuid()) {
    errno = EACCES;
    return opened;
  }
  const mode_t mode = status.st_mode & 07777;
  if (::chmod(path.c_str(), mode | needed) != 0) return opened;
  opened = Descriptor(open_untouched(AT_FDCWD, path.c_str(), flags));
  const int error = errno;
  static_cast<void>(::chmod(path.c_str(), mode));
  errno = error;
  return opened;
}

/// The error of the last call. What could not be written is clean to the kernel; ext4 then takes
/// its blocks for written ones, and would lose what is written over them.
boost::system::error_code not_written(int fd) {
  const auto error = last_error();
  static_cast<void>(::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
  return error;
}

/// `length` 0: all from `offset` on.
Result<void> start_writing(int fd, std::uint64_t offset, std::uint64_t length) {
  const int failed = ::sync_file_range(fd, static_cast<off_t>(offset), static_cast<off_t>(length),
                                       SYNC_FILE_RANGE_WRITE);
  if (failed != 0) return not_written(fd);
  return boost::system::in_place_value;
}

}  // namespace

Result<FileRef> DirectoryStore::open(const Node& node, bool for_writing) const {
  if (node.type() == S_IFDIR) return errno_code(EISDIR);
  if (node.type() != S_IFREG) return errno_code(EINVAL);
  Descriptor opened = for_writing ? open_regular(reach(node), O_WRONLY, S_IWUSR)
                                  : open_regular(reach(node), O_RDONLY, S_IRUSR);
  if (!opened) return last_error();
  return FileRef(std::make_shared<DirectoryFile>(std::move(opened)));
}

Result<std::size_t> DirectoryStore::read(StoreFile& file, std::uint64_t offset,
                                         std::span<std::uint8_t> into) const {
  constexpr std::size_t kLarge = 256 << 10;  // bytes; below, the kernel's own read-ahead is enough
  constexpr std::uint64_t kAhead = 8;  // requests of disk work in flight for a sequential reader
  auto& opened = static_cast<DirectoryFile&>(file);
  const int fd = opened.fd();
  const auto start = static_cast<off_t>(offset);
  if (into.size() >= kLarge) {
    const bool sequential = opened.read_to.exchange(offset + into.size()) == offset && offset != 0;
    const auto ahead = static_cast<off_t>(into.size() * (sequential ? kAhead : 1));
    static_cast<void>(::posix_fadvise(fd, start, ahead, POSIX_FADV_WILLNEED));
  }
  std::size_t done = 0;
  while (done < into.size()) {
    const ssize_t got =
        ::pread(fd, into.data() + done, into.size() - done, start + static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return last_error();
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return done;
}

Result<void> DirectoryStore::write(StoreFile& file, std::uint64_t offset,
                                   std::span<const std::uint8_t> data, bool drop_set_id) const {
  constexpr std::uint64_t kLargestOffset = std::numeric_limits<off_t>::max();
  if (offset > kLargestOffset || data.size() > kLargestOffset - offset) return errno_code(EFBIG);
  const NoSetIdScope scope(drop_set_id || !options_.preserve_identity);
  std::size_t done = 0;
  while (done < data.size()) {
    const ssize_t put = ::pwrite(descriptor(file), data.data() + done, data.size() - done,
                                 static_cast<off_t>(offset + done));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return last_error();
    done += static_cast<std::size_t>(put);
  }
  return boost::system::in_place_value;
}

Result<void> DirectoryStore::start_sync(StoreFile& file) const {
  return start_writing(descriptor(file), 0, 0);
}

Result<void> DirectoryStore::write_out(StoreFile& file, std::uint64_t offset,
                                       std::uint64_t length) const {
  constexpr std::uint64_t kBehind = 16 << 20;  // bytes on their way to the disk
  auto started = start_writing(descriptor(file), offset, length);
  if (!started || offset <= kBehind) return started;
  const std::uint64_t from = offset - std::min(offset, 2 * kBehind);
  // The kernel tells each open file of an error once, whoever waits: this one must not be the one
  // that is synced later.
  const Descriptor other(
      open_untouched(AT_FDCWD, proc_path(descriptor(file)).c_str(), O_RDONLY | O_CLOEXEC));
  if (other) {
    static_cast<void>(::sync_file_range(other.get(), static_cast<off_t>(from),
                                        static_cast<off_t>(offset - kBehind - from),
                                        SYNC_FILE_RANGE_WAIT_BEFORE));
  }
  return started;
}

Result<void> DirectoryStore::sync(const Node& node, StoreFile* file, bool data_only,
                                  bool name) const {
  if (node.type() == S_IFDIR) {
    const Descriptor directory(::openat(reach(node), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory || ::fsync(directory.get()) != 0) return last_error();
    return boost::system::in_place_value;
  }
  if (file != nullptr) {
    const int failed = data_only ? ::fdatasync(descriptor(*file)) : ::fsync(descriptor(*file));
    if (failed != 0) return not_written(descriptor(*file));
  }
  if (!name || !has_name(node)) return boost::system::in_place_value;
  // Where the name is: if it moves meanwhile, its mover's directory is what must be synced, and the
  // mover asks for that.
  const std::filesystem::path folder = std::filesystem::path(path_of(reach(node))).parent_path();
  const Descriptor directory(
      ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory) {
    const bool out_of_them = errno == EMFILE || errno == ENFILE || errno == ENOMEM;
    return out_of_them ? last_error() : Result<void>();
  }
  if (::fsync(directory.get()) != 0) return last_error();
  return boost::system::in_place_value;
}

}  // namespace rushfs::fs
