// Reading directories, with what a client will ask next about each entry.
#include <dirent.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#include <memory>

#include "fs/protocol/names.h"
#include "fs/server/directory_node.h"

namespace rushfs::fs {
namespace {

// What an entry takes in the reply, roughly, beside its name and node id (docs/file-protocol.md).
constexpr std::size_t kEntryOverhead = 8 + 10 + 1 + 2 + 1;
constexpr std::size_t kAttributesSize = 100;

std::size_t encoded_size(const DirectoryEntry& entry) {
  std::size_t size = kEntryOverhead + entry.name.size();
  if (entry.entry) size += entry.entry->node.bytes.size() + 2 + kAttributesSize;
  return size;
}

/// struct linux_dirent64 of getdents64(2).
struct RawEntry {
  std::uint64_t inode;
  std::uint64_t next;  // position after this entry: what lseek(2) takes
  std::uint16_t length;
  std::uint8_t type;
  char name[1];
};

}  // namespace

Result<DirectoryEntry> DirectoryStore::list_entry(const ReadDirectory& request,
                                                  const Node& directory, int fd,
                                                  const char* name) const {
  DirectoryEntry entry;
  entry.name = name;
  if (!request.with_entries || is_dots(name)) return entry;
  struct statx status;
  if (!status_of(fd, name, status)) {
    if (errno == ENOENT) return last_error();
    return entry;
  }
  const FileSystem* file_system = mounts_.find(status);
  if (file_system == nullptr) {  // seldom, and needs a descriptor
    auto other = lookup(directory, name);
    if (!other) return other.error();
    entry.entry = Entry{other->node->id(), other->attributes};
  } else {
    auto id = identify(fd, name, *file_system, status);
    if (!id) return id.error();
    entry.entry = Entry{std::move(*id), describe(status, *file_system, fd, name)};
  }
  return entry;
}

Result<ReadDirectoryReply> DirectoryStore::list(const ReadDirectory& request,
                                                const Node& directory) const {
  const Descriptor fd(open_untouched(reach(directory), ".", O_RDONLY | O_DIRECTORY));
  if (!fd) return last_error();
  if (request.cookie != 0 && ::lseek(fd.get(), static_cast<off_t>(request.cookie), SEEK_SET) < 0) {
    return last_error();
  }
  ReadDirectoryReply reply;
  struct statx status;
  if (!status_of(fd.get(), "", status)) return last_error();
  const FileSystem& here = mounts_.of(fd.get(), status);
  reply.directory = describe(status, here, fd.get(), "");

  constexpr std::size_t kBatch = 64 << 10;  // bytes per getdents64, about 1,000 entries
  const auto buffer = std::make_unique<char[]>(kBatch);
  std::size_t used = 0;
  for (;;) {
    const long got = ::syscall(SYS_getdents64, fd.get(), buffer.get(), kBatch);
    if (got < 0) return last_error();
    if (got == 0) {
      reply.end = true;
      return reply;
    }
    for (long at = 0; at < got;) {
      const char* raw = buffer.get() + at;
      RawEntry head;
      std::memcpy(&head, raw, offsetof(RawEntry, name));
      const char* name = raw + offsetof(RawEntry, name);
      at += head.length;
      if (hidden(directory, name)) continue;
      auto entry = list_entry(request, directory, fd.get(), name);
      if (!entry && entry.error() == errno_code(ENOENT)) continue;  // gone since
      if (!entry) return entry.error();
      entry->cookie = head.next;
      entry->type = head.type;
      entry->inode = entry->entry ? entry->entry->attributes.inode : head.inode ^ here.inode_salt;
      const bool above_the_root = is_root(directory) && std::strcmp(name, "..") == 0;
      if (above_the_root) entry->inode = reply.directory.inode;
      used += encoded_size(*entry);
      if (used > request.max_bytes && !reply.entries.empty()) return reply;
      reply.entries.push_back(std::move(*entry));
    }
  }
}

}  // namespace rushfs::fs
