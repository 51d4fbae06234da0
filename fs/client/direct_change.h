// A change that is carried out at the server now, not through the queue.
#pragma once

#include <utility>

#include "fs/client/known.h"
#include "fs/client/reply.h"

namespace rushfs::fs {

/// `request`: its node is filled in. `operation`: what it does; its outcome is filled in.
template <class R>
void change_at_server(Remote& remote, Known& known, const InodeRef& inode, R request,
                      AppliedOperation operation, Reply<void> reply) {
  request.node = inode->node;
  ++inode->changes_in_flight;
  ask(remote, Priority::urgent, std::move(request),
      [&known, inode, operation,
       reply = std::move(reply)](Result<Answer<ChangeReply>> answer) mutable {
        --inode->changes_in_flight;
        if (!answer) {
          inode->validated = {};  // it may have happened
          return reply.fail(answer.error());
        }
        operation.change = (*answer)->change;
        known.changed(inode, operation);
        reply.ok();
      });
}

}  // namespace rushfs::fs
