// Bytes: reads go to Reader, writes to ChangeLog.
#include <cerrno>

#include "fs/volume.h"

namespace rushfs::fs {

void Volume::read(HandleNumber number, std::uint64_t offset, std::uint64_t length,
                  Reply<Slices> reply) {
  const auto found = handles_.find(number.value);
  if (found == handles_.end()) return reply.fail(EBADF);
  if (found->second.lost) return reply.fail(EIO);
  const auto& inode = found->second.inode;
  reader_.read(inode, found->second.stream, offset, length,
               [this, inode, reply = std::move(reply)](Result<Slices> slices) mutable {
                 inode->kernel_pages = true;
                 if (slices) {
                   for (const auto& slice : *slices) bytes_read_ += slice.bytes.size();
                 }
                 reply(std::move(slices));
               });
}

void Volume::write(HandleNumber number, std::uint64_t offset, Buffer data,
                   Reply<std::uint64_t> reply) {
  const auto found = handles_.find(number.value);
  if (found == handles_.end()) return reply.fail(EBADF);
  if (found->second.lost) return reply.fail(EIO);
  Handle& handle = found->second;
  const std::uint64_t length = data.size();
  if (length == 0) return reply(length);
  handle.wrote = true;
  handle.inode->kernel_pages = true;
  bytes_written_ += length;
  const bool sync = handle.flags.sync;
  auto done = [this, inode = handle.inode, length, sync,
               reply = std::move(reply)](Result<void> result) mutable {
    if (!result) return reply.fail(result.error());
    if (!sync) return reply(length);
    sync_inode(inode, [length, reply = std::move(reply)](Result<void> synced) mutable {
      if (!synced) return reply.fail(synced.error());
      reply(length);
    });
  };
  if (handle.flags.append) return log_.append(handle.inode, std::move(data), std::move(done));
  log_.write(handle.inode, offset, std::move(data), std::move(done));
}

}  // namespace rushfs::fs
