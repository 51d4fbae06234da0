// Space, holes, and copies that stay on the server. docs/semantics.md, "Space and holes" and
// "Copies".
#include <fcntl.h>

#include <cerrno>

#include "fs/client/direct_change.h"
#include "fs/client/volume.h"

namespace rushfs::fs {

// Whether the disk can do it, and has room, only the server can say; where the file has nothing in
// the queue, it is asked. Later ones of the same kind then find their place behind the data.
void Volume::allocate(HandleNumber number, std::uint32_t mode, std::uint64_t offset,
                      std::uint64_t length, Reply<void> reply) {
  const auto handle = handles_.usable(number);
  if (!handle) return reply.fail(handle.error());
  const auto inode = (*handle)->inode;
  const bool rewrites = (mode & ~static_cast<std::uint32_t>(FALLOC_FL_KEEP_SIZE)) != 0;
  if (int error = 0; rewrites ? refuses_rewrite(inode, error) : refuses_change(inode, error)) {
    return reply.fail(error);
  }
  Allocate change{CallNumber{}, inode->node, mode, offset, length};
  const bool queued = inode->local.operations > 0;
  if (queued && allocation_modes_.contains(mode)) {
    return log_.allocate(inode, change, std::move(reply));
  }
  AppliedOperation operation;
  if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) != 0) {
    operation.offset = offset;
    operation.length = length;
  }
  log_.drain(inode, [this, number, change, operation,
                     reply = std::move(reply)](Result<void> drained) mutable {
    if (!drained) return reply.fail(drained.error());
    const auto now = handles_.usable(number);  // what is ours may be elsewhere by now
    if (!now) return reply.fail(now.error());
    const auto file = (*now)->inode;
    change.node = file->node;
    change_at_server(
        parts_.remote, known_, file, change, operation,
        [this, file, mode = change.mode, reply = std::move(reply)](Result<void> done) mutable {
          if (!done) return reply.fail(done.error());
          allocation_modes_.insert(mode);
          if (mode == FALLOC_FL_KEEP_SIZE) {
            ++file->made_there;
          } else {
            file->changed_there();
          }
          file->data_ranges.reset();
          reply.ok();
        });
  });
}

void Volume::seek(HandleNumber number, std::uint64_t offset, Seek what,
                  Reply<std::uint64_t> reply) {
  const auto handle = handles_.usable(number);
  if (!handle) return reply.fail(handle.error());
  data_search_.seek((*handle)->inode, offset, what, std::move(reply));
}

// What is queued of either file must have happened first. Where that takes too long, the kernel
// copies by reading and writing, which needs no link.
void Volume::copy_range(HandleNumber from, std::uint64_t from_offset, HandleNumber to,
                        std::uint64_t to_offset, std::uint64_t length, Reply<std::uint64_t> reply) {
  const auto found_source = handles_.usable(from), found_target = handles_.usable(to);
  if (!found_source) return reply.fail(found_source.error());
  if (!found_target) return reply.fail(found_target.error());
  const Handle &source = **found_source, &target = **found_target;
  if (int error = 0; refuses_change(target.inode, error)) return reply.fail(error);
  access_times_.read(*source.inode);
  CopyRange request{{}, source.inode->node, from_offset, target.inode->node, to_offset, length};
  auto copy = [this, from, to, request, reply = std::move(reply)](Result<void> drained) mutable {
    if (!drained) return reply.fail(drained.error() == errno_code(EIO) ? EIO : EXDEV);
    const auto source_now = handles_.usable(from), target_now = handles_.usable(to);
    if (!source_now || !target_now) return reply.fail(EXDEV);
    const auto inode = (*target_now)->inode;
    request.from = (*source_now)->inode->node;
    request.to = inode->node;
    ++inode->changes_in_flight;
    ask(parts_.remote, Priority::urgent, request,
        [this, inode, request,
         reply = std::move(reply)](Result<Answer<CopyRangeReply>> answer) mutable {
          --inode->changes_in_flight;
          if (!answer) {
            inode->validated = {};
            const int error = answer.error().value();
            const bool elsewhere = error == EOPNOTSUPP || error == EINVAL || error == ENOSYS;
            return reply.fail(elsewhere ? EXDEV : error);
          }
          AppliedOperation operation;
          operation.offset = request.to_offset;
          operation.length = (*answer)->copied;
          operation.change = (*answer)->change;
          known_.changed(inode, operation);
          inode->changed_there();
          inode->last_copy = inode->made_there;
          reply((*answer)->copied);
        });
  };
  log_.drain(source.inode,
             [this, inode = target.inode, copy = std::move(copy)](Result<void> drained) mutable {
               if (!drained) return copy(drained);
               log_.drain(inode, std::move(copy));
             });
}

}  // namespace rushfs::fs
