// Bytes: reads go to Reader, writes to ChangeLog.
#include <cerrno>

#include "fs/client/volume.h"

namespace rushfs::fs {

void Volume::read(HandleNumber number, std::uint64_t offset, std::uint64_t length,
                  Reply<Slices> reply, Through through) {
  const auto handle = handles_.usable(number);
  if (!handle) return reply.fail(handle.error());
  const auto& inode = (*handle)->inode;
  const bool pages = through == Through::pages && (*handle)->uses_pages();
  const bool untouched = (*handle)->flags.untouched;
  reader_.read(inode, (*handle)->stream, offset, length,
               [this, inode, offset, length, pages, untouched,
                reply = std::move(reply)](Result<Slices> slices) mutable {
                 inode->kernel_has_pages = true;
                 if (slices && !untouched) access_times_.read(*inode);
                 if (slices) {
                   std::vector<std::span<const std::uint8_t>> parts;
                   for (const auto& slice : *slices) parts.push_back(slice.bytes);
                   for (const auto& part : parts) bytes_read_ += part.size();
                   if (inode->kernel_page_bytes && pages) {
                     inode->kernel_page_bytes->given(offset, length, parts);
                   }
                 }
                 reply(std::move(slices));
               });
}

/// The kernel tells whole pages; the rest of them may have been changed by others meanwhile.
void Volume::write_mapped(const InodeRef& inode, std::uint64_t offset, Buffer data,
                          Reply<void> reply) {
  auto& known = inode->kernel_page_bytes;
  if (!known) return log_.write(inode, offset, std::move(data), std::move(reply));
  const auto ranges = known->changed(
      offset, data, [&](std::uint64_t byte) { return locking_.exclusive_until(inode, byte); });
  const auto joint = std::make_shared<JointReply>(std::move(reply), ranges.size());
  for (const auto& [at, bytes] : ranges) {
    log_.write(inode, at, Buffer(bytes.begin(), bytes.end()),
               [joint](Result<void> one) { joint->arrive(one); });
  }
  joint->arrive({});
}

void Volume::write(HandleNumber number, std::uint64_t offset, Buffer data,
                   Reply<std::uint64_t> reply, Through through) {
  const auto found = handles_.usable(number);
  if (!found) return reply.fail(found.error());
  const Handle& handle = **found;
  const std::uint64_t length = data.size();
  if (length == 0) return reply(length);
  // What a mapping was given before the file's flags forbade it is queued, as all that we took.
  if (int error = 0; through != Through::mapping && refuses_change(handle.inode, error)) {
    return reply.fail(error);
  }
  handle.inode->kernel_has_pages = true;
  bytes_written_ += length;
  const bool sync = handle.flags.sync;
  auto done = [this, number, inode = handle.inode, length, sync,
               reply = std::move(reply)](Result<void> result) mutable {
    if (!result) return reply.fail(result.error());
    if (!sync) return reply(length);
    const Handle* now = handles_.find(number);  // what is ours may be elsewhere by now
    auto synced = [length, reply = std::move(reply)](Result<void> one) mutable {
      if (!one) return reply.fail(one.error());
      reply(length);
    };
    this->sync(now ? now->inode : inode, number, std::move(synced));
  };
  if (through == Through::mapping) {
    return write_mapped(handle.inode, offset, std::move(data), std::move(done));
  }
  if (handle.inode->kernel_page_bytes && through == Through::pages && handle.uses_pages()) {
    handle.inode->kernel_page_bytes->written(offset, data);
  }
  // Of what does not go through its pages the kernel takes no such bits away.
  const bool drops = handle.flags.drop_set_id && !handle.uses_pages();
  if (const auto left = drops ? without_set_id(handle.inode->view().mode) : std::nullopt) {
    AttributeChange change;
    change.mode = *left;
    log_.set_attributes(handle.inode, change, [](Result<void>) {});  // what fails it, fails both
  }
  if (handle.flags.append) return log_.append(handle.inode, std::move(data), std::move(done));
  log_.write(handle.inode, offset, std::move(data), std::move(done));
}

}  // namespace rushfs::fs
