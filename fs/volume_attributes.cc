// Attributes: asked of the server when what is known is older than kValidity; changed through the
// queue where the queue has, or may get, operations of the file, so that order is kept.
#include <cerrno>
#include <limits>

#include "fs/volume.h"

namespace rushfs::fs {

void Volume::get_attributes(NodeNumber node, Reply<Attributes> reply) {
  const auto inode = inodes_.find(node);
  if (!inode) return reply.fail(ESTALE);
  // While changes of ours wait, ours is the view; asking could not make it newer. A file without
  // a name belongs to its handles.
  const bool ours = inode->local.operations > 0 || inode->changes_in_flight > 0;
  if (inode->known() && (ours || parts_.time.now - inode->validated < kValidity)) {
    return reply(inode->view());
  }
  ask(parts_.remote, Priority::urgent, GetAttributes{inode->node},
      [this, inode, epoch = epoch_,
       reply = std::move(reply)](Result<Answer<AttributesReply>> answer) mutable {
        if (!answer) return reply.fail(answer.error());
        learn(*inode, (*answer)->attributes, epoch);
        reply(inode->view());
      });
}

void Volume::set_attributes(NodeNumber node, AttributeChange change, Reply<Attributes> reply) {
  const auto inode = inodes_.find(node);
  if (int error = 0; refuses_change(inode, error)) return reply.fail(error);
  const auto view = inode->view();
  const bool gives_away = (change.uid && *change.uid != view.uid) ||
                          (change.gid && *change.gid != view.gid);
  if (squashed_ && gives_away) return reply.fail(EPERM);
  if (!inode->regular() || (inode->writers == 0 && inode->local.operations == 0)) {
    return set_at_server(inode, std::move(change), std::move(reply));
  }
  log_.set_attributes(inode, std::move(change),
                      [inode, reply = std::move(reply)](Result<void> result) mutable {
                        if (!result) return reply.fail(result.error());
                        reply(inode->view());
                      });
}

void Volume::set_at_server(const InodeRef& inode, AttributeChange change,
                           Reply<Attributes> reply) {
  change.node = inode->node;
  change.order = CallNumber{};
  const auto size = change.size;
  ++inode->changes_in_flight;
  ask(parts_.remote, Priority::urgent, std::move(change),
      [this, inode, size, reply = std::move(reply)](Result<Answer<ChangeReply>> answer) mutable {
        --inode->changes_in_flight;
        if (!answer) {
          inode->validated = {};  // it may have happened
          return reply.fail(answer.error());
        }
        AppliedOperation operation;
        operation.set_size = size;
        operation.change = (*answer)->change;
        applied(inode->node, operation);
        reply(inode->view());
      });
}

void Volume::stat_fs(NodeNumber node, Reply<StatFsReply> reply) {
  const auto inode = inodes_.find(node);
  if (!inode) return reply.fail(ESTALE);
  ask(parts_.remote, Priority::urgent, StatFs{inode->node},
      [reply = std::move(reply)](Result<Answer<StatFsReply>> answer) mutable {
        if (!answer) return reply.fail(answer.error());
        reply(answer->reply);
      });
}

}  // namespace rushfs::fs
