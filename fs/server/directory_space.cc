// Space and holes of regular files, copies between them, appending, files without a name, flags.
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>

#include "fs/server/caller_scope.h"
#include "fs/server/directory_node.h"
#include "fs/server/squash.h"

namespace rushfs::fs {
namespace {

constexpr std::uint64_t kLargestOffset = std::numeric_limits<off_t>::max();

bool too_far(std::uint64_t offset, std::uint64_t length) {
  return offset > kLargestOffset || length > kLargestOffset - offset;
}

Result<std::uint64_t> size_of(int fd) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return last_error();
  return static_cast<std::uint64_t>(status.st_size);
}

/// Whether the file has exactly these bytes there. `fd` may be open for writing only.
bool holds(int fd, std::uint64_t offset, std::span<const std::uint8_t> data) {
  const Descriptor file(::open(proc_path(fd).c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return false;
  std::vector<std::uint8_t> there(data.size());
  const ssize_t got = ::pread(file.get(), there.data(), there.size(), static_cast<off_t>(offset));
  return got == static_cast<ssize_t>(data.size()) &&
         std::equal(data.begin(), data.end(), there.begin());
}

}  // namespace

Result<void> DirectoryStore::allocate(StoreFile& file, std::uint32_t mode, std::uint64_t offset,
                                      std::uint64_t length) const {
  if (length == 0) return errno_code(EINVAL);
  if (too_far(offset, length)) return errno_code(EFBIG);
  int failed = 0;
  do {
    failed = ::fallocate(descriptor(file), static_cast<int>(mode), static_cast<off_t>(offset),
                         static_cast<off_t>(length));
  } while (failed != 0 && errno == EINTR);
  if (failed != 0) return last_error();
  return boost::system::in_place_value;
}

Result<std::uint64_t> DirectoryStore::next_data(StoreFile& file, std::uint64_t offset) const {
  // Its size first: what is appended meanwhile is no hole.
  const auto size = size_of(descriptor(file));
  if (!size) return size.error();
  const off_t found = ::lseek(descriptor(file), static_cast<off_t>(offset), SEEK_DATA);
  if (found < 0 && errno != ENXIO) return last_error();
  return found < 0 ? *size : std::min(*size, static_cast<std::uint64_t>(found));
}

Result<DataRangesReply> DirectoryStore::data_ranges(StoreFile& file, std::uint64_t offset,
                                                    std::uint32_t count) const {
  const int fd = descriptor(file);
  const auto size = size_of(fd);
  if (!size) return size.error();
  DataRangesReply reply;
  std::uint64_t at = offset;
  while (at < *size && reply.ranges.size() < count) {
    const off_t begin = ::lseek(fd, static_cast<off_t>(at), SEEK_DATA);
    if (begin < 0 && errno == ENXIO) {
      at = *size;  // a hole to the end
      break;
    }
    const off_t end = begin < 0 ? begin : ::lseek(fd, begin, SEEK_HOLE);
    if (end < 0) return last_error();
    reply.ranges.push_back({static_cast<std::uint64_t>(begin), static_cast<std::uint64_t>(end)});
    at = static_cast<std::uint64_t>(end);
  }
  reply.known_to = std::max(at, offset);
  return reply;
}

Result<std::uint64_t> DirectoryStore::copy_range(StoreFile& from, std::uint64_t from_offset,
                                                 StoreFile& to, std::uint64_t to_offset,
                                                 std::uint64_t length) const {
  // Between calls, others get their turn with the file copied to.
  constexpr std::uint64_t kAtOnce = 256u << 20;  // bytes
  if (too_far(from_offset, length) || too_far(to_offset, length)) return errno_code(EFBIG);
  const auto size = size_of(descriptor(from));
  if (!size) return size.error();
  if (from_offset >= *size) return std::uint64_t{0};
  const std::uint64_t wanted = std::min({length, *size - from_offset, kAtOnce});
  std::uint64_t done = 0;
  while (done < wanted) {
    auto in = static_cast<off64_t>(from_offset + done),
         out = static_cast<off64_t>(to_offset + done);
    const ssize_t copied =
        ::copy_file_range(descriptor(from), &in, descriptor(to), &out, wanted - done, 0);
    if (copied < 0 && errno == EINTR) continue;
    if (copied < 0 && done == 0) return last_error();
    if (copied <= 0) break;
    done += static_cast<std::uint64_t>(copied);
  }
  return done;
}

Result<std::uint64_t> DirectoryStore::append(StoreFile& file, const Append& request) const {
  const int fd = descriptor(file);
  const auto size = size_of(fd);
  if (!size) return size.error();
  if (too_far(*size, request.data.size())) return errno_code(EFBIG);
  std::size_t there = 0;  // of the data, at its place already
  if (request.repeated && request.expected < *size) {
    const auto begun = std::min<std::uint64_t>(request.data.size(), *size - request.expected);
    if (holds(fd, request.expected, request.data.first(begun))) there = begun;
  }
  const auto data = request.data.subspan(there);
  if (data.empty()) return request.expected;
  const iovec whole{const_cast<std::uint8_t*>(data.data()), data.size()};
  ssize_t put = 0;
  do {  // leaves the descriptor's own offset, which nothing else uses, behind the data
    put = ::pwritev2(fd, &whole, 1, -1, RWF_APPEND);
  } while (put < 0 && errno == EINTR);
  if (put < 0) return last_error();
  const off_t end = ::lseek(fd, 0, SEEK_CUR);
  if (end < 0) return last_error();
  if (static_cast<std::size_t>(put) < data.size()) {  // the disk is full
    static_cast<void>(::ftruncate(fd, end - put));
    return errno_code(ENOSPC);
  }
  return there > 0 ? request.expected : static_cast<std::uint64_t>(end - put);
}

Result<Store::Created> DirectoryStore::create_unnamed(const Node& directory, const Caller& caller,
                                                      std::uint32_t mode) const {
  if (!options_.preserve_identity && squash::grants(S_IFREG, mode)) return errno_code(EPERM);
  Descriptor opened;
  {
    const CallerScope scope(caller, options_.preserve_identity);
    opened =
        Descriptor(::openat(reach(directory), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, mode & 07777));
  }
  return created(std::move(opened));
}

Result<std::uint32_t> DirectoryStore::file_flags(const Node& node,
                                                 std::optional<std::uint32_t> set) const {
  if (node.type() != S_IFREG && node.type() != S_IFDIR) return errno_code(ENOTTY);
  const Descriptor opened(
      ::open(proc_path(reach(node)).c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!opened) return last_error();
  if (set) {
    int before = 0;
    if (::ioctl(opened.get(), FS_IOC_GETFLAGS, &before) != 0) return last_error();
    const bool pins = squash::pins(static_cast<std::uint32_t>(before), *set);
    if (!options_.preserve_identity && pins) return errno_code(EPERM);
    const auto wanted = static_cast<int>(*set);
    if (::ioctl(opened.get(), FS_IOC_SETFLAGS, &wanted) != 0) return last_error();
  }
  int flags = 0;
  if (::ioctl(opened.get(), FS_IOC_GETFLAGS, &flags) != 0) return last_error();
  return static_cast<std::uint32_t>(flags);
}

}  // namespace rushfs::fs
