// Attributes: asked of the server when what is known is older than kValidity; changed through the
// queue where the queue has, or may get, operations of the file, so that order is kept.
#include <cerrno>

#include "fs/client/direct_change.h"
#include "fs/client/volume.h"

namespace rushfs::fs {

namespace {

/// Both times become now, and nothing else: also of a file that may only be appended to.
bool touches(const AttributeChange& change) {
  const bool other = change.mode || change.uid || change.gid || change.size;
  const bool both = change.atime.has_value() == change.mtime.has_value();
  return !other && both && (!change.atime || (change.atime->now && change.mtime->now));
}

}  // namespace

void Volume::set_attributes(NodeNumber node, AttributeChange change, Reply<Attributes> reply) {
  const auto inode = inodes_.find(node);
  if (int error = 0;
      touches(change) ? refuses_change(inode, error) : refuses_rewrite(inode, error)) {
    return reply.fail(error);
  }
  const auto view = inode->view();
  const bool gives_away = (change.uid && *change.uid != view.uid) ||
                          (change.gid && *change.gid != view.gid);
  if (squashed_ && gives_away) return reply.fail(EPERM);
  const bool for_owners = change.mode || (change.atime && !change.atime->now) ||
                          (change.mtime && !change.mtime->now);
  if (for_owners && server_user_ && *server_user_ != view.uid) return reply.fail(EPERM);
  if (change.atime) {
    inode->read_at.reset();
    inode->read_untold = false;
  }
  if (inode->kernel_page_bytes && change.size) inode->kernel_page_bytes->cut(*change.size);
  const bool through_queue =
      inode->regular() && (inode->writers > 0 || inode->local.operations > 0 ||
                           !parts_.remote.reachable());
  if (!through_queue) {
    return set_at_server(inode, std::move(change), std::move(reply));
  }
  log_.set_attributes(inode, std::move(change),
                      [inode, reply = std::move(reply)](Result<void> result) mutable {
                        if (!result) return reply.fail(result.error());
                        reply(inode->view());
                      });
}

std::optional<NodeNumber> Volume::behind(HandleNumber number) {
  const Handle* handle = handles_.find(number);
  return handle ? std::optional(handle->inode->number) : std::nullopt;
}

void Volume::set_at_server(const InodeRef& inode, AttributeChange change,
                           Reply<Attributes> reply) {
  AppliedOperation operation;
  operation.set_size = change.size;
  change.order = CallNumber{};
  change_at_server(parts_.remote, known_, inode, std::move(change), operation,
                   [this, inode, cut = operation.set_size.has_value(),
                    reply = std::move(reply)](Result<void> done) mutable {
                     if (!done) return reply.fail(done.error());
                     if (cut) inode->changed_there();
                     keep_made_there(inode);
                     reply(inode->view());
                   });
}

void Volume::file_flags(NodeNumber node, std::optional<std::uint32_t> set,
                        Reply<std::uint32_t> reply) {
  const auto inode = inodes_.find(node);
  if (!inode) return reply.fail(ESTALE);
  auto question = [this, inode, set, epoch = known_.epoch(),
                   reply = std::move(reply)](Result<void> drained) mutable {
    const bool forbidden = !drained && drained.error() == errno_code(EPERM);
    if (!drained && !forbidden) return reply.fail(drained.error());
    ask(parts_.remote, Priority::urgent, FileFlags{{}, inode->node, set},
        [this, inode, set, epoch, forbidden,
         reply = std::move(reply)](Result<Answer<FileFlagsReply>> answer) mutable {
          if (!answer) return reply.fail(answer.error());
          if (forbidden) retry_now();
          if (set) {
            known_.attributes_changed(*inode, (*answer)->change);
          } else {
            known_.learn(*inode, (*answer)->change.after, epoch);
          }
          reply((*answer)->flags);
        });
  };
  // The flags may forbid what is queued; what was forbidden by earlier ones is tried again.
  if (set) return log_.drain(inode, std::move(question));
  question(Result<void>());
}

void Volume::get_xattr(NodeNumber node, std::string name, Reply<std::string> reply) {
  const auto inode = inodes_.find(node);
  if (!inode) return reply.fail(ESTALE);
  xattrs_.get(inode, std::move(name), std::move(reply));
}

void Volume::list_xattrs(NodeNumber node, Reply<std::vector<std::string>> reply) {
  const auto inode = inodes_.find(node);
  if (!inode) return reply.fail(ESTALE);
  xattrs_.list(inode, std::move(reply));
}

void Volume::set_xattr(NodeNumber node, std::string name, std::optional<std::string> value,
                       XattrMode mode, Reply<void> reply) {
  const auto inode = inodes_.find(node);
  if (int error = 0; refuses_rewrite(inode, error)) return reply.fail(error);
  xattrs_.set(inode, std::move(name), std::move(value), mode, std::move(reply));
}

}  // namespace rushfs::fs
