// Results of Volume operations as replies to the kernel.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <vector>

#include "fs/mount/fuse_kernel.h"

namespace rushfs::fs {

namespace {

timespec to_timespec(const Timestamp& time) {
  return {static_cast<time_t>(time.seconds), static_cast<long>(time.nanoseconds)};
}

struct stat to_stat(const Attributes& attributes) {
  struct stat result {};
  result.st_ino = attributes.inode;
  result.st_mode = attributes.mode;
  result.st_nlink = attributes.links;
  result.st_uid = attributes.uid;
  result.st_gid = attributes.gid;
  result.st_rdev = makedev(attributes.device_major, attributes.device_minor);
  result.st_size = static_cast<off_t>(attributes.size);
  result.st_blksize = buffer_size(attributes);
  result.st_blocks = static_cast<blkcnt_t>(attributes.blocks);
  result.st_atim = to_timespec(attributes.atime);
  result.st_mtim = to_timespec(attributes.mtime);
  result.st_ctim = to_timespec(attributes.ctime);
  return result;
}

fuse_entry_param to_entry(const NodeReference& found, std::uint64_t generation,
                          double valid = kKernelValidity) {
  fuse_entry_param entry{};
  entry.ino = found.number.value;
  if (found.number != kRootNode) entry.generation = generation + found.ended;
  entry.attr = to_stat(found.attributes);
  entry.attr_timeout = valid;
  entry.entry_timeout = valid;
  return entry;
}

}  // namespace

fuse_req_t FuseSession::Kernel::take(FuseRequest& request) {
  const fuse_req_t handle = std::exchange(request.handle, nullptr);
  if (handle) {
    interrupted_.erase(handle);
    under_way_.erase(handle);
  }
  return handle;
}

void FuseSession::Kernel::fail(FuseRequest& request, int error) {
  if (const auto handle = take(request)) fuse_reply_err(handle, error);
}

void FuseSession::Kernel::done(FuseRequest& request, const Result<void>& result) {
  fail(request, result ? 0 : result.error().value());
}

void FuseSession::Kernel::entry(FuseRequest& request, const Result<NodeReference>& found,
                                double valid) {
  if (!found) return fail(request, found.error().value());
  const auto handle = take(request);
  const fuse_entry_param entry = to_entry(*found, generation_, valid);
  const bool given = handle && fuse_reply_entry(handle, &entry) == 0;
  if (!given && found->number.value != 0) volume_.forget(found->number, 1);
}

void FuseSession::Kernel::created(FuseRequest& request, const Result<Created>& created,
                                  fuse_file_info file, double valid) {
  if (!created) return fail(request, created.error().value());
  const auto handle = take(request);
  const fuse_entry_param entry = to_entry(created->found, generation_, valid);
  file.fh = created->opened.handle.value;
  file.keep_cache = created->opened.keep_pages;
  file.direct_io = created->opened.whole_writes;
  if (handle && fuse_reply_create(handle, &entry, &file) == 0) return;
  volume_.release(created->opened.handle);
  volume_.forget(created->found.number, 1);
}

void FuseSession::Kernel::opened(FuseRequest& request, const Result<Opened>& opened,
                                 fuse_file_info file) {
  if (!opened) return fail(request, opened.error().value());
  const auto handle = take(request);
  file.fh = opened->handle.value;
  file.keep_cache = opened->keep_pages;
  file.direct_io = opened->whole_writes;
  if (handle && fuse_reply_open(handle, &file) == 0) return;
  volume_.release(opened->handle);
}

void FuseSession::Kernel::opened_directory(FuseRequest& request,
                                           const Result<HandleNumber>& number,
                                           fuse_file_info file) {
  if (!number) return fail(request, number.error().value());
  const auto handle = take(request);
  file.fh = number->value;
  if (handle && fuse_reply_open(handle, &file) == 0) return;
  volume_.release_directory(*number);
}

void FuseSession::Kernel::attributes(FuseRequest& request, const Result<Attributes>& attributes,
                                     double valid) {
  if (!attributes) return fail(request, attributes.error().value());
  const auto handle = take(request);
  if (!handle) return;
  const struct stat result = to_stat(*attributes);
  fuse_reply_attr(handle, &result, valid);
}

void FuseSession::Kernel::target(FuseRequest& request, const Result<std::string>& target) {
  if (!target) return fail(request, target.error().value());
  if (const auto handle = take(request)) fuse_reply_readlink(handle, target->c_str());
}

void FuseSession::Kernel::bytes(FuseRequest& request, const Result<Slices>& slices) {
  if (!slices) return fail(request, slices.error().value());
  const auto handle = take(request);
  if (!handle) return;
  // Where many small writes wait, there are more parts than writev(2) takes, and a reply that
  // fails there leaves whoever reads waiting for ever.
  constexpr std::size_t kMostParts = IOV_MAX - 1;  // beside the header
  Buffer joined;
  std::vector<iovec> parts;
  parts.reserve(std::min(slices->size(), kMostParts));
  for (const auto& slice : *slices) {
    if (slices->size() > kMostParts) {
      joined.insert(joined.end(), slice.bytes.begin(), slice.bytes.end());
    } else {
      parts.push_back({const_cast<std::uint8_t*>(slice.bytes.data()), slice.bytes.size()});
    }
  }
  if (!joined.empty()) parts.push_back({joined.data(), joined.size()});
  fuse_reply_iov(handle, parts.data(), static_cast<int>(parts.size()));
}

void FuseSession::Kernel::written(FuseRequest& request, const Result<std::uint64_t>& length) {
  if (!length) return fail(request, length.error().value());
  if (const auto handle = take(request)) fuse_reply_write(handle, *length);
}

void FuseSession::Kernel::lock_found(FuseRequest& request, const Result<TestLockReply>& found) {
  if (!found) return fail(request, found.error().value());
  const auto handle = take(request);
  if (!handle) return;
  struct flock lock {};
  lock.l_type = F_UNLCK;
  if (found->conflict) {
    const LockSpan& span = *found->conflict;
    lock.l_type = span.type == LockType::shared ? F_RDLCK : F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = static_cast<off_t>(span.first);
    lock.l_len = span.last == kLockToEnd ? 0 : static_cast<off_t>(span.last - span.first + 1);
    lock.l_pid = static_cast<pid_t>(found->process);
  }
  fuse_reply_lock(handle, &lock);
}

void FuseSession::Kernel::space(FuseRequest& request, const Result<StatFsReply>& space) {
  if (!space) return fail(request, space.error().value());
  const auto handle = take(request);
  if (!handle) return;
  struct statvfs result {};
  result.f_bsize = result.f_frsize =
      std::max<std::uint64_t>(space->block_size, kSmallestBlock);
  result.f_blocks = space->blocks;
  result.f_bfree = space->blocks_free;
  result.f_bavail = space->blocks_available;
  result.f_files = space->inodes;
  result.f_ffree = space->inodes_free;
  result.f_favail = space->inodes_available;
  result.f_namemax = space->name_max;
  fuse_reply_statfs(handle, &result);
}

void FuseSession::Kernel::listed(FuseRequest& request, NodeNumber directory,
                                 const Result<Listed>& listed, std::size_t size,
                                 bool with_attributes) {
  if (!listed) return fail(request, listed.error().value());
  const auto handle = take(request);
  if (!handle) return;
  std::vector<char> buffer(size);
  std::vector<NodeNumber> entered;
  std::size_t used = 0;
  for (std::size_t i = listed->first; i < listed->page->size(); ++i) {
    const DirectoryEntry& item = (*listed->page)[i];
    fuse_entry_param entry{};
    std::optional<NodeReference> found;
    if (with_attributes) found = volume_.enter(directory, item, listed->last_known);
    if (found && invalidating(found->number)) {
      volume_.forget(found->number, 1);  // the kernel asks for it by name, and waits
      found.reset();
    }
    if (found) entry = to_entry(*found, generation_);
    entry.attr.st_ino = item.inode;
    if (!found) entry.attr.st_mode = static_cast<mode_t>(DTTOIF(item.type));
    const auto offset = static_cast<off_t>(item.cookie);
    char* place = buffer.data() + used;
    const std::size_t room = size - used;
    const std::size_t needed =
        with_attributes
            ? fuse_add_direntry_plus(handle, place, room, item.name.c_str(), &entry, offset)
            : fuse_add_direntry(handle, place, room, item.name.c_str(), &entry.attr, offset);
    if (found) entered.push_back(found->number);
    if (needed > room) {
      if (found) {
        volume_.forget(found->number, 1);
        entered.pop_back();
      }
      break;
    }
    used += needed;
  }
  if (fuse_reply_buf(handle, buffer.data(), used) == 0) return;
  for (const auto number : entered) volume_.forget(number, 1);
}

}  // namespace rushfs::fs
